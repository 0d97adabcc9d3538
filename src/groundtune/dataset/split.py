"""Dividing a dataset into rows to train on and rows to hold out, so that nothing that is asked was also taught.

Items of one fact stay together, so do items of one source document (unless ``by`` is ``fact``) and items whose prompts are the
same or nearly so. Groups are ordered by a hash of their names and held out from the front until the share is reached: the
same rows in every run, and new rows move few old ones.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from groundtune.dataset.checks.near_pairs import NearPairs
from groundtune.dataset.files.items import Reader, detect_format, row_writer, rows
from groundtune.dataset.files.row_writer import check_free
from groundtune.dataset.files.rows import without_blank
from groundtune.dataset.formats._messages import CannotHold
from groundtune.dataset.item_text import answer_of, context_of, key_of, prompt_of
from groundtune.errors import InputError
from groundtune.records import Conversation, Preference

By = Literal["source", "fact"]
_COMPARED = 4000


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What was divided.

    Attributes:
        train, held_out: the files written.
        train_rows, held_out_rows, faulty_rows: rows in them, and rows left out since they, or one of the items in them,
            cannot be read.
        groups: what stays together; ``sources`` and ``facts`` that the rows name, ``near`` rows that follow an alike prompt.
        largest_group_rows: if it is most of the file, hold out by something finer.
    """

    train: str
    held_out: str
    train_rows: int
    held_out_rows: int
    faulty_rows: int
    groups: int
    sources: int
    facts: int
    near: int
    largest_group_rows: int

    def to_json(self) -> dict[str, Any]:
        """All of it, for ``--json``."""
        return asdict(self)


def split(
    path: Path,
    train: Path,
    held_out: Path,
    *,
    share: float = 0.2,
    by: By = "source",
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    near: bool = True,
    skip_faulty: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int, object], None] | None = None,
) -> SplitReport:
    """Write the two files; both or none.

    Args:
        share: of the rows to hold out, 0 to 1; whole groups are taken, so it is met about.
        by: ``source`` keeps documents and facts whole, ``fact`` facts only.
        near: also keep nearly equal prompts together.
        skip_faulty: leave out rows that cannot be read, instead of refusing the file.
        overwrite: replace the two files where they are there.

    Raises:
        InputError: rows that cannot be read, a file to write is there, or everything is one group.
    """
    if not 0 < share < 1:
        raise InputError(f"share {share}", expected="a number between 0 and 1, such as 0.2")
    if len({path.resolve(), train.resolve(), held_out.resolve()}) < 3:
        raise InputError("the input and the two outputs must be three different files")
    reader = Reader(None if mapping else format or detect_format(path), mapping)
    check_free({"--train": train, "--held-out": held_out}, overwrite=overwrite)
    report = progress or (lambda done, total, note: None)
    keys = _Keys(by, near)
    faulty = _read(path, reader, keys, skip_faulty, report)
    held, figures = keys.held_out(share, path)
    names = {"train": "train", "held": "held_out_facts"} if reader.name == "groundtune" else {}
    with ExitStack() as stack:
        writers = [stack.enter_context(row_writer(p)) for p in (train, held_out)]
        number = 0
        for line, row in without_blank(rows(path)):
            if any(item.item is None for item in reader.items(line, row)):
                continue  # it is written whole or not at all
            side = bool(held[number])
            if names and isinstance(row, dict) and row.get("split") != "unanswerable":
                row["split"] = names["held" if side else "train"]
            try:
                writers[side].add(row)
            except CannotHold as error:
                raise InputError(f"{path}:{line}: {error}", next_step="name outputs that end in .jsonl") from None
            number += 1
            if number % 1000 == 0:
                report(number, len(held), "written")
    return SplitReport(str(train), str(held_out), writers[0].count, writers[1].count, faulty, **figures)


def _read(
    path: Path, reader: Reader, keys: _Keys, skip_faulty: bool, report: Callable[[int, int, object], None]
) -> int:
    faulty = 0
    sources_of = getattr(reader.module, "sources", None)
    for line, row in without_blank(rows(path)):
        items = reader.items(line, row)
        good = [item.item for item in items if item.item is not None]
        if len(good) < len(items):
            faulty += 1
            if not skip_faulty:
                fault = next(item.fault for item in items if item.item is None)
                raise InputError(
                    f"{path}:{line}: {fault}",
                    expected=f"rows that can be read as {reader.name}",
                    next_step=f"groundtune dataset check {path} names all; --skip-faulty leaves them out",
                )
        elif good:
            keys.add(good, sources_of(row) if sources_of else ())
            if len(keys) % 1000 == 0:
                report(len(keys), 0, "read")
    return faulty


class _Shared:
    """Keys of one kind, each with the row that has it; a row may have several, or none."""

    def __init__(self) -> None:
        self._rows, self._keys = array("I"), array("Q")

    def add(self, row: int, key: int) -> None:
        if key:
            self._rows.append(row)
            self._keys.append(key)

    def links(self) -> tuple[Any, Any]:
        """Each row that has a key, with the first row that has the same."""
        import numpy as np

        rows = np.frombuffer(self._rows, dtype="u4").astype(np.int64)
        _, first, inverse = np.unique(np.frombuffer(self._keys, dtype="u8"), return_index=True, return_inverse=True)
        return rows, rows[first[inverse]]

    @property
    def distinct(self) -> int:
        import numpy as np

        return len(np.unique(np.frombuffer(self._keys, dtype="u8")))


