"""The cost of training from scratch: 6 N D against the lesson's twelve rows."""

from __future__ import annotations

import pytest

from groundtune.plan.pretraining import A100, LESSON, Accelerator, lesson_cost, pretraining_cost, training_flops


@pytest.mark.parametrize("row", LESSON, ids=lambda row: row.model)
def test_the_lessons_rows(row) -> None:  # type: ignore[no-untyped-def]
    assert lesson_cost(row).usd == pytest.approx(row.printed_usd, rel=0.002)


@pytest.mark.parametrize("row", LESSON, ids=lambda row: row.model)
def test_the_other_utilization_misses(row) -> None:  # type: ignore[no-untyped-def]
    other = Accelerator(312, 0.95 - row.utilization, 1.5)
    usd = pretraining_cost(row.parameters_billion * 1e9, row.tokens_billion * 1e9, other).usd
    assert usd != pytest.approx(row.printed_usd, rel=0.05)


def test_there_are_twelve_and_three_at_45_percent() -> None:
    assert len(LESSON) == 12
    assert [row.model for row in LESSON if row.utilization == 0.45] == [
        "MosaicML GPT-30B",
        "DeepMind Chinchilla",
        "MosaicML GPT-70B",
    ]


def test_gpt3_by_hand() -> None:
    """3.15e23 operations; at 156e12 a second 2.019e9 seconds, 560,897 hours, at $1.50 $841,346."""
    assert training_flops(175e9, 300e9) == pytest.approx(3.15e23)
    cost = pretraining_cost(175e9, 300e9)
    assert cost.accelerator_hours == pytest.approx(560_897, rel=1e-5)
    assert cost.usd == pytest.approx(841_346, rel=1e-5)
    assert str(A100) == "312 TFLOP/s x 50%, $1.50 an hour"
