"""What every registered loader keeps to, ours and those of other packages."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from groundtune import registry
from groundtune.errors import InputError

NAMES = registry.names("loaders")


def test_the_six_formats_are_registered() -> None:
    assert {"csv", "docx", "html", "markdown", "pdf", "text"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_extensions_are_lower_case_with_a_dot(name: str) -> None:
    extensions = registry.get("loaders", name).EXTENSIONS
    assert isinstance(extensions, tuple)
    assert extensions
    assert all(e.startswith(".") and e == e.lower() for e in extensions)


def test_no_extension_has_two_loaders() -> None:
    extensions = [e for name in NAMES for e in registry.get("loaders", name).EXTENSIONS]
    assert len(extensions) == len(set(extensions))


@pytest.mark.parametrize("name", NAMES)
def test_load_is_a_documented_generator_function(name: str) -> None:
    load = registry.get("loaders", name).load
    assert inspect.isgeneratorfunction(load)
    assert "Raises:" in (load.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["empty", "missing", "folder", "image"])
def test_bad_files_raise_one_input_error_that_names_the_path(name: str, case: str, tmp_path: Path) -> None:
    loader = registry.get("loaders", name)
    path = tmp_path / f"{case}{loader.EXTENSIONS[0]}"
    if case == "empty":
        path.touch()
    elif case == "folder":
        path.mkdir()
    elif case == "image":
        path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    with pytest.raises(InputError) as caught:
        list(loader.load(path))
    assert str(path) in caught.value.problem
    said = {"empty": "is empty", "missing": "does not exist", "folder": "is a folder", "image": "is a PNG image"}
    assert said[case] in caught.value.problem
