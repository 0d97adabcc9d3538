"""Which training rows may ask a held-out question in other words: those that share rare words with it, or all where they are few."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from groundtune.dataset.item_text import key_of
from groundtune.dedup import normalised

Embed = Callable[[Sequence[str]], Any]
Progress = Callable[[int, int, object], None]
#: cosine of two questions from which they ask the same, where their answers agree
SAME_ANSWER = 0.55
#: held-out questions that are looked for in other words; more are sampled
_MOST_HELD = 2000
#: texts embedded at most; with few rows every pair is compared
_MOST_EMBEDDED = 6000


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
class Pair:
    """A training row that may ask what a held-out row asks."""

    held: int
    line: int
    question: str
    answer: str


class Candidates:
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
