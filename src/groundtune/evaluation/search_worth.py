"""What the winner of a search is worth on held-out questions, and each of its choices.

The winner against the current settings, split by split, and the winner with one choice at a time set back to its current
value (leave-one-out ablation), all on the same questions that the search never saw, with paired intervals and tests over
facts. Choices are Holm-corrected together. Leaves out the search (``search``) and the page (``search_report``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from groundtune.config import CompareConfig
from groundtune.evaluation.compare import choose_questions
from groundtune.evaluation.recommendation import ALPHA
from groundtune.evaluation.search import Search
from groundtune.evaluation.search_space import CURRENT, Arm
from groundtune.evaluation.significance import holm, mean_score, paired_difference
from groundtune.records import Example
from groundtune.system import as_messages, timed

PART = "held_out"
#: shown of every arm
SHOWN = ("recall_at_5", "mrr", "token_f1", "exact_match", "supported", "abstention_accuracy")


def held_out(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """The questions to report on: neither trained on nor chosen by."""
    return choose_questions([e for e in examples if e.split not in ("train", "validation")], limit, seed)


def affordable(search: Search, examples: Sequence[Example], seed: int) -> list[Example]:
    """The held-out questions, or as many facts a split as there is time for: the winner and the current settings at least."""
    count = search.journal.decided("held-out questions")
    if count is None:
        each = search.journal.seconds_for("answers", 1)
        count = min(len(examples), int(max(0.0, search.left()) / (2.5 * each)) if each else len(examples))
        search.journal.decide("held-out questions", count)
    if count >= len(examples):
        return list(examples)
    return choose_questions(examples, max(10, count // len({e.split for e in examples})), seed)


def ask(search: Search, arm: Arm, examples: Sequence[Example], latency_questions: int) -> None:
    """Ask an arm the held-out questions as a user would, then some one by one to time; only what is not written down."""
    search.measure(PART, arm, examples)
    if not search.journal.latency(PART, arm):
        system, since = search.system(PART, arm), search.clock()
        alone = examples[:: max(1, len(examples) // latency_questions)][:latency_questions]
        taken = [timed(system, as_messages(e.question + " ")).seconds for e in alone]
        search.journal.add(PART, arm, {}, search.clock() - since, taken)


def worth(
    search: Search, winner: Arm, examples: Sequence[Example], current: Mapping[str, Any], config: CompareConfig
) -> dict[str, Any]:
    """The report's figures.

    Args:
        search: done, with time left or not.
        examples: held-out questions.
        current: the current values of the winner's settings.
        config: resamples and questions to time.

    Returns:
        ``questions``, ``splits``, ``systems`` (current settings and winner), ``overall`` (difference, low, high,
        p_value of the search's own score), ``pairs`` (split and metric), ``worth`` (one row a choice), ``not_measured``.
    """
    examples = affordable(search, examples, search.seed)
    rest: list[str] = []
    arms = [CURRENT] if winner == CURRENT else [CURRENT, winner]
    for arm in arms:
        ask(search, arm, examples, config.latency_questions)
    rows = []
    for name, value in winner.items:
        less = winner.without(name)
        if less != CURRENT and not _affords(search, less, examples):
            rest.append(name)
            continue
        ask(search, less, examples, config.latency_questions)
        figures = _difference(search, winner, less, examples, config)
        row = {"setting": name, "from": current[name], "to": value, **figures, "without": _row(search, less, examples, config)}  # fmt: skip
        rows.append(row)
    for row, adjusted in zip(rows, holm([r["p_value"] for r in rows]), strict=True):
        row["p_holm"] = adjusted
    return {
        "questions": len(examples),
        "splits": {s: sum(e.split == s for e in examples) for s in dict.fromkeys(e.split for e in examples)},
        "systems": [_row(search, arm, examples, config) for arm in arms],
        "overall": _difference(search, winner, CURRENT, examples, config) if winner != CURRENT else None,
        "pairs": _pairs(search, winner, examples, config) if winner != CURRENT else [],
        "worth": rows,
        "not_measured": rest,
    }


def _affords(search: Search, arm: Arm, examples: Sequence[Example]) -> bool:
    missing = len(search.journal.missing(PART, arm, [e.id for e in examples]))
    needed = search.builder.index_seconds(arm) + search.journal.seconds_for(PART, missing)
    return not missing or needed <= search.left()


def _score(search: Search, arm: Arm, examples: Sequence[Example]) -> dict[str, float]:
    return search.scores(PART, arm, examples)


def _difference(search: Search, a: Arm, b: Arm, examples: Sequence[Example], config: CompareConfig) -> dict[str, float]:
    fact_of = {e.id: e.fact for e in examples}
    values = [_score(search, arm, examples) for arm in (a, b)]
    found = paired_difference(values[0], values[1], fact_of, resamples=config.resamples, seed=search.seed)
    assert found is not None, "both arms were asked every question"
    return found


def _row(search: Search, arm: Arm, examples: Sequence[Example], config: CompareConfig) -> dict[str, Any]:
    """An arm's means by split and metric, its latency and what its index cost."""
    fact_of = {e.id: e.fact for e in examples}
    scores: dict[str, dict[str, Any]] = {}
    for split, inside in _splits(examples).items():
        values = search.journal.values(PART, arm, [e.id for e in inside])
        values["score"] = _score(search, arm, inside)
        for metric in (*SHOWN, "score"):
            found = mean_score(values.get(metric, {}), fact_of, resamples=config.resamples, seed=search.seed)
            if found:
                mean = {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}
                scores.setdefault(split, {})[metric] = mean
    latency = search.journal.latency(PART, arm)
    return {
        "changes": arm.changes,
        "scores": scores,
        "latency_seconds": {"p50": float(np.percentile(latency, 50))} if latency else {},
        "index": search.journal.index(arm.part("index")),
    }


def _splits(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """The questions of each split, and all of them."""
    splits = {s: [e for e in examples if e.split == s] for s in dict.fromkeys(e.split for e in examples)}
    return {**splits, "all": list(examples)}


def _pairs(search: Search, winner: Arm, examples: Sequence[Example], config: CompareConfig) -> list[dict[str, Any]]:
    """The winner minus the current settings by split and metric; Holm-corrected over the splits of a metric."""
    fact_of = {e.id: e.fact for e in examples}
    out: list[dict[str, Any]] = []
    for metric in SHOWN:
        family: list[dict[str, Any]] = []
        for split, inside in _splits(examples).items():
            if split == "all":
                continue
            ids = [e.id for e in inside]
            a, b = (search.journal.values(PART, arm, ids).get(metric, {}) for arm in (winner, CURRENT))
            found = paired_difference(a, b, fact_of, resamples=config.resamples, seed=search.seed)
            if found:
                family.append({"split": split, "metric": metric, **found})
        for pair, adjusted in zip(family, holm([p["p_value"] for p in family]), strict=True):
            pair["p_holm"] = adjusted
        out += family
    return out


def advice(winner: Arm, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Whether to take the winner over: only where it is better on held-out questions by more than chance explains."""
    if winner == CURRENT:
        return {"adopt": False, "text": "Leave the settings as they are: nothing that was tried did better on the questions kept back."}  # fmt: skip
    overall = figures["overall"]
    said = f"{overall['difference']:+.3f} on {figures['questions']} held-out questions (95 % interval {overall['low']:+.3f} to {overall['high']:+.3f}, p {overall['p_value']:.4f})"
    if overall["difference"] > 0 and overall["p_value"] < ALPHA:
        worse = [p for p in figures["pairs"] if p["difference"] < 0 and p["p_holm"] < ALPHA]
        but = "".join(f"; but {p['metric']} of {p['split']} {p['difference']:+.3f}" for p in worse)
        return {"adopt": True, "text": f"Take the new settings over: {said}{but}."}
    return {"adopt": False, "text": f"Leave the settings as they are: the best that was found gives {said}, which may be chance."}  # fmt: skip