class _Keys:
    """Keys of every row, and which rows belong together."""

    def __init__(self, by: By, near: bool) -> None:
        self._by = by
        self._sources, self._facts, self._prompts = _Shared(), _Shared(), _Shared()
        self._names = array("Q")  # what a row is known by: its source, else its fact, else its prompt
        self._unanswerable = array("b")
        self._near = NearPairs() if near else None
        self._asked = array("I")  # the row of each prompt in ``_near``

    def __len__(self) -> int:
        return len(self._names)

    def add(self, items: list[Conversation | Preference], sources: Iterable[str]) -> None:
        """The items of the next row, and the documents that it names beside theirs."""
        row = len(self)
        known = [key_of(s) for s in dict.fromkeys((*(i.source for i in items), *sources))]
        facts, prompts = [key_of(getattr(i, "fact", "")) for i in items], []
        for item in items:
            prompt = prompt_of(item) or answer_of(item)
            # the same sentence under another task is another question
            prompts.append(key_of(f"{context_of(item)}\x00{prompt}"))
            if self._near is not None:
                self._near.add(prompt[:_COMPARED])
                self._asked.append(row)
        for shared, keys in ((self._sources, known), (self._facts, facts), (self._prompts, prompts)):
            for key in dict.fromkeys(keys):
                shared.add(row, key)
        named = [*(known if self._by == "source" else []), *facts, *prompts]
        self._names.append(next(filter(None, named)))
        self._unanswerable.append(any(i.split == "unanswerable" for i in items))

    def held_out(self, share: float, path: Path) -> tuple[Any, dict[str, int]]:
        """True for each row that is held out; and the figures of the report.

        Raises:
            InputError: no rows, or one group only.
        """
        import numpy as np

        if len(self) < 2:
            raise InputError(f"{path}: {len(self)} rows that can be divided", expected="two at least")
        groups, count, near = self._groups()
        anchors = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(anchors, groups, _scrambled(np.frombuffer(self._names, dtype="u8")))
        sizes = np.bincount(groups, minlength=count)
        if count < 2:
            raise InputError(
                f"{path}: all {len(self)} rows belong together: one source, one fact or one prompt",
                expected="two groups at least",
                next_step="--by fact keeps facts together only"
                if self._by == "source"
                else "add rows about other facts",
            )
        chosen = _front(anchors, sizes, share)
        held = chosen[groups]
        held |= np.frombuffer(self._unanswerable, dtype=np.bool_)
        figures = {
            "groups": count,
            "sources": self._sources.distinct,
            "facts": self._facts.distinct,
            "near": near,
            "largest_group_rows": int(sizes.max()),
        }
        return held, figures

    def _groups(self) -> tuple[Any, int, int]:
        """The group of each row, how many groups, and how many rows are like an earlier one."""
        import numpy as np
        from scipy.sparse import coo_matrix  # type: ignore[import-untyped,unused-ignore]
        from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped,unused-ignore]

        left: list[Any] = []
        right: list[Any] = []
        near = 0
        if self._near is not None:
            asked = np.frombuffer(self._asked, dtype="u4").astype(np.int64)
            later, earlier = (asked[at] for at in self._near.pairs()[:2])
            left.append(later)
            right.append(earlier)
            near = len(np.unique(later[later != earlier]))
        same = [self._facts, self._prompts, *([self._sources] if self._by == "source" else [])]
        for shared in same:
            rows_with, first = shared.links()
            left.append(rows_with)
            right.append(first)
        ends = np.concatenate(left).astype(np.int32), np.concatenate(right).astype(np.int32)
        graph = coo_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(len(self), len(self)))
        count, groups = connected_components(graph, directed=False)
        return groups, int(count), near


def _front(anchors: Any, sizes: Any, share: float) -> Any:
    """True for the groups that are held out: in the order of their anchors while at least half of a group is wanted."""
    import numpy as np

    wanted = share * sizes.sum()
    chosen = np.zeros(len(sizes), dtype=np.bool_)
    taken = 0
    order = np.argsort(anchors, kind="stable")
    for group, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        if taken + size / 2 <= wanted:
            chosen[group] = True
            taken += size
        if taken >= wanted:
            break
    if not chosen.any():  # every group is larger than twice the share: the smallest, of equal ones the first
        chosen[order[np.argmin(sizes[order])]] = True
    if chosen.all():
        chosen[order[-1]] = False
    return chosen


def _scrambled(keys: Any) -> Any:
    """Keys in another order, that no one sorts files by."""
    import numpy as np

    with np.errstate(over="ignore"):
        mixed = (keys ^ (keys >> np.uint64(31))) * np.uint64(0x7FB5D329728EA185)
        return mixed ^ (mixed >> np.uint64(27))
