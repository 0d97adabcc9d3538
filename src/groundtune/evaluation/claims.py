"""Claims to be called True, False or NEE (not enough evidence) in four ways, each with its confusion matrix.

The published lesson (OpenAI's and Chroma's "hyde with chroma" notebook, on SciFact, Wadden et al., EMNLP 2020): closed book;
with the three nearest passages; with those of them nearer than a threshold, and NEE where none is left; and the same with
passages that were searched by a made-up document (HyDE, Gao et al., ACL 2023). Who gives the verdict, who searches and who
makes up is passed in. Leaves out where claims are asked from and how they are shown (``cli/claims.py``, ``claims_report``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from groundtune.errors import InputError
from groundtune.evaluation.confusion import confusion
from groundtune.evaluation.significance import mean_score
from groundtune.records import Passage

LABELS = ("True", "False", "NEE")
WAYS = ("closed_book", "context", "threshold", "hyde")
#: other words for the labels that claims files use
_SAME = {
    "true": "True", "support": "True", "supports": "True", "supported": "True", "yes": "True",
    "false": "False", "contradict": "False", "contradicts": "False", "contradicted": "False", "refutes": "False", "no": "False",
    "nee": "NEE", "not enough evidence": "NEE", "not_enough_info": "NEE", "not enough info": "NEE", "nei": "NEE",
}  # fmt: skip
_EXPECTED = 'one JSON object a line: {"claim": "...", "label": "True" | "False" | "NEE"}, and where known id, split, fact, passages'


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement with its right label.

    Attributes:
        id: unique in its file.
        text: the statement.
        label: one of ``LABELS``.
        split: ``train``: thresholds are chosen on it and it is not reported; anything else is tested.
        fact: claims about one fact share it, and resampling is by fact.
        passages: where the documents say so, or otherwise; empty for NEE or where not known.
    """

    id: str
    text: str
    label: str
    split: str = "test"
    fact: str = ""
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage that was found for a claim.

    Attributes:
        text: the passage.
        document: the path of its document.
        page: its page, where it has pages.
        distance: 1 - cosine of the nearest sentence to what was searched with; 0 to 2.
    """

    text: str
    document: str
    page: int | None
    distance: float


class Verdict(Protocol):
    """What says True, False or NEE."""

    name: str

    def judge(self, claims: Sequence[str], evidence: Sequence[Sequence[Evidence]] | None) -> list[tuple[str, bool]]:
        """(label, whether it was understood) of each claim; without any evidence for closed book."""
        ...


#: texts to search with -> what is found for each, nearest first
Search = Callable[[Sequence[str]], list[list[Evidence]]]
#: claims -> a made-up passage about each
Write = Callable[[Sequence[str]], list[str]]


def read_claims(path: Path) -> list[Claim]:
    """The claims of a JSONL file: ours, or SciFact's, whose label stands in ``evidence``.

    Raises:
        InputError: no file, no claim, or the first faulty line with its number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(
            f"no claims file {path}", expected=_EXPECTED, next_step="write one, or name it with --claims"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", expected=_EXPECTED) from None
    claims: dict[str, Claim] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            claim = _claim(json.loads(line), number)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}:{number}: {_said(error)}", expected=_EXPECTED) from None
        if claim.id in claims:
            raise InputError(f"{path}:{number}: id {claim.id!r} again", expected="ids that differ")
        claims[claim.id] = claim
    if not claims:
        raise InputError(f"{path}: holds no claim", expected=_EXPECTED)
    return list(claims.values())


def _claim(row: Any, number: int) -> Claim:
    text = row["claim"]
    if not isinstance(text, str) or not text.strip():
        raise TypeError("'claim' must be some words")
    name = row["label"] if "label" in row else _scifact_label(row.get("evidence"))
    label = _SAME.get(str(name).strip().lower())
    if label is None:
        raise ValueError(f"label {name!r}")
    passages = tuple(Passage(str(p["document"]), str(p["text"]), p.get("page")) for p in row.get("passages", ()))
    id_ = str(row.get("id", number))
    return Claim(id_, text, label, str(row.get("split", "test")), str(row.get("fact") or id_), passages)


