"""``groundtune plan``: memory, time, disk and money of each way to train, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import ConfigOption, JsonOption, ProjectOption, open_project, print_json, progress_bar, say

if TYPE_CHECKING:
    from groundtune.cli._planning import Subject
    from groundtune.plan.row import Row

#: seconds that timing may take, all methods together and each
_BUDGET, _LEAST, _MOST = 12.0, 1.0, 5.0
#: what is planned where nothing is named; ``classifier`` and ``pretraining`` by name
_USUAL = ("full", "lora", "qlora", "prefix_tuning", "prompt_tuning", "p_tuning", "ia3", "llama_adapter", "adapter", "layers")  # fmt: skip


def plan(
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="pebble, a folder, a Hugging Face name, or a shape such as llama2-7b or gpt3-xl."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods", help="Methods, by comma; default: all that fine-tune but qat, which takes what full takes."
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", min=1, help="Training tokens, once; default: the project's questions, counted."),
    ] = None,
    row_tokens: Annotated[
        int | None, typer.Option("--row-tokens", min=2, help="Tokens of a row, with --tokens; default 256.")
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option("--memory-gb", min=0, help="Memory to fit (10^9 bytes); default: what is free now.")
    ] = None,
    max_hours: Annotated[float | None, typer.Option("--max-hours", min=0, help="Longest run.")] = None,
    max_usd: Annotated[float | None, typer.Option("--max-usd", min=0, help="Dearest run.")] = None,
    pretrain_tokens: Annotated[
        int | None,
        typer.Option("--pretrain-tokens", min=1, help="Adds training from nothing on so many tokens."),
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Leave time and money out: nothing is timed on this machine.")
    ] = False,
    table: Annotated[
        str | None, typer.Option("--table", help="lessons: published costs and sizes, computed here.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Memory, time, disk and money of each method on this machine, and what would make fit what does not."""
    if table is not None:
        _table(table, json)
        return
    from groundtune.cli._planning import subject_of
    from groundtune.plan.limits import Limits
    from groundtune.plan.machine import free_disk_bytes, free_memory_bytes, this_device

    setup = open_project(project, config, model=model)
    memory = round(memory_gb * 1e9) if memory_gb is not None else free_memory_bytes(this_device())
    limits = Limits(memory, max_hours, max_usd, free_disk_bytes(setup.workspace.path("runs")))
    asked = _asked(methods, pretrain_tokens)
    subject = subject_of(
        setup,
        limits,
        tokens=tokens,
        row_tokens=row_tokens,
        pretraining="pretraining" in asked,
        pretrain_tokens=pretrain_tokens,
    )
    names = asked if methods is not None else [*(("classifier",) if subject.is_encoder else _USUAL), *asked]
    budget = 0.0 if no_measure else min(_MOST, max(_LEAST, _BUDGET / len(names)))
    rows, left_out = _rows(subject, names, budget)
    if json:
        print_json(_as_json(subject, rows, left_out))
    else:
        _show(subject, rows, left_out)


