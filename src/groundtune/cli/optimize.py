"""``groundtune optimize``: search for better settings of retrieval and answers, and what each is worth.

Searched on training questions, reported on held-out ones. What is measured is kept in ``.groundtune/optimize``: a stopped
search goes on with the same command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    ensure_documents,
    ensure_index,
    open_project,
    print_json,
    progress_bar,
    say,
    warn,
)
from groundtune.cli.compare import check_report_path, warn_of_strangers

if TYPE_CHECKING:
    from groundtune.evaluation.search import Search
    from groundtune.evaluation.search_space import Space
    from groundtune.methods._rag_arms import RagArms
    from groundtune.methods._setup import Setup
    from groundtune.records import Example

#: changes what is measured with the same settings and questions
VERSION = 1
#: fewer training questions than this are searched with a warning
FEW = 50


def optimize(
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.0, help="Longest time, indexes included; `optimize.minutes`.")
    ] = None,
    system: Annotated[str, typer.Option("--system", "-s", help="What answers: rag, tuned+rag, ...")] = "rag",
    space: Annotated[
        Path | None,
        typer.Option("--space", help="YAML file of settings and the values to try instead of the built-in."),
    ] = None,
    show_space: Annotated[
        bool, typer.Option("--show-space", help="Print the settings and values that would be tried; try nothing.")
    ] = False,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Most held-out questions a split in the report.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the result as one HTML file.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write better settings into groundtune.yaml, if there are any.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier searches measured.")] = False,
    json: JsonOption = False,
) -> None:
    """Look for better settings on the training questions; report on held-out ones what each choice is worth."""
    if report:
        check_report_path(report)
    setup = open_project(project, config, model=model)
    if minutes is not None:
        limited = setup.config.optimize.model_copy(update={"minutes": max(minutes, 0.01)})
        setup.config = setup.config.model_copy(update={"optimize": limited})
    if show_space:
        _show_space(setup, space, system, json=json)
        return
    result = run_search(setup, system, space, limit=questions, fresh=fresh, quiet=json)
    file = config or setup.workspace.root / "groundtune.yaml"
    result["written"] = _write(file, result) if write else None
    result["report"] = str(_write_report(result, report)) if report else None
    if json:
        print_json(result)
    else:
        show_result(result, file)


def run_search(
    setup: Setup, system: str, space: Path | None, *, limit: int | None, fresh: bool, quiet: bool
) -> dict[str, Any]:
    """Search, report, and keep the result as ``.groundtune/reports/optimize.json``.

    Raises:
        InputError: too few training questions, or none held out. ConfigError: a faulty space.
    """
    from groundtune.errors import InputError
    from groundtune.evaluation.search import divide
    from groundtune.evaluation.search_worth import held_out
    from groundtune.workspace import write_json

    options = setup.config.optimize
    divided = divide(setup.examples, options.validation_share, setup.config.seed, str(setup.questions_path))
    reported = held_out(setup.examples, limit, setup.config.seed)
    if not reported:
        raise InputError(
            f"{setup.questions_path}: every question is in the split 'train' or 'validation'",
            expected="held-out questions, to report on",
            next_step='give some rows another "split"',
        )
    count = len(divided.search) + len(divided.validation)
    if count < FEW:
        warn(f"{count} questions to choose settings by: few differences will show; {FEW} and more are better")
    from groundtune.methods._systems import check_system

    check_system(system)
    with setup.workspace.writing():
        ensure_documents(setup, quiet=quiet)
        ensure_index(setup, quiet=quiet)
        warn_of_strangers(setup, reported)
        with progress_bar("optimize") as bar:
            result = _search(setup, system, space, divided, reported, fresh=fresh, bar=bar)
        folder = setup.workspace.path("reports")
        folder.mkdir(exist_ok=True)
        write_json(folder / "optimize.json", result)
    return result


def _search(
    setup: Setup, system: str, space: Path | None, divided: Any, reported: list[Example], *, fresh: bool, bar: Any
) -> dict[str, Any]:
    from groundtune.evaluation.search import Search
    from groundtune.evaluation.search_journal import Journal
    from groundtune.evaluation.search_space import others, with_changes
    from groundtune.methods._rag_arms import FOLDER, RagArms

    arms = RagArms(setup, lambda arm: with_changes(setup.config, arm.changes), system)
    choices = others(the_space(setup, space, system, arms), setup.config, system)
    path = setup.workspace.path(FOLDER) / f"{_identity(setup, system, choices)}.jsonl"
    if fresh:
        path.unlink(missing_ok=True)
    journal = Journal(path, setup.config.optimize.minutes)
    search = Search(arms, journal, divided, choices, setup.config.optimize, seed=setup.config.seed, progress=bar)
    try:
        outcome = search.run(len(reported))
        result = _result(setup, system, search, choices, outcome, reported)
    except KeyboardInterrupt:
        kept = f"{journal.seconds:.0f} s of measurements are kept in {path}"
        warn(f"stopped: {kept}; the same command goes on from there")
        raise
    arms.clear()
    return result


def _identity(setup: Setup, system: str, choices: Space) -> str:
    """What tells a search from every other: all that its measurements and its draws depend on, except the budget."""
    from groundtune.ingest.ingest import documents_digest
    from groundtune.records import example_to_json
    from groundtune.workspace import digest

    config = setup.config.model_dump(exclude={"serve", "crawl", "ingest", "scratch"})
    config["optimize"] = {n: v for n, v in config["optimize"].items() if n not in ("minutes", "space")}
    examples = [example_to_json(e) for e in setup.examples]
    return digest([VERSION, config, system, choices, documents_digest(setup.workspace), examples])[:16]


def the_space(setup: Setup, file: Path | None, system: str, arms: RagArms) -> Space:
    """The settings and values to try: of a file, of ``optimize.space``, or the built-in ones.

    Raises:
        InputError, ConfigError: faults of the file or the section.
    """
    from groundtune.evaluation.search_space import SYSTEM, built_in, checked, read_space

    if file is not None:
        found = read_space(file, setup.config)
    elif setup.config.optimize.space:
        found = checked(setup.config, setup.config.optimize.space, "optimize.space")
    else:
        return built_in(setup.config, system, arms.usable)
    from groundtune.methods._systems import check_system

    for name in found.get(SYSTEM, ()):
        check_system(str(name))
    return found


def _show_space(setup: Setup, file: Path | None, system: str, *, json: bool) -> None:
    from groundtune.cli._settings_text import value_text
    from groundtune.evaluation.search_space import value_of, with_changes
    from groundtune.methods._rag_arms import RagArms

    arms = RagArms(setup, lambda arm: with_changes(setup.config, arm.changes), system)
    found = the_space(setup, file, system, arms)
    if json:
        print_json({name: list(values) for name, values in found.items()})
        return
    say("# settings and the values to try: save as a file, change it, give it to --space")
    for name, values in found.items():
        say(f"{name}: {value_text(values)}".replace("[", "\\[") + f"  # now {value_of(setup.config, name, system)}")


def _result(
    setup: Setup, system: str, search: Search, choices: Space, outcome: Any, reported: list[Example]
) -> dict[str, Any]:
    """What is printed, written and drawn."""
    import datetime

    from groundtune.cli._settings_text import setting_lines
    from groundtune.evaluation.compare import machine
    from groundtune.evaluation.search import single_changes
    from groundtune.evaluation.search_space import SYSTEM, value_of
    from groundtune.evaluation.search_worth import advice, worth

    winner = outcome.winner
    current = {name: value_of(setup.config, name, system) for name in choices}
    figures = worth(search, winner, reported, current, setup.config.compare)
    best = next(((a, s) for a, s in outcome.validation if a == winner), None)
    in_file = {n: v for n, v in winner.changes.items() if n != SYSTEM}
    return {
        "created": datetime.datetime.now().isoformat(timespec="seconds"),
        "model": setup.config.model,
        "system": system,
        "seed": setup.config.seed,
        "minutes": setup.config.optimize.minutes,
        "seconds": search.clock() - search._started,
        "asked": {"search": len(search.questions.search), "validation": len(search.questions.validation)},
        "space": {name: list(values) for name, values in choices.items()},
        "current": current,
        "winner": winner.changes,
        "lines": setting_lines(in_file) if in_file else "",
        "rounds": outcome.rounds,
        "validation": [{"changes": a.changes, "score": s} for a, s in outcome.validation],
        "winner_on_validation": best[1] if best else search.score("answers", winner, search.questions.validation),
        "put_back": [{"setting": n, "value": v} for n, v in outcome.put_back],
        "singles": single_changes(outcome, choices),
        "not_tried": [{"changes": a.changes, "why": why} for a, why in outcome.not_tried],
        "held_out": figures,
        "recommendation": advice(winner, figures),
        "machine": machine(),
    }


def _write(file: Path, result: dict[str, Any]) -> str | None:
    from groundtune.cli._settings_text import write_settings
    from groundtune.evaluation.search_space import SYSTEM

    changes = {n: v for n, v in result["winner"].items() if n != SYSTEM}
    if not result["recommendation"]["adopt"] or not changes:
        return None
    write_settings(file, changes)
    return str(file)


def _write_report(result: dict[str, Any], path: Path) -> Path:
    from groundtune.evaluation.search_report import render_search

    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    half.write_text(render_search(result), encoding="utf-8")
    half.replace(path)
    return path.resolve()


# ---------------------------------------------------------------- for people


def show_result(result: dict[str, Any], file: Path) -> None:
    """The report as tables, with the advice and what to do under them."""
    from rich.markup import escape

    held = result["held_out"]
    asked, tried = result["asked"], {str(r["changes"]) for rows in result["rounds"] for r in rows["arms"]}
    say(
        f"{len(tried)} combinations tried on {asked['search']} training questions, the winner chosen on {asked['validation']} "
        f"others, reported on {held['questions']} held-out ones; {result['seconds']:.0f} s"
    )
    _splits_table(held)
    if held["worth"]:
        _worth_table(held)
    if held["not_measured"]:
        say(f"not measured for want of time: {', '.join(held['not_measured'])}")
    missed = {str(row["changes"]) for row in result["not_tried"]} - tried
    if missed:
        say(f"{len(missed)} combinations were not tried for want of time; --minutes gives more")
    say(f"[bold]{escape(result['recommendation']['text'])}[/bold]")
    _next_steps(result, file)


def _next_steps(result: dict[str, Any], file: Path) -> None:
    from rich.markup import escape

    if result["recommendation"]["adopt"]:
        if "system" in result["winner"]:
            say(f"answers best: --system {result['winner']['system']}")
        say(f"written to {file}" if result["written"] else f"in {file} (--write does it):")
        say(escape(result["lines"].rstrip()))
        if any(name.startswith("index.") for name in result["winner"]):
            say("next: groundtune index")
    if result["report"]:
        say(f"report   {result['report']}")


def _splits_table(held: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title="held-out questions", box=SIMPLE, padding=(0, 1, 0, 0))
    rows = held["systems"]
    for heading in (
        "split",
        "metric",
        "now",
        *(["found", "difference", "95 % interval", "p"] if len(rows) > 1 else []),
    ):
        table.add_column(heading, justify="left" if heading in ("split", "metric") else "right", no_wrap=True)
    pairs = {(p["split"], p["metric"]): p for p in held["pairs"]}
    for split, scores in rows[0]["scores"].items():
        shown = ["score"] if split == "all" else [m for m in ("token_f1", "recall_at_5", "mrr", "supported") if m in scores]  # fmt: skip
        for metric in shown if split != "unanswerable" else ["abstention_accuracy"]:
            cells = [f"{row['scores'].get(split, {}).get(metric, {}).get('mean', float('nan')):.3f}" for row in rows]
            pair = held["overall"] if split == "all" else pairs.get((split, metric))
            more = _difference(pair) if pair and len(rows) > 1 else []
            table.add_row(split.replace("held_out_", "held-out "), metric, *cells, *more)
    Console().print(table)


def _difference(pair: dict[str, Any]) -> list[str]:
    p = pair.get("p_holm", pair["p_value"])
    return [f"{pair['difference']:+.3f}", f"{pair['low']:+.3f} .. {pair['high']:+.3f}", f"{p:.4f}"]


def _worth_table(held: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title="what each choice is worth: the score lost without it", box=SIMPLE, padding=(0, 1, 0, 0))
    headings = ("setting", "now", "found", "worth", "95 % interval", "p", "recall\n@5", "MRR", "F1", "ms", "index s")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "setting" else "right", no_wrap=True)
    both = held["systems"][1]
    table.add_row("(all of them)", "", "", *_difference(held["overall"]), *_figures(both))
    for row in held["worth"]:
        table.add_row(row["setting"], str(row["from"]), str(row["to"]), *_difference(row), *_figures(row["without"]))
    Console().print(table)
    say("recall, MRR, F1, ms (half of the questions are answered sooner) and index seconds: without that choice")


def _figures(row: dict[str, Any]) -> list[str]:
    scores = row["scores"]["all"]
    means = [f"{scores[m]['mean']:.3f}" if m in scores else "-" for m in ("recall_at_5", "mrr", "token_f1")]
    p50 = row["latency_seconds"].get("p50")
    seconds = row["index"].get("seconds")
    return [*means, f"{1000 * p50:.0f}" if p50 else "-", f"{seconds:.0f}" if seconds else "-"]
