"""Held-out rows that are also trained on: the same prompt, nearly the same, the same fact, or the same question in other words.

Other words are found in three steps: for each held-out question the training rows that share rare words of question or answer
(or all of them where they are few), their cosine similarity by an embedder that is passed in, and whether the answers agree.
Thresholds were chosen on the 520 answerable questions of the shipped example, where phrasings of one fact share ``fact``
(``tools/reworded_threshold.py`` prints the figures).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from groundtune.dataset.checks import leak_candidates
from groundtune.dataset.checks.findings import Findings
from groundtune.dataset.checks.leak_candidates import Candidates, Embed, Held, Pair, Progress
from groundtune.dataset.item_text import answer_of, context_of, key_of, prompt_of, question_of
from groundtune.dedup import NearDuplicates, names_in, normalised
from groundtune.records import Conversation, Preference

#: where the answers are long and mean the same by their own cosine
SIMILAR_ANSWER, SIMILAR_ANSWER_QUESTION = 0.8, 0.75
#: where the answer is one that many rows have, such as "Yes"
COMMON_ANSWER = 0.75
#: held-out rows whose texts are all kept; of further ones every fiftieth's
_WITH_TEXT = 20_000
_QUOTED = re.compile(
    r"[\"\u201c\u201d\u201e\u00ab\u00bb]([^\"\u201c\u201d\u201e\u00ab\u00bb]{1,80})[\"\u201c\u201d\u201e\u00ab\u00bb]"
)
#: of a question or answer
_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class _Row:
    """A training row by its keys."""

    line: int
    prompt: int
    context: int
    answer: int

    def same_task(self, held: Held) -> bool:
        """False where the same sentence stands under another task, such as <to-fr> and <to-de>, with another answer."""
        return (
            self.answer == held.answer_key
            or self.context == held.context_key
            or not self.context
            or not held.context_key
        )


class Leaks:
    """Takes in the held-out rows, then the training rows, and names the pairs.

    Args:
        embed: texts to unit vectors; None leaves out the search in other words.
        near: also look for near duplicates.

    Attributes:
        lines: training line -> codes found there.
        partner: training line -> place of the held-out row that it asks in other words.
    """

    def __init__(self, *, embed: Embed | None = None, near: bool = True) -> None:
        self._embed = embed
        self._held: list[Held] = []
        self._by_prompt: dict[int, list[int]] = defaultdict(list)
        self._facts: dict[int, str] = {}
        self._index: NearDuplicates[int] | None = NearDuplicates(0.8) if near else None
        self._pending: list[tuple[int, str]] = []
        self._indexed: set[tuple[int, int]] = set()
        self._words: Candidates | None = None
        self.lines: dict[int, set[str]] = {}
        self.partner: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, place: str, item: Conversation | Preference) -> None:
        """Take in a held-out row."""
        prompt, answer = prompt_of(item), answer_of(item)
        held = Held(
            place,
            question_of(item)[:_CHARACTERS],
            answer[:_CHARACTERS],
            getattr(item, "fact", ""),
            item.split,
            key_of(prompt),
            key_of(context_of(item)),
            key_of(answer),
        )
        if not held.prompt_key:
            return
        number = len(self._held)
        if number >= _WITH_TEXT and number % 50:  # bounded memory: these are looked for exactly and nearly only
            held = replace(held, question="", answer="")
        self._held.append(held)
        self._by_prompt[held.prompt_key].append(number)
        if held.fact and held.split != "held_out_phrasings":
            self._facts.setdefault(key_of(held.fact), place)
        asked = held.prompt_key, held.context_key  # the same sentence under another task is another question
        if self._index is not None and asked not in self._indexed:
            self._indexed.add(asked)
            self._pending.append((number, prompt[:4000]))
            if len(self._pending) == 1024:
                self._index.hold(self._pending, every=True)
                self._pending = []

    def compare(
        self,
        items: Iterable[tuple[int, Conversation | Preference]],
        findings: Findings,
        total: int,
        progress: Progress = lambda done, total, note: None,
    ) -> None:
        """Compare training rows, (line, item), with the held-out ones.

        Args:
            total: how many there are, about: with few rows every pair is compared in other words.
        """
        if self._index is not None:
            self._index.hold(self._pending, every=True)
        self._words = Candidates(self._held, total, progress) if self._embed else None
        waiting: list[tuple[_Row, str]] = []
        for line, item in items:
            prompt = prompt_of(item)
            if not prompt:
                continue
            row = _Row(line, key_of(prompt), key_of(context_of(item)), key_of(answer_of(item)))
            if self._exactly(row, findings):
                continue
            fact = getattr(item, "fact", "")
            if fact and (place := self._facts.get(key_of(fact))):
                self._found("leak_fact", line, f"fact {fact!r}, held out at {place}", findings)
            waiting.append((row, prompt[:4000]))
            if len(waiting) == 1024:
                self._nearly(waiting, findings)
                waiting = []
            if self._words is not None:
                self._words.offer(line, question_of(item)[:_CHARACTERS], answer_of(item)[:_CHARACTERS], fact)
        self._nearly(waiting, findings)
        if self._words is not None and self._embed is not None:
            self._reworded(self._words, self._embed, findings)

    def _exactly(self, row: _Row, findings: Findings) -> bool:
        held = next((h for n in self._by_prompt.get(row.prompt, ()) if row.same_task(h := self._held[n])), None)
        if held is not None:
            self._found("leak_exact", row.line, f"the prompt of {held.place}", findings)
        return held is not None

    def _nearly(self, waiting: list[tuple[_Row, str]], findings: Findings) -> None:
        if self._index is None:
            return
        done: set[int] = set()
        for near in self._index.like(((n, prompt) for n, (_, prompt) in enumerate(waiting)), every=True):
            held = self._held[near.earlier]
            row, prompt = waiting[near.key]
            if near.key in done or not near.same_numbers or not row.same_task(held):
                continue
            if other_things(held.question, prompt):
                continue
            done.add(near.key)
            if near.exact:  # differs in case and punctuation only
                self._found("leak_exact", row.line, f"the prompt of {held.place}", findings)
            else:
                self._found("leak_near", row.line, f"{near.similarity:.0%} like the prompt of {held.place}", findings)

    def _found(self, code: str, line: int, detail: str, findings: Findings) -> None:
        if code not in self.lines.setdefault(line, set()):
            self.lines[line].add(code)
            findings.add(code, line, detail)

    def _reworded(self, candidates: Candidates, embed: Embed, findings: Findings) -> None:
        if candidates.left_out:
            findings.add("not_searched", None, candidates.left_out, count=1)
        best: dict[int, tuple[float, Pair]] = {}
        unsure: list[tuple[float, Pair]] = []
        for cosine, pair in candidates.alike(embed):
            held = self._held[pair.held]
            if self.lines.get(pair.line) or other_things(held.question, pair.question):
                continue
            enough = COMMON_ANSWER if candidates.common(held.answer) else leak_candidates.SAME_ANSWER
            if cosine >= enough and agree(held.answer, pair.answer):
                best[pair.line] = max(best.get(pair.line, (-1.0, pair)), (cosine, pair), key=lambda c: c[0])
            elif cosine >= SIMILAR_ANSWER_QUESTION and min(len(held.answer), len(pair.answer)) > 40:
                unsure.append((cosine, pair))
        for cosine, pair in _similar_answers(unsure, self._held, embed):
            best[pair.line] = max(best.get(pair.line, (-1.0, pair)), (cosine, pair), key=lambda c: c[0])
        for line, (cosine, pair) in sorted(best.items()):
            held = self._held[pair.held]
            asked = f"{pair.question[:80]!r} asks what {held.place} asks: {held.question[:80]!r}"
            self.partner[line] = held.place
            self._found("leak_reworded", line, f"{asked} (cosine {cosine:.2f})", findings)


def other_things(left: str, right: str) -> bool:
    """True for two questions that ask of different things.

    So it is where each names a number or quotes words that the other does not have (4 cm and 6 cm, "Ferries" and
    "Freight"), and where both name names, none of them the same. A name is a word with a capital inside a sentence;
    one in common is enough, since in German every noun looks like one.
    """
    numbers = [{w for w in normalised(t).split() if any(c.isdigit() for c in w)} for t in (left, right)]
    if numbers[0] - numbers[1] and numbers[1] - numbers[0]:
        return True
    quoted = [{normalised(w) for w in _QUOTED.findall(t)} for t in (left, right)]
    plain = [f" {normalised(t)} " for t in (left, right)]
    if all(any(f" {w} " not in other for w in words) for words, other in zip(quoted, reversed(plain), strict=True)):
        return True
    names = [{w.casefold() for w in names_in(t)} for t in (left, right)]
    return bool(names[0]) and bool(names[1]) and not names[0] & names[1]


def agree(left: str, right: str) -> bool:
    """True when two answers say the same: equal, or the words of the shorter all in the longer, numbers included."""
    a, b = normalised(left).split(), normalised(right).split()
    if a == b:
        return bool(a)
    short, long = sorted((a, b), key=len)
    if not short or len(long) > 4 * len(short) + 6:
        return False
    numbers = [{w for w in words if any(c.isdigit() for c in w)} for words in (short, long)]
    return set(short) <= set(long) and (numbers[0] == numbers[1] or not numbers[1] or len(short) > 3)


def _similar_answers(unsure: list[tuple[float, Pair]], held: list[Held], embed: Embed) -> Iterator[tuple[float, Pair]]:
    unsure = sorted(unsure, key=lambda c: -c[0])[:1000]
    if not unsure:
        return
    left = embed([held[p.held].answer for _, p in unsure])
    right = embed([p.answer for _, p in unsure])
    for (cosine, pair), a, b in zip(unsure, left, right, strict=True):
        if float(a @ b) >= SIMILAR_ANSWER:
            yield cosine, pair