def _asked(methods: str | None, pretrain_tokens: int | None) -> list[str]:
    """The methods named on the command line."""
    from groundtune.errors import ConfigError, UnknownNameError
    from groundtune.plan.attach import METHODS

    names = [name.strip() for name in (methods or "").split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            raise UnknownNameError("training method", name, METHODS)
    if methods is not None and not names:
        raise ConfigError(f"--methods {methods!r} names none", expected=f"some of {', '.join(METHODS)}")
    return list(dict.fromkeys([*names, *(["pretraining"] if pretrain_tokens else [])]))


def _rows(subject: Subject, names: list[str], budget: float) -> tuple[list[Row], list[dict[str, str]]]:
    from dataclasses import replace

    from groundtune.errors import ConfigError
    from groundtune.plan.planner import Planner
    from groundtune.plan.would_fit import plan_row

    planner = Planner(replace(subject.request, budget_seconds=budget))
    rows, left_out = [], []
    with progress_bar("plan") as report:
        for number, name in enumerate(names):
            report(number, len(names), name)
            try:
                rows.append(plan_row(planner, name))
            except ConfigError as error:
                left_out.append({"method": name, "reason": error.problem})
        report(len(names), len(names), "")
    return rows, left_out


def _as_json(subject: Subject, rows: list[Row], left_out: list[dict[str, str]]) -> dict[str, Any]:
    request, model = subject.request, subject.on_meta()
    work = request.material(request.settings.batch_tokens, 1, None)
    return {
        "model": subject.model,
        "parameters": _parameters(model),
        "device": request.device.name,
        "memory_limit_bytes": request.limits.memory_bytes,
        "tokens": work.tokens,
        "tokens_from": subject.from_where,
        "epochs": request.settings.epochs,
        "batch_tokens": request.settings.batch_tokens,
        "usd_per_hour": request.usd_per_hour,
        "rows": [row.as_json() for row in rows],
        "left_out": left_out,
        "weights_bytes": _weights(model),
    }


def _parameters(model: Any) -> int:
    return sum(int(p.numel()) for p in model.parameters())


def _weights(model: Any) -> dict[str, int]:
    from groundtune.plan.sizes import FORMATS, disk_bytes

    return {name: disk_bytes(model, name) for name in FORMATS}


def _show(subject: Subject, rows: list[Row], left_out: list[dict[str, str]]) -> None:
    from rich.markup import escape

    from groundtune.plan.words import amount

    request, model = subject.request, subject.on_meta()
    work = request.material(request.settings.batch_tokens, 1, None)
    say(
        f"model    {escape(subject.model)}, {_parameters(model):,} parameters, {request.device.name}; "
        f"{amount(request.limits.memory_bytes or 0)} of memory to fit"
    )
    say(
        f"tokens   {work.tokens:,} ({escape(subject.from_where)}) x {request.settings.epochs} epochs, "
        f"micro-batches of {request.settings.batch_tokens:,}"
    )
    if rows:
        _show_rows(rows)
    for row in rows:
        if row.too_much:
            fits = "; ".join(s.in_words for s in row.would_fit)
            say(f"{row.method}: would fit with {fits}" if fits else f"{row.method}: nothing tried makes it fit")
    for gone in left_out:
        say(f"left out {gone['method']}: {escape(gone['reason'])}")
    _notes(model, rows)


def _show_rows(rows: list[Row]) -> None:
    """One line a method; memory by part where the terminal is wide enough."""
    from rich.console import Console
    from rich.table import Table

    from groundtune.plan.words import amount, duration, money

    console = Console(highlight=False)
    unit, factor = ("GB", 1e9) if max(r.figures.memory.peak for r in rows) >= 1e10 else ("MB", 1e6)
    parts = ("weights", "gradients", "optimizer", "activations", "logits") if console.width >= 130 else ()
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("method", "fits", "trained", f"memory, {unit}", *parts, *(("rest",) if parts else ()), "time", "disk", "cost"):  # fmt: skip
        shown.add_column(name, justify="left" if name in ("method", "fits") else "right")
    for row in rows:
        memory, figures = row.figures.memory, row.figures
        sizes = [memory.peak, *(memory.parts.get(p, 0) for p in parts)]
        rest = [memory.peak - sum(sizes[1:])] if parts else []
        shown.add_row(
            row.method,
            "yes" if not row.too_much else f"no: {', '.join(row.too_much)}",
            f"{memory.trainable_parameters:,}",
            *(f"{size / factor:,.{1 if unit == 'GB' else 0}f}" for size in (*sizes, *rest)),
            "" if figures.seconds is None else duration(figures.seconds),
            amount(figures.disk_bytes),
            "" if figures.usd is None else money(figures.usd),
        )
    console.print(shown)


def _notes(model: Any, rows: list[Row]) -> None:
    from groundtune.plan.words import amount

    sizes = _weights(model)
    named = ("fp16", "int8", "q8_0", "q4_k_m", "q4_0", "nf4")
    say("weights  " + ", ".join(f"{name} {amount(sizes[name])}" for name in named))
    for words in dict.fromkeys(row.measured_on for row in rows):
        alike = [row.method for row in rows if row.measured_on == words]
        say(f"time     {words}" + ("" if len(alike) == len(rows) else f" ({', '.join(alike)})"))


# ---------------------------------------------------------------- published numbers


def _table(name: str, json: bool) -> None:
    from groundtune.errors import UnknownNameError

    if name != "lessons":
        raise UnknownNameError("table", name, ["lessons"])
    costs, sizes = _lesson_costs(), _lesson_sizes()
    if json:
        print_json({"pretraining": costs, "sizes": sizes})
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "parameters", "tokens", "MFU", "printed", "computed", "difference"):
        shown.add_column(column, justify="left" if column == "model" else "right")
    for c in costs:
        shown.add_row(
            c["model"],
            f"{c['parameters'] / 1e9:g}B",
            f"{c['tokens'] / 1e9:,g}B",
            f"{c['utilization']:.0%}",
            f"${c['printed_usd']:,}",
            f"${c['usd']:,.0f}",
            f"{c['usd'] / c['printed_usd'] - 1:+.2%}",
        )
    console = Console(highlight=False)
    say("Training from scratch: 6 x parameters x tokens, on A100s (312 TFLOP/s at the MFU shown), $1.50 an hour")
    console.print(shown)
    say(
        "\nLlama 2 on disk: fp16, and GGUF Q4_0 (4.5 bits, output tensor Q6_K), the one 4-bit format within 5 % of all three"
    )
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "format", "printed", "computed", "difference"):
        shown.add_column(column, justify="left" if column in ("model", "format") else "right")
    for s in sizes:
        difference = f"{s['bytes'] / s['printed_bytes'] - 1:+.1%}"
        shown.add_row(s["model"], s["format"], f"{s['printed_bytes'] / 1e9:.1f} GB", f"{s['bytes'] / 1e9:.1f} GB", difference)  # fmt: skip
    console.print(shown)


def _lesson_costs() -> list[dict[str, Any]]:
    from groundtune.plan.pretraining import A100, LESSON, lesson_cost

    out = []
    for row in LESSON:
        cost = lesson_cost(row)
        out.append(
            {
                "model": row.model,
                "parameters": row.parameters_billion * 1e9,
                "tokens": row.tokens_billion * 1e9,
                "teraflops": A100.teraflops,
                "utilization": row.utilization,
                "usd_per_hour": A100.usd_per_hour,
                "printed_usd": row.printed_usd,
                "flops": cost.flops,
                "accelerator_hours": round(cost.accelerator_hours, 1),
                "usd": round(cost.usd, 2),
            }
        )
    return out


def _lesson_sizes() -> list[dict[str, Any]]:
    from groundtune.nn.shapes import SHAPES, on_meta, shape_config
    from groundtune.plan.sizes import LESSON, disk_bytes

    out = []
    for name, printed in LESSON.items():
        model = on_meta(shape_config(SHAPES[name]))
        for format, gigabytes in printed.items():
            out.append(
                {
                    "model": name,
                    "format": format,
                    "printed_bytes": round(gigabytes * 1e9),
                    "bytes": disk_bytes(model, format),
                }
            )
    return out
