"""``groundtune judge``: how far a language-model judge agrees with people, before its scores are believed anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import ConfigOption, JsonOption, ProjectOption, open_project, print_json, progress_bar, say

if TYPE_CHECKING:
    from groundtune.evaluation.judge import Judge
    from groundtune.methods._setup import Setup

#: resamples of the agreement's intervals
_RESAMPLES = 2000


def judge(
    labels: Annotated[Path, typer.Option("--labels", help="Answers with human labels: CSV or JSONL.")],
    model: Annotated[
        str | None,
        typer.Option("--model", help="The judge: openai:MODEL[@URL], a folder, pebble; default: judge.model."),
    ] = None,
    rubric: Annotated[
        str | None, typer.Option("--rubric", help="correct, quality, pair, or a file; default: judge.rubric.")
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Measure a judge's agreement with human labels; `compare --judge` believes only one that passed."""
    from groundtune.evaluation.agreement import agreement, believed, keep, read_labels

    setup = open_project(project, config)
    changes = {k: v for k, v in (("model", model), ("rubric", rubric)) if v}
    setup.config = setup.config.model_copy(update={"judge": setup.config.judge.model_copy(update=changes)})
    asked = open_judge(setup)
    settings = setup.config.judge
    rows = read_labels(labels, asked.rubric.labels)
    with progress_bar("judge") as bar:
        bar(0, len(rows))
        given = asked.grade(rows)
        bar(len(rows), len(rows))
    human = [row["label"] for row in rows]
    found = agreement(human, given, asked.rubric.labels, resamples=_RESAMPLES, seed=setup.config.seed)
    trusted, why = believed(found, least_kappa=settings.least_kappa, least_labels=settings.least_labels)
    result = {"judge": str(settings.model), "rubric": asked.rubric.name, "scale": asked.rubric.scale, **found}
    result |= {"believed": trusted, "because": why}
    with setup.workspace.writing():
        keep(setup.workspace, str(settings.model), asked.rubric.signature, result)
    if json:
        print_json(result)
    else:
        show_judge(result)


def open_judge(setup: Setup) -> Judge:
    """The judge of the config.

    Raises:
        ConfigError: none is named. InputError: no such rubric.
    """
    from groundtune.errors import ConfigError
    from groundtune.evaluation.judge import Judge, read_rubric

    settings = setup.config.judge
    if not settings.model:
        raise ConfigError(
            "no judge is named",
            expected="judge.model in groundtune.yaml, or --model",
            next_step="groundtune judge --labels FILE --model openai:MODEL@https://host/v1",
        )
    rubric = read_rubric(settings.rubric, setup.workspace.root)
    return Judge(setup.backend(settings.model), rubric, max_tokens=settings.max_tokens)


def believed_judge(setup: Setup) -> Judge:
    """The judge of the config, if its agreement with people was measured and is high enough.

    Raises:
        ConfigError: none is named. InputError: it is not to be believed, or grades pairs only.
    """
    from groundtune.errors import InputError
    from groundtune.evaluation.agreement import require

    asked, settings = open_judge(setup), setup.config.judge
    if asked.rubric.scale == "pair":
        raise InputError(f"rubric {asked.rubric.name!r} compares pairs", expected="correct, quality or one like them")
    require(
        setup.workspace, str(settings.model), asked.rubric.signature,
        least_kappa=settings.least_kappa, least_labels=settings.least_labels,
    )  # fmt: skip
    return asked


def show_judge(result: dict[str, Any]) -> None:
    """The agreement, and whether the judge is believed."""
    say(f"judge    {result['judge']}, rubric {result['rubric']} ({result['scale']})")
    say(f"labels   {result['n']} scored, {result['failures']} replies without a score")
    for name, label in (("kappa", "Cohen's kappa"), ("spearman", "Spearman's rho")):
        found = result[name]
        say(f"         {label} {found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f}, 95 %)")
    say(f"         same label {result['accuracy']:.0%}")
    say(f"{'believed' if result['believed'] else 'NOT believed'}: {result['because']}")
