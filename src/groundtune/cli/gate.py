"""``groundtune gate``: exit 1 where a System's scores dropped significantly below the stored ones; made for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    open_project,
    print_json,
    progress_bar,
    say,
)

if TYPE_CHECKING:
    from groundtune.evaluation.runner import SystemRun
    from groundtune.methods._setup import Setup
    from groundtune.records import Example


def gate(
    systems: Annotated[
        str | None,
        typer.Option("--systems", "--system", "-s", help="Comma-separated; default: those of the baseline, or rag."),
    ] = None,
    set_baseline: Annotated[
        bool, typer.Option("--set-baseline", help="Store these scores as the baseline, to be committed.")
    ] = False,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="The baseline's file.")] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", help="Comma-separated; default: `gate.metrics`.")] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Most questions a split; default all.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare with the stored baseline: exit 0 where nothing dropped, 1 on a significant drop, 2 for misuse."""
    from groundtune.evaluation.gate import baseline_of, check_baseline, compare_with_baseline, read_baseline

    setup = open_project(project, config, model=model)
    settings = setup.config.gate
    path = baseline or setup.workspace.root / settings.baseline
    stored = None if set_baseline else read_baseline(path)
    given = [s.strip() for s in (systems or "").split(",") if s.strip()]
    names = tuple(given or (stored["systems"] if stored else ("rag",)))
    chosen = _metrics(metrics, stored, settings.metrics)
    examples = _questions(setup, questions)
    if stored:
        check_baseline(stored, names, chosen, examples)
    runs = _ask(setup, names, examples, quiet=json)
    if stored is None:
        result = baseline_of(runs, examples, chosen, **_about(setup))
        _store(result, path)
        if json:
            print_json(
                {"baseline": str(path), "questions": len(examples), "systems": list(names), "metrics": list(chosen)}
            )
        else:
            say(f"baseline {path}: {', '.join(names)} on {len(examples)} questions; commit it")
        return
    compare = setup.config.compare
    result = compare_with_baseline(
        stored, runs, examples, chosen, alpha=settings.alpha, resamples=compare.resamples, seed=setup.config.seed
    )
    if json:
        print_json({"baseline": str(path), "questions": len(examples), **result})
    else:
        show_gate(result)
    if not result["passed"]:
        raise typer.Exit(1)


def _metrics(given: str | None, stored: dict[str, Any] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """The named metrics, or the baseline's, or the config's.

    Raises:
        UnknownNameError: no such metric.
    """
    from groundtune import registry

    named = tuple(m.strip() for m in (given or "").split(",") if m.strip())
    chosen = named or (tuple(stored["metrics"]) if stored else default)
    for name in chosen:
        registry.get("metrics", name)
    return chosen


def _questions(setup: Setup, limit: int | None) -> list[Example]:
    from groundtune.errors import InputError
    from groundtune.evaluation.compare import choose_questions

    examples = choose_questions(setup.examples, limit or setup.config.compare.questions_per_split, setup.config.seed)
    if not examples:
        raise InputError(f"{setup.questions_path}: no held-out question", expected="questions of a split but train")
    return examples


def _ask(setup: Setup, names: tuple[str, ...], examples: list[Example], *, quiet: bool) -> list[SystemRun]:
    from groundtune.cli.compare import prepare
    from groundtune.evaluation.runner import run_system
    from groundtune.methods._systems import build_system, check_system

    for name in names:
        check_system(name)
    runs = []
    with setup.workspace.writing():
        prepare(setup, names, quiet=quiet)
        with progress_bar("gate") as bar:
            for name in names:
                tell = lambda done, total, name=name: bar(done, total, name)  # noqa: E731
                runs.append(run_system(build_system(name, setup), examples, latency_questions=1, progress=tell))
                runs[-1].name = name
    return runs


def _about(setup: Setup) -> dict[str, Any]:
    import datetime

    from groundtune import __version__

    return {
        "groundtune": __version__,
        "model": setup.config.model,
        "created": datetime.datetime.now().isoformat(timespec="seconds"),
    }


def _store(result: dict[str, Any], path: Path) -> None:
    from groundtune.errors import WorkspaceError
    from groundtune.workspace import write_json

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result)
    except OSError as error:
        raise WorkspaceError(f"{path}: cannot be written: {error.strerror or error}") from None


def show_gate(result: dict[str, Any]) -> None:
    """A line for each check, and one for CI."""
    for check in result["checks"]:
        what = f"{check['system']} {check['metric']} ({check['split'].replace('_', ' ')}, {check['n']} questions)"
        change = f"{check['baseline']:.3f} -> {check['now']:.3f}, {check['difference']:+.3f}"
        interval = f"({check['low']:+.3f} to {check['high']:+.3f}), p {check['p_holm']:.3f}"
        say(f"{'DROP' if check['dropped'] else 'ok':<5}{what}: {change} {interval}")
    dropped = [f"{c['system']} {c['metric']} {c['difference']:+.3f}" for c in result["checks"] if c["dropped"]]
    said = f"significant drop: {'; '.join(dropped)}" if dropped else "no significant drop"
    say(f"groundtune gate: {'FAILED' if dropped else 'passed'}, {said}")
