"""Held-out rows that are also trained on: the same prompt, nearly the same, the same fact, or the same question in other words.

Other words are found in three steps: for each held-out question the training rows that share rare words of question or answer
(or all of them where they are few), their cosine similarity by an embedder that is passed in, and whether the answers agree.
Thresholds were chosen on the 520 answerable questions of the shipped example, where phrasings of one fact share ``fact``
(``tools/reworded_threshold.py`` prints the figures).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from groundtune.dataset.findings import Findings
from groundtune.dataset.item_text import answer_of, context_of, key_of, prompt_of, question_of
from groundtune.dedup import NearDuplicates, normalised
from groundtune.records import Conversation, Preference

Embed = Callable[[Sequence[str]], Any]
Progress = Callable[[int, int, object], None]
#: cosine of two questions from which they ask the same, where their answers agree
SAME_ANSWER = 0.55
#: where the answer is one that many rows have, such as "Yes"
COMMON_ANSWER = 0.75
#: where the answers are long and mean the same by their own cosine
SIMILAR_ANSWER, SIMILAR_ANSWER_QUESTION = 0.8, 0.75
#: held-out questions that are looked for in other words; more are sampled
_MOST_HELD = 2000
#: held-out rows whose texts are all kept; of further ones every fiftieth's
_WITH_TEXT = 20_000
#: texts embedded at most; with few rows every pair is compared
_MOST_EMBEDDED = 6000
#: of a question or answer
_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Held:
    """A held-out row: where it stands and what is compared."""

    place: str
    question: str
    answer: str
    fact: str
    split: str
    prompt_key: int
    context_key: int
    answer_key: int


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
        self._words: _Candidates | None = None
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
        if self._index is not None:
            self._pending.append((number, prompt[:4000]))
            if len(self._pending) == 1024:
                self._index.hold(self._pending)
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
            self._index.hold(self._pending)
        self._words = _Candidates(self._held, total, progress) if self._embed else None
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
        for near in self._index.like(waiting):
            held = self._held[near.earlier]
            if not near.same_numbers or not near.key.same_task(held):
                continue
            if near.exact:  # differs in case and punctuation only
                self._found("leak_exact", near.key.line, f"the prompt of {held.place}", findings)
            else:
                detail = f"{near.similarity:.0%} like the prompt of {held.place}"
                self._found("leak_near", near.key.line, detail, findings)

    def _found(self, code: str, line: int, detail: str, findings: Findings) -> None:
        if code not in self.lines.setdefault(line, set()):
            self.lines[line].add(code)
            findings.add(code, line, detail)

    def _reworded(self, candidates: _Candidates, embed: Embed, findings: Findings) -> None:
        if candidates.left_out:
            findings.add("not_searched", None, candidates.left_out, count=1)
        best: dict[int, tuple[float, Pair]] = {}
        unsure: list[tuple[float, Pair]] = []
        for cosine, pair in candidates.alike(embed):
            held = self._held[pair.held]
            if self.lines.get(pair.line) or other_numbers(held.question, pair.question):
                continue
            enough = COMMON_ANSWER if candidates.common(held.answer) else SAME_ANSWER
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


@dataclass(frozen=True, slots=True)
class Pair:
    """A training row that may ask what a held-out row asks."""

    held: int
    line: int
    question: str
    answer: str


def other_numbers(left: str, right: str) -> bool:
    """True for two questions that both name numbers, each one that the other does not: 4 cm and 6 cm are two questions."""
    a, b = ({w for w in normalised(t).split() if any(c.isdigit() for c in w)} for t in (left, right))
    return bool(a - b) and bool(b - a)


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


class _Candidates:
    """For each held-out row the training rows that share most of its rare words, of question and answer."""

    def __init__(self, held: list[Held], total: int, progress: Progress) -> None:
        self._progress = progress
        self._done = 0
        texts = [n for n, h in enumerate(held) if h.question]
        step = max(1, math.ceil(len(texts) / _MOST_HELD))
        self._numbers = texts[::step]
        few = len(self._numbers) < len(held)
        self.left_out = f"{len(self._numbers)} of {len(held)} held-out rows were looked for" if few else ""
        searched = len(self._numbers)
        self._all = total + searched <= _MOST_EMBEDDED // 2
        self._kept = max(3, (_MOST_EMBEDDED - searched) // max(1, searched))
        self._expected = total + searched if self._all else _MOST_EMBEDDED
        self._held = held
        self._heaps: dict[int, list[tuple[float, int, Pair]]] = defaultdict(list)
        self._postings: dict[str, list[int]] = defaultdict(list)
        self._answers = Counter(held[n].answer_key for n in self._numbers)
        for number in self._numbers:
            for word in _search_words(held[number].question, held[number].answer):
                self._postings[word].append(number)
        most = max(20, searched // 20)
        self._weights = {w: math.log(1 + searched / len(p)) for w, p in self._postings.items() if len(p) <= most}
        self._few: list[tuple[int, str, str, str]] = []

    def common(self, answer: str) -> bool:
        """True for an answer that says little, since many rows have it."""
        return self._answers[key_of(answer)] > max(4, len(self._numbers) // 50)

    def offer(self, line: int, question: str, answer: str, fact: str) -> None:
        """A training row."""
        if not question:
            return
        if self._all:
            self._few.append((line, question, answer, fact))
            return
        scores: dict[int, float] = defaultdict(float)
        for word in _search_words(question, answer):
            weight = self._weights.get(word)
            if weight is not None:
                for number in self._postings[word]:
                    scores[number] += weight
        for number, score in heapq.nlargest(20, scores.items(), key=lambda s: s[1]):
            if score < 2.0 or self._deliberate(number, fact):
                continue
            heap = self._heaps[number]
            entry = (score, -line, Pair(number, line, question, answer))
            if len(heap) < self._kept:
                heapq.heappush(heap, entry)
            elif score > heap[0][0]:
                heapq.heapreplace(heap, entry)

    def _deliberate(self, number: int, fact: str) -> bool:
        """A held-out phrasing of a trained fact is held out for its wording only."""
        held = self._held[number]
        return bool(fact) and held.fact == fact and held.split == "held_out_phrasings"

    def alike(self, embed: Embed) -> Iterator[tuple[float, Pair]]:
        """The pairs whose questions have a cosine of at least ``SAME_ANSWER``, with it."""
        import numpy as np

        if self._all:
            if not self._few or not len(self._numbers):
                return
            held_HD = self._embedded([self._held[n].question for n in self._numbers], embed)
            for start in range(0, len(self._few), 512):
                part = self._few[start : start + 512]
                trained_TD = self._embedded([question for _, question, _, _ in part], embed)
                cosines_TH = trained_TD @ held_HD.T
                for row, column in zip(*np.nonzero(cosines_TH >= SAME_ANSWER), strict=True):
                    line, question, answer, fact = part[row]
                    number = self._numbers[int(column)]
                    if not self._deliberate(number, fact):
                        yield float(cosines_TH[row, column]), Pair(number, line, question, answer)
            return
        pairs = [entry[2] for heap in self._heaps.values() for entry in heap]
        texts = list(dict.fromkeys([self._held[p.held].question for p in pairs] + [p.question for p in pairs]))
        place = {text: n for n, text in enumerate(texts)}
        vectors = self._embedded(texts, embed)
        for pair in pairs:
            cosine = float(vectors[place[self._held[pair.held].question]] @ vectors[place[pair.question]])
            if cosine >= SAME_ANSWER:
                yield cosine, pair

    def _embedded(self, texts: list[str], embed: Embed) -> Any:
        import numpy as np

        parts = []
        for start in range(0, len(texts), 512):
            parts.append(np.asarray(embed(texts[start : start + 512])))
            self._done += len(parts[-1])
            self._progress(self._done, max(self._done, self._expected), "looking for other words")
        return np.concatenate(parts) if parts else np.zeros((0, 1))


def _search_words(question: str, answer: str) -> set[str]:
    """Words of the question, and of the answer marked as such."""
    return {*normalised(question).split(), *(f"={w}" for w in normalised(answer).split()[:40])}
