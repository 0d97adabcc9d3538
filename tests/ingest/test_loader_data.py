"""JSON, JSON Lines, Parquet and SQL, from files made here; and every real file of ../shared, where it is there."""

from __future__ import annotations

import datetime
import json
import sqlite3
import time
from pathlib import Path
from types import ModuleType

import pytest

from groundtune import registry
from groundtune.errors import InputError
from groundtune.ingest import rows, sectioning
from groundtune.ingest.ingest import loaders_by_extension
from groundtune.ingest.loaders import csv, jsonl, parquet, sql
from groundtune.ingest.loaders import json as json_loader
from groundtune.records import Section
from loading import peak_bytes, refusal, write

REAL = Path(__file__).parents[3] / "shared" / "evalsets" / "ingest_docs"


def test_json_gives_a_section_an_element(tmp_path: Path) -> None:
    value = [{"name": "Puffin", "price": 12.5, "note": None}, {"b": {"c": [1, 2, {"d": True}]}}, "word", [3, 4], 10**30]
    assert list(json_loader.load(write(tmp_path / "a.json", json.dumps(value)))) == [
        Section("name: Puffin; price: 12.5", row=1),
        Section("b.c: 1, 2\nb.c 1.d: true", row=2),
        Section("word", row=3), Section("3, 4", row=4), Section(str(10**30), row=5),
    ]  # fmt: skip
    several = list(json_loader.load(write(tmp_path / "b.json", '{"a": 1}\n{"a": 2}\n'.encode("utf-16"))))
    assert several == [Section("a: 1", row=1), Section("a: 2", row=2)]


def test_json_objects_give_their_lists_as_rows_under_the_key(tmp_path: Path) -> None:
    value = {
        "shop": "Quay",
        "tags": ["x", "y"],
        "address": {"city": "Vessa", "geo": {"lat": 1}},
        "boats": [{"n": 1}, {"n": {"m": 2}}],
    }
    assert list(json_loader.load(write(tmp_path / "a.json", json.dumps(value)))) == [
        Section("shop: Quay", row=1), Section("tags: x, y"), Section("city: Vessa\ngeo.lat: 1", heading="address"),
        Section("n: 1", row=1, heading="boats"), Section("n.m: 2", row=2, heading="boats"),
    ]  # fmt: skip


def test_json_is_streamed_and_refused_where_it_breaks(tmp_path: Path) -> None:
    big = write(
        tmp_path / "a.json", '{"data": [' + ",".join('{"name": "anchor", "price": 12}' for _ in range(20_000)) + "]}"
    )
    peak, characters = peak_bytes(json_loader.load(big))
    assert (characters > 400_000, peak < 3_000_000) == (True, True)
    assert "is not JSON" in refusal(json_loader, write(tmp_path / "b.json", '[1, {"a": '))
    assert "is not JSON" in refusal(json_loader, write(tmp_path / "c.json", "words"))
    assert "nested deeper than 200" in refusal(json_loader, write(tmp_path / "d.json", "[" * 100_000))
    assert "has no text" in refusal(json_loader, write(tmp_path / "e.json", '{"a": [null, {}]}'))


def test_jsonl_names_the_line_that_breaks(tmp_path: Path) -> None:
    source = '{"a": 1, "b": "x"}\n\n{"a": {"b": [1, 2]}}\n"text"\n'
    assert list(jsonl.load(write(tmp_path / "a.jsonl", source))) == [
        Section("a: 1; b: x", row=1), Section("a.b: 1, 2", row=2), Section("text", row=3),
    ]  # fmt: skip
    assert f"{tmp_path / 'b.jsonl'}:3: the line is not JSON" in refusal(
        jsonl, write(tmp_path / "b.jsonl", '{"a": 1}\n\n{"a"\n')
    )
    assert "nested too deep" in refusal(jsonl, write(tmp_path / "c.jsonl", "[" * 100_000))
    assert "is not JSON" in refusal(jsonl, write(tmp_path / "d.jsonl", "9" * 5_000))


