"""Retrieved text before a model sees it: sentences that give orders are taken out, and so is what nobody can read.

Provenance decides what is an order and what is data: whoever runs the project writes the prompt, whoever asks writes the question, and a
document only ever informs (Wallace et al., "The Instruction Hierarchy", 2024). A sentence is judged alone, in every reading of it
(:mod:`groundtune.guardrails.readings`), and together with its neighbour, since orders are split. Beside a sentence that is
surely an order a lower score is enough (hysteresis, as in Canny's edge detector, 1986). What is taken out is logged by rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from groundtune.config import GuardConfig
from groundtune.dataset.reading import sentences as split_sentences
from groundtune.guardrails.classifier import open_classifier
from groundtune.guardrails.log import record
from groundtune.guardrails.policy import Hook, hooks_of, threshold
from groundtune.guardrails.readings import UNREADABLE, readable, readings
from groundtune.guardrails.secrets import find_secrets, without
from groundtune.ingest.language import language_of
from groundtune.ingest.redact import find
from groundtune.records import Chunk
from groundtune.retrieval.retriever import Hit

_WORDS = re.compile(r"[^\W\d_]{2,}")
#: languages that the vocabulary behind ``readable`` knows
_KNOWN_LANGUAGES = frozenset({"en"})


@dataclass(frozen=True, slots=True)
class Judged:
    """A sentence of a passage and what was found in it.

    Attributes:
        text: as it may go on: redacted, or as it was.
        score: how likely it gives orders to whoever answers, 0 to 1.
        rule: why it is dropped; empty: it is not.
    """

    text: str
    score: float
    rule: str = ""


class PassageGuard:
    """The rules ``retrieved_*`` of a policy.

    Args:
        policy: which rules look.
        languages: of the documents, ISO 639; None: not known, and no language is odd.
    """

    def __init__(self, policy: GuardConfig, languages: frozenset[str] | None = None) -> None:
        self.policy, self.languages = policy, languages
        self._hooks: tuple[Hook, ...] = hooks_of(policy.classifiers)

    def judge(self, parts: Sequence[str]) -> list[Judged]:
        """Each sentence of one passage, in reading order."""
        return self.judge_all([parts])[0]

    def judge_all(self, passages: Sequence[Sequence[str]]) -> list[list[Judged]]:
        """Each sentence of many passages; all are looked at in one go."""
        scores = order_scores(passages) if self.policy.retrieved_instructions else [[0.0] * len(p) for p in passages]
        out = []
        for parts, found in zip(passages, scores, strict=True):
            dropped = self._orders(found) if self.policy.retrieved_instructions else [False] * len(parts)
            out.append([self._judged(t, s, d) for t, s, d in zip(parts, found, dropped, strict=True)])
        return out

    def _orders(self, scores: Sequence[float]) -> list[bool]:
        limit = threshold(self.policy, "retrieved_instructions")
        dropped = [s >= limit for s in scores]
        seeds = [s >= SURE for s in scores]
        for step in (1, -1):
            for n in range(len(scores))[::step]:
                if 0 <= n - step < len(scores) and seeds[n - step] and scores[n] >= BESIDE * limit:
                    dropped[n] = seeds[n] = True
        return dropped

    def _judged(self, text: str, score: float, order: bool) -> Judged:
        if order:
            record(self.policy, "retrieved_instructions", self.policy.retrieved_instructions, text, score)
            if self.policy.retrieved_instructions == "drop":
                return Judged(text, score, "retrieved_instructions")
        if self.policy.retrieved_unreadable and self._odd(text):
            record(self.policy, "retrieved_unreadable", self.policy.retrieved_unreadable, text, 1.0)
            if self.policy.retrieved_unreadable == "drop":
                return Judged(text, score, "retrieved_unreadable")
        for hook in self._hooks:
            found = hook.score(text, "retrieved")
            if found >= threshold(self.policy, hook.name, 0.5):
                record(self.policy, hook.name, "drop", text, found)
                return Judged(text, score, hook.name)
        return Judged(self._redacted(text), score)

    def _redacted(self, text: str) -> str:
        if self.policy.retrieved_secrets and (spans := find_secrets(text)):
            record(self.policy, "retrieved_secrets", self.policy.retrieved_secrets, text, 1.0)
            if self.policy.retrieved_secrets == "redact":
                text = without(text, spans, "[secret]")
        if self.policy.retrieved_personal_data and (found := find(text)):
            record(self.policy, "retrieved_personal_data", self.policy.retrieved_personal_data, text, 1.0)
            if self.policy.retrieved_personal_data == "redact":
                for finding in reversed(found):
                    text = f"{text[: finding.start]}[{finding.kind}]{text[finding.end :]}"
        return text

    def _odd(self, text: str) -> bool:
        """True for several words of no language that the documents are in."""
        plain = readings(text)[0]
        words = _WORDS.findall(plain.lower() if plain.isupper() else plain)
        common = [w for w in words if w.islower()]  # a name is in no vocabulary
        if len(common) < 4 or readable(" ".join(common)) >= UNREADABLE:
            return False
        code, sure = language_of(plain)
        if self.languages is None or not self.languages <= _KNOWN_LANGUAGES:
            return code == "und" if self.languages is None else code not in self.languages and sure > 0.9
        return code not in self.languages

    def hits(self, found: Sequence[Hit]) -> list[Hit]:
        """The hits without what is taken out; one of which nothing is left is gone."""
        judged = self.judge_all([[text for text, _ in hit.sentences] for hit in found])
        out = []
        for hit, verdicts in zip(found, judged, strict=True):
            if all(v.text == t and not v.rule for v, (t, _) in zip(verdicts, hit.sentences, strict=True)):
                out.append(hit)
                continue
            left = tuple((v.text, s) for v, (_, s) in zip(verdicts, hit.sentences, strict=True) if not v.rule)
            if left:
                text = hit.chunk.text
                for verdict, (old, _) in zip(verdicts, hit.sentences, strict=True):
                    text = text.replace(old, "" if verdict.rule else verdict.text)
                if any(v.rule and t not in hit.chunk.text for v, (t, _) in zip(verdicts, hit.sentences, strict=True)):
                    text = " ".join(t for t, _ in left)
                out.append(replace(hit, chunk=replace(hit.chunk, text=text.strip()), sentences=left))
        return out

    def chunks(self, found: Sequence[Chunk]) -> list[Chunk]:
        """Chunks with their text and heading guarded; those of which no text is left are gone."""
        texts = [(c, self.text(c.text), self.text(c.heading)) for c in found]
        return [c if (t, h) == (c.text, c.heading) else replace(c, text=t, heading=h) for c, t, h in texts if t.strip()]

    def text(self, passage: str) -> str:
        """A passage as text without what is taken out; line breaks stay."""
        lines = [split_sentences(line) for line in passage.splitlines()]
        parts = [s for line in lines for s in line]
        judged = self.judge(parts)
        if all(v.text == p and not v.rule for v, p in zip(judged, parts, strict=True)):
            return passage
        verdicts = iter(judged)
        return "\n".join(" ".join(v.text for v in [next(verdicts) for _ in line] if not v.rule) for line in lines)


#: score of a sentence that is surely an order; and the share of the threshold that is enough beside one
SURE, BESIDE = 0.95, 0.4


def order_scores(passages: Sequence[Sequence[str]]) -> list[list[float]]:
    """How likely each sentence gives orders to whoever answers: the most of its readings, alone and with a neighbour."""
    alone: list[list[tuple[str, ...]]] = [[_judged_texts(t) for t in parts] for parts in passages]
    pairs: list[list[str]] = [[f"{a[-1]} {b[-1]}" for a, b in pairwise(p)] for p in alone]
    wanted = [r for parts in alone for found in parts for r in found] + [t for p in pairs for t in p]
    known = dict(zip(wanted, open_classifier("instruction").score(wanted), strict=True))
    out = []
    for found, together in zip(alone, pairs, strict=True):
        scores = [max(known[r] for r in versions) for versions in found]
        single = list(scores)
        for n, pair in enumerate(together):
            # two sentences that are an order only together
            joint = known[pair]
            if max(single[n : n + 2]) < joint:
                for m in (n, n + 1):
                    scores[m] = max(scores[m], min(joint * PAIR, PAIR) if single[m] >= PAIR_LEAST else scores[m])
        out.append(scores)
    return out


def _judged_texts(sentence: str) -> tuple[str, ...]:
    """What of a sentence is judged: every reading of it; of a row of a table its longer cells, since a row is no sentence."""
    found = readings(sentence)
    if not _ROW.search(found[0]):
        return found
    cells = [c.strip() for c in re.split(r"\||; (?=[\w ]{1,40}:)", found[0])]
    long = [c for c in (_KEY.sub("", c) for c in cells) if len(c.split()) >= CELL]
    return (*long, *found[1:]) or ("",)


#: words from which a cell of a table can be an order; and what is a row: cells between bars, or names with values
CELL = 3
_KEY = re.compile(r"^[\w ]{1,40}: ")
_ROW = re.compile(r"^\|.*\||^[\w ]{1,40}: [^;]*; [\w ]{1,40}: [^;]*;")
#: weight of a score that two sentences have only together, and the least that each has alone
PAIR, PAIR_LEAST = 0.9, 0.05


class GuardedRetriever:
    """A retriever whose hits have gone through the guard, by whichever of its methods they come.

    Args:
        retriever: what finds.
        guard: what looks at it.
    """

    def __init__(self, retriever: Any, guard: PassageGuard) -> None:
        self.unguarded, self.guard = retriever, guard

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.unguarded, name)
        return _Filtered(found, self.guard) if callable(found) and not isinstance(found, type) else found

    def retrieve(self, question: str, **options: Any) -> list[Hit]:
        """As the retriever's own, guarded."""
        return self.guard.hits(self.unguarded.retrieve(question, **options))


class _Filtered:
    """A method of a retriever; hits in what it returns are guarded."""

    def __init__(self, method: Any, guard: PassageGuard) -> None:
        self._method, self._guard = method, guard

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._cleaned(self._method(*args, **kwargs))

    def _cleaned(self, found: Any) -> Any:
        if isinstance(found, list) and found and all(isinstance(f, Hit) for f in found):
            return self._guard.hits(found)
        return [self._cleaned(f) for f in found] if isinstance(found, list) else found
