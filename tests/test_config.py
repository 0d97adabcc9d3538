"""``groundtune.yaml``: defaults, every fault at once with its key, and the file that ``init`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from groundtune.cli.init import render_config
from groundtune.config import SYSTEMS, Config, load_config, parse_config, settings
from groundtune.errors import ConfigError, InputError


def config_of(folder: Path, text: str | bytes) -> Config:
    (folder / "groundtune.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(folder)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_and_no_file_mean_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(tmp_path) == Config()
    assert config_of(tmp_path, text) == Config()


def test_values_are_read(tmp_path: Path) -> None:
    read = config_of(tmp_path, "model: ./mine\ndocuments: [a, b/c.pdf]\ntune: {epochs: 3, learning_rate: 1.0e-3}\n")
    assert (read.model, read.documents, read.tune.epochs, read.tune.learning_rate) == (
        "./mine",
        ("a", "b/c.pdf"),
        3,
        1e-3,
    )
    assert read.retrieval == Config().retrieval


def test_every_fault_is_listed_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(
            tmp_path, "modle: x\nseed: -1\ntune:\n  epochs: many\n  epocs: 3\nretrieval: {mode: best}\nindex: 7\n1: 2\n"
        )
    said = str(caught.value)
    assert str(tmp_path / "groundtune.yaml") in said
    for part in (
        "modle: unknown",
        "seed:",
        "'many'",
        "tune.epochs:",
        "tune.epocs: unknown",
        "retrieval.mode:",
        "'best'",
        "index:",
        "1:",
    ):
        assert part in said, part
    assert said.count("\n") >= 6  # a line each


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ({"modle": 1}, "'model'"),
        ({"tune": {"epocs": 1}}, "'tune.epochs'"),
        ({"top_k": 1}, "'retrieval.top_k'"),
        ({"xqzw": 1}, None),
    ],
)
def test_an_unknown_key_suggests_the_nearest(given: dict[str, Any], nearest: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(given, "groundtune.yaml")
    assert ("did you mean" in str(caught.value)) == (nearest is not None)
    assert nearest is None or f"did you mean {nearest}" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["model: a\n  seed: 1\n", "documents: [a, b\nseed: 1\n", "model: 'a\n\nseed: 1", "\tmodel: a\n", "a: *b\n"]
)
def test_what_is_no_yaml_is_said_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"groundtune\.yaml:\d+: not YAML: \w+"):
        config_of(tmp_path, text)


def test_the_line_of_broken_yaml_is_right(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"groundtune\.yaml:3: "):
        config_of(tmp_path, "seed: 1\n\nmodel: a: b\n")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "42\n"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="at the top"):
        config_of(tmp_path, text)


@pytest.mark.parametrize("text", [b"model: caf\xe9\n", "model: a\n".encode("utf-16")])
def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        config_of(tmp_path, text)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config file .*other\.yaml"):
        load_config(tmp_path, tmp_path / "other.yaml")
    (tmp_path / "other.yaml").write_text("seed: 5", encoding="utf-8")
    assert load_config(tmp_path, tmp_path / "other.yaml").seed == 5


def uncommented(text: str) -> str:
    """The rendered file with every setting in force: the marks taken off, as a user would."""
    return "\n".join(line.removeprefix("# ") for line in text.splitlines()[1:])


def test_init_writes_every_setting_and_its_default() -> None:
    text = render_config({"documents": ("papers",), "questions": "asked.csv"})
    assert parse_config(yaml.safe_load(text), "as written") == Config(documents=("papers",), questions="asked.csv")
    full = yaml.safe_load(uncommented(text))
    assert parse_config(full, "uncommented") == Config(documents=("papers",), questions="asked.csv")
    written = {
        f"{a}.{b}" if isinstance(v, dict) else a for a, v in full.items() for b in (v if isinstance(v, dict) else [""])
    }
    assert written == {name for name, _ in settings()}


def test_every_setting_is_described_beside_its_default() -> None:
    text = render_config({})
    for name, field in settings():
        assert field.description, name
        key = name.rpartition(".")[2]
        assert any(
            f" {key}: " in f" {line}" and line.endswith(f"# {field.description}") for line in text.splitlines()
        ), name


def test_the_default_systems_can_all_be_built() -> None:
    from groundtune.methods._systems import check_system

    for name in SYSTEMS:
        check_system(name)
