"""llama.cpp's converter: found by variable or PATH, called with what it takes, its failures passed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundtune.errors import ConfigError, InputError
from groundtune.nn.gguf.converter import SCRIPT, VARIABLE, convert, find_converter

#: takes the real script's arguments, and writes them down
WRITES = """import json, pathlib, sys
pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1]).write_text(json.dumps(sys.argv[1:]))
"""
FAILS = """import sys
print("loading", file=sys.stderr)
sys.exit("Model GPT2LMHeadModel is not supported")
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "llama.cpp" / SCRIPT
    path.parent.mkdir()
    path.write_text(WRITES, encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_it_is_called_with_folder_file_and_type(script: Path, tmp_path: Path) -> None:
    convert(tmp_path / "merged", tmp_path / "m.gguf", "q8_0", architecture="gpt2")
    said = json.loads((tmp_path / "m.gguf").read_text(encoding="utf-8"))
    assert said == [str(tmp_path / "merged"), "--outfile", str(tmp_path / "m.gguf"), "--outtype", "q8_0"]


def test_it_is_found_on_path(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("PATH", str(script.parent))
    assert find_converter() is None  # not executable
    script.chmod(0o755)
    assert find_converter() == script


def test_without_it_the_next_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"gpt2 models cannot be written .* not found") as caught:
        convert(tmp_path, tmp_path / "m.gguf", "q8_0", architecture="gpt2")
    assert VARIABLE in str(caught.value)


def test_a_variable_that_names_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.py"))
    with pytest.raises(ConfigError, match="no file"):
        find_converter()


def test_its_failure_is_passed_on(script: Path, tmp_path: Path) -> None:
    script.write_text(FAILS, encoding="utf-8")
    with pytest.raises(InputError, match=r"failed \(exit code 1\): Model GPT2LMHeadModel is not supported"):
        convert(tmp_path, tmp_path / "m.gguf", "f16", architecture="gpt2")


def test_a_type_it_does_not_write_is_said(script: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not write q4_0"):
        convert(tmp_path, tmp_path / "m.gguf", "q4_0", architecture="gpt2")
