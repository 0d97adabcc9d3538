"""Conversion from any format into any other: everything arrives, or is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.convert import convert
from groundtune.dataset.files.items import read_items
from groundtune.errors import InputError, UnknownNameError

EXAMPLE = Path(convert.__code__.co_filename).parent.parent / "example" / "questions.jsonl"
SHARED = Path(__file__).parents[3] / "shared" / "evalsets"


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_csv_columns_become_task_markers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("en;fr\nGood day;Bonjour\nYes;Oui\n", encoding="utf-8")
    report = convert(path, tmp_path / "a.txt", "task_markers", mapping={"question": "en", "answer": "fr"}, task="to-fr")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Good day <to-fr> Bonjour\nYes <to-fr> Oui\n"
    assert (report.rows, report.converted, report.faulty, report.left_behind) == (2, 2, 0, {})
    back = convert(tmp_path / "a.txt", tmp_path / "b.csv", "columns")
    assert back.format == "task_markers"
    assert (tmp_path / "b.csv").read_text().splitlines()[1] == "Good day,Bonjour,<to-fr>"


def test_blanks_that_markers_leave_no_place_for_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [{"question": " a ", "answer": "b\n"}, {"question": "c", "answer": "d"}])
    report = convert(path, tmp_path / "a.txt", "task_markers", task="to-fr")
    assert report.left_behind == {"blanks at the ends of texts": 1}
    assert (tmp_path / "a.txt").read_text() == "a <to-fr> b\nc <to-fr> d\n"


def test_what_the_new_format_has_no_place_for_is_named(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "completion": "b", "topic": "x"},
        {"prompt": "", "completion": "b"},
        {"prompt": "c", "completion": "d"},
    ]
    report = convert(
        written(tmp_path / "a.jsonl", rows), tmp_path / "b.jsonl", "openai_chat", quarantine=tmp_path / "q.jsonl"
    )
    assert (report.rows, report.converted, report.faulty) == (3, 2, 1)
    assert report.left_behind == {"topic": 1} and report.places == [f"{tmp_path}/a.jsonl:2: 'prompt' is empty"]
    assert json.loads((tmp_path / "q.jsonl").read_text()) == {"line": 2, "reason": "'prompt' is empty", "row": rows[1]}


def test_the_example_s_references_and_origin_are_accounted_for(tmp_path: Path) -> None:
    report = convert(EXAMPLE, tmp_path / "a.jsonl", "openai_chat")
    assert report.left_behind["references after the first"] > 200
    assert report.left_behind["fact (kept with --origin)"] == 568
    kept = convert(EXAMPLE, tmp_path / "b.jsonl", "openai_chat", origin=True)
    assert "fact (kept with --origin)" not in kept.left_behind
    first = next(read_items(tmp_path / "b.jsonl")).item
    assert first is not None and (first.id, first.split, first.source) == ("a01-1", "train", "staff-handbook-2026.pdf")


@pytest.mark.parametrize(
    ("row", "to", "words"),
    [
        ({"prompt": "a", "completion": "b"}, "kto", "nothing to convert to kto.*:1: kto holds"),
        ({"prompt": "a", "completion": "b\ud83d"}, "openai_chat", "half a character"),
        ({"prompt": "a", "completion": "b"}, "task_markers", "expected one|no task marker|holds one|--task|not user"),
    ],
)
def test_a_file_of_which_nothing_fits_is_refused(row: Any, to: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=words):
        convert(tmp_path / "a.jsonl", tmp_path / "b.jsonl", to)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_mistakes_on_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}])
    with pytest.raises(UnknownNameError, match="alpaca"):
        convert(path, tmp_path / "b.jsonl", "alpacca")
    with pytest.raises(InputError, match="same file"):
        convert(path, path, "openai_chat")
    with pytest.raises(InputError, match="no marker"):
        convert(path, tmp_path / "b.jsonl", "task_markers", task="to fr")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/evalsets, which is not part of the project")
@pytest.mark.parametrize(
    ("name", "mapping", "task", "count"),
    [
        ("instruct_demo/llamafactory_alpaca_en_demo.json", None, None, 999),
        ("instruct_demo/llamafactory_dpo_en_demo.json", None, None, 300),
        ("instruct_demo/llamafactory_glaive_toolcall_en_demo.json", None, None, 300),
        ("instruct_demo/llamafactory_identity.json", None, None, 91),
        ("instruct_demo/llamafactory_kto_en_demo.json", None, None, 300),
        ("instruct_demo/llamafactory_wiki_demo.txt", None, None, 30),
        ("instruct_demo/self_instruct_seed_tasks.jsonl", None, None, 175),
        ("instruct_demo/self_instruct_user_oriented_instructions.jsonl", None, None, 252),
        ("tatoeba/fra-eng.jsonl", {"question": "eng", "answer": "src"}, "to-fr", 1000),
        ("scitldr/dev.jsonl", {"question": "abstract", "answer": "summaries[0]"}, "summarize", 619),
        ("scitldr/train.jsonl", {"question": "abstract", "answer": "summaries[*]"}, "summarize", 1992),
    ],
)
def test_real_files_convert_whole(
    name: str, mapping: dict[str, str] | None, task: str | None, count: int, tmp_path: Path
) -> None:
    path = SHARED / name
    kinds = {type(i.item).__name__ for i in read_items(path, mapping=mapping)}
    if task:
        marked = convert(path, tmp_path / "m.jsonl", "task_markers", mapping=mapping, task=task)
        assert (marked.converted, marked.faulty) == (count, 0)
        assert all(
            i.item is not None and i.item.messages[0].content == f"<{task}>" for i in read_items(tmp_path / "m.jsonl")
        )
    label = "kto" if "kto" in name else "openai_preference" if kinds == {"Preference"} else "openai_chat"
    report = convert(path, tmp_path / "a.jsonl", label, mapping=mapping, task=task)
    assert (report.converted, report.faulty) == (count, 0)
    same = [
        (a.item, b.item)
        for a, b in zip(read_items(path, mapping=mapping), read_items(tmp_path / "a.jsonl", label), strict=True)
    ]
    if task is None:
        assert all(a.messages == b.messages and a.tools == b.tools for a, b in same if a is not None and b is not None)


def test_a_key_that_parquet_columns_lack_is_named_with_its_line(tmp_path: Path) -> None:
    rows: list[Any] = [{"prompt": f"q{n}", "completion": "a"} for n in range(1100)]
    rows.append({"prompt": "q", "completion": "a", "id": "x"})
    path = written(tmp_path / "a.jsonl", rows)
    report = convert(path, tmp_path / "a.parquet", "openai_chat", origin=True)
    assert (report.converted, report.faulty) == (1100, 1)
    assert report.places[0].startswith(f"{path}:1101: the key 'id'") and ".jsonl" in report.places[0]


@pytest.mark.parametrize(
    ("row", "left"),
    [
        (
            {"question": "q", "references": ["a"], "document": "d.pdf", "page": 2, "passage": "p", "fact": "f"},
            ["passage", "page"],
        ),
        ({"question": "q", "answer": "a", "document": "d.pdf", "passage": "p"}, ["passage"]),
        (
            {
                "question": "q",
                "references": ["a", "b"],
                "answer": "c",
                "passages": [{"document": "d.pdf", "text": "p"}, {"document": "e.pdf", "text": "p"}],
                "kind": "plain",
                "source": "x.pdf",
                "empty": "",
            },
            [
                "references after the first",
                "text and page of passages",
                "documents of passages after the first",
                "answer",
                "kind",
                "source",
            ],
        ),
    ],
)
def test_every_key_of_a_question_that_is_not_carried_is_named(
    row: dict[str, Any], left: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path / "a.jsonl", [row])
    report = convert(path, tmp_path / "b.jsonl", "openai_chat", origin=True)
    assert report.format == "groundtune" and report.left_behind == dict.fromkeys(left, 1)
    item = next(read_items(tmp_path / "b.jsonl")).item
    assert item is not None and (item.messages[1].content, item.source) == ("a", "d.pdf")
