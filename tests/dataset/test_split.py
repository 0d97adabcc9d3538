"""Dividing a dataset: what belongs together stays together, the same way every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.examples import read_examples
from groundtune.dataset.files.items import read_items
from groundtune.dataset.split import SplitReport, split
from groundtune.errors import InputError

EXAMPLE = Path(split.__code__.co_filename).parent.parent / "example" / "questions.jsonl"


def chat(question: str, answer: str = "Yes.", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def divided(path: Path, **options: Any) -> tuple[SplitReport, list[dict[str, Any]], list[dict[str, Any]]]:
    train, held = path.with_name("train.jsonl"), path.with_name("held.jsonl")
    report = split(path, train, held, overwrite=True, **options)
    both = [[json.loads(line) for line in p.read_text(encoding="utf-8").splitlines()] for p in (train, held)]
    return report, both[0], both[1]


def rows_of(count: int) -> list[dict[str, Any]]:
    """Two rows a fact, five facts a source."""
    names = "amber birch cedar delta ember fjord grove heath inlet jetty".split()
    return [
        chat(f"{names[n % 10]} {names[n // 10 % 10]} number {n}?", f"{n}", fact=f"f{n // 2}", source=f"s{n // 10}.pdf")
        for n in range(count)
    ]


@pytest.mark.parametrize(("by", "kept"), [("source", ("source", "fact")), ("fact", ("fact",))])
def test_sources_and_facts_stay_whole(by: Any, kept: tuple[str, ...], tmp_path: Path) -> None:
    rows = rows_of(200)
    report, train, held = divided(written(tmp_path / "a.jsonl", rows), by=by)
    assert sorted(map(json.dumps, train + held)) == sorted(map(json.dumps, rows))
    assert (report.train_rows, report.held_out_rows) == (len(train), len(held)) and 30 <= len(held) <= 50
    for key in kept:
        assert not {r[key] for r in train} & {r[key] for r in held}
    assert bool({r["source"] for r in train} & {r["source"] for r in held}) == (by == "fact")
    assert report.groups == (20 if by == "source" else 100)


def test_new_rows_move_few_old_ones(tmp_path: Path) -> None:
    rows = rows_of(400)
    _, _, before = divided(written(tmp_path / "a.jsonl", rows[:380]))
    _, train, after = divided(written(tmp_path / "b.jsonl", list(reversed(rows))))
    held = {json.dumps(r) for r in after}
    stayed = sum(json.dumps(r) in held for r in before)
    assert stayed >= 0.85 * len(before)
    assert len(train) + len(after) == 400
    again = divided(tmp_path / "b.jsonl")
    assert again[1:] == (train, after)


def test_near_equal_prompts_stay_together(tmp_path: Path) -> None:
    words = [f"{a}{b}" for a in ("bar", "cel", "dor", "fim", "gut") for b in ("ba", "co", "du", "fi", "gen", "hol")]
    rows = [
        chat(f"Please tell me where the {w} of the {v} museum is kept in winter{end}")
        for n, w in enumerate(words)
        for v in [words[(n * 7 + 3) % 30]]
        for end in ("?", ", please?")
    ]
    report, train, held = divided(written(tmp_path / "a.jsonl", rows), share=0.3)

    def stems(part: list[dict[str, Any]]) -> set[str]:
        return {r["messages"][0]["content"].removesuffix(", please?").removesuffix("?") for r in part}

    assert held and train and not stems(train) & stems(held)
    assert report.near >= 30
    plain, train, held = divided(tmp_path / "a.jsonl", share=0.3, near=False)
    assert plain.near == 0 and stems(train) & stems(held)


def test_the_same_sentence_under_another_task_is_another_row(tmp_path: Path) -> None:
    lines = [f"word{n} goes here <to-{lang}> x{n}" for n in range(20) for lang in ("fr", "de")]
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines) + "\n")
    report = split(path, tmp_path / "t.txt", tmp_path / "h.txt", near=False)
    assert report.groups == 40
    parts = [(tmp_path / name).read_text().splitlines() for name in ("t.txt", "h.txt")]
    assert sorted(parts[0] + parts[1]) == sorted(lines)


def test_the_example_gets_its_splits_named_and_can_be_read_again(tmp_path: Path) -> None:
    report, train, held = divided(
        written(tmp_path / "q.jsonl", [json.loads(x) for x in EXAMPLE.read_text().splitlines()]), by="fact"
    )
    assert {r["split"] for r in train} == {"train"}
    assert {r["split"] for r in held} == {"held_out_facts", "unanswerable"}
    assert len(read_examples(Path(report.held_out))) == len(held)
    assert not {r["fact"] for r in train} & {r["fact"] for r in held}


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([chat(f"q{n}", source="one.pdf") for n in range(9)], {}, "--by fact"),
        ([chat("same")] * 9, {}, "belong together"),
        ([chat("a"), {"messages": []}], {}, ":2: 'messages' is empty"),
        ([chat("a"), chat("b")], {"share": 1.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_divided(rows: list[Any], options: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match=words):
        divided(path, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    with pytest.raises(InputError, match="three different files"):
        split(path, path, tmp_path / "b.jsonl")


def test_faulty_rows_are_left_out_on_request(tmp_path: Path) -> None:
    rows: list[Any] = [*rows_of(40)]
    rows.insert(5, {"messages": []})
    path = written(tmp_path / "a.jsonl", rows)
    report, train, held = divided(path, skip_faulty=True)
    assert report.faulty_rows == 1 and len(train) + len(held) == 40
    assert all(item.item is not None for item in read_items(tmp_path / "train.jsonl"))


def test_half_characters_are_kept_as_they_are_and_lists_need_lines(tmp_path: Path) -> None:
    rows = [chat("tea \ud83d?"), chat("quite another thing")]
    _, train, held = divided(written(tmp_path / "a.jsonl", rows))
    assert sorted(map(json.dumps, train + held)) == sorted(map(json.dumps, rows))
    with pytest.raises(InputError, match="end in"):
        split(tmp_path / "a.jsonl", tmp_path / "t.csv", tmp_path / "h.csv")


def test_two_rows_make_one_of_each(tmp_path: Path) -> None:
    report, train, held = divided(written(tmp_path / "a.jsonl", [chat("tea?"), chat("quite another thing")]))
    assert (len(train), len(held)) == (1, 1) and report.groups == 2


def test_every_document_of_a_question_stays_on_one_side(tmp_path: Path) -> None:
    flat = [
        {"question": f"{a} {b} {n}?", "references": ["x"], "document": f"d{n % 5}.pdf", "passage": "p"}
        for n, (a, b) in enumerate(
            (a, b) for a in ("oak", "elm", "fir", "yew") for b in "one two three four five".split()
        )
    ]
    report, train, held = divided(written(tmp_path / "a.jsonl", flat), share=0.4, near=False)
    assert report.sources == 5 and not {r["document"] for r in train} & {r["document"] for r in held}
    two = [
        {
            "question": f"question {n}?",
            "references": [f"{n}"],
            "passages": [{"document": f"own{n}.pdf", "text": "p"}, {"document": f"shared{n % 4}.pdf", "text": "p"}],
        }
        for n in range(24)
    ]
    report, train, held = divided(written(tmp_path / "a.jsonl", two), share=0.4, near=False)
    assert (report.groups, report.sources) == (4, 28)
    second = [{r["passages"][1]["document"] for r in part} for part in (train, held)]
    assert second[0] and second[1] and not second[0] & second[1]


@pytest.mark.parametrize("near", [True, False])
def test_every_item_of_a_row_is_linked(near: bool, tmp_path: Path) -> None:
    words = "amber birch cedar delta ember fjord grove heath inlet jetty".split()
    end = "" if not near else " please"
    rows: list[dict[str, Any]] = []
    for n, word in enumerate(words):
        later = f"Tell me where the {word} museum keeps the {words[n - 3]} boat in winter"
        several = [{"input": f"{word} first", "output": "x"}, {"input": later, "output": "y"}]
        rows.append({"name": word, "instruction": "Do.", "instances": several})
        rows.append({"name": word, "instruction": "Do.", "input": later + end, "output": "y"})
    report, train, held = divided(written(tmp_path / "a.jsonl", rows), share=0.3, near=near)
    assert report.groups == 10 and report.near == (10 if near else 0)
    assert not {r["name"] for r in train} & {r["name"] for r in held}


def test_a_row_with_a_faulty_item_is_left_out_whole(tmp_path: Path) -> None:
    rows: list[Any] = [{"instruction": f"word{n} {n}", "output": "x"} for n in range(20)]
    rows[3] = {"instruction": "two", "instances": [{"input": "a", "output": "x"}, {"input": "b", "output": ""}]}
    report, train, held = divided(written(tmp_path / "a.jsonl", rows), skip_faulty=True)
    assert report.faulty_rows == 1 and report.train_rows + report.held_out_rows == 19
    assert sorted(map(json.dumps, train + held)) == sorted(json.dumps(r) for r in rows if "output" in r)
