"""The passes of a check: reading, judging and counting block by block; comparing with held-out rows; what the whole file says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.dataset.checks.completions import CompletionHabits
from groundtune.dataset.checks.findings import CODES, CheckReport, Findings, Severity
from groundtune.dataset.checks.item_rules import TextSearch, item_faults, running_text_faults
from groundtune.dataset.checks.leak_candidates import Embed
from groundtune.dataset.checks.leaks import Leaks
from groundtune.dataset.checks.repeats import Repeats
from groundtune.dataset.checks.tokens import Measured, TokenCounter
from groundtune.dataset.files.items import Item, Reader, RowWriter, detect_format, scores
from groundtune.dataset.files.rows import Broken, first_rows, rows, without_blank
from groundtune.dataset.formats.columns import Mapped
from groundtune.dataset.item_text import trained_on
from groundtune.dataset.render import Truncation
from groundtune.errors import InputError
from groundtune.records import Conversation

#: a block is so many rows, or so many characters
_BLOCK_ROWS, _BLOCK_CHARACTERS = 1024, 8_000_000
Progress = Callable[[int, int, object], None]


@dataclass(frozen=True, slots=True)
class _Block:
    """Items, the faults of each, and the numbers of those that can be rendered."""

    items: list[Item]
    faults: list[list[tuple[str, str]]]
    good: list[int]


class Run:
    """One check of one file: what its passes share. Call :meth:`read`, :meth:`compare` where rows are held out, :meth:`finish`.

    Args:
        path, reader: the file and how to read it.
        counter: of tokens; None leaves them out.
        search: of texts.
        truncation, near, quarantine: as in ``checks.check``.

    Attributes:
        report: filled by :meth:`finish`.
        progress: called with rows done, the total or 0, and a note.
    """

    def __init__(
        self,
        path: Path,
        reader: Reader,
        counter: TokenCounter | None,
        search: TextSearch,
        *,
        truncation: Truncation,
        near: bool,
        quarantine: RowWriter | None,
    ) -> None:
        mild: dict[str, Severity] = (
            {"too_long": "warning", "answer_too_long": "warning"} if truncation != "error" else {}
        )
        self.report = CheckReport(str(path), reader.name, context_tokens=counter.context_tokens if counter else 0)
        self.findings = Findings(str(path), mild)
        self._path, self._reader, self._counter = path, reader, counter
        self._running_text = reader.name == "text"
        self._search = search
        self._repeats = Repeats(near=near)
        self._near = near
        self._habits = CompletionHabits() if reader.name == "prompt_completion" else None
        self._quarantine = quarantine
        self._bad_lines: set[int] = set()
        self._splits: Counter[str] = Counter()
        self.progress: Progress = lambda done, total, note: None
        self._dropped = truncation == "drop"
        self._late: dict[int, set[str]] = {}

    def read(self) -> None:
        """The first pass. While one block is tokenized, which needs no interpreter, the next one is read and judged."""
        from concurrent.futures import Future, ThreadPoolExecutor

        under_way: tuple[_Block, Future[list[Measured]]] | None = None
        with ThreadPoolExecutor(1) as pool:
            for rows_of_block in _blocks(self._path):
                block = self._judged(rows_of_block)
                if under_way is not None:
                    self._take_block(under_way[0], under_way[1].result())
                under_way = block, pool.submit(self._measured, block)
            if under_way is not None:
                self._take_block(under_way[0], under_way[1].result())
        self.report.splits = dict(sorted(self._splits.items()))
        if not self.report.rows:
            raise InputError(f"{self._path}: holds no row", expected="one example a row")

    def _judged(self, block: list[tuple[int, Any]]) -> _Block:
        """The items of rows with their own faults, and which of them can be rendered."""
        items: list[Item] = []
        for line, row in block:
            if isinstance(row, Broken) and row.code == "empty_row":
                self.findings.add("empty_row", line)
                continue
            self.report.rows += 1
            items += self._reader.items(line, row)
        self.report.items += len(items)
        faults = [self._faults(item) for item in items]
        good = [n for n, item in enumerate(items) if item.item is not None and not _unrendered(faults[n])]
        return _Block(items, faults, good)

    def _measured(self, block: _Block) -> list[Measured]:
        if self._counter is None:
            return []
        whole = [block.items[n].item for n in block.good]
        return self._counter.measure([i for i in whole if i is not None], running_text=self._running_text)

    def _take_block(self, block: _Block, measured: list[Measured]) -> None:
        for n, tokens in zip(block.good, measured, strict=False):
            known = {code for code, _ in block.faults[n]}
            block.faults[n] += [fault for fault in tokens.faults if fault[0] not in known]
            self._add_tokens(tokens)
        for item, faults in zip(block.items, block.faults, strict=True):
            self._take(item, faults)
        self.progress(self.report.rows, 0, f"{self.report.tokens:,} tokens" if self._counter else "")

    def _faults(self, item: Item) -> list[tuple[str, str]]:
        if item.item is None:
            return self._explained(item)
        faults = (
            running_text_faults(item.item, self._search)
            if self._running_text and isinstance(item.item, Conversation)
            else item_faults(item.item, self._search)
        )
        if self._reader.name != "columns" and not self._reader.module.sniff(item.row):
            faults.append(("mixed_formats", _other(item.row, self._reader.name)))
        return faults

    def _explained(self, item: Item) -> list[tuple[str, str]]:
        """The faults of a row that could not be read; where it is a row of another format, that alone."""
        if isinstance(item.row, dict) and self._reader.name != "columns" and not self._reader.module.sniff(item.row):
            other = _other(item.row, "")
            if other:
                return [("mixed_formats", other)]
        return [(code if code in CODES else "unreadable_row", reason) for code, reason in item.faults]

    def _add_tokens(self, measured: Measured) -> None:
        report = self.report
        over = any(code in ("too_long", "answer_too_long") for code, _ in measured.faults)
        report.over_context += over
        report.longest_tokens = max(report.longest_tokens, measured.longest)
        if over and self._dropped:
            return
        report.tokens += measured.tokens
        report.trained_tokens += measured.trained
        report.windows += measured.windows if over else 0

    def _take(self, item: Item, faults: list[tuple[str, str]]) -> None:
        for code, detail in faults:
            self.findings.add(code, item.line, detail)
        codes = [code for code, _ in faults if self.findings.severity(code) == "error"]
        if self._dropped:
            codes += [code for code, _ in faults if code in ("too_long", "answer_too_long")]
        if codes:
            self._put_aside(item.line, codes, item.row)
        if item.item is None:
            return
        self._splits[item.item.split] += 1
        self._repeats.add(item.line, item.item)
        if self._habits is not None:
            self._habits.add(item.line, item.item)

    def _put_aside(self, line: int, codes: list[str], row: Any) -> None:
        self._bad_lines.add(line)
        if self._quarantine is not None:
            self._quarantine.add({"line": line, "codes": sorted(set(codes)), "row": _writable(row)})

    def compare(self, against: Path | None, embed: Embed | None) -> None:
        """The second pass: trained rows against held-out ones of this file and of ``against``."""
        leaks = Leaks(embed=embed, near=self._near)
        if against is not None:
            for item in self._held_out(against):
                if item.item is None:
                    raise InputError(
                        f"{against}:{item.line}: {item.fault}", next_step=f"groundtune dataset check {against}"
                    )
                leaks.hold(f"{against}:{item.line}", item.item)
        if any(not trained_on(s) for s in self.report.splits):
            for item in self._again():
                if item.item is not None and not trained_on(item.item.split):
                    leaks.hold(f"{self._path}:{item.line}", item.item)
        self.progress(0, 0, "held-out rows")
        trained = ((i.line, i.item) for i in self._again() if i.item is not None and (trained_on(i.item.split)))
        leaks.compare(trained, self.findings, sum(n for s, n in self._splits.items() if trained_on(s)), self.progress)
        self._late = leaks.lines

    def _held_out(self, against: Path) -> Iterator[Item]:
        """Items of the other file: with this file's mapping where it has those columns, else by what it looks like."""
        mapped = isinstance(self._reader.module, Mapped) and all(
            self._reader.module.sniff(row) for _, row in first_rows(against, 5)
        )
        reader = self._reader if mapped else Reader(detect_format(against))
        for line, row in without_blank(rows(against)):
            yield from reader.items(line, row)

    def _again(self) -> Iterator[Item]:
        for line, row in rows(self._path):
            if not isinstance(row, Broken):
                yield from self._reader.items(line, row)

    def finish(self) -> None:
        """What can be said of the whole file only."""
        self._repeats.report(self.findings, unique_prompts=not self._running_text)
        if self._habits is not None:
            self._habits.report(self.findings)
        if self.report.items < 10 and not self._running_text:
            self.findings.add("too_few_examples", None, f"{self.report.items} examples", count=self.report.items)
        if self._late and self._quarantine is not None:
            for line, row in rows(self._path):
                if line in self._late:
                    self._quarantine.add({"line": line, "codes": sorted(self._late[line]), "row": _writable(row)})
        self.report.faulty_rows = len(self._bad_lines)
        self.report.quarantined = self._quarantine.count if self._quarantine else 0
        self.report.findings = self.findings.sorted()


def _unrendered(faults: list[tuple[str, str]]) -> bool:
    """True for rows whose own faults say already that they cannot be rendered."""
    return any(c in ("half_character", "all_weights_zero", "example_missing_assistant_message") for c, _ in faults)


def _other(row: Any, own: str) -> str:
    """What another format a row looks like."""
    found = {name: score for name, score in scores(row).items() if name != own}
    return f"looks like {max(found, key=lambda n: found[n])}" if found else ""


def _writable(row: Any) -> Any:
    """The row as JSON can hold it in UTF-8."""
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        return repr(row)[:1000].encode("utf-8", "backslashreplace").decode("utf-8")
    return row


def _blocks(path: Path) -> Iterator[list[tuple[int, Any]]]:
    block: list[tuple[int, Any]] = []
    size = 0
    for line, row in rows(path):
        block.append((line, row))
        size += _size(row)
        if len(block) >= _BLOCK_ROWS or size >= _BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _size(row: Any) -> int:
    try:
        return _characters(row)
    except RecursionError:  # nested hundreds deep
        return _BLOCK_CHARACTERS


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 8
