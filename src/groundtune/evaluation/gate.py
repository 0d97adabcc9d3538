"""A System's scores against stored ones, question by question: has anything dropped that is no chance?

Paired by question, resampled by fact, sign-flip permutation test, Holm's correction over all that is tested (see
:mod:`groundtune.evaluation.significance`). Leaves out asking the questions and where the baseline is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.errors import InputError
from groundtune.evaluation.runner import ALL, SystemRun
from groundtune.evaluation.significance import holm, paired_difference
from groundtune.records import Example
from groundtune.workspace import digest

FORMAT = "groundtune-baseline-1"
_SET = "groundtune gate --set-baseline"


def questions_digest(examples: Sequence[Example]) -> str:
    """Changes with any question asked, its references, its passages or its fact; not with their order."""
    rows = [[e.id, e.fact, e.split, e.question, list(e.references), [[p.document, p.page, p.text] for p in e.passages]] for e in examples]  # fmt: skip
    return digest(sorted(rows, key=lambda row: str(row[0])))


def baseline_of(
    runs: Sequence[SystemRun], examples: Sequence[Example], metrics: Sequence[str], **about: Any
) -> dict[str, Any]:
    """What is stored: every question's score of every System, and what they are scores of.

    Args:
        about: more to be kept, such as the model and the date.

    Raises:
        InputError: a metric that no System has a value of.
    """
    for metric in metrics:
        if not any(metric in run.values for run in runs):
            raise InputError(
                f"no system has a score {metric!r}",
                expected="metrics that apply: recall needs a system that retrieves",
                next_step="groundtune gate --metrics token_f1",
            )
    return {
        "format": FORMAT,
        **about,
        "questions": len(examples),
        "questions_sha256": questions_digest(examples),
        "metrics": {metric: str(registry.get("metrics", metric).SIGNATURE) for metric in metrics},
        "systems": {
            run.name: {
                m: {q: round(v, 6) for q, v in sorted(run.values[m].items())} for m in metrics if m in run.values
            }
            for run in runs
        },
    }


def read_baseline(path: Path) -> dict[str, Any]:
    """A stored baseline.

    Raises:
        InputError: no file, or not one that ``gate`` wrote.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no baseline {path}", expected="scores to compare with", next_step=_SET) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}", expected="what `gate` wrote", next_step=_SET) from None
    parts = ("questions_sha256", "metrics", "systems")
    if not isinstance(found, dict) or found.get("format") != FORMAT or not all(found.get(p) for p in parts):
        raise InputError(f"{path}: not a baseline of this version", expected=f'"format": "{FORMAT}"', next_step=_SET)
    return found


def check_baseline(
    baseline: Mapping[str, Any], systems: Sequence[str], metrics: Sequence[str], examples: Sequence[Example]
) -> None:
    """See that a comparison with the baseline means something, before the minutes that asking takes.

    Raises:
        InputError: other questions, a metric that is not in it or has another signature, a System that is not in it.
    """
    if baseline["questions_sha256"] != questions_digest(examples):
        raise InputError(
            f"the questions are not those of the baseline ({baseline.get('questions')} then, {len(examples)} now)",
            expected="the same questions, references and passages: other ones have other scores",
            next_step=_SET,
        )
    for metric in metrics:
        now = registry.get("metrics", metric).SIGNATURE
        then = baseline["metrics"].get(metric)
        if then != now:
            raise InputError(
                f"metric {metric!r} is {now!r}, in the baseline {then!r}" if then else f"no {metric!r} in the baseline",
                expected="metrics of one signature",
                next_step=_SET,
            )
    for name in systems:
        if name not in baseline["systems"]:
            raise InputError(
                f"no system {name!r} in the baseline",
                expected=f"one of {', '.join(baseline['systems'])}",
                next_step=f"{_SET} --systems {','.join([*baseline['systems'], name])}",
            )


def compare_with_baseline(
    baseline: Mapping[str, Any],
    runs: Sequence[SystemRun],
    examples: Sequence[Example],
    metrics: Sequence[str],
    *,
    alpha: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Every System's differences from the baseline, and whether any is a significant drop.

    Returns:
        ``gate --json``'s form: ``passed``, and ``checks`` with system, split, metric, baseline, now, difference (below 0
        is worse), its 95 % interval, p_value, p_holm, and ``dropped``.
    """
    fact_of = {e.id: e.fact for e in examples}
    checks: list[dict[str, Any]] = []
    for run in runs:
        for metric in metrics:
            for split, inside in _splits(examples).items():
                now, then = (
                    {q: v for q, v in values.items() if q in inside}
                    for values in (run.values.get(metric, {}), baseline["systems"][run.name].get(metric, {}))
                )
                both = sorted(now.keys() & then.keys())
                found = paired_difference(now, then, fact_of, resamples=resamples, seed=seed)
                if found:
                    means = {k: sum(v[q] for q in both) / len(both) for k, v in (("baseline", then), ("now", now))}
                    checks.append(
                        {"system": run.name, "split": split, "metric": metric, "n": len(both), **means, **found}
                    )
    for check, adjusted in zip(checks, holm([c["p_value"] for c in checks]), strict=True):
        check.update(p_holm=adjusted, dropped=bool(adjusted < alpha and check["difference"] < 0))
    return {"passed": not any(c["dropped"] for c in checks), "alpha": alpha, "checks": checks}


def _splits(examples: Sequence[Example]) -> dict[str, set[str]]:
    """Ids of the answerable questions together, and of those without an answer; neither where empty."""
    parts = {
        ALL: {e.id for e in examples if e.answerable},
        "unanswerable": {e.id for e in examples if not e.answerable},
    }
    return {name: ids for name, ids in parts.items() if ids}