def _scifact_label(evidence: Any) -> str:
    if not isinstance(evidence, dict):
        raise KeyError("label")
    return next((str(rationale["label"]) for found in evidence.values() for rationale in found), "NEE")


def _said(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg}"
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)


def choose_threshold(distances: Sequence[float], has_evidence: Sequence[bool]) -> float | None:
    """The distance below which the nearest passage tells best whether there is evidence: by balanced accuracy.

    Args:
        distances: of each claim's nearest passage.
        has_evidence: whether its label is True or False.

    Returns:
        The middle between two distances; None where one of the two kinds is missing.
    """
    pairs = sorted(zip(distances, has_evidence, strict=True))
    yes = sum(has for _, has in pairs)
    no = len(pairs) - yes
    if not yes or not no:
        return None
    best, chosen, kept = -1.0, 0.0, 0
    for n, (distance, has) in enumerate(pairs):
        kept += has
        after = pairs[n + 1][0] if n + 1 < len(pairs) else distance + 0.01
        balanced = kept / yes + (no - (n + 1 - kept)) / no
        if after > distance and balanced > best:
            best, chosen = balanced, (distance + after) / 2
    return chosen


def found_threshold(train: Sequence[Claim], evidence: Sequence[Sequence[Evidence]]) -> float | None:
    """:func:`choose_threshold` on training claims and what was found for them."""
    rows = [
        (min(e.distance for e in found), c.label != "NEE") for c, found in zip(train, evidence, strict=True) if found
    ]
    return choose_threshold([distance for distance, _ in rows], [has for _, has in rows])


def near(evidence: Sequence[Sequence[Evidence]], threshold: float) -> list[list[Evidence]]:
    """Only what is nearer than the threshold."""
    return [[e for e in found if e.distance < threshold] for found in evidence]


def four_ways(
    claims: Sequence[Claim],
    verdict: Verdict,
    context: Sequence[Sequence[Evidence]],
    kept: Sequence[Sequence[Evidence]],
    imagined: Sequence[Sequence[Evidence]],
    *,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Each way's verdicts on the claims, as ``claims --json`` prints them.

    Args:
        context: what was found for each claim.
        kept: what of it is near enough.
        imagined: what is near enough of that found with made-up passages.
    """
    given: dict[str, Sequence[Sequence[Evidence]] | None] = {
        "closed_book": None, "context": context, "threshold": kept, "hyde": imagined,
    }  # fmt: skip
    return [_one_way(way, claims, verdict, given[way], resamples=resamples, seed=seed) for way in WAYS]


def _one_way(
    way: str,
    claims: Sequence[Claim],
    verdict: Verdict,
    evidence: Sequence[Sequence[Evidence]] | None,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    asked = [n for n in range(len(claims)) if evidence is None or evidence[n]]
    shown = None if evidence is None else [evidence[n] for n in asked]
    said = dict(zip(asked, verdict.judge([claims[n].text for n in asked], shown) if asked else [], strict=True))
    labels = [said[n][0] if n in said else "NEE" for n in range(len(claims))]  # no context left: not enough evidence
    matrix = confusion([c.label for c in claims], labels, LABELS)
    right = {c.id: float(c.label == label) for c, label in zip(claims, labels, strict=True)}
    score = mean_score(right, {c.id: c.fact for c in claims}, resamples=resamples, seed=seed)
    assert score is not None
    return {
        "way": way,
        **matrix.to_json(),
        "accuracy_low": score.low,
        "accuracy_high": score.high,
        "without_context": len(claims) - len(asked) if evidence is not None else 0,
        "not_understood": sum(not understood for _, understood in said.values()),
        "verdicts": dict(zip((c.id for c in claims), labels, strict=True)),
    }
