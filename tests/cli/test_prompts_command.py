"""``groundtune prompts`` and ``choose-prompt``: list, print, copy to edit, and the edited one is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from groundtune.cli.main import app
from groundtune.dataset.examples import write_examples
from groundtune.errors import InputError, UnknownNameError
from groundtune.prompt_files import SHIPPED, prompt_names
from groundtune.records import Example


def call(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_list_print_copy_edit_use(tmp_path: Path) -> None:
    listed = call("prompts", "--project", tmp_path)
    assert all(name in listed for name in prompt_names()) and "(yours)" not in listed
    call("prompts", "--copy", "closed_book", "--project", tmp_path)
    path = tmp_path / "prompts" / "closed_book.txt"
    assert path.read_bytes() == (SHIPPED / "closed_book.txt").read_bytes()
    path.write_text("[user]\nSay it in [b] one word: {question}\n", encoding="utf-8")
    assert "closed_book (yours)" in call("prompts", "--project", tmp_path)
    assert "Say it in [b] one word: {question}" in call("prompts", "closed_book", "--project", tmp_path)
    asked = call("ask", "Why?", "--system", "prompt", "--model", "echo:{prompt}", "--project", tmp_path, "--json")
    assert "Say it in [b] one word: Why?" in asked
    with pytest.raises(InputError, match="exists already"):
        call("prompts", "--copy", "closed_book", "--project", tmp_path)
    with pytest.raises(UnknownNameError, match="closed_bok"):
        call("prompts", "--copy", "closed_bok", "--project", tmp_path)
    path.write_text("[user]\nSay it.\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"no place \{question\}"):
        call("ask", "Why?", "--system", "prompt", "--model", "echo:x", "--project", tmp_path)


def test_choose_prompt_says_what_it_found(tmp_path: Path) -> None:
    rows = [Example(str(n), str(n), "train", f"What is {n}?", (f"thing {n}",)) for n in range(12)]
    write_examples(tmp_path / "questions.jsonl", rows)
    options = ("--prompt", "closed_book", "--model", "echo:thing 3", "--project", tmp_path, "--questions", "8")
    said = call("choose-prompt", *options)
    assert "prompts of closed_book" in said and "gain +0.000" in said and "the prompt" in said
    assert (tmp_path / ".groundtune" / "reports" / "prompt-closed_book.json").exists()
    assert not (tmp_path / "prompts").exists()
