"""The two shipped examples: each is copied without the other, and the German one is what the tool says it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from groundtune.cli.demo import EXAMPLE, QUESTIONS, Example, copy_example
from groundtune.dataset.examples import read_examples
from groundtune.ingest.language import language_of


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_each_example_is_copied_without_the_other(tmp_path: Path) -> None:
    for example in Example:
        copy_example(example, tmp_path / example)
    english, german = names(tmp_path / "english"), names(tmp_path / "german")
    assert not any(name.startswith("german") for name in english)
    assert {"groundtune.yaml", "questions.jsonl"} <= english & german
    assert len([n for n in english if n.startswith("documents/")]) == 45
    assert len([n for n in german if n.startswith("documents/")]) == 10
    assert set(QUESTIONS) == set(Example)


def test_the_german_example_has_fifty_german_questions() -> None:
    examples = read_examples(EXAMPLE / "german" / "questions.jsonl")
    assert len(examples) == 50
    assert Counter(e.split for e in examples) == {
        "train": 16, "held_out_phrasings": 16, "held_out_facts": 12, "unanswerable": 6,
    }  # fmt: skip
    assert sum(language_of(e.question)[0] == "de" for e in examples) >= 45
    files = {path.name for path in (EXAMPLE / "german" / "documents").iterdir()}
    assert {p.document for e in examples for p in e.passages} == files
