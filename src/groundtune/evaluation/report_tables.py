"""The tables of systems: one with what matters most, one per split with every metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from groundtune.evaluation.report_text import (
    Page,
    headline_metric,
    interval,
    mean_of,
    metric_label,
    metric_names,
    metric_of,
    split_label,
)
from groundtune.page.parts import scroll
from groundtune.page.text import DASH, Record, count, duration, esc, money, number, record, score, size


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a table of systems: what to show, and what decides the best cell."""

    label: str
    show: Callable[[Record], str]
    value: Callable[[Record], float | None]
    higher_is_better: bool = False


def tables(page: Page) -> str:
    """What each system is, then the tables behind tabs that need no script (paper shows them all)."""
    if not page.systems:
        return ""
    described = "".join(
        f"<div><dt>{esc(s.get('name'))}{tag(page.role(s))}</dt><dd>{esc(s.get('description') or DASH)}</dd></div>"
        for s in page.systems
    )
    overview = [
        _score_column(split, metric, f"{split_label(split)}: {metric_label(metric)}")
        for split in page.splits
        if (metric := headline_metric(page.systems, split))
    ]
    tabs = [("Overview", _table(page, "Scores, time and cost", [*overview, *_cost_columns()]))]
    for split in page.splits:
        columns = [_score_column(split, m, metric_label(m)) for m in metric_names(page.systems, split)]
        if columns:
            asked = f", {count(page.size_of(split))} questions" if page.size_of(split) else ""
            tabs.append((split_label(split), _table(page, f"{split_label(split)}{asked}: every metric", columns)))
    drawn = "".join(
        f'<input type="radio" name="table" id="tab-{index}"{" checked" if index == 0 else ""}>'
        f'<label for="tab-{index}">{esc(label)}</label><div class="tab-panel">{table}</div>'
        for index, (label, table) in enumerate(tabs)
    )
    return (
        f'<dl class="described">{described}</dl>'
        f'<fieldset class="tabs"><legend>Choose a table</legend>{drawn}</fieldset>'
        '<p class="quiet">Best value of each column in bold on a tint; the control does not compete. Small: 95 % '
        "interval.</p>"
    )


def _score_column(split: str, metric: str, label: str) -> _Column:
    def show(system: Record) -> str:
        entry = metric_of(system, split, metric)
        return f"{score(entry.get('mean'))}<small>{interval(entry)}</small>"

    return _Column(label, show, lambda system: mean_of(system, split, metric), higher_is_better=True)


def _cost_columns() -> list[_Column]:
    def wait(system: Record, part: str) -> Any:
        return record(system.get("latency_seconds")).get(part)

    def change(system: Record) -> str:
        entry = record(system.get("adaptability"))
        if not entry:
            return DASH
        right = f"{count(entry.get('right_after'))} / {count(entry.get('facts'))}"
        return f"{right}<small>{duration(entry.get('seconds'))}</small>"

    def column(label: str, key: str, show: Callable[[Any], str]) -> _Column:
        return _Column(label, lambda system: show(system.get(key)), lambda system: number(system.get(key)))

    return [
        _Column(
            "Time per question",
            lambda s: f"{duration(wait(s, 'p50'))}<small>95 %: {duration(wait(s, 'p95'))}</small>",
            lambda s: number(wait(s, "p50")),
        ),
        column("Peak memory", "peak_memory_bytes", size),
        column("Training", "train_seconds", lambda value: "none" if value == 0 else duration(value)),
        column("Weights trained", "trainable_parameters", lambda value: DASH if value is None else count(value)),
        column("Disk", "disk_bytes", size),
        column("Cost per 1,000", "cost_usd", money),
        column("Pays off after", "pays_off_after_questions", count),
        _Column("After a change", change, lambda s: number(record(s.get("adaptability")).get("right_after")), True),
    ]


def _table(page: Page, caption: str, columns: Sequence[_Column]) -> str:
    best: list[set[int]] = []
    for column in columns:
        rivals = [(i, column.value(s)) for i, s in enumerate(page.systems) if page.role(s) != "control"]
        values = {index: value for index, value in rivals if value is not None}
        top = (max if column.higher_is_better else min)(values.values(), default=0.0)
        winners = {index for index, value in values.items() if value == top}
        clear = len(values) > 1 and len(winners) * 2 <= len(values) and not (column.higher_is_better and top == 0)
        best.append(winners if clear else set())
    heads = "".join(f'<th scope="col">{esc(column.label)}</th>' for column in columns)
    rows = []
    for index, system in enumerate(page.systems):
        cells = "".join(
            f"<td{' class=best' if index in winners else ''}>{column.show(system)}</td>"
            for column, winners in zip(columns, best, strict=True)
        )
        role = page.role(system)
        rows.append(f'<tr class="{role}"><th scope="row">{esc(system.get("name"))}{tag(role)}</th>{cells}</tr>')
    return scroll(caption, f'<thead><tr><th scope="col">System</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>')


def tag(role: str) -> str:
    """A badge for the recommended system and for controls."""
    shown = {"recommended": "rec", "control": "control"}.get(role)
    return f' <span class="tag {shown}">{role}</span>' if shown else ""
