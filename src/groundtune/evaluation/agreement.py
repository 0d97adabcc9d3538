"""Whether a judge is to be believed: its agreement with human labels, by Cohen's kappa and Spearman's rho, with intervals.

Cohen, "A Coefficient of Agreement for Nominal Scales" (1960); for ordered scales with quadratic weights (Cohen 1968), so
that 4 for 5 is a smaller fault than 1 for 5. Intervals: percentile bootstrap over the labelled answers.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.errors import InputError
from groundtune.workspace import Workspace, digest, write_json

FOLDER = "judges"
_EXPECTED = (
    "CSV or JSONL with question, answer (or answer_a and answer_b), label, and where known reference and sources"
)


def cohen_kappa(a: Sequence[int], b: Sequence[int], labels: int, *, weighted: bool) -> float:
    """Cohen's kappa of two raters; scikit-learn's, but 0 where chance alone would agree always.

    Args:
        a, b: each item's label, from 0 to ``labels`` - 1.
        weighted: with quadratic weights.
    """
    counts = np.zeros((labels, labels))
    np.add.at(counts, (np.asarray(a), np.asarray(b)), 1)
    chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    steps = np.arange(labels)
    apart = (steps[:, None] - steps[None, :]) ** 2 if weighted else 1 - np.eye(labels)
    expected = float((apart * chance).sum())
    return 1.0 - float((apart * counts).sum()) / expected if expected else 0.0


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation with mean ranks for ties; 0 where one rater says the same of everything."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else 0.0


def agreement(
    human: Sequence[str], judged: Sequence[str | None], labels: Sequence[str], *, resamples: int, seed: int
) -> dict[str, Any]:
    """How far judge and people agree on what the judge could score.

    Returns:
        ``n``, ``failures``, ``accuracy``, and ``kappa`` and ``spearman``, each with ``value``, ``low`` and ``high``.
    """
    pairs = np.array([(labels.index(h), labels.index(j)) for h, j in zip(human, judged, strict=True) if j is not None])
    failures = sum(j is None for j in judged)
    if not len(pairs):
        nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
        return {"n": 0, "failures": failures, "accuracy": 0.0, "kappa": nothing, "spearman": nothing}
    weighted = len(labels) > 2
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(pairs), size=(resamples, len(pairs)))

    def figures(rows: Any) -> tuple[float, float]:
        a, b = rows[:, 0], rows[:, 1]
        return cohen_kappa(a, b, len(labels), weighted=weighted), spearman(a, b)

    drawn = np.array([figures(pairs[draw]) for draw in draws])
    out: dict[str, Any] = {
        "n": len(pairs),
        "failures": failures,
        "accuracy": float((pairs[:, 0] == pairs[:, 1]).mean()),
    }
    for n, (name, value) in enumerate(zip(("kappa", "spearman"), figures(pairs), strict=True)):
        low, high = np.percentile(drawn[:, n], [2.5, 97.5])
        out[name] = {"value": value, "low": float(low), "high": float(high)}
    return out


def believed(found: Mapping[str, Any], *, least_kappa: float, least_labels: int) -> tuple[bool, str]:
    """Whether, and why: enough labels, few failures, and the lower end of kappa's interval high enough."""
    kappa, total = found["kappa"], found["n"] + found["failures"]
    if found["n"] < least_labels:
        return False, f"{found['n']} answers with a human label and a score, {least_labels} are needed"
    if found["failures"] > 0.1 * total:
        return False, f"{found['failures']} of {total} replies held no score"
    told = f"kappa {kappa['value']:.2f} ({kappa['low']:.2f} to {kappa['high']:.2f})"
    if kappa["low"] < least_kappa:
        return False, f"{told}: its lower end is below {least_kappa:g}"
    return True, f"{told}: its lower end reaches {least_kappa:g}"


def read_labels(path: Path, labels: Sequence[str]) -> list[dict[str, str]]:
    """The labelled answers of a file.

    Raises:
        InputError: no file, no row, or the first faulty one with its line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", expected=_EXPECTED) from None
    needed = ("question", "label", *(("answer_a", "answer_b") if labels[0] == "B" else ("answer",)))
    rows = []
    for number, row in _rows(path, text):
        missing = next((key for key in needed if row.get(key) in (None, "")), None)
        if missing:
            raise InputError(f"{path}:{number}: no {missing!r}", expected=_EXPECTED)
        kept = {key: str(value) for key, value in row.items() if key and value is not None}
        known = {label.lower(): label for label in labels}
        kept["label"] = known.get(kept["label"].strip().lower(), "")
        if not kept["label"]:
            raise InputError(f"{path}:{number}: label {row['label']!r}", expected=f"one of {', '.join(labels)}")
        rows.append(kept)
    if not rows:
        raise InputError(f"{path}: holds no label", expected=_EXPECTED)
    return rows


def _rows(path: Path, text: str) -> Any:
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        yield from ((reader.line_num, found) for found in reader)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            row: Any = None
            with suppress(ValueError):
                row = json.loads(line)
            if not isinstance(row, dict):
                raise InputError(f"{path}:{number}: not a JSON object", expected=_EXPECTED)
            yield number, row


def _key(model: str, signature: str) -> str:
    return f"{FOLDER}/{digest([model, signature])[:16]}.json"


def keep(workspace: Workspace, model: str, signature: str, found: Mapping[str, Any]) -> None:
    """Remember what was measured of a judge, good or bad."""
    path = workspace.path(_key(model, signature))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(found))


def require(
    workspace: Workspace, model: str, signature: str, *, least_kappa: float, least_labels: int
) -> dict[str, Any]:
    """What was measured of a judge that is to be believed.

    Raises:
        InputError: its agreement with people was not measured, or was too low.
    """
    path = workspace.path(_key(model, signature))
    step = "groundtune judge --labels FILE"
    if not path.is_file():
        raise InputError(
            f"the judge {model} with this rubric was never held against human labels",
            expected="a judge whose agreement with people was measured",
            next_step=step,
        )
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    trusted, why = believed(found, least_kappa=least_kappa, least_labels=least_labels)
    if not trusted:
        raise InputError(f"the judge {model} is not to be believed: {why}", expected="closer agreement", next_step=step)
    return found
