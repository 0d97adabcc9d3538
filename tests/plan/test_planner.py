"""Rows of a plan: seconds, disk and money from the timed parts; limits; suggestions that really fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_configs import llama

from groundtune.errors import ConfigError
from groundtune.plan import planner as planning
from groundtune.plan.limits import Limits, check
from groundtune.plan.measure import Speed
from groundtune.plan.memory import Run
from groundtune.plan.planner import Planner, Request
from groundtune.plan.row import Row, Settings
from groundtune.plan.words import amount, duration, money
from groundtune.plan.work import Work, pretraining_work, work_of_tokens
from groundtune.plan.would_fit import plan_row

STEP = 0.5 + 3 * 0.3


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes with tokens, and is the same for every method but ``layers``, which takes a tenth."""

    def measured(run: Run, *, budget_seconds: float) -> Speed:
        part = run.rows * run.tokens / 1024
        if run.method == "layers":
            blocks = {"layers": 2, "backward_layers": 2, "frozen_layers": 1}
            return Speed(0.01 * part, 0.02 * part, 0.05 * part, 0.005, **blocks, measured_on="a clock")
        blocks = {"layers": 3, "backward_layers": 3, "frozen_layers": 0}
        return Speed(0.1 * part, 0.2 * part, 0.5 * part, 0.05, **blocks, measured_on="a clock")

    monkeypatch.setattr(planning, "measure", measured)


def material(batch_tokens: int, epochs: int, max_tokens: int | None) -> Work:
    return work_of_tokens(
        12_800, row_tokens=min(128, max_tokens or 128), batch_tokens=batch_tokens, epochs=epochs, share=0.25
    )


def planner(limits: Limits | None = None, **changes: Any) -> Planner:
    request = Request(
        llama(), material, settings=Settings(batch_tokens=1024, epochs=4), usd_per_hour=36.0, limits=limits or Limits()
    )
    return Planner(replace(request, **changes))


def test_seconds_disk_and_money() -> None:
    row = plan_row(planner(), "full")
    steps = 4 * 13  # 100 rows, 8 a micro-batch
    assert row.work.micro_batches == row.work.steps == steps
    assert row.figures.seconds == pytest.approx(steps * (STEP + 0.05))
    assert row.figures.usd == pytest.approx(steps * (STEP + 0.05) / 100)
    weights = row.figures.memory.parameters
    assert row.figures.disk_bytes == 4 * weights + 12 * weights  # one checkpoint after 50 steps, and the end
    assert plan_row(planner(save_every_steps=10), "full").figures.disk_bytes == 3 * 12 * weights
    assert plan_row(planner(save_every_steps=0), "full").figures.disk_bytes == 4 * weights
    lora = plan_row(planner(), "lora").figures
    assert lora.disk_bytes == 16 * lora.memory.trainable_parameters


def test_layers_pay_once_for_what_is_below_them() -> None:
    row = plan_row(planner(), "layers")
    kept = 1 * 0.01 * 12_800 / (8 * 128)
    assert row.figures.seconds == pytest.approx(52 * (0.05 + 2 * 0.03 + 0.005) + kept)


def test_accumulation_steps_less_often() -> None:
    def adding(batch_tokens: int, epochs: int, max_tokens: int | None) -> Work:
        return replace(material(batch_tokens, epochs, max_tokens), accumulation=4)

    row = plan_row(planner(material=adding), "full")
    assert row.figures.seconds == pytest.approx(52 * STEP + 13 * 0.05)


def test_nothing_is_timed_where_nothing_shall_be() -> None:
    row = plan_row(planner(budget_seconds=0.0), "full")
    assert (row.figures.seconds, row.figures.usd, row.measured_on) == (None, None, "not measured")
    assert row.too_much == []


def refit(found: Planner, row: Row) -> None:
    """Recompute every suggestion of a row from its settings alone; each must keep the limits."""
    assert row.would_fit
    for suggestion in row.would_fit:
        values = dict(suggestion.settings)
        method = values.pop("method", row.method)
        other = Planner(replace(found.request, settings=replace(found.request.settings, **values)))
        figures = other.figures(method, other.request.settings)
        assert other.too_much(figures) == []
        assert figures.memory.peak == suggestion.memory_bytes
        assert figures.seconds == pytest.approx(suggestion.seconds)


def test_a_little_too_much_memory() -> None:
    needed = plan_row(planner(), "full").figures.memory.peak
    found = planner(Limits(memory_bytes=needed - 1))
    row = plan_row(found, "full")
    assert row.too_much == ["memory"]
    assert row.would_fit[0].change == "gradient checkpointing"
    refit(found, row)


def test_prefixes_get_smaller_micro_batches_since_they_cannot_be_checkpointed() -> None:
    needed = plan_row(planner(), "prefix_tuning").figures.memory.peak
    found = planner(Limits(memory_bytes=needed - 1))
    row = plan_row(found, "prefix_tuning")
    assert row.would_fit[0].change == "batch_tokens 512"
    refit(found, row)


