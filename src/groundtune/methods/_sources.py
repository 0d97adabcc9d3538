"""What each sentence of an answer rests on: the sources it is shown with, or the mark that it has none.

Attribution after generation, as in RARR (Gao et al., "RARR: Researching and Revising What Language Models Say", ACL 2023)
and ALCE's post-hoc citing (Gao et al., EMNLP 2023): a model of any size is cited, one of 9 million parameters that cannot
be told to cite included. Each sentence is held against what was retrieved (:mod:`groundtune.retrieval.support`); what
supports nothing is not cited, and a sentence that nothing supports is told so, or left out (``answer.unsupported``).
Leaves out revising: no answer is reworded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from groundtune import registry
from groundtune.dataset.prompts import ABSTENTION, abstains
from groundtune.dataset.reading import sentences
from groundtune.methods._setup import Setup
from groundtune.records import Completion, Source, Statement
from groundtune.retrieval.claim_words import words_of
from groundtune.retrieval.index import heading_line
from groundtune.retrieval.retriever import Hit, Sentence, names_in, rank_sentences, to_source
from groundtune.retrieval.support import Claim, features, support_scores

#: embedders whose likeness the weights of the support score were fitted to; with another one the words alone count
_FITTED = ("minilm", "minilm_int8")
#: a source counts beside the best one of its statement from this share of its score; most sources of a statement
BESIDE, MOST = 0.99, 3
#: sentences of which the best is held against a statement together with each other one; what a second must add
_TOGETHER, _GAIN = 6, 0.05
#: share of the shorter one's words from which two sentences are versions of one statement
_SAME = 0.6
#: a model's own "[1]", which numbers the passages of its prompt and says nothing of what is in them
_REFERENCE = re.compile(r"\s*\[\d+(?:, ?\d+)*\]")


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as a model wrote it, with what it may rest on.

    Attributes:
        text: the answer.
        question: what was asked.
        context: the sentences that the model read.
        hits: the chunks they are from, and whatever else was retrieved.
    """

    text: str
    question: str
    context: Sequence[Sentence]
    hits: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class Sourced:
    """An answer with its sources: fields of a :class:`Completion`."""

    text: str
    abstained: bool
    sources: tuple[Source, ...]
    statements: tuple[Statement, ...]


def with_sources(written: Written, setup: Setup) -> Sourced:
    """One answer with its sources; see :func:`all_with_sources`."""
    return all_with_sources([written], setup)[0]


def completed(completion: Completion, written: Written, setup: Setup) -> Completion:
    """A completion with the sources of its answer."""
    return applied(completion, with_sources(written, setup))


def applied(completion: Completion, sourced: Sourced) -> Completion:
    """A completion with what was found for its answer."""
    return replace(
        completion,
        text=sourced.text,
        abstained=sourced.abstained,
        sources=sourced.sources,
        statements=sourced.statements,
    )


def all_with_sources(answers: Sequence[Written], setup: Setup) -> list[Sourced]:
    """Each answer with what its sentences rest on, all answers' sentences embedded together.

    An abstention has no statements and cites nothing.
    """
    parts = [(n, text) for n, answer in enumerate(answers) if not abstains(answer.text) for text in sentences(answer.text) if any(map(str.isalnum, text))]  # fmt: skip
    found = _rested([_Part(text, answers[n]) for n, text in parts], setup)
    own = setup.config.answer
    out = []
    for number, answer in enumerate(answers):
        here = [statement for (n, _), statement in zip(parts, found, strict=True) if n == number]
        out.append(_put_together(answer.text, here, drop=own.unsupported == "drop"))
    return out


def _put_together(text: str, statements: list[Statement], *, drop: bool) -> Sourced:
    if drop and any(not s.supported for s in statements):
        kept, at = [], 0
        for statement in statements:
            start = text.find(statement.text, at)
            if start >= 0:
                end = start + len(statement.text)
                kept.append(text[at : end if statement.supported else start])
                at = end
        text = "".join([*kept, text[at:]])
        text = re.sub(r"[ \t]{2,}", " ", re.sub(r"\n\s*\n+", "\n\n", text)).strip()
        statements = [s for s in statements if s.supported]
        if not statements:
            return Sourced(ABSTENTION, True, (), ())
    ordered = sorted(statements, key=lambda s: -s.support)
    sources = tuple(dict.fromkeys(source for statement in ordered for source in statement.sources))
    return Sourced(text, abstains(text), sources, tuple(statements))


