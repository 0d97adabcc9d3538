"""Held-out rows that are also trained on: exactly, nearly, by fact, and in other words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundtune.dataset.checks import leak_candidates, leaks
from groundtune.dataset.checks.check import check
from groundtune.dataset.checks.leaks import agree, other_things
from groundtune.dataset.examples import read_examples
from groundtune.dedup import normalised

EXAMPLE = Path(leaks.__file__).parents[2] / "example" / "questions.jsonl"


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def bag(texts: Sequence[str]) -> Any:
    """An embedder that knows a few synonyms and counts words: enough to tell what is handed to it."""
    same = {"spouse": "wife", "salary": "pay", "wage": "pay", "vacation": "leave", "holiday": "leave"}
    out = np.zeros((len(texts), 512), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in normalised(text).split():
            if word not in {"what", "is", "the", "of", "a", "how", "does", "much"}:
                out[row, sum(map(ord, same.get(word, word))) % 512] += 1
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


TRAIN = [
    chat(f"What does a ton of {t} cost?", f"{n} euro")
    for n, t in enumerate("tea salt coal iron wool rice jute zinc sand corn".split())
]
HELD = [
    chat("What is the vacation of a librarian?", "31 days"),
    chat("Who keeps the keys of the harbour mill?", "Ida Brekke"),
]


@pytest.mark.parametrize(
    ("code", "row", "held_row"),
    [
        ("leak_exact", chat("What is the vacation of a librarian?", "31 days"), None),
        ("leak_exact", chat("what is the VACATION of a librarian", "Thirty-one."), None),
        ("leak_near", chat("Who keeps the keys of the harbour mills?", "Ida Brekke"), None),
        ("leak_reworded", chat("How much leave does the librarian have, I wonder?", "31 days"), None),
        ("leak_fact", chat("Anything else?", "Yes.", fact="f1"), chat("What on earth?", "No.", fact="f1")),
    ],
)  # fmt: skip
def test_a_leak_into_the_training_file_is_named(
    code: str, row: dict[str, Any], held_row: dict[str, Any] | None, tmp_path: Path
) -> None:
    path = written(tmp_path / "train.jsonl", [*TRAIN, row])
    held = written(tmp_path / "held.jsonl", [*HELD, *([held_row] if held_row else [])])
    report = check(path, against=held, embed=bag, quarantine=tmp_path / "bad.jsonl")
    found = {f.code: f for f in report.findings if f.code.startswith("leak")}
    assert list(found) == [code]
    assert found[code].count == 1 and found[code].places[0].startswith(f"{path}:11")
    if code != "leak_fact":
        assert f"{held}:" in found[code].places[0]
    put_aside = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(p["line"], p["codes"]) for p in put_aside] == [(11, [code])]
    assert not [f for f in check(path, against=held).findings if f.code == "leak_reworded"]  # needs an embedder


def test_splits_of_one_file_are_compared_too(tmp_path: Path) -> None:
    rows = [
        *[{**r, "split": "train"} for r in TRAIN],
        {**TRAIN[3], "split": "held_out_facts"},
        {**HELD[0], "split": "test"},
    ]
    report = check(written(tmp_path / "a.jsonl", rows))
    assert [(f.code, f.places[0].split(": ")[0]) for f in report.findings if f.severity == "error"] == [
        ("leak_exact", f"{tmp_path}/a.jsonl:4")
    ]
    assert report.splits == {"held_out_facts": 1, "test": 1, "train": 10}


def test_what_is_no_leak(tmp_path: Path) -> None:
    def task(marker: str, text: str, answer: str) -> dict[str, Any]:
        return {"messages": [{"role": "system", "content": marker}, *chat(text, answer)["messages"]]}

    train = [*TRAIN, task("<to-fr>", "Good morning to all of you", "Bonjour")]
    train += [
        chat("What is the price of 12 boxes of tea in the market?", "3 euro"),
        chat("Leave of a librarian?", "yes", fact="f"),
    ]
    held = [
        task("<to-de>", "Good morning to all of you", "Guten Morgen"),  # another task
        chat("What is the price of 15 boxes of tea in the market?", "4 euro"),  # another number
        chat("Vacation of the librarian?", "yes", fact="f", split="held_out_phrasings"),  # held out for its wording
    ]
    report = check(written(tmp_path / "a.jsonl", train), against=written(tmp_path / "b.jsonl", held), embed=bag)
    assert not [f.code for f in report.findings if f.code.startswith("leak")]


def test_many_rows_go_through_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_candidates, "_MOST_EMBEDDED", 60)
    monkeypatch.setattr(leak_candidates, "_MOST_HELD", 30)
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("bcdfglmnprst"), 3)) + "a" + str(chr(97 + n % 26)) for n in range(400)]
    train = [chat(" ".join(rng.choice(words, 8)) + "?", " ".join(rng.choice(words, 3))) for _ in range(500)]
    held = [chat(" ".join(rng.choice(words, 8)) + "?", " ".join(rng.choice(words, 3))) for _ in range(50)]
    kept = held[20]["messages"][0]["content"].split()
    train.insert(77, chat("tell me " + " ".join(reversed(kept[:6])), held[20]["messages"][1]["content"]))
    seen: list[int] = []

    def counted(texts: Sequence[str]) -> Any:
        seen.append(len(texts))
        return bag(texts)

    report = check(written(tmp_path / "a.jsonl", train), against=written(tmp_path / "b.jsonl", held), embed=counted)
    found = {f.code: f.places for f in report.findings if f.code.startswith("leak") or f.code == "not_searched"}
    assert found["leak_reworded"][0].startswith(f"{tmp_path}/a.jsonl:78") and len(found["leak_reworded"]) == 1
    assert "25 of 50" in found["not_searched"][0]
    assert sum(seen) < 140


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("27 days", "27 days.", True),
        ("27 days", "It is 27 days a year", True),
        ("27 days", "25 days", False),
        ("Ida", "", False),
        ("Ida Brekke", "Jon Brekke", False),
        ("Yes", "No, not on any of the first few days of the week", False),
    ],
)
def test_when_answers_agree(left: str, right: str, expected: bool) -> None:
    assert agree(left, right) is expected and agree(right, left) is expected


def test_other_things_make_another_question() -> None:
    assert other_things("a cube of 4 cm", "a cube of 6 cm")
    assert other_things('the turnover of "Ferries"', 'the turnover of "Freight"')
    assert other_things("What type is Razorbill?", "What type is Guillemot?")
    assert other_things("Which type is the Razorbill?", "What type of boat is the Guillemot?")
    assert not other_things("leave in 2026", "leave per year")
    assert not other_things("leave in 2026", "2026, leave for 40 hours")
    assert not other_things('the turnover of "Ferries"', "what did ferries turn over")
    assert not other_things("What did the Harbour Board decide?", "Which decision did the Board take?")
    assert not other_things("Who signs the lease?", "Who in the Cooperative signs leases?")


def test_the_example_s_phrasings_are_found_in_other_words(tmp_path: Path) -> None:
    """12 held-out questions, trained on in other words, 12 that are not: MiniLM finds 11 at least, and no other."""
    from groundtune.retrieval.embedders import minilm

    facts: dict[str, list[Any]] = {}
    for example in read_examples(EXAMPLE):
        if example.answerable:
            facts.setdefault(example.fact, []).append(example)
    several = [phrasings for phrasings in facts.values() if len(phrasings) > 1][:24]
    held = [chat(p[0].question, p[0].references[0]) for p in several]
    train = [chat(e.question, e.references[0]) for p in several[::2] for e in p[1:]]
    of_fact = {e.question: p[0].question for p in several for e in p}
    train_file, held_file = written(tmp_path / "train.jsonl", train), written(tmp_path / "held.jsonl", held)
    found = leaks_found(train_file, held_file, minilm.embed)
    right = {asked for trained, asked in found if of_fact[trained] == asked}
    assert len(right) >= 11 and all(of_fact[trained] == asked for trained, asked in found)


def leaks_found(train: Path, held: Path, embed: Any) -> list[tuple[str, str]]:
    """(trained question, held-out question) of every pair named."""
    from groundtune.dataset.checks.findings import Findings
    from groundtune.dataset.files.items import read_items

    search = leaks.Leaks(embed=embed)
    asked = {}
    for item in read_items(held):
        assert item.item is not None
        asked[str(item.line)] = item.item.messages[0].content
        search.hold(str(item.line), item.item)
    trained = {item.line: item.item for item in read_items(train) if item.item is not None}
    search.compare(trained.items(), Findings("train"), len(trained))
    return [(trained[line].messages[0].content, asked[place]) for line, place in search.partner.items()]


def codes_of(train: list[dict[str, Any]], held: list[dict[str, Any]], tmp_path: Path) -> list[tuple[str, list[str]]]:
    report = check(written(tmp_path / "a.jsonl", train), against=written(tmp_path / "b.jsonl", held))
    return [(f.code, f.places) for f in report.findings if f.code.startswith("leak")]


def test_a_leak_behind_a_nearer_row_of_another_number_is_named(tmp_path: Path) -> None:
    rest = " ".join(f"clause{letter} of the rules" for letter in "abcdefghijklmno")
    text = "Which fee did the harbour board ask in {} for a {} berth under the " + rest
    held = [
        chat(text.format(2023, "small"), "4 euro"),
        chat(text.format(2024, "large old wooden fishing boat at its"), "5 euro"),
    ]
    train = [*TRAIN, chat(text.format(2024, "small"), "5 euro")]
    ((code, places),) = codes_of(train, held, tmp_path)
    assert (
        code == "leak_near" and places[0].startswith(f"{tmp_path}/a.jsonl:11") and f"{tmp_path}/b.jsonl:2" in places[0]
    )


def test_a_leak_of_a_sentence_that_is_held_out_under_two_tasks_is_named(tmp_path: Path) -> None:
    def task(marker: str, text: str, answer: str) -> dict[str, Any]:
        return {"messages": [{"role": "system", "content": marker}, *chat(text, answer)["messages"]]}

    text = "The harbour office is open in the morning on every working day of the week"
    held = [task("<to-fr>", text, "Le bureau"), task("<to-de>", text, "Das Büro ist offen")]
    train = [*TRAIN, task("<to-de>", text.replace("working day", "work day"), "Das Büro ist morgens offen")]
    ((code, places),) = codes_of(train, held, tmp_path)
    assert code == "leak_near" and f"{tmp_path}/b.jsonl:2" in places[0]


def test_each_item_of_a_row_is_compared_by_its_own_prompt(tmp_path: Path) -> None:
    rest = " ".join(f"clause{letter} of the rules" for letter in "abcdefghij")
    one = f"Who kept the keys of the harbour mill in 1907 under the {rest}"
    instances = [
        {"input": one, "output": "Ida Brekke"},
        {"input": "When was the lighthouse built, before 1850 or later?", "output": "Later"},
    ]
    row = {"instruction": "Answer.", "instances": instances}
    held = [{"instruction": "Answer.", "input": one.replace("Who kept", "Who has kept"), "output": "Ida Brekke"}]
    train = [{"instruction": r["messages"][0]["content"], "output": r["messages"][1]["content"]} for r in TRAIN]
    ((code, places),) = codes_of([*train, row], held, tmp_path)
    assert code == "leak_near" and places[0].startswith(f"{tmp_path}/a.jsonl:11")
