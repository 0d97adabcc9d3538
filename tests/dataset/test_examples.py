"""Questions files: what is read, what is filled in, and where a fault is said to stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundtune.dataset.examples import read_examples, write_examples
from groundtune.errors import InputError
from groundtune.records import Example, Passage


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fault(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_examples(path)
    return caught.value.problem


def test_jsonl_with_every_field(tmp_path: Path) -> None:
    row = {
        "id": "a1",
        "fact": "a",
        "split": "held_out_phrasings",
        "question": "How long?",
        "references": ["two days", "2 days"],
        "passages": [{"document": "rules.pdf", "text": "It takes two days.", "page": 3}],
        "kind": "near_twin",
    }
    assert read_examples(written(tmp_path / "q.jsonl", json.dumps(row))) == [
        Example(
            "a1",
            "a",
            "held_out_phrasings",
            "How long?",
            ("two days", "2 days"),
            (Passage("rules.pdf", "It takes two days.", 3),),
            "near_twin",
        )
    ]


def test_csv_with_a_document_and_a_page(tmp_path: Path) -> None:
    text = (
        'question,answer,split,document,page,passage\n"Who, then?",Ann,train,a.pdf,2,Ann leads.\nWhere?,Oslo,train,,,\n'
    )
    first, second = read_examples(written(tmp_path / "q.csv", text))
    assert (first.question, first.references, first.passages) == (
        "Who, then?",
        ("Ann",),
        (Passage("a.pdf", "Ann leads.", 2),),
    )
    assert (second.references, second.passages, second.id) == (("Oslo",), (), "q3")


def test_bare_rows_are_filled_in(tmp_path: Path) -> None:
    example = read_examples(written(tmp_path / "q.jsonl", '\n{"question": "How many?", "answer": "12"}\n'))[0]
    assert (example.id, example.fact, example.references, example.kind) == ("q2", "q2", ("12",), "plain")


def test_a_number_is_an_answer(tmp_path: Path) -> None:
    assert read_examples(written(tmp_path / "q.jsonl", '{"question": "How many?", "answer": 12}'))[0].references == (
        "12",
    )
    assert read_examples(written(tmp_path / "z.jsonl", '{"question": "How many?", "answer": 0}'))[0].references == (
        "0",
    )


@pytest.mark.parametrize("name", ["q.jsonl", "q.csv"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path, name: str) -> None:
    text = '{"question": "How?", "answer": "so"}' if name == "q.jsonl" else "question,answer\nHow?,so\n"
    assert read_examples(written(tmp_path / name, b"\xef\xbb\xbf" + text.encode()))[0].question == "How?"


def test_default_splits_hold_out_a_fifth_of_the_facts_whole(tmp_path: Path) -> None:
    rows = [
        {"question": f"Wording {w} of {f}?", "answer": "x", "fact": f"fact{f}"} for f in range(300) for w in range(2)
    ]
    rows.append({"question": "Nobody knows?"})
    examples = read_examples(written(tmp_path / "q.jsonl", "\n".join(map(json.dumps, rows))))
    assert examples[-1].split == examples[-1].kind == "unanswerable"
    splits: dict[str, set[str]] = {}
    for example in examples[:-1]:
        splits.setdefault(example.fact, set()).add(example.split)
    assert all(len(s) == 1 for s in splits.values())
    held_out = sum(s == {"held_out_facts"} for s in splits.values())
    assert 40 <= held_out <= 80
    assert sum(s == {"train"} for s in splits.values()) == 300 - held_out


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("q.jsonl", '{"question": "a?", "answer": "b"}\n{"question": "c?", ', 2, "not JSON"),
        ("q.jsonl", '{"question": "a?", "answer": "b"}\n\n["c?"]', 3, "list instead of an object"),
        ("q.jsonl", '{"answer": "b"}', 1, "no 'question'"),
        ("q.jsonl", '{"question": "   ", "answer": "b"}', 1, "'question' must be a non-empty string"),
        ("q.jsonl", '{"question": 5, "answer": "b"}', 1, "'question' must be a non-empty string"),
        ("q.jsonl", '{"question": "a?", "passages": [{"text": "no document"}]}', 1, "no 'document'"),
        ("q.jsonl", '{"question": "a?", "passages": ["bare"]}', 1, ""),
        (
            "q.jsonl",
            '{"question": "a?", "id": "x"}\n{"question": "b?", "id": "x"}',
            2,
            "id 'x' again (first in line 1)",
        ),
        ("q.csv", "question,answer\na?,b\n,c\n", 3, "no 'question'"),
        ("q.csv", 'question,answer,id\n"a\nb?",c,1\nd?,e,1\n', 4, "id '1' again (first in line 3)"),
        ("q.csv", "question,answer,document,page,passage\na?,b,c.pdf,iv,d\n", 2, "iv"),
    ],
)
def test_a_fault_is_named_with_file_and_line(tmp_path: Path, name: str, text: str, line: int, said: str) -> None:
    path = written(tmp_path / name, text)
    problem = fault(path)
    assert problem.startswith(f"{path}:{line}: ")
    assert said in problem


def test_files_that_are_no_questions(tmp_path: Path) -> None:
    assert "no questions file" in fault(tmp_path / "none.jsonl")
    assert "holds no question" in fault(written(tmp_path / "empty.jsonl", "\n\n"))
    assert "holds no question" in fault(written(tmp_path / "empty.csv", "question,answer\n"))
    assert "not UTF-8 (byte 14)" in fault(written(tmp_path / "latin.jsonl", b'{"question": "\xe9?"}'))
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    assert str(folder) in fault(folder)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    examples = [
        Example(
            "1",
            "f",
            "train",
            "Wie heißt es?",
            ("Öl",),
            (Passage("a.md", "Öl.", None), Passage("b.pdf", "Öl", 2)),
            "two_passages",
        ),
        Example("2", "g", "unanswerable", "Why?", kind="unanswerable"),
    ]
    assert write_examples(tmp_path / "q.jsonl", examples) == 2
    assert read_examples(tmp_path / "q.jsonl") == examples


@pytest.mark.parametrize(("rows", "held"), [(2, 1), (3, 1), (10, 2), (28, 6)])
def test_a_small_file_has_held_out_facts_too(tmp_path: Path, rows: int, held: int) -> None:
    text = "question,answer\n" + "".join(f"Question {n}?,answer {n}\n" for n in range(rows))
    splits = [e.split for e in read_examples(written(tmp_path / "q.csv", text))]
    assert (splits.count("held_out_facts"), splits.count("train")) == (held, rows - held)
