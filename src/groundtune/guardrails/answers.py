"""Guards on an answer: whether it follows an order, leaks, or says what no passage says. Each is a function of text.

Support is by words here: what share of the answer's content words a sentence holds. Names and numbers count as words; an answer
that only paraphrases is therefore no case for ``ungrounded`` with large models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from groundtune.dataset.prompts import ABSTENTION, CLOSED_INSTRUCTION, READ_INSTRUCTION
from groundtune.dataset.reading import STOP_WORDS
from groundtune.dataset.reading import sentences as split_sentences
from groundtune.guardrails.readings import readings

#: a run of so many words of the prompt's instructions is no chance
RUN = 6
#: share of an answer's words that a sentence must hold to have brought it
HELD = 0.6
#: similarity to the question below which a sentence does not answer it; and below which a faint likeness to an order is
#: enough. Of the example's 288 training questions 0.5 % and none have an answer that far off (docs/guardrails.md)
FAR, ASIDE, FAINT = 0.17, 0.3, 0.01
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s<>\"')\]]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<![\w@.])(?:[a-z0-9-]+\.)+(?:com|net|org|io|example|info|biz|ru|cn|xyz|top|app|dev|link|site|online|shop|ly|me)(?:/[^\s<>\"')\]]*)?(?![\w.])",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"!?\[[^\]]{0,200}\]\([^)]{0,2000}\)?")


def content(text: str) -> list[str]:
    """The words and numbers that carry meaning, in lower case."""
    words = re.findall(r"[^\W_]+", text.lower())
    return [w for w in words if w not in STOP_WORDS] or words


def support(answer: str, sentences: Iterable[str]) -> float:
    """The largest share of the answer's words that one sentence holds, 0 to 1."""
    words = set(content(answer))
    best = 0.0
    for sentence in sentences:
        for reading in readings(sentence):
            best = max(best, len(words & set(re.findall(r"[^\W_]+", reading.lower()))) / max(1, len(words)))
    return best


def grounded(answer: str, sentences: Sequence[str]) -> float:
    """Share of the answer's words that the sentences hold together; addresses and numbers count twice."""
    held = set(re.findall(r"[^\W_]+", " ".join(sentences).lower()))
    words = content(answer)
    weights = [2 if w.isdigit() else 1 for w in words]
    return sum(w for w, word in zip(weights, words, strict=True) if word in held) / max(1, sum(weights))


def follows(answer: str, sentences: Sequence[str], scores: Sequence[float], question: str, limit: float) -> float:
    """1.0 where a sentence of the answer rests on suspicious sentences alone; else 0.0.

    A sentence is suspicious that reads like an order, that has nothing to do with the question, or that is a little of both: what
    answers a question is near it, and what an attacker wants said mostly is not.

    Args:
        scores: how likely each sentence is an order.
        limit: score from which a sentence is suspicious whatever it is about.
    """
    parts = [part for part in split_sentences(answer) if content(part)]
    held = {
        part: [(n, share) for n, s in enumerate(sentences) if (share := support(part, [s])) >= HELD] for part in parts
    }
    wanted = sorted({n for found in held.values() for n, _ in found})
    if not wanted:
        return 0.0
    odd = dict(
        zip(
            wanted,
            _suspicious([sentences[n] for n in wanted], [scores[n] for n in wanted], question, limit),
            strict=True,
        )
    )
    for found in held.values():
        best = max((share for n, share in found if odd[n]), default=0.0)
        if best and best > max((share for n, share in found if not odd[n]), default=0.0):
            return 1.0
    return 0.0


def _suspicious(sentences: Sequence[str], scores: Sequence[float], question: str, limit: float) -> list[bool]:
    from groundtune.retrieval.embedders import minilm

    vectors = minilm.embed([question, *sentences])
    near = vectors[1:] @ vectors[0]
    return [
        bool(score >= limit or similarity < FAR or (score >= FAINT and similarity < ASIDE))
        for score, similarity in zip(scores, near, strict=True)
    ]


def foreign_addresses(answer: str, allowed: Iterable[str]) -> list[tuple[int, int]]:
    """Where addresses stand that no allowed text holds; a Markdown link or picture around one is taken whole."""
    known = " ".join(allowed).lower()
    spans = [m.span() for m in _ADDRESS.finditer(answer) if m[0].lower().rstrip(".,;") not in known]
    links = [m.span() for m in _IMAGE.finditer(answer)]
    wide = {next((ln for ln in links if ln[0] <= s[0] and s[1] <= ln[1] + 1), s) for s in spans}
    found: list[tuple[int, int]] = []
    for start, end in sorted(wide):
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


def leaked(answer: str, prompts: Iterable[str]) -> float:
    """1.0 where the answer repeats a run of the instructions' words, or most of short ones; else the share of the longest."""
    said = _words(answer.replace(ABSTENTION, " "))
    runs = {tuple(said[n : n + RUN]) for n in range(len(said) - RUN + 1)}
    for prompt in (READ_INSTRUCTION, CLOSED_INSTRUCTION, *prompts):
        words = _words(prompt.replace(ABSTENTION, " "))
        size = min(RUN, len(words))
        if size >= 4 and any(
            tuple(words[n : n + size]) in (runs if size == RUN else _runs(said, size))
            for n in range(len(words) - size + 1)
        ):
            return 1.0
    return 0.0


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _runs(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[n : n + size]) for n in range(len(words) - size + 1)}
