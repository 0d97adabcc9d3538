"""Writing rows to a dataset file of any kind, whole or not at all."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from groundtune.dataset.files.rows import kind_of
from groundtune.dataset.formats._messages import CannotHold
from groundtune.errors import InputError

#: rows of a Parquet file that are kept until its columns are known, and then written at a time
_PARQUET_ROWS = 1000


class RowWriter:
    """Takes rows for a file; see :func:`row_writer`."""

    def __init__(self, path: Path, file: IO[str] | None, kind: str) -> None:
        self.count = 0
        self._path = path
        self._file = file
        self._kind = kind
        self._columns: list[str] = []
        self._table: Any = None
        self._parquet: Any = None
        self._known: Any = None
        self._waiting: list[dict[str, Any]] = []

    def add(self, row: Any) -> None:
        """Write one row.

        Raises:
            CannotHold: the file's kind has no place for it: a list in a table's cell, a line break in a plain line,
                a key that the first rows of a Parquet file do not have.
        """
        if self._kind == "parquet":
            self._add_parquet(row)
        elif self._kind in ("csv", "tsv"):
            self._add_cells(row)
        elif self._kind == "txt":
            self._add_line(row)
        else:
            self._add_json(row)
        self.count += 1

    def _add_json(self, row: Any) -> None:
        assert self._file is not None
        try:
            text = json.dumps(row, ensure_ascii=False)
            text.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair: only the escape can be written
            text = json.dumps(row)
        except RecursionError:
            raise CannotHold("a row nested hundreds deep") from None
        if self._kind == "json":
            self._file.write(("[\n" if not self.count else ",\n") + text)
        else:
            self._file.write(text + "\n")

    def _add_line(self, row: Any) -> None:
        text = row.get("text") if isinstance(row, dict) and row.keys() == {"text"} else row
        if not isinstance(text, str) or len(text.splitlines()) != 1:
            raise CannotHold("a .txt file holds one line a row; write .jsonl for anything else")
        _need_utf8(text)
        assert self._file is not None
        self._file.write(text + "\n")

    def _add_cells(self, row: Any) -> None:
        if not isinstance(row, dict) or not all(isinstance(v, str | int | float) for v in row.values()):
            raise CannotHold("a table holds texts and numbers only; write .jsonl for lists and objects")
        if self._table is None:
            self._columns = list(row)
            self._table = csv.writer(cast(Any, self._file), delimiter="\t" if self._kind == "tsv" else ",")
            self._table.writerow(self._columns)
        if extra := [k for k in row if k not in self._columns]:
            raise CannotHold(
                f"the column {extra[0]!r} is not in the table's first row; write .jsonl for rows that differ"
            )
        _need_utf8("".join(v for v in row.values() if isinstance(v, str)))
        self._table.writerow([row.get(name, "") for name in self._columns])

    def _add_parquet(self, row: Any) -> None:
        """Columns, and what is inside them, are all that the first rows have; pyarrow drops any other key in silence."""
        if not isinstance(row, dict) or not row:
            raise CannotHold("a Parquet file holds named columns only; write .jsonl instead")
        if self._known is not None and (key := _unknown_key(row, self._known)):
            raise CannotHold(
                f"the key {key!r} has no value in the first {_PARQUET_ROWS:,} rows, which make the Parquet file's columns; "
                "write .jsonl for rows that differ"
            )
        self._waiting.append(row)
        if len(self._waiting) == _PARQUET_ROWS:
            self._flush_parquet()

    def _flush_parquet(self) -> None:
        import pyarrow
        import pyarrow.parquet

        try:
            if self._parquet is None:
                names = dict.fromkeys(name for row in self._waiting for name in row)
                table = pyarrow.table({name: [row.get(name) for row in self._waiting] for name in names})
                self._parquet = pyarrow.parquet.ParquetWriter(self._path, table.schema)
                self._known = {field.name: _keys_inside(field.type) for field in table.schema}
            else:
                table = pyarrow.Table.from_pylist(self._waiting, schema=self._parquet.schema)
            self._parquet.write_table(table)
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            raise InputError(
                f"{self._path.name}: these rows make no table: {str(error).splitlines()[0][:100]}",
                next_step="write .jsonl instead",
            ) from None
        self._waiting = []

    def finish(self) -> None:
        """Write what a file of this kind ends with."""
        if self._kind == "json" and self._file is not None:
            self._file.write("\n]\n" if self.count else "[]\n")
        if self._kind == "parquet":
            if self._waiting or self._parquet is None:
                self._flush_parquet()
            self._parquet.close()


def _keys_inside(kind: Any) -> Any:
    """What a column's type has a place for: a dict of keys, a list of one, True for a value, False for nothing."""
    from pyarrow import types

    if types.is_struct(kind):
        return {field.name: _keys_inside(field.type) for field in kind}
    if types.is_list(kind) or types.is_large_list(kind):
        return [_keys_inside(kind.value_type)]
    return not types.is_null(kind)