@dataclass(frozen=True, slots=True)
class _Part:
    """A sentence of an answer."""

    text: str
    answer: Written

    def beside(self, *sentences_: Sentence) -> Claim:
        """The claim that these sentences support it."""
        passage = " ".join(s.text for s in sentences_)
        place = "; ".join(dict.fromkeys(heading_line(s.chunk) for s in sentences_))
        return Claim(_REFERENCE.sub("", self.text), passage, self.answer.question, place)


def _rested(parts: Sequence[_Part], setup: Setup) -> list[Statement]:
    """Each sentence of answers with its sources: single sentences that support it, else two that do together."""
    embed, threshold = _embed_of(setup), setup.config.answer.support
    candidates = [_candidates(part.answer) for part in parts]
    pairs = [(n, s) for n, found in enumerate(candidates) for s in found]
    single = support_scores([parts[n].beside(s) for n, s in pairs], embed)
    scored: list[list[tuple[float, Sentence]]] = [[] for _ in parts]
    for (n, sentence), score in zip(pairs, single, strict=True):
        scored[n].append((score, sentence))
    out = []
    for part, found in zip(parts, scored, strict=True):
        found.sort(key=lambda f: -f[0])
        best = found[0][0] if found else 0.0
        cited = [s for score, s in found if score >= max(threshold, BESIDE * best)]
        more, two = _two(part, [s for _, s in found[:_TOGETHER]], embed)
        if more >= max(threshold, best + _GAIN):
            best, cited = more, two
        elif cited:
            cited = [*_one_a_chunk(cited)[:MOST], *_bridge(part, cited)]
        by_id = {h.chunk.id: h for h in part.answer.hits}
        sources = tuple(to_source(by_id[s.chunk.id], s.text) for s in _one_a_chunk(cited) if s.chunk.id in by_id)
        out.append(Statement(part.text, bool(cited), round(best, 4), sources))
    return out


def _candidates(answer: Written) -> list[Sentence]:
    """What an answer may rest on: what the model read first, then the other sentences of the hits."""
    found = {s.text: s for s in answer.context}
    for sentence in rank_sentences(list(answer.hits)):
        found.setdefault(sentence.text, sentence)
    return list(found.values())


def _two(part: _Part, found: list[Sentence], embed: Any) -> tuple[float, list[Sentence]]:
    """The best sentence with the one that best makes up for what it lacks; 0 where it lacks no word of the statement."""
    if len(found) < 2 or features(part.beside(found[0]))["new_held"] == 1.0:
        return 0.0, []
    twos = [[found[0], other] for other in found[1:] if other.chunk.id != found[0].chunk.id]
    scores = support_scores([part.beside(*two) for two in twos], embed)
    return max(zip(scores, twos, strict=True), key=lambda f: f[0], default=(0.0, []))


def _bridge(part: _Part, cited: list[Sentence]) -> list[Sentence]:
    """The sentence that leads from the question to the cited one: it shares a name with it that the question lacks."""
    asked = part.answer.question.lower()
    names = [n for n in names_in(cited[0].text) if n.lower() not in asked and n.lower() not in part.text.lower()]
    best = max((s.relevance for s in cited), default=0.0)
    found = [
        s
        for s in _candidates(part.answer)
        if s.relevance > best
        and s.chunk.id != cited[0].chunk.id
        and any(n in s.text for n in names)
        and not _versions(s.text, cited[0].text)
    ]
    return sorted(found, key=lambda s: -s.relevance)[:1]


def _versions(one: str, other: str) -> bool:
    """True for two wordings of one statement, with another value perhaps: no step leads from one to the other."""
    a, b = words_of(one).stems, words_of(other).stems
    return len(a & b) >= _SAME * min(len(a), len(b))


def _one_a_chunk(found: Sequence[Sentence]) -> list[Sentence]:
    return list({s.chunk.id: s for s in reversed(found)}.values())[::-1]


def _embed_of(setup: Setup) -> Any:
    name = setup.config.index.embedder
    return registry.get("embedders", name).embed if name in _FITTED else None
