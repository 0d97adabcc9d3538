"""Settings written into ``groundtune.yaml``: what is not a setting's own line stays byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundtune.cli._settings_text import setting_lines, with_settings, write_settings
from groundtune.cli.init import render_config
from groundtune.config import load_config, parse_config
from groundtune.errors import InputError

FILE = """# Ours. Keep.
documents: [documents]   # all of it
retrieval:
  top_k: 5               # tried 3: worse
  mode: "hybrid"
# nothing to say about this
answer:
    max_tokens: 24
model: pebble
"""


def test_only_the_lines_of_the_settings_change() -> None:
    out = with_settings(FILE, {"retrieval.top_k": 8, "answer.max_tokens": 48})
    old, new = FILE.splitlines(), out.splitlines()
    assert [(a, b) for a, b in zip(old, new, strict=True) if a != b] == [
        ("  top_k: 5               # tried 3: worse", "  top_k: 8               # tried 3: worse"),
        ("    max_tokens: 24", "    max_tokens: 48"),
    ]


def test_settings_and_sections_that_are_not_there_are_added() -> None:
    changes = {"retrieval.candidates": 80, "index.chunk_tokens": 100, "answer.shots": 0, "seed": 7}
    out = with_settings(FILE, changes)
    assert [line for line in FILE.splitlines() if line not in out.splitlines()] == []
    found = yaml.safe_load(out)
    assert found["retrieval"] == {"top_k": 5, "mode": "hybrid", "candidates": 80}
    assert (found["index"], found["answer"], found["seed"]) == (
        {"chunk_tokens": 100},
        {"max_tokens": 24, "shots": 0},
        7,
    )


def test_the_file_that_init_writes_gets_its_commented_line_set() -> None:
    text = render_config({"documents": ("documents",), "questions": "q.jsonl"})
    out = with_settings(text, {"retrieval.top_k": 8, "retrieval.mode": "text", "model": "./mine"})
    changed = [b for a, b in zip(text.splitlines(), out.splitlines(), strict=True) if a != b]
    assert [line.split("#")[0].strip() for line in changed] == ["model: ./mine", "retrieval:", "top_k: 8", "mode: text"]
    assert "# chunks retrieved for an answer" in out
    read = parse_config(yaml.safe_load(out), "x")
    assert (read.retrieval.top_k, read.retrieval.mode, read.retrieval.candidates) == (8, "text", 40)


@pytest.mark.parametrize("text", ["retrieval: {top_k: 5}\n", "retrieval:\n  top_k: >\n    5\n"])
def test_what_cannot_be_changed_line_by_line_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "groundtune.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        write_settings(path, {"retrieval.top_k": 8})
    assert "top_k: 8" in str(caught.value) and path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    write_settings(tmp_path / "groundtune.yaml", {"index.embedder": "tuned", "retrieval.top_k": 3})
    assert (tmp_path / "groundtune.yaml").read_text(encoding="utf-8") == setting_lines(
        {"index.embedder": "tuned", "retrieval.top_k": 3}
    )
    assert load_config(tmp_path).retrieval.top_k == 3


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "groundtune.yaml"
    file.write_bytes(b"# Ours.\r\nretrieval:\r\n  top_k: 5\r\nmodel: pebble")
    write_settings(file, {"retrieval.top_k": 8})
    assert file.read_bytes() == b"# Ours.\r\nretrieval:\r\n  top_k: 8\r\nmodel: pebble"


def test_a_space_may_stand_in_sections() -> None:
    space = {"retrieval": {"top_k": [3, 5]}, "answer.max_tokens": [16]}
    found = parse_config({"optimize": {"space": space}}, "t").optimize.space
    assert found == {"retrieval.top_k": (3, 5), "answer.max_tokens": (16,)}
