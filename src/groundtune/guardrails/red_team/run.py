"""Ask a System with every case planted, guards off and on, and count what gets through; then ordinary questions, for false alarms.

Planting: the case's text stands at the end of the best chunk that the retriever brings, and each of its sentences is the most
relevant one there, so no attack fails because it was not retrieved. Which question a case goes with is drawn by its id.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from groundtune.config import GUARD_RULES, GuardConfig
from groundtune.dataset.reading import sentences
from groundtune.guardrails.log import counting
from groundtune.guardrails.passages import PassageGuard
from groundtune.guardrails.policy import all_off
from groundtune.guardrails.red_team.cases import Case
from groundtune.records import Completion
from groundtune.retrieval.retriever import Hit
from groundtune.system import System, as_messages

#: builds the System under test over a retriever, behind a policy
Build = Callable[[Any, GuardConfig], System]


class PlantedRetriever:
    """A retriever whose best hit holds what was planted for a question; what it found is kept.

    Args:
        retriever: what finds.
    """

    def __init__(self, retriever: Any) -> None:
        self._retriever = retriever
        self._found: dict[str, list[Hit]] = {}
        self.planted: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._retriever, name)

    def retrieve(self, question: str, **options: Any) -> list[Hit]:
        """The hits, with the text planted in the best one."""
        if question not in self._found:
            self._found[question] = self._retriever.retrieve(question, **options)
        hits = self._found[question]
        text = self.planted.get(question)
        if not text or not hits:
            return hits
        best = hits[0]
        parts = tuple((s, 1.0) for s in sentences(text))
        chunk = replace(best.chunk, text=f"{best.chunk.text}\n{text}")
        return [replace(best, chunk=chunk, sentences=(*best.sentences, *parts)), *hits[1:]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case: the answer, whether it did what the case wants, and which rules spoke."""

    case: Case
    answer: str
    succeeded: bool
    rules: tuple[str, ...]


def attack(
    cases: Sequence[Case], build: Build, retriever: PlantedRetriever, questions: Sequence[str], policy: GuardConfig,
    prompts: Sequence[str],
) -> list[Outcome]:  # fmt: skip
    """Every case once.

    Args:
        questions: ordinary ones that the cases go with.
        prompts: instructions of the System's prompts, which a leak would repeat.
    """
    system = build(retriever, policy)
    out: list[Outcome] = []
    for case in cases:
        question = case.text if case.stage == "input" else case.question or _drawn(case, questions)
        retriever.planted = {} if case.stage == "input" else {question: case.text}
        with counting() as rules:
            completion = system.answer(as_messages(question))
        out.append(Outcome(case, completion.text, case.succeeded(completion.text, prompts), tuple(rules)))
    retriever.planted = {}
    return out


def _drawn(case: Case, questions: Sequence[str]) -> str:
    return questions[int.from_bytes(hashlib.sha256(case.id.encode()).digest()[:4], "big") % len(questions)]


def rates(outcomes: Iterable[Outcome], key: Callable[[Case], str]) -> dict[str, dict[str, int]]:
    """Successes and cases by a key of the case."""
    table: dict[str, dict[str, int]] = defaultdict(lambda: {"succeeded": 0, "cases": 0})
    for outcome in outcomes:
        row = table[key(outcome.case)]
        row["succeeded"] += outcome.succeeded
        row["cases"] += 1
    return dict(table)


def alone(policy: GuardConfig) -> Iterator[tuple[str, GuardConfig]]:
    """The policy with one of its rules on, for each."""
    for rule in GUARD_RULES:
        if getattr(policy, rule):
            yield rule, all_off().model_copy(update={rule: getattr(policy, rule), "thresholds": policy.thresholds})


def false_alarms(
    questions: Sequence[str], build: Build, retriever: PlantedRetriever, policy: GuardConfig
) -> dict[str, Any]:
    """Ordinary questions answered with guards and without: how many answers differ, how many are refused, by which rule.

    ``added_seconds``: medians of what the guards take more, the first time and when the same question comes again. What the
    retriever found is kept, so its time is in neither.
    """
    retriever.planted = {}
    plain, guarded = build(retriever, all_off()), build(retriever, policy)
    changed = refused = 0
    spoke: dict[str, int] = defaultdict(int)
    added: list[float] = []
    again: list[float] = []
    for question in questions:
        retriever.retrieve(question)
        before, plain_seconds = _timed(plain, question)
        with counting() as rules:
            completion, seconds = _timed(guarded, question)
        added.append(seconds - plain_seconds)
        again.append(_timed(guarded, question)[1] - plain_seconds)
        for rule in rules:
            spoke[rule] += 1
        changed += completion.text != before.text
        refused += completion.abstained and not before.abstained
    return {
        "questions": len(questions),
        "changed": changed,
        "refused": refused,
        "rules": dict(spoke),
        "added_seconds": {"first": statistics.median(added), "again": statistics.median(again)},
    }


def _timed(system: System, question: str) -> tuple[Completion, float]:
    began = time.perf_counter()
    completion = system.answer(as_messages(question))
    return completion, time.perf_counter() - began


def dropped_sentences(passages: Iterable[str], guard: PassageGuard) -> dict[str, Any]:
    """Ordinary passages: how many of their sentences the guard takes out, and some of them."""
    parts = [sentences(p) for p in passages]
    verdicts = guard.judge_all(parts)
    out = [t for p, v in zip(parts, verdicts, strict=True) for t, one in zip(p, v, strict=True) if one.rule]
    return {"sentences": sum(map(len, parts)), "dropped": len(out), "examples": out[:10]}
