"""Texts with labels: which columns, what is wrong with a row, what is held out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.labelled import (
    Fields,
    LabelledText,
    check_labels,
    detect_fields,
    fields_of,
    hold_out,
    in_order,
    read_labelled,
)
from groundtune.errors import ConfigError, InputError


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"text": "a", "category": "x"}, Fields("text", "category")),
        ({"label": 1, "id1": "7", "sentence1": "a", "sentence2": "b"}, Fields("sentence1", "label", "sentence2")),
        ({"text": "both", "premise": "a", "hypothesis": "b", "label": 0}, Fields("premise", "label", "hypothesis")),
        ({"Question": "a", "Intent": "x"}, Fields("Question", "Intent")),
        ({"sentence": "a", "question": "b", "label": "x"}, Fields("sentence", "label")),
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, row: dict[str, Any], fields: Fields) -> None:
    assert detect_fields(write(tmp_path / "rows.jsonl", row)) == fields


@pytest.mark.parametrize("row", [{"body": "a", "label": "x"}, {"text": "a", "mood": "x"}])
def test_columns_that_are_not_found_are_asked_for(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"tune\.fields") as caught:
        detect_fields(write(tmp_path / "rows.jsonl", row))
    assert all(name in str(caught.value) for name in row)


def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"text": "one, two", "label": 3}, {"text": "three", "label": 0}]
    write(tmp_path / "a.jsonl", *rows)
    (tmp_path / "a.csv").write_text('text,label\n"one, two",3\nthree,0\n', encoding="utf-8")
    (tmp_path / "a.tsv").write_text("text\tlabel\none, two\t3\nthree\t0\n", encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.csv", "a.tsv", "a.parquet"):
        made, _ = read_labelled(tmp_path / name)
        assert [(r.text, r.label) for r in made] == [("one, two", "3"), ("three", "0")], name


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"text": "", "label": 1}, "no text in 'text'"),
        ({"text": "a", "label": None}, "no label"),
        ({"text": "a", "label": ["x", "y"]}, "no label"),
        ({"text": "a"}, "no column 'label'"),
        ({"text": 5, "label": 1}, "no text in 'text'"),
    ],
)
def test_a_faulty_row_is_named_with_its_line(tmp_path: Path, bad: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"text": "a", "label": 1}, bad)
    with pytest.raises(InputError, match=said) as caught:
        read_labelled(path)
    assert f"{path}:2" in str(caught.value)


def test_a_file_without_rows_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(InputError):
        read_labelled(tmp_path / "rows.csv")


def test_fields_of_the_config() -> None:
    assert fields_of({}) is None
    assert fields_of({"text": "q", "label": "i"}) == Fields("q", "i")
    with pytest.raises(ConfigError, match=r"tune\.fields\.lable"):
        fields_of({"text": "q", "lable": "i"})
    with pytest.raises(ConfigError, match="label"):
        fields_of({"text": "q"})


def test_labels_are_ordered_by_number_or_by_name() -> None:
    assert in_order(["10", "9", "-1", "9"]) == ["-1", "9", "10"]
    assert in_order(["b", "10", "a"]) == ["10", "a", "b"]


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(InputError, match=r"f:2: the label 'z' .*\(1 such rows\)"):
        check_labels(["x", "y"], [LabelledText("a", "x", where="f:1"), LabelledText("b", "z", where="f:2")])


def test_rows_are_held_out_in_proportion_and_always_the_same() -> None:
    rows = [LabelledText(f"text {n}", "rare" if n % 10 == 0 else "often", where=str(n)) for n in range(400)]
    train, held = hold_out(rows, 0.1)
    assert Counter(r.label for r in held) == {"often": 36, "rare": 4}
    assert len(train) == 360
    assert not {r.where for r in train} & {r.where for r in held}
    again_train, again = hold_out(rows[::-1], 40)
    assert {r.where for r in again} == {r.where for r in held}
    assert len(again_train) == 360


def test_texts_that_come_twice_are_not_held_out_and_trained_on() -> None:
    rows = [LabelledText(f"Text {n // 2}" + " " * (n % 2), "ab"[n % 4 // 2]) for n in range(100)]
    train, held = hold_out(rows, 0.3)
    assert len(held) > 10
    assert not {r.key for r in train} & {r.key for r in held}


def test_no_label_is_held_out_entirely() -> None:
    rows = [LabelledText("only", "once"), *(LabelledText(f"text {n}", "often") for n in range(9))]
    train, _ = hold_out(rows, 0.9)
    assert {r.label for r in train} == {"once", "often"}
