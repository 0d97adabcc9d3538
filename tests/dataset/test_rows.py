"""Raw rows of files: every kind, every fault with its line, and bounded memory."""

from __future__ import annotations

import gzip
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.files import row_bytes as module
from groundtune.dataset.files.items import detect_format, read_items, row_writer
from groundtune.dataset.files.rows import Broken, rows
from groundtune.dataset.formats._messages import CannotHold
from groundtune.errors import InputError


def lines_of(path: Path) -> list[tuple[int, Any]]:
    return list(rows(path))


def broken(path: Path) -> list[tuple[int, str]]:
    return [(line, row.code) for line, row in rows(path) if isinstance(row, Broken)]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": 2}', [(1, {"a": 1}), (2, "empty_row"), (3, {"a": 2})]),
        ("a.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ("a.jsonl", b'{"a": 1}\n{"a": \n{"a": 3}\n', [(1, {"a": 1}), (2, "not_json"), (3, {"a": 3})]),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xfc"}\n{"a": 3}\n', [(1, {"a": 1}), (2, "wrong_encoding"), (3, {"a": 3})]),
        ("a.jsonl", b"[" * 100_000 + b"\n1\n", [(1, "not_json"), (2, 1)]),
        ("a.jsonl", b"9" * 5000 + b"\n1\n", [(1, "not_json"), (2, 1)]),
        ("a.json", b'[\n {"a": 1},\n {"a":\n 2}\n]\n', [(2, {"a": 1}), (3, {"a": 2})]),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ("a.json", b'{"version": 1, "data": [{"a": 1}, {"a": 2}]}', [(1, {"a": 1}), (1, {"a": 2})]),
        ("a.json", b'{"train": [{"a": 1}], "test": [{"a": 2}]}', [(1, {"split": "train", "a": 1}), (1, {"split": "test", "a": 2})]),
        ("a.json", b'{"data": [{"a": 1}], "items": [{"a": 2}]}', [(1, "unknown_format")]),
        ("a.json", b'[{"a": 1},\n{"a": }]', [(1, {"a": 1}), (2, "not_json")]),
        ("a.json", b'[{"a": 1},\n{"a": "x', [(1, {"a": 1}), (2, "not_json")]),
        ("a.json", b'[{"a": 1}\n', [(1, {"a": 1}), (2, "not_json")]),
        ("a.json", b'[{"a": 1}\n{"a": 2}]', [(1, {"a": 1}), (2, "not_json")]),
        ("a.json", b'[{"a": 1},\n"\xff"]', [(1, {"a": 1}), (2, "wrong_encoding")]),
        ("a.json", b"[]", []),
        ("a.csv", b"q,a\n1,2\n\"x\ny\",3\n4\n5,6\n", [(2, {"q": "1", "a": "2"}), (3, {"q": "x\ny", "a": "3"}), (5, "wrong_columns"), (6, {"q": "5", "a": "6"})]),
        ("a.csv", b"q;a\n1;2\n", [(2, {"q": "1", "a": "2"})]),
        ("a.csv", b"q,a\n1,\xfc\n3,4\n", [(2, "wrong_encoding"), (3, {"q": "3", "a": "4"})]),
        ("a.tsv", b"q\ta\n1\t2\n", [(2, {"q": "1", "a": "2"})]),
        ("a.tsv", b"hi\t<to-fr>\tsalut\nyes\t<to-fr>\toui\n", [(1, "hi\t<to-fr>\tsalut"), (2, "yes\t<to-fr>\toui")]),
        ("a.txt", b"one\n\ntwo\r\n", [(1, "one"), (3, "two")]),
        ("noname", b'{"a": 1}\n', [(1, {"a": 1})]),
        ("a.jsonl", b"", []),
    ],
)  # fmt: skip
def test_rows_and_faults_with_their_lines(
    name: str, data: bytes, expected: list[tuple[int, Any]], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    found = [(line, row.code if isinstance(row, Broken) else row) for line, row in rows(path)]
    assert found == expected


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_packed_files_are_read_and_a_cut_one_is_named(ending: str, pack: Any, tmp_path: Path) -> None:
    data = pack("".join(json.dumps({"a": random.Random(n).random()}) + "\n" for n in range(2000)).encode())
    whole, cut = tmp_path / f"a.jsonl{ending}", tmp_path / f"b.jsonl{ending}"
    whole.write_bytes(data)
    cut.write_bytes(data[: len(data) // 2])
    assert len(lines_of(whole)) == 2000
    last = lines_of(cut)[-1]
    assert isinstance(last[1], Broken) and last[1].code == "damaged_file"
    (tmp_path / "c.jsonl.gz").write_bytes(b"no archive at all")
    with pytest.raises(InputError, match="cannot be read"):
        lines_of(tmp_path / "c.jsonl.gz")


def test_a_line_too_long_is_named_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n"' + "x" * 5000 + '"\n{"a": 3}\n')
    assert [(n, r.code if isinstance(r, Broken) else r) for n, r in rows(path)] == [
        (1, {"a": 1}),
        (2, "row_too_long"),
        (3, {"a": 3}),
    ]
    array = tmp_path / "a.json"
    array.write_text('[{"a": 1}, "' + "x" * 9000 + '", 3]')
    assert [row.code if isinstance(row, Broken) else row for _, row in rows(array)] == [{"a": 1}, "row_too_long", 3]
    monkeypatch.setattr(module, "PIECE_BYTES", 500)  # its end is not in memory: where the next one begins is not known
    assert [row.code if isinstance(row, Broken) else row for _, row in rows(array)] == [{"a": 1}, "row_too_long"]


def test_a_compressed_bomb_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1 << 16)
    monkeypatch.setattr(module, "MAX_SKIP_BYTES", 1 << 22)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"0" * (1 << 25)))
    assert broken(path) == [(1, "row_too_long")]


