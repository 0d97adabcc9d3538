"""The gate: what it stores, when it lets pass, when it stops, and what it refuses to compare."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groundtune.errors import InputError
from groundtune.evaluation.gate import (
    baseline_of,
    check_baseline,
    compare_with_baseline,
    questions_digest,
    read_baseline,
)
from groundtune.evaluation.runner import SystemRun
from groundtune.records import Example

METRICS = ("token_f1", "abstention_accuracy")
EXAMPLES = [
    *(Example(f"q{n}", f"f{n // 2}", "held_out_facts", f"What is {n}?", (str(n),)) for n in range(80)),
    *(Example(f"u{n}", f"u{n}", "unanswerable", f"Who is {n}?") for n in range(20)),
]


def run_of(right: float, *, seed: int = 0, refuses: float = 1.0) -> SystemRun:
    """A run that is right on a share of the questions, the same ones for a smaller share."""
    rng = np.random.default_rng(seed)
    f1 = {e.id: float(rng.random() < right) for e in EXAMPLES if e.answerable}
    abstains = {e.id: float(e.answerable or rng.random() < refuses) for e in EXAMPLES}
    return SystemRun("rag", "", values={"token_f1": f1, "abstention_accuracy": abstains})


def against(then: SystemRun, now: SystemRun) -> dict[str, object]:
    stored = json.loads(json.dumps(baseline_of([then], EXAMPLES, METRICS)))
    check_baseline(stored, ["rag"], METRICS, EXAMPLES)
    return compare_with_baseline(stored, [now], EXAMPLES, METRICS, alpha=0.05, resamples=1000, seed=0)


def test_the_same_scores_pass() -> None:
    result = against(run_of(0.7), run_of(0.7))
    assert result["passed"]
    assert [(c["split"], c["metric"], c["n"]) for c in result["checks"]] == [  # type: ignore[attr-defined]
        ("all_answerable", "token_f1", 80),
        ("all_answerable", "abstention_accuracy", 80),
        ("unanswerable", "abstention_accuracy", 20),
    ]
    assert all(c["difference"] == 0 and c["p_holm"] == 1 for c in result["checks"])  # type: ignore[attr-defined]


def test_a_clear_drop_stops_and_a_clear_gain_does_not() -> None:
    fell = against(run_of(0.8), run_of(0.5))
    assert not fell["passed"]
    dropped = [c for c in fell["checks"] if c["dropped"]]  # type: ignore[attr-defined]
    assert [(c["metric"], c["split"]) for c in dropped] == [("token_f1", "all_answerable")]
    assert dropped[0]["difference"] == pytest.approx(dropped[0]["now"] - dropped[0]["baseline"])
    assert dropped[0]["high"] < 0
    assert against(run_of(0.5), run_of(0.8))["passed"]


def test_refusing_less_is_a_drop_of_its_own() -> None:
    checks = against(run_of(0.7), run_of(0.7, refuses=0.3))["checks"]
    assert [c["split"] for c in checks if c["dropped"]] == ["unanswerable"]  # type: ignore[attr-defined]


def test_chance_passes_in_most_draws() -> None:
    stopped = sum(not against(run_of(0.6, seed=s), run_of(0.6, seed=100 + s))["passed"] for s in range(60))
    assert stopped <= 6  # 2.5 % of draws go down significantly by chance


def test_other_questions_are_refused() -> None:
    stored = baseline_of([run_of(0.7)], EXAMPLES, METRICS)
    check_baseline(stored, ["rag"], METRICS, EXAMPLES[::-1])  # order does not matter
    for changed in (EXAMPLES[1:], [replace(EXAMPLES[0], references=("other",)), *EXAMPLES[1:]]):
        assert questions_digest(changed) != questions_digest(EXAMPLES)
        with pytest.raises(InputError, match="not those of the baseline"):
            check_baseline(stored, ["rag"], METRICS, changed)


def test_another_signature_metric_or_system_is_refused() -> None:
    stored = baseline_of([run_of(0.7)], EXAMPLES, METRICS)
    with pytest.raises(InputError, match="no 'mrr' in the baseline"):
        check_baseline(stored, ["rag"], ["mrr"], EXAMPLES)
    with pytest.raises(InputError, match="no system 'tuned' in the baseline"):
        check_baseline(stored, ["tuned"], METRICS, EXAMPLES)
    stored["metrics"]["token_f1"] = "token_f1|something else"
    with pytest.raises(InputError, match=r"in the baseline 'token_f1\|something else'"):
        check_baseline(stored, ["rag"], METRICS, EXAMPLES)


def test_a_metric_without_values_cannot_be_stored() -> None:
    with pytest.raises(InputError, match="no system has a score 'mrr'"):
        baseline_of([run_of(0.7)], EXAMPLES, ["mrr"])


@pytest.mark.parametrize("content", ["not json", "[]", '{"format": "other"}', '{"format": "groundtune-baseline-1"}'])
def test_a_file_that_is_no_baseline_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    with pytest.raises(InputError, match="no baseline"):
        read_baseline(file)
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.json: "):
        read_baseline(file)
