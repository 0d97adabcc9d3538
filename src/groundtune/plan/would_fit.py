"""What would make a run fit that does not: changes tried one after the other, each recomputed, and only those kept that do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from groundtune.errors import ConfigError
from groundtune.plan.planner import Planner
from groundtune.plan.row import Figures, Row, Settings, Suggestion
from groundtune.plan.work import Work

#: methods that take less, from the most like full fine-tuning to the least
_SMALLER = ("lora", "layers", "qlora", "ia3", "prompt_tuning")
_SHORTEST_ROW = 64


def plan_row(planner: Planner, method: str) -> Row:
    """A method's row, with suggestions where it passes a limit.

    Raises:
        ConfigError: the method does not go with the model.
    """
    settings = planner.request.settings
    figures = planner.figures(method, settings)
    work, too_much = planner.work(method, settings), planner.too_much(figures)
    row = Row(method, figures, too_much, planner.measured_on(method), work)
    return replace(row, would_fit=suggestions(planner, row)) if too_much else row


def suggestions(planner: Planner, row: Row) -> list[Suggestion]:
    """At most one change of settings of the method itself, two other methods and one smaller model, all within the limits."""
    own = None if planner.hopeless(row.method) else next(_own(planner, row), None)
    others = [] if row.method in ("pretraining", "classifier") else _other_methods(planner, row)
    found = [*([own] if own else []), *others][:3]
    return found or _smaller_model(planner, row)


def _smaller_model(planner: Planner, row: Row) -> list[Suggestion]:
    """The largest of the smaller models that the method fits with, as it is or with gradient checkpointing."""
    limits = planner.request.limits
    timed = planner.request.budget_seconds if limits.hours is not None or limits.usd is not None else 0.0
    for name, config in planner.request.smaller:
        other = Planner(replace(planner.request, config=config, budget_seconds=timed, smaller=()))
        if other.hopeless(row.method):
            continue
        for checkpointing in (False, True):
            settings = replace(planner.request.settings, checkpointing=checkpointing)
            try:
                figures = other.figures(row.method, settings)
            except ConfigError:
                break
            words = f"model {name}" + (" with gradient checkpointing" if checkpointing else "")
            changed: dict[str, Any] = {"model": name} | ({"checkpointing": True} if checkpointing else {})
            if made := _made(other, words, changed, figures):
                return [made]
    return []


def _made(planner: Planner, change: str, settings: dict[str, Any], figures: Figures) -> Suggestion | None:
    if planner.too_much(figures):
        return None
    return Suggestion(change, settings, figures.memory.peak, figures.seconds)


def _own(planner: Planner, row: Row) -> Iterator[Suggestion]:
    """Changes that keep the method, the smallest first."""
    if row.method == "pretraining":
        yield from _pretraining(planner, row)
        return
    start = planner.request.settings
    for changed in _settings(planner, row, start):
        try:
            figures = planner.figures(row.method, changed)
        except ConfigError:
            continue
        values = {name: getattr(changed, name) for name in changed.__slots__ if getattr(changed, name) != getattr(start, name)}  # fmt: skip
        if made := _made(planner, ", ".join(_in_words(n, v) for n, v in values.items()), values, figures):
            yield made


def _in_words(name: str, value: Any) -> str:
    words = {"checkpointing": "gradient checkpointing", "max_tokens": "rows of at most"}
    if name == "checkpointing":
        return words[name]
    return f"{words.get(name, name)} {value}" + (" tokens" if name == "max_tokens" else "")


def _settings(planner: Planner, row: Row, start: Settings) -> Iterator[Settings]:
    """Settings to try: what costs no quality first."""
    figures, limits = row.figures, planner.request.limits
    epochs = start.epochs
    if figures.seconds and set(row.too_much) & {"time", "money"}:
        allowed = [limits.hours * 3600 / figures.seconds] if limits.hours is not None else []
        if limits.usd is not None and figures.usd:
            allowed.append(limits.usd / figures.usd)
        epochs = max(1, int(start.epochs * min([1.0, *allowed])))
        yield replace(start, epochs=epochs)
    if "memory" not in row.too_much:
        return
    start = replace(start, epochs=epochs)
    yield replace(start, checkpointing=True)
    smaller = [start.batch_tokens >> n for n in range(1, 12) if start.batch_tokens >> n >= min(row.work.longest_row, 64)]  # fmt: skip
    for batch_tokens in smaller:
        yield replace(start, batch_tokens=batch_tokens)
    last = smaller[-1] if smaller else start.batch_tokens
    yield replace(start, batch_tokens=last, checkpointing=True)
    length = row.work.longest_row // 2
    while length >= _SHORTEST_ROW:
        yield replace(start, batch_tokens=min(last, length), max_tokens=length, checkpointing=True)
        length //= 2


def _pretraining(planner: Planner, row: Row) -> Iterator[Suggestion]:
    """Fewer tokens for time and money; checkpointing for memory."""
    work, figures, limits = row.work, row.figures, planner.request.limits
    share = 1.0
    if figures.seconds and limits.hours is not None:
        share = min(share, limits.hours * 3600 / figures.seconds)
    if figures.usd and limits.usd is not None:
        share = min(share, limits.usd / figures.usd)
    steps = max(1, int(work.steps * share * 0.999))
    shorter = work if share == 1 else _fewer(work, steps)
    for checkpointing in (False, True):
        changed = planner.figures_of("pretraining", shorter, checkpointing=checkpointing)
        values: dict[str, Any] = {} if share == 1 else {"pretrain_tokens": shorter.tokens}
        values |= {"checkpointing": True} if checkpointing else {}
        words = [*([f"{shorter.tokens:,} tokens"] if share < 1 else []), *(["gradient checkpointing"] if checkpointing else [])]  # fmt: skip
        if words and (made := _made(planner, ", ".join(words), values, changed)):
            yield made


def _fewer(work: Work, steps: int) -> Work:
    batches = steps * work.accumulation
    return replace(work, micro_batches=batches, tokens=batches * work.typical.rows * work.typical.tokens)


def _other_methods(planner: Planner, row: Row) -> list[Suggestion]:
    out: list[Suggestion] = []
    for method in _SMALLER:
        if method == row.method or len(out) == 2 or _cannot(planner, method):
            continue
        for settings in (planner.request.settings, replace(planner.request.settings, checkpointing=True)):
            try:
                figures = planner.figures(method, settings)
            except ConfigError:
                break
            changed: dict[str, Any] = {"method": method} | ({"checkpointing": True} if settings.checkpointing else {})
            words = f"method {method}" + (" with gradient checkpointing" if settings.checkpointing else "")
            if made := _made(planner, words, changed, figures):
                out.append(made)
                break
    return out


def _cannot(planner: Planner, method: str) -> bool:
    try:
        return planner.hopeless(method)
    except ConfigError:
        return True
