"""``groundtune calibrate``: choose from which confidence on a question is answered, on the project's training questions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ProjectOption,
    open_project,
    print_json,
    progress_bar,
    say,
    warn_if_stale,
)

if TYPE_CHECKING:
    from groundtune.methods._calibration import Result


def calibrate(
    refuse: Annotated[
        float | None, typer.Option("--refuse", help="Share of unanswerable questions to be refused, from 0 to 1.")
    ] = None,
    false_refusals: Annotated[
        float | None,
        typer.Option("--false-refusals", help="Share of answerable questions that may be refused; default: 0.05."),
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Delete the calibration: nothing is refused.")] = False,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Refuse what the documents do not answer, at a rate of your choice.

    Each training question is asked with its passage among the chunks and without. What it does to questions of other
    splits, `groundtune compare` shows.
    """
    from groundtune.errors import ConfigError

    for option, value in (("--refuse", refuse), ("--false-refusals", false_refusals)):
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"{option} {value}", expected="a share from 0 to 1", next_step=f"{option} 0.1")
    if refuse is not None and false_refusals is not None:
        raise ConfigError("both --refuse and --false-refusals", expected="one of them: the other one follows")
    setup = open_project(project, config)
    from groundtune.retrieval import calibrated

    with setup.workspace.writing():
        folder = setup.workspace.path(calibrated.ARTIFACT)
        if forget:
            shutil.rmtree(folder, ignore_errors=True)
            say("the calibration is deleted: no question is refused", quiet=json)
            if json:
                print_json({"forgotten": True})
            return
        from groundtune.methods._calibration import calibrate_project

        settings = setup.config.retrieval
        # what an earlier calibration refuses has no say in the next one, nor is it one for other settings a fault here
        setup.config = setup.config.model_copy(update={"retrieval": settings.model_copy(update={"refuse_below": 0.0})})
        warn_if_stale(setup)
        with progress_bar("calibrate") as report:
            result, questions = calibrate_project(setup, refuse=refuse, false_refusals=false_refusals, progress=report)
        figures = _figures(result)
        calibrated.store(setup.workspace, settings, result.calibration, figures, questions)
    if json:
        print_json(figures)
    else:
        _show(result)


def _figures(result: Result) -> dict[str, object]:
    from dataclasses import asdict

    from groundtune.retrieval.refusal import FEATURES

    return {
        "refuse_below": result.calibration.refuse_below,
        "answerable": result.answerable,
        "unanswerable": result.unanswerable,
        "area_under_curve": result.area,
        **{k: v for k, v in asdict(result.chosen).items() if k != "refuse_below"},
        "weights": dict(zip(FEATURES, result.calibration.weights, strict=True)),
        "curve": [asdict(p) for p in result.curve],
    }


def _show(result: Result) -> None:
    from groundtune.methods._calibration import in_words

    say(
        f"{result.answerable} questions with their passage among the chunks, {result.unanswerable} without (five folds, by fact)"
    )
    say(f"area under the ROC curve {result.area:.3f}; {in_words(result.calibration)}")
    say("\n  below  unanswerable refused  answerable refused  coverage   risk")
    for row in [*result.curve, result.chosen]:
        mark = "  <- chosen" if row is result.chosen else ""
        say(f"  {row.refuse_below:.3f}  {row.refused:20.3f}  {row.false_refusals:18.3f}  {row.coverage:8.3f}  {row.risk:5.3f}{mark}")  # fmt: skip
    say("\nKept in the workspace: systems behind the retriever refuse from now on; --forget ends that.")