def test_an_array_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 7)
    rng = random.Random(1)
    values = [{"n": n, "t": 'é"\\\n' * rng.randint(0, 9), "f": rng.random()} for n in range(200)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1), encoding="utf-8")
    assert [row for _, row in rows(path)] == values
    text = path.read_text(encoding="utf-8").split("\n")
    assert all(text[line - 1].strip() == "{" for line, _ in rows(path))


def test_parquet_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with row_writer(path) as writer:
        for n in range(2500):
            writer.add({"messages": [{"role": "user", "content": str(n)}, {"role": "assistant", "content": "ok"}]})
    found = lines_of(path)
    assert len(found) == 2500 and found[7][1]["messages"][0]["content"] == "7"
    assert detect_format(path) == "openai_chat"
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="Parquet"):
        lines_of(tmp_path / "b.parquet")


def test_tables_take_texts_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with row_writer(path) as writer:
        writer.add({"q": 'a "b", c\nd', "a": "é"})
        with pytest.raises(CannotHold):
            writer.add({"q": ["list"], "a": ""})
        with pytest.raises(CannotHold):
            writer.add({"q": "x", "other": "y"})
    assert lines_of(path) == [(2, {"q": 'a "b", c\nd', "a": "é"})]


@pytest.mark.parametrize("name", ["a.docx", "missing/a.jsonl"])
def test_where_nothing_can_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError), row_writer(tmp_path / name) as writer:
        writer.add({})


def test_an_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    with pytest.raises(RuntimeError), row_writer(path) as writer:
        writer.add({"a": 1})
        raise RuntimeError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"", "no row"),
        ("a.jsonl", b"\n\n", "no row"),
        ("a.jsonl", bytes(random.Random(0).randbytes(4000)), "no row that can be read"),
        ("a.jsonl", b"\xff\xd8\xff\xe0JFIF" + bytes(range(256)) * 9, "no row that can be read"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16"),
        ("a.jsonl", b'{"colour": "red"}\n', "looks like no dataset format: it has the keys colour"),
        ("a.jsonl", b"1\n2\n", "looks like no dataset format"),
        ("a.csv", b"a,a\n1,2\n", "names a column twice"),
        ("a.csv", b"a\rb,c\n1,2\n", "not CSV"),
    ],
)
def test_files_that_are_no_dataset(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        detect_format(path)
    with pytest.raises(InputError, match="no file"):
        detect_format(tmp_path / "missing.jsonl")


def test_a_broken_line_does_not_end_the_run(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"prompt": "a", "completion": "b"})
    path.write_text(f"{good}\nbroken\n\n{good}\n[]\n")
    found = list(read_items(path))
    assert [(i.line, i.item is not None) for i in found] == [(1, True), (2, False), (4, True), (5, False)]
    assert found[1].faults[0][0] == "not_json" and found[3].faults[0][0] == "data_type"


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_never_crashes(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    kind = rng.choice([".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".jsonl.gz", ".jsonl.xz"])
    path = tmp_path / f"a{kind}"
    with row_writer(path) as writer:
        for n in range(30):
            writer.add({"prompt": f"q{n}", "completion": 'é, "x"'} if kind != ".txt" else {"text": f"q{n} <to-fr> é"})
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 12)):
        at = rng.randrange(len(data))
        data[at : at + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 6))
    path.write_bytes(data[: rng.randint(1, len(data))])
    try:
        for item in read_items(path):
            assert (item.item is None) == bool(item.fault)
    except InputError as error:
        assert str(path) in str(error)


def test_parquet_has_the_columns_of_all_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows_in = [{"messages": [{"role": "user"}]}, {"messages": [{"role": "user", "weight": 0}], "tools": ["f"]}]
    with row_writer(path) as writer:
        for row in rows_in:
            writer.add(row)
    assert [row for _, row in lines_of(path)] == [
        {"messages": [{"role": "user", "weight": None}], "tools": None},
        rows_in[1],
    ]


@pytest.mark.parametrize(
    ("late", "key"),
    [
        ({"q": "a", "tools": ["f"]}, "tools"),
        ({"q": "a", "m": [{"role": "user"}, {"role": "user", "calls": [{"id": "1"}]}]}, r"m\[1\].calls"),
        ({"q": "a", "none": "x"}, "none"),  # empty so far: pyarrow knows no type for it
        ({"q": "a", "list": ["x"]}, r"list\[0\]"),
    ],
)
def test_what_parquet_columns_have_no_place_for_is_refused_by_its_key(
    late: dict[str, Any], key: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    first = {"q": "a", "m": [{"role": "user"}], "none": None, "list": []}
    with row_writer(path) as writer:
        for _ in range(1200):
            writer.add(first)
        with pytest.raises(CannotHold, match=f"'{key}'.*jsonl"):
            writer.add(late)
        writer.add({"q": "b", "tools": None})
        with pytest.raises(CannotHold, match="columns only"):
            writer.add("a line")
    found = lines_of(path)
    assert len(found) == 1201 and found[0][1] == first and found[-1][1]["q"] == "b"
