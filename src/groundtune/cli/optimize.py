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
from groundtune.cli._optimize_tables import show_result
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
    result["report"] = str(_write_report(result, report)) if report else None
    result["written"] = None
    try:
        if write:
            result["written"] = _write(setup, file, result)
    finally:  # what was found is shown, though it could not be written: finding it took the time
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
    choices = others(the_space(setup, space, arms), setup.config, arms.beside())
    path = setup.workspace.path(FOLDER) / f"{_identity(setup, system, choices)}.jsonl"
    if fresh:
        path.unlink(missing_ok=True)
    journal = Journal(path, setup.config.optimize.minutes)
    search = Search(arms, journal, divided, choices, setup.config.optimize, seed=setup.config.seed, progress=bar)
    try:
        outcome = search.run(len(reported))
        result = _result(setup, arms, search, choices, outcome, reported)
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


def the_space(setup: Setup, file: Path | None, arms: RagArms) -> Space:
    """The settings and values to try: of a file, of ``optimize.space``, or the built-in ones.

    Raises:
        InputError, ConfigError: faults of the file or the section.
    """
    from groundtune.evaluation.search_space import SYSTEM, built_in, checked, read_space

    if file is not None:
        found = read_space(file, setup.config, arms.beside())
    elif setup.config.optimize.space:
        found = checked(setup.config, setup.config.optimize.space, arms.beside(), "optimize.space")
    else:
        return built_in(setup.config, arms.beside(), arms.usable)
    from groundtune.methods._systems import check_system

    for name in found.get(SYSTEM, ()):
        check_system(str(name))
    return found


def _show_space(setup: Setup, file: Path | None, system: str, *, json: bool) -> None:
    from groundtune.cli._settings_text import value_text
    from groundtune.evaluation.search_space import value_of, with_changes
    from groundtune.methods._rag_arms import RagArms

    arms = RagArms(setup, lambda arm: with_changes(setup.config, arm.changes), system)
    found, beside = the_space(setup, file, arms), arms.beside()
    if json:
        print_json({name: list(values) for name, values in found.items()})
        return
    say("# settings and the values to try: save as a file, change it, give it to --space")
    for name, values in found.items():
        say(f"{name}: {value_text(values)}".replace("[", "\\[") + f"  # now {value_of(setup.config, name, beside)}")


def _result(
    setup: Setup, arms: RagArms, search: Search, choices: Space, outcome: Any, reported: list[Example]
) -> dict[str, Any]:
    """What is printed, written and drawn."""
    import datetime

    from groundtune.cli._settings_text import setting_lines
    from groundtune.evaluation.compare import machine
    from groundtune.evaluation.search import single_changes
    from groundtune.evaluation.search_space import SYSTEM, in_file, value_of
    from groundtune.evaluation.search_worth import advice, worth

    winner = outcome.winner
    beside = arms.beside()
    current = {name: value_of(setup.config, name, beside) for name in choices}
    figures = worth(search, winner, reported, current, setup.config.compare)
    written = {n: v for n, v in winner.changes.items() if in_file(n)}
    return {
        "created": datetime.datetime.now().isoformat(timespec="seconds"),
        "model": setup.config.model,
        "system": beside[SYSTEM],
        "seed": setup.config.seed,
        "minutes": setup.config.optimize.minutes,
        "seconds": search.clock() - search._started,
        "asked": {"search": max(r["questions"] for r in outcome.rounds), "validation": outcome.chosen_on},
        "space": {name: list(values) for name, values in choices.items()},
        "current": current,
        "winner": winner.changes,
        "lines": setting_lines(written) if written else "",
        "rounds": outcome.rounds,
        "validation": [{"changes": a.changes, "score": s} for a, s in outcome.validation],
        "winner_on_validation": outcome.score,
        "put_back": [{"setting": n, "value": v} for n, v in outcome.put_back],
        "singles": single_changes(outcome, choices),
        "not_tried": [{"changes": a.changes, "why": why} for a, why in outcome.not_tried],
        "held_out": figures,
        "calibrated": setup.workspace.manifest("calibration") is not None,
        "recommendation": advice(winner, figures),
        "machine": machine(),
    }


def _write(setup: Setup, file: Path, result: dict[str, Any]) -> str | None:
    """Write what is better into the config file, and instructions into the project's prompts; returns what was written."""
    from groundtune.cli._settings_text import write_settings
    from groundtune.evaluation.search_space import PROMPT, in_file
    from groundtune.prompt_files import literal, own_path

    if not result["recommendation"]["adopt"]:
        return None
    changes = {n: v for n, v in result["winner"].items() if in_file(n)}
    written = []
    if changes:
        write_settings(file, changes)
        written.append(str(file))
    for name, text in result["winner"].items():
        if name.startswith(PROMPT):
            prompt = setup.prompt(name.removeprefix(PROMPT))
            path = own_path(setup.workspace.root, prompt.name)
            path.parent.mkdir(exist_ok=True)
            if path.exists():  # the user's own wording is not lost
                path.replace(path.with_suffix(".old"))
            path.write_text(
                prompt.told(literal(text)).text("Instruction chosen by groundtune optimize."), encoding="utf-8"
            )
            written.append(str(path))
    return ", ".join(written) or None


def _write_report(result: dict[str, Any], path: Path) -> Path:
    from groundtune.evaluation.search_report import render_search

    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    half.write_text(render_search(result), encoding="utf-8")
    half.replace(path)
    return path.resolve()
