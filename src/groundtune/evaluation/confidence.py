"""How far a System's confidence can be trusted: expected calibration error, and the curve of risk against coverage.

Confidence of an answer is the geometric mean of its tokens' probabilities, exp(mean log-probability), where the backend
gives log-probabilities; else the score of its first source, which orders answers but is no probability. Calibration error:
Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017). Risk against coverage: Geifman and El-Yaniv, "Selective
Classification for Deep Neural Networks" (NeurIPS 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from groundtune.records import Completion, Example

BINS = 10
#: most points of a curve in ``compare --json``
_POINTS = 50


def confidence(completion: Completion) -> tuple[float, str] | None:
    """(confidence, ``logprobs`` or ``source``) of an answer; None for an abstention or where nothing tells."""
    if completion.abstained:
        return None
    if completion.logprobs:
        return math.exp(min(0.0, sum(completion.logprobs) / len(completion.logprobs))), "logprobs"
    return (completion.sources[0].score, "source") if completion.sources else None


def calibration_error(
    confidences: Sequence[float], correct: Sequence[float], *, bins: int = BINS
) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error: the mean gap between confidence and share correct over equal-width bins, by size.

    Bins are (0, 1/M], ..., ((M-1)/M, 1], as in the paper; a confidence of 0 belongs to the first.

    Args:
        confidences: 0 to 1.
        correct: 1 where right, else 0 (shares in between are allowed).

    Returns:
        The error, 0 to 1, and each bin that is not empty: ``low``, ``high``, ``n``, ``confidence``, ``accuracy``.
    """
    inside: dict[int, list[tuple[float, float]]] = {}
    for sure, right in zip(confidences, correct, strict=True):
        inside.setdefault(min(bins - 1, max(0, math.ceil(sure * bins) - 1)), []).append((sure, right))
    rows = []
    for number in sorted(inside):
        pairs = inside[number]
        means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
        ends = {"low": number / bins, "high": (number + 1) / bins}
        rows.append({**ends, "n": len(pairs), "confidence": means[0], "accuracy": means[1]})
    error = sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / max(1, len(confidences))
    return error, rows


def risk_coverage(
    confidences: Sequence[float], losses: Sequence[float], *, questions: int | None = None
) -> tuple[float, list[tuple[float, float]]]:
    """What answering only the surest questions would cost: the curve, and the area under it.

    Answers of equal confidence are accepted together, so that their order does not matter: each counts with the risk
    that stands once all of them are in.

    Args:
        losses: of each answer, 0 (right) to 1.
        questions: how many were asked, those that got no answer included; default: as many as were answered.

    Returns:
        AURC, the mean risk over the answered questions in order of confidence; and (coverage, risk) after each group of
        equal confidence, coverage as a share of ``questions``.
    """
    order = sorted(zip(confidences, losses, strict=True), key=lambda pair: -pair[0])
    asked = questions or len(order)
    points: list[tuple[float, float]] = []
    area = total = 0.0
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and order[end][0] == order[begin][0]:
            total += order[end][1]
            end += 1
        risk = total / end
        points.append((end / asked, risk))
        area += (end - begin) * risk
        begin = end
    return area / max(1, len(order)), points


def trust(
    completions: Mapping[str, Completion], values: Mapping[str, Mapping[str, float]], examples: Sequence[Example]
) -> dict[str, Any]:
    """``calibration`` and ``abstention`` of a run, for ``compare --json``; each only where there is a confidence.

    Calibration compares confidence from log-probabilities with exact match; an answer to an unanswerable question is
    wrong. The curve's loss is 1 - token F1, and 1 for an answer to an unanswerable question.

    Args:
        completions: by question id.
        values: metric -> question id -> value.
    """
    exact, f1 = values.get("exact_match", {}), values.get("token_f1", {})
    rows = [(found, e) for e in examples if e.id in completions and (found := confidence(completions[e.id]))]
    out: dict[str, Any] = {}
    sure = [(c, exact.get(e.id, 0.0)) for (c, kind), e in rows if kind == "logprobs"]
    if sure:
        error, bins = calibration_error([c for c, _ in sure], [right for _, right in sure])
        out["calibration"] = {"ece": error, "n": len(sure), "bins": bins}
    kinds = {kind for (_, kind), _ in rows}
    if len(kinds) == 1 and len({c for (c, _), _ in rows}) > 1:  # two kinds cannot be ordered together
        losses = [1.0 - f1.get(e.id, 0.0) for _, e in rows]
        area, points = risk_coverage([c for (c, _), _ in rows], losses, questions=len(examples))
        out["abstention"] = {"aurc": area, "n": len(rows), "confidence": kinds.pop(), "points": _thinned(points)}
    return out


def _thinned(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """At most ``_POINTS`` of the points, evenly, the last one always."""
    step = max(1, math.ceil(len(points) / _POINTS))
    kept = list(points[::-1][::step][::-1])
    return [[round(coverage, 6), round(risk, 6)] for coverage, risk in kept]