def _unknown_key(value: Any, known: Any, place: str = "") -> str:
    """The path of the first key with a value that there is no place for; "" where there is none."""
    if value is None:
        return ""
    if known is False:
        return place or "''"
    if isinstance(value, dict) and isinstance(known, dict):
        inside = [(v, known.get(k, False), f"{place}.{k}" if place else k) for k, v in value.items()]
    elif isinstance(value, list) and isinstance(known, list):
        inside = [(v, known[0], f"{place}[{n}]") for n, v in enumerate(value)]
    else:
        return ""  # a value of another kind is pyarrow's to refuse
    return next(filter(None, (_unknown_key(*one) for one in inside)), "")


def _need_utf8(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CannotHold("half a character, which UTF-8 cannot hold") from None


def check_quarantine(quarantine: Path, *others: Path | None) -> Path:
    """A quarantine file's path, seen to be JSON lines and none of the files that are read or written.

    Raises:
        InputError: it is not.
    """
    if not {".jsonl", ".ndjson"} & {s.lower() for s in quarantine.suffixes}:
        raise InputError(
            f"{quarantine}: the quarantine is written as JSON lines", expected="a name that ends in .jsonl"
        )
    if any(other is not None and other.resolve() == quarantine.resolve() for other in others):
        raise InputError(
            f"{quarantine}: the quarantine is one of the files that are read or written",
            expected="a file of its own",
            next_step="name another with --quarantine",
        )
    return quarantine


def check_free(outputs: Mapping[str, Path | None], *, overwrite: bool) -> None:
    """See that no file that is there would be replaced unasked.

    Args:
        outputs: option -> the file that it names; None for one that is not asked for.
        overwrite: they may be replaced.

    Raises:
        InputError: one of them is there.
    """
    there = {option: path for option, path in outputs.items() if path and path.exists() and not path.is_dir()}
    if there and not overwrite:
        names = " and ".join(map(str, there.values()))
        raise InputError(
            f"{names} {'are' if len(there) > 1 else 'is'} there already",
            expected="names of new files" if len(there) > 1 else "the name of a new file",
            next_step=f"name {'others' if len(there) > 1 else 'another'} with {' and '.join(there)}, or add --force",
        )


@contextmanager
def row_writer(path: Path) -> Iterator[RowWriter]:
    """A writer by the file's name (.jsonl, .json, .csv, .tsv, .parquet, .txt; .gz and .xz around them).

    Rows go to a temporary name, which becomes ``path`` at the end; on an error nothing is left behind.

    Raises:
        InputError: an unknown ending, or a folder that is not there.
    """
    plain = path.with_suffix("") if path.suffix.lower() in (".gz", ".xz") else path
    if plain.suffix.lower() not in (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"):
        raise InputError(
            f"{path}: unknown kind of file", expected="a name that ends in .jsonl, .json, .csv, .tsv, .parquet or .txt"
        )
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent}", next_step=f"mkdir -p {path.parent}")
    if path.is_dir():
        raise InputError(f"{path} is a folder", expected="a file's name")
    half = path.with_name(f".{path.name}.part")
    kind = kind_of(plain)
    file: IO[str] | None = None
    try:
        if kind != "parquet":
            opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix.lower(), open)
            file = opener(half, "wt", encoding="utf-8", newline="" if kind in ("csv", "tsv") else "\n")
        writer = RowWriter(half, file, kind)
        yield writer
        writer.finish()
        if file is not None:
            file.close()
        half.replace(path)
    finally:
        if file is not None and not file.closed:
            file.close()
        half.unlink(missing_ok=True)
