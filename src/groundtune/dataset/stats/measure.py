"""The characteristics of a dataset as numbers: counts, lengths, vocabulary, languages, duplicates, topics, odd rows, loss mask.

Every row is counted; what needs a tokenizer or words is measured on at most 20,000 rows drawn alike from the whole file,
languages and topics on 2,000 of these, so that a million rows need no more memory than a hundred thousand. Each part says on
how many rows it stands. Leaves out the page (``stats_page``) and what is wrong with a dataset (``check``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from groundtune.dataset.files.items import Item
from groundtune.dataset.stats.duplicates import ExactCopies, near_twins
from groundtune.dataset.stats.odd import Longest, oddest, snippet
from groundtune.dataset.stats.sample import (
    HEAD_CHARACTERS,
    HUGE_CHARACTERS,
    SampledRow,
    UniformSample,
    answered,
    asked,
    characters_of,
    thin,
    turns_of,
)
from groundtune.dataset.stats.tokens import render_row, shown_rows, token_statistics
from groundtune.dataset.stats.topics import MOST_TEXTS, Embedder, find_topics, isolation
from groundtune.dataset.stats.words import languages, vocabulary
from groundtune.records import Conversation, Preference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: distinct tools, splits and system messages that are told apart
MOST_NAMES = 5_000
_LISTED = 20

#: what is under way, rows done, rows in all (0 where not known)
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Counts:
    """What is counted over every row; all counters are bounded."""

    examples: int = 0
    characters: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    systems: Counter[str] = field(default_factory=Counter)
    offered: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    first_fault: dict[str, tuple[int, str]] = field(default_factory=dict)
    faulty: int = 0
    huge: int = 0
    with_tools: int = 0
    with_calls: int = 0
    with_sources: int = 0
    untrained_answers: int = 0

    def fault(self, item: Item) -> None:
        """Count a row that cannot be read."""
        self.faulty += 1
        for code, reason in item.faults or (("unreadable_row", item.fault),):
            self.faults[code] += 1
            self.first_fault.setdefault(code, (item.line, reason))

    def add(self, item: Conversation | Preference, characters: int) -> None:
        """Count a row."""
        turns = turns_of(item)
        self.examples += 1
        self.characters += characters
        self.huge += characters > HUGE_CHARACTERS
        self.kinds["preference" if isinstance(item, Preference) else "conversation"] += 1
        self.turns[min(len(turns), 1000)] += 1
        self.with_sources += bool(item.source)
        _count(self.splits, item.split or "")
        self.with_tools += bool(item.tools)
        for tool in item.tools:
            function = tool.get("function", tool)
            _count(self.offered, str(function.get("name", "")) if hasattr(function, "get") else "")
        called = False
        for message in turns:
            self.roles[message.role] += 1
            self.untrained_answers += message.role == "assistant" and not message.trained
            if message.role in ("system", "developer"):
                _count(self.systems, message.content[:400])
            for call in message.tool_calls:
                _count(self.called, call.name)
                called = True
        self.with_calls += called

    def figures(self) -> dict[str, Any]:
        """The counts as JSON."""
        total = sum(n * rows for n, rows in self.turns.items())
        return {
            "examples": self.examples,
            "unreadable": {
                "rows": self.faulty,
                "faults": [
                    {"code": c, "rows": n, "line": self.first_fault[c][0], "reason": self.first_fault[c][1]}
                    for c, n in self.faults.most_common(_LISTED)
                ],
            },
            "characters": self.characters,
            "huge": self.huge,
            "kinds": dict(self.kinds),
            "turns": {
                "total": total,
                "mean": total / self.examples if self.examples else None,
                "most": max(self.turns, default=0),
                "examples_by_turns": {str(n): rows for n, rows in sorted(self.turns.items())},
            },
            "roles": dict(self.roles.most_common()),
            "untrained_answers": self.untrained_answers,
            "splits": dict(self.splits.most_common(_LISTED)),
            "with_source": self.with_sources,
            "system_messages": {
                "distinct": len(self.systems),
                "most_frequent": [{"text": t, "turns": n} for t, n in self.systems.most_common(3)],
            },
            "tools": {
                "examples_with_tools": self.with_tools,
                "examples_with_calls": self.with_calls,
                "calls": self.called.total(),
                "distinct_offered": len(self.offered),
                "offered": [{"name": name, "examples": n} for name, n in self.offered.most_common(_LISTED)],
                "called": [{"name": name, "calls": n} for name, n in self.called.most_common(_LISTED)],
            },
        }


def _count(counter: Counter[str], name: str) -> None:
    """Count a name; past the bound, new names count as one."""
    counter[name if name in counter or len(counter) < MOST_NAMES else "(others)"] += 1


def measure(
    items: Iterable[Item],
    tokenizer: PreTrainedTokenizerBase,
    context_tokens: int,
    *,
    embed: Embedder | None = None,
    language_of: Callable[[str], tuple[str, float]] | None = None,
    sample: UniformSample | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """The characteristics of a dataset, read once.

    Args:
        items: the file's rows, faulty ones included.
        tokenizer: the model's own, with its chat template.
        context_tokens: the model's context.
        embed: texts -> unit vectors, for topics and for what is unlike the rest; None leaves these out.
        language_of: text -> (language code, confidence); None leaves languages out.
        sample: how many rows are measured closely.
        progress: told about every few hundred rows.

    Returns:
        JSON-able: ``counts``, ``sample``, ``tokens``, ``pieces``, ``vocabulary``, ``languages``, ``duplicates``,
        ``topics``, ``longest``, ``oddest``, ``mask`` (with the coloured ``examples``). Lengths are in tokens unless they
        say characters.
    """
    counts, copies, longest = Counts(), ExactCopies(), Longest()
    sample = UniformSample() if sample is None else sample
    for number, found in enumerate(items):
        if found.item is None:
            counts.fault(found)
        else:
            row = SampledRow(number, found.line, found.item, characters_of(found.item))
            counts.add(found.item, row.characters)
            copies.offer(row)
            longest.offer(row)
            if row.characters <= HUGE_CHARACTERS:
                sample.offer(row)
        if number % 1000 == 0:
            progress("read", number, 0)
    rows = sample.rows()
    close, lengths = token_statistics(
        rows, tokenizer, context_tokens, progress=lambda done, total: progress("tokens", done, total)
    )
    close["mask"]["examples"] = shown_rows(rows, lengths, tokenizer, context_tokens)
    progress("words", 0, len(rows))
    words = vocabulary(rows)
    spoken, density = languages(rows, tokenizer, language_of)
    progress("duplicates", 0, len(rows))
    twins = {"exact": copies.figures(rows), "near": near_twins(rows)}
    progress("topics", 0, min(len(rows), MOST_TEXTS))
    topics, alone = _topics(rows, embed)
    return {
        "counts": counts.figures(),
        "context_tokens": context_tokens,
        "sample": {"rows": len(rows), "of": counts.examples, "every_row": len(rows) + counts.huge == counts.examples},
        **close,
        "vocabulary": words,
        "languages": spoken,
        "duplicates": twins,
        "topics": topics,
        "longest": [snippet(row) | {"tokens": _tokens(row, lengths, tokenizer)} for row in longest.rows()],
        "oddest": oddest(rows, density, alone),
    }


def _tokens(row: SampledRow, lengths: dict[int, int], tokenizer: PreTrainedTokenizerBase) -> int | None:
    if row.number in lengths or row.characters > HUGE_CHARACTERS:
        return lengths.get(row.number)
    rendered = render_row(tokenizer, row.item)
    return None if isinstance(rendered, str) else len(rendered.ids)


def _topics(rows: Sequence[SampledRow], embed: Embedder | None) -> tuple[dict[str, Any], dict[int, float]]:
    """The topics with their nearest rows as snippets, and each embedded row's distance to its nearest others."""
    chosen = [row for row in thin(rows, MOST_TEXTS) if (asked(row.item) or answered(row.item)).strip()]
    if embed is None or not chosen:
        return {"texts": 0, "rule": "", "silhouette": None, "topics": []}, {}
    texts = [(asked(row.item).strip() or answered(row.item))[:HEAD_CHARACTERS] for row in chosen]
    vectors = embed(texts)
    found = find_topics(texts, vectors)
    for topic in found["topics"]:
        topic["nearest"] = [snippet(chosen[at]) for at in topic["nearest"]]
    return found, dict(zip((row.number for row in chosen), isolation(vectors), strict=True))
