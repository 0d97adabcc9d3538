"""Parquet tables: one section a row, written as "column: value"; nested values on lines of their own. Read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import reading, rows
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".parquet", ".pq")

_KIND = "a Parquet table"
_BATCH_ROWS = 512
#: run-length encoding holds any number of equal rows in a few bytes: so many cells a byte of the file are no real table
_MAX_CELLS_PER_BYTE, _MAX_CELLS = 100, 50_000_000
_MAX_ROW_GROUP_BYTES = 1 << 30


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a row; ``row`` counts from 1. Bytes that are no text are named by their size.

    Raises:
        InputError: missing, empty, another kind of file, damaged, without rows, with more rows than its size allows, or
            with a row group over 1 GiB.
    """
    reading.check_file(path, _KIND, signature=b"PAR1")
    import pyarrow
    from pyarrow import parquet

    empty, number = True, 0
    try:
        with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as table:
            _check_size(path, table.metadata)
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    for section in rows.record(row, number):
                        empty = False
                        yield section
    # NotImplementedError: a column of a type that pyarrow has no Python value for, which is no ArrowException
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, NotImplementedError) as error:
        raise reading.damaged(path, _KIND, error) from error
    if empty:
        reading.refuse_blank(path, "a table with rows")


def _check_size(path: Path, metadata: object) -> None:
    cells = metadata.num_rows * metadata.num_columns  # type: ignore[attr-defined]
    largest = max(
        (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)),  # type: ignore[attr-defined]
        default=0,
    )
    if cells > _MAX_CELLS and cells > _MAX_CELLS_PER_BYTE * path.stat().st_size:
        problem = f"{path} unpacks to {cells:,} cells from {path.stat().st_size:,} bytes, as a bomb does"
    elif largest > _MAX_ROW_GROUP_BYTES:
        problem = f"{path} has a row group of {largest:,} bytes"
    else:
        return
    raise InputError(problem, expected=f"{_KIND} of ordinary size", next_step="write it again in smaller row groups")
