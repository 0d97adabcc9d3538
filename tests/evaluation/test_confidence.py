"""Confidence of answers, and what of it stands in a comparison and its report."""

from __future__ import annotations

import math

import pytest

from groundtune.evaluation.confidence import confidence, trust
from groundtune.evaluation.report_sections import confidence as section
from groundtune.evaluation.report_text import Page
from groundtune.records import Completion, Example, Source

EXAMPLES = [*(Example(f"q{n}", f"q{n}", "s", "?", ("x",)) for n in range(4)), Example("u", "u", "unanswerable", "?")]


def test_of_what_confidence_is_made() -> None:
    assert confidence(Completion("x", logprobs=(math.log(0.5), math.log(0.125)))) == (pytest.approx(0.25), "logprobs")
    source = Source("a", "c", 0.7, "")
    assert confidence(Completion("x", sources=(source,))) == (0.7, "source")
    assert confidence(Completion("x")) is None
    assert confidence(Completion("x", abstained=True, logprobs=(-0.1,))) is None


def test_calibration_and_curve_of_a_run_worked_by_hand() -> None:
    sure = {"q0": 0.9, "q1": 0.9, "q2": 0.35, "u": 0.65}  # q3 abstains
    completions = {q: Completion("x", logprobs=(math.log(p),)) for q, p in sure.items()}
    completions["q3"] = Completion("", abstained=True)
    values = {
        "exact_match": {"q0": 1.0, "q1": 0.0, "q2": 1.0, "q3": 0.0},
        "token_f1": {"q0": 1.0, "q1": 0.5, "q2": 1.0, "q3": 0.0},
    }
    found = trust(completions, values, EXAMPLES)
    # bins (0.8, 0.9]: 0.9 sure, half right, of 2; (0.3, 0.4]: 0.35, right; (0.6, 0.7]: 0.65, wrong
    assert found["calibration"]["ece"] == pytest.approx((2 * 0.4 + 0.65 + 0.65) / 4)
    # 2 of 5 answered: risk 0.25; with u 3: 1.5 / 3; with q2 4: 1.5 / 4
    assert found["abstention"]["points"] == [[0.4, 0.25], [0.6, 0.5], [0.8, 0.375]]
    assert found["abstention"]["aurc"] == pytest.approx((2 * 0.25 + 0.5 + 0.375) / 4)
    assert trust({e.id: Completion("x") for e in EXAMPLES}, values, EXAMPLES) == {}


def test_the_report_draws_a_line_a_system() -> None:
    points = [[n / 10, n / 20] for n in range(1, 9)]
    systems = [
        {
            "name": "<rag>",
            "abstention": {"aurc": 0.2, "confidence": "logprobs", "points": points},
            "calibration": {"ece": 0.1},
        },
        {"name": "elderly"},
    ]
    drawn = section(Page({}, systems, [], "<rag>"))
    assert drawn.count("<polyline") == 1
    assert "&lt;rag&gt;" in drawn
    assert "<rag>" not in drawn
    assert "80 %" in drawn
    assert "elderly" not in drawn
    assert section(Page({}, [{"name": "elderly"}], [], None)) == ""