def test_parquet_gives_a_section_a_row(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet as writer

    table = pyarrow.table(
        {
            "name": ["Puffin", None],
            "built": [datetime.datetime(1999, 5, 1), None],
            "raw": [b"\xff\x00", b"abc"],
            "tags": [["a", "b"], []],
        }
    )
    writer.write_table(table, tmp_path / "a.parquet")
    assert list(parquet.load(tmp_path / "a.parquet")) == [
        Section("name: Puffin\nbuilt: 1999-05-01\nraw: (2 bytes)\ntags: a, b", row=1), Section("raw: abc", row=2),
    ]  # fmt: skip
    whole = (tmp_path / "a.parquet").read_bytes()
    assert "is damaged" in refusal(parquet, write(tmp_path / "b.parquet", whole[:-20]))
    same = pyarrow.array(["x"] * 6_000_000).dictionary_encode()
    writer.write_table(pyarrow.table({str(i): same for i in range(10)}), tmp_path / "c.parquet")
    assert "as a bomb does" in refusal(parquet, tmp_path / "c.parquet")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE boats (id INTEGER, name TEXT, price REAL)")
        database.executemany(
            "INSERT INTO boats VALUES (?, ?, ?)", [(i, f"Boat; {i}", i + 0.5) for i in range(1, 1_501)]
        )
    database.close()
    return tmp_path


def query(folder: Path, text: str, address: str = "sqlite:///shop.db") -> Path:
    return write(folder / "q.sql", f"-- groundtune: {address}\n{text}\n")


def test_sql_gives_a_section_a_row(shop: Path) -> None:
    path = query(
        shop,
        "-- cheap; ones\nSELECT name AS \"the name\", price, id, id FROM boats WHERE name LIKE 'Boat;%' ORDER BY id;",
    )
    sections = list(sql.load(path))
    assert sections[0] == Section("the name: Boat; 1; price: 1.5; id: 1; id 2: 1", row=1)
    assert len(sections) == 1_500
    assert sql.VOLATILE is True
    assert [s.text for s in sql.load(query(shop, "WITH t AS (SELECT 1 AS update_id) SELECT update_id FROM t"))] == [
        "update_id: 1"
    ]


@pytest.mark.parametrize(
    "text",
    ["DELETE FROM boats", "SELECT 1; SELECT 2", "WITH t AS (SELECT 1) DELETE FROM boats", "SELECT 1 INTO x", "PRAGMA user_version",
     "", "SELECT 1 /*! INTO OUTFILE 'x' */", "SELECT '\\'' , 1 INTO x, ''",
     "SELECT $$'$$; COMMIT; DROP TABLE t; SELECT $$'$$", "SELECT $tag$'$tag$; COMMIT; DROP TABLE t; SELECT $tag$'$tag$",
     "SELECT 1 /* /* */ ' */ ; COMMIT; DROP TABLE t; --'", "SELECT 1 # '\n; DROP TABLE t; -- '", "SELECT 1--'\n'; DROP TABLE t; -- '",
     "SELECT ARRAY['x]']; COMMIT; DROP TABLE t; --'", "SELECT 1 /*M! INTO OUTFILE 'x' */",
     "SELECT pg_read_file('/etc/passwd')", "SELECT pg_catalog.\"pg_read_file\"('x')", "SELECT U&\"pg\\005fread_file\"('x')",
     "SELECT pg_read_binary_file/**/('x')", "SELECT * FROM pg_ls_dir('/')", "SELECT lo_import('x')", "SELECT lo_export(1, 'x')",
     "SELECT * FROM dblink('h', 'x') AS t(a int)", "SELECT dblink_connect('h')", "SELECT query_to_xml('x', true, true, '')",
     "SELECT load_extension('x')", "SELECT readfile('x')", "SELECT writefile('x', 'y')", "SELECT LOAD_FILE('x')",
     "SELECT 1 INTO DUMPFILE 'x'", "SELECT 1 EXEC xp_cmdshell 'x'"],
)  # fmt: skip
def test_sql_runs_only_one_select(shop: Path, text: str) -> None:
    assert "is not one SELECT" in refusal(sql, query(shop, text))


@pytest.mark.parametrize(
    "text",
    ["SELECT 'insert; into' AS a -- drop; it's \"so\"\n", "SELECT id [the id], `name` FROM boats", "SELECT 1 AS \"a;b\" /* lo_import; */", "SELECT '$5' || '$' AS a"],
)  # fmt: skip
def test_sql_takes_what_is_only_quoted(shop: Path, text: str) -> None:
    assert list(sql.load(query(shop, text)))


@pytest.mark.parametrize(
    "text",
    ["WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
     "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"],
)  # fmt: skip
def test_sql_does_not_run_for_ever(shop: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sql, "_SECONDS", 0.2)
    assert "takes too long" in refusal(sql, query(shop, text))


def test_sql_counts_the_time_of_the_database_only(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_SECONDS", 0.5)
    sections = sql.load(query(shop, "SELECT id FROM boats"))
    next(sections)
    time.sleep(0.6)
    assert len(list(sections)) == 1_499


@pytest.mark.parametrize(
    ("backend", "knows", "expected"),
    [("postgresql", "SET", ["SET default_transaction_read_only = on", "SET statement_timeout = 60000", "commit"]),
     ("mysql", "max_execution_time", ["SET SESSION max_execution_time = 60000"]),
     ("mysql", "max_statement_time", ["SET SESSION max_statement_time = 60.0"]), ("oracle", "", [])],
)  # fmt: skip
def test_sql_tells_a_server_to_read_only_and_to_stop_in_time(backend: str, knows: str, expected: list[str]) -> None:
    done: list[str] = []

    class Connection:
        def cursor(self) -> Connection:
            return self

        def execute(self, statement: str) -> None:
            if knows not in statement:
                raise RuntimeError("unknown system variable")
            done.append(statement)

        def close(self) -> None:
            pass

        def commit(self) -> None:
            done.append("commit")

    sql._guard(Connection(), backend, sql._Clock(1))
    assert done == expected


def test_sql_cannot_write_even_where_the_check_is_passed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_checked", lambda path, text, too_long: text.strip())
    assert "readonly database" in refusal(sql, query(shop, "DELETE FROM boats"))


def test_sql_says_what_is_missing_and_never_the_password(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not name a database" in refusal(sql, write(shop / "a.sql", "SELECT 1\n"))
    assert "there is no database" in refusal(sql, query(shop, "SELECT 1", "sqlite:///other.db"))
    assert "in memory is empty" in refusal(sql, query(shop, "SELECT 1", "sqlite://"))
    assert "no such column: nope" in refusal(sql, query(shop, "SELECT nope FROM boats"))
    assert "gives no rows" in refusal(sql, query(shop, "SELECT * FROM boats WHERE id < 0"))
    assert "address cannot be read" in refusal(sql, query(shop, "SELECT 1", "nonsense"))
    assert "the environment has no BOATS_PASSWORD" in refusal(
        sql, query(shop, "SELECT 1", "mysql://u:${BOATS_PASSWORD}@h/d")
    )
    monkeypatch.setenv("BOATS_PASSWORD", "hunter/2")
    for address in ("mysql://u:${BOATS_PASSWORD}@localhost:1/d", "nothing+here://u:hunter@h/d", "bad://u:hunter@[h/d"):
        with pytest.raises(InputError) as caught:
            list(sql.load(query(shop, "SELECT 1", address)))
        assert "hunter" not in caught.value.render()
    monkeypatch.setenv("SHOP", "sqlite:///shop.db")
    assert len(list(sql.load(query(shop, "SELECT * FROM boats", "${SHOP}")))) == 1_500


def test_csv_has_titles_bars_and_headers_of_numbers(tmp_path: Path) -> None:
    titled = "Stanley Cups,,\nTeam,Location,Cups\nBlues,STL,1\n".encode("utf-16")
    assert list(csv.load(write(tmp_path / "a.csv", titled))) == [
        Section("Team: Blues; Location: STL; Cups: 1", row=1, heading="Stanley Cups"),
    ]
    assert [s.text for s in csv.load(write(tmp_path / "b.csv", "a|b\n1,5|2\n"))] == ["a: 1,5; b: 2"]
    assert [s.text for s in csv.load(write(tmp_path / "c.csv", "2023,2024\nlow,high\n"))] == ["2023: low; 2024: high"]
    long = "word " * 60_000
    assert sum(len(s.text) for s in csv.load(write(tmp_path / "d.csv", f'a,b\n"{long}",2\n'))) > 290_000


def test_values_are_shown_as_written() -> None:
    moment = datetime.datetime(2024, 1, 2, 3, 4)
    values = [1.0, 1e20, 0.1 + 0.2, True, None, moment, datetime.date(2024, 1, 2), b"\x00\x01", "x"]
    assert list(map(rows.shown, values)) == [
        "1",
        "1e+20",
        "0.3",
        "true",
        "",
        "2024-01-02 03:04:00",
        "2024-01-02",
        "(2 bytes)",
        "x",
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_text_is_read_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    loader = registry.get("loaders", "text")
    source = write(tmp_path / "a.txt", "Die Gebühr beträgt 5 € für Łódź.\n".encode(encoding))
    assert [s.text for s in loader.load(source)] == ["Die Gebühr beträgt 5 € für Łódź."]


def test_splitting_a_text_of_50_megabytes_takes_no_more_than_its_time() -> None:
    start = time.process_time()
    assert sum(map(len, sectioning.split_long("x" * 50_000_000))) == 50_000_000
    assert time.process_time() - start < 5


def real_files() -> list[Path]:
    return sorted(p for p in REAL.rglob("*") if p.is_file() and p.suffix.lower() != ".pdf") if REAL.is_dir() else []


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the documents of ../shared/evalsets/ingest_docs")
def test_every_real_file_comes_in_or_says_why_not() -> None:
    by_extension = loaders_by_extension()
    refused = {}
    for path in real_files():
        loader: ModuleType = registry.get("loaders", by_extension[path.suffix.lower()])
        try:
            sections = list(loader.load(path))
        except InputError as error:
            refused[path.name] = error.problem
            continue
        assert any(section.text.strip() for section in sections), path
        assert all(len(section.text) <= sectioning.MAX_SECTION_CHARACTERS for section in sections), path
    assert set(refused) <= {"example-docs__fake-text-all-whitespace.txt"}, refused
