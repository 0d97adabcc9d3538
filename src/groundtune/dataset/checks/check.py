"""``groundtune dataset check``: every defect of a dataset file, counted, with its places and what to do.

One pass reads, parses, counts tokens and takes keys; a second one, where there are held-out rows, looks for them among the
trained ones (``checks_run``). Memory holds two blocks of rows, and keys and sketches of all: about 320 bytes a row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from groundtune.dataset.checks.findings import CheckReport
from groundtune.dataset.checks.item_rules import TextSearch
from groundtune.dataset.checks.leak_candidates import Embed
from groundtune.dataset.checks.run import Progress, Run
from groundtune.dataset.checks.tokens import TokenCounter
from groundtune.dataset.files.items import Reader, detect_format, row_writer
from groundtune.dataset.files.row_writer import check_quarantine
from groundtune.dataset.item_text import trained_on
from groundtune.dataset.render import Truncation

__all__ = ["CheckReport", "check", "text_search"]


def check(
    path: Path,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    against: Path | None = None,
    tokenizer: Any = None,
    context_tokens: int = 0,
    truncation: Truncation = "error",
    quarantine: Path | None = None,
    embed: Embed | None = None,
    near: bool = True,
    progress: Progress | None = None,
) -> CheckReport:
    """Check a dataset file.

    Args:
        format, mapping: see ``files.Reader``; by default found out.
        against: a held-out file, in any format, that must not be trained on.
        tokenizer: of the model to be trained; None leaves out everything about tokens.
        context_tokens: the model's context; by default the tokenizer's.
        truncation: what is to become of rows over the context: ``error`` makes them errors, the others warnings.
        quarantine: where to write faulty rows, as ``{"line", "codes", "row"}``.
        embed: texts to unit vectors, to find held-out questions in other words.
        near: also look for near duplicates.
        progress: called with rows done, 0 and a note.

    Raises:
        InputError: a file cannot be read, or looks like no format.
    """
    started = time.perf_counter()
    if mapping is None and format is None:
        format = detect_format(path)
    reader = Reader(format, mapping)
    counter = None
    if tokenizer is not None:
        counter = TokenCounter(tokenizer, context_tokens or _context_of(tokenizer), truncation)
    with ExitStack() as stack:
        writer = stack.enter_context(row_writer(check_quarantine(quarantine, path, against))) if quarantine else None
        run = Run(path, reader, counter, text_search(tokenizer), truncation=truncation, near=near, quarantine=writer)
        run.progress = progress or run.progress
        run.read()
        if against is not None or any(not trained_on(s) for s in run.report.splits):
            run.compare(against, embed)
        run.finish()
    run.report.bytes = path.stat().st_size
    run.report.seconds = time.perf_counter() - started
    return run.report


def _context_of(tokenizer: Any) -> int:
    limit = int(tokenizer.model_max_length)
    return limit if 0 < limit < 10**9 else 10**9


def text_search(tokenizer: Any) -> TextSearch:
    """What to look for in texts, with a tokenizer's own control tokens where there is one."""
    if tokenizer is None:
        return TextSearch()
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    return TextSearch(added, frozenset(tokenizer.get_vocab()))