def test_full_fine_tuning_that_cannot_fit_gets_other_methods() -> None:
    found = planner(Limits(memory_bytes=Planner(planner().request)._memory("lora", material(1024, 4, None), True).peak))
    row = plan_row(found, "full")
    assert [s.settings["method"] for s in row.would_fit if "method" in s.settings]
    refit(found, row)


def test_too_long_gets_fewer_epochs_or_a_quicker_method() -> None:
    seconds = plan_row(planner(), "full").figures.seconds
    assert seconds is not None
    found = planner(Limits(hours=seconds / 3600 * 0.6))
    row = plan_row(found, "full")
    assert row.too_much == ["time"]
    assert row.would_fit[0].settings == {"epochs": 2}
    assert any(s.settings.get("method") == "layers" for s in row.would_fit)
    refit(found, row)


def test_too_dear() -> None:
    found = planner(Limits(usd=plan_row(planner(), "lora").figures.usd * 0.5))  # type: ignore[operator]
    row = plan_row(found, "lora")
    assert row.too_much == ["money"]
    assert row.would_fit[0].settings == {"epochs": 2}
    refit(found, row)


def test_nothing_fits_and_it_is_said() -> None:
    row = plan_row(planner(Limits(memory_bytes=1000)), "full")
    assert row.would_fit == []
    with pytest.raises(ConfigError, match="a smaller model"):
        check(row, Limits(memory_bytes=1000))


def test_a_smaller_model_where_no_setting_helps() -> None:
    tiny = llama()
    tiny.hidden_size, tiny.num_hidden_layers = 32, 1
    large = llama()
    large.vocab_size = 400_000
    limit = plan_row(planner(config=tiny), "full").figures.memory.peak
    row = plan_row(planner(Limits(memory_bytes=limit), config=large, smaller=(("mid", large), ("tiny", tiny))), "full")
    assert [s.settings for s in row.would_fit] == [{"model": "tiny"}]


def test_pretraining_gets_the_tokens_that_fit() -> None:
    work = pretraining_work(10_000_000, context_tokens=256, batch_tokens=None)
    found = planner(pretraining=work)
    whole = plan_row(found, "pretraining").figures
    assert whole.seconds is not None
    limited = planner(Limits(hours=whole.seconds / 3600 / 4), pretraining=work)
    row = plan_row(limited, "pretraining")
    tokens = row.would_fit[0].settings["pretrain_tokens"]
    assert 0.2 < tokens / 10_000_000 < 0.26
    again = Planner(replace(limited.request, pretraining=pretraining_work(tokens, context_tokens=256, batch_tokens=None)))  # fmt: skip
    assert plan_row(again, "pretraining").too_much == []
    with pytest.raises(ConfigError, match="pretrain-tokens"):
        plan_row(planner(), "pretraining")


def test_a_run_over_its_limit_is_stopped_with_a_way_out() -> None:
    seconds = plan_row(planner(), "full").figures.seconds
    assert seconds is not None
    limits = Limits(hours=seconds / 3600 * 0.6, usd=0.01)
    row = plan_row(planner(limits), "full")
    with pytest.raises(ConfigError) as stopped:
        check(row, limits)
    text = str(stopped.value)
    assert text.startswith(f"full would take about {duration(seconds)} and $")
    assert f"{duration(seconds * 0.6)} (--max-hours)" in text
    assert "$0.01 (--max-usd)" in text
    roomy = Limits(hours=seconds / 3600 * 0.6)
    with pytest.raises(ConfigError, match=r"this would fit: epochs 2 \("):
        check(plan_row(planner(roomy), "full"), roomy)
    check(plan_row(planner(), "full"), Limits())


def test_json_has_what_is_promised() -> None:
    said = plan_row(planner(Limits(memory_bytes=BIG)), "lora").as_json()
    assert said.keys() >= {"method", "fits", "trainable_parameters", "memory_bytes", "seconds", "disk_bytes", "cost_usd"}  # fmt: skip
    assert said["fits"] is True
    parts = dict(said["memory_bytes"])
    assert parts.pop("peak") == sum(parts.values())


BIG = 10**12


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (amount(999), "1 kB"),
        (amount(1.5e6), "1.5 MB"),
        (amount(2.34e9), "2.3 GB"),
        (amount(1.1e12), "1.1 TB"),
        (duration(5), "5.0 s"),
        (duration(600), "10.0 min"),
        (duration(7200), "2.0 h"),
        (duration(86_400 * 30), "30.0 days"),
        (duration(3.156e9), "100 years"),
        (money(0), "$0.00"),
        (money(0.001), "$0.001"),
        (money(1234.5), "$1,234.50"),
    ],
)
def test_words(shown: str, expected: str) -> None:
    assert shown == expected
