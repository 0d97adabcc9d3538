"""``groundtune claims``: claims called True, False or NEE in four ways, and the confusion matrix of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
)
from groundtune.cli.compare import check_report_path

if TYPE_CHECKING:
    from groundtune.evaluation.claims import Claim, Evidence, Verdict
    from groundtune.methods._setup import Setup

RULE = "rule"


def claims(
    system: Annotated[
        str,
        typer.Option(
            "--system",
            "-s",
            help="What gives the verdict, comma-separated: rule (no model), prompt (the model), or a tuned method.",
        ),
    ] = f"prompt,{RULE}",
    file: Annotated[Path | None, typer.Option("--claims", help="Claims file instead of the config's.")] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    nearest: Annotated[
        int | None, typer.Option("--nearest", min=1, max=50, help="Passages shown with a claim.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=0, max=2, help="Cosine distance; default: chosen on train.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the matrices as one HTML file.")] = None,
    json: JsonOption = False,
) -> None:
    """Judge claims closed book, with context, with a distance threshold and with HyDE."""
    if report:
        check_report_path(report)
    setup = open_project(project, config, model=model)
    given = {"nearest": nearest, "threshold": threshold, "file": str(file.resolve()) if file else None}
    settings = setup.config.claims.model_copy(update={k: v for k, v in given.items() if v is not None})
    search = setup.config.retrieval
    wide = search.model_copy(update={"top_k": max(search.top_k, settings.nearest)})
    setup.tries_settings = True  # nothing is refused here
    setup.config = setup.config.model_copy(update={"claims": settings, "retrieval": wide})
    result = run_claims(setup, tuple(s.strip() for s in system.split(",") if s.strip()), quiet=json)
    if report:
        from groundtune.evaluation.claims_report import render_claims

        report.parent.mkdir(parents=True, exist_ok=True)
        half = report.with_name(report.name + ".part")
        half.write_text(render_claims(result), encoding="utf-8")
        half.replace(report)
    result["report"] = str(report.resolve()) if report else None
    if json:
        print_json(result)
    else:
        show_claims(result)
        if report:
            say(f"report   {report}")


def run_claims(setup: Setup, names: tuple[str, ...], *, quiet: bool) -> dict[str, Any]:
    """The lesson end to end; documents and index are made where they are missing."""
    from groundtune.evaluation.claim_verdicts import write_passages
    from groundtune.evaluation.claims import four_ways, read_claims
    from groundtune.evaluation.compare import machine

    settings = setup.config.claims
    stated = read_claims(setup.workspace.root / settings.file)
    tested = [c for c in stated if c.split != "train"]
    train = [c for c in stated if c.split == "train"]
    verdicts = _verdicts(setup, names, tested)
    with setup.workspace.writing():
        ensure_documents(setup, quiet=quiet)
        ensure_index(setup, quiet=quiet)
        with progress_bar("claims") as bar:
            bar(0, len(verdicts) + 2, "search")
            context, by_claim = _searched(setup, train, tested, [c.text for c in [*train, *tested]])
            bar(1, len(verdicts) + 2, "HyDE")
            made_up = write_passages(setup.backend(), [c.text for c in [*train, *tested]], setup.workspace.root)
            imagined, by_passage = _searched(setup, train, tested, made_up)
            from groundtune.evaluation.claims import near

            rows = []
            for n, verdict in enumerate(verdicts):
                bar(2 + n, len(verdicts) + 2, verdict.name)
                kept, kept_imagined = near(context, by_claim), near(imagined, by_passage)
                ways = four_ways(
                    tested, verdict, context, kept, kept_imagined,
                    resamples=setup.config.compare.resamples, seed=setup.config.seed,
                )  # fmt: skip
                rows.append({"name": verdict.name, "ways": ways})
    labels = {label: sum(c.label == label for c in tested) for label in ("True", "False", "NEE")}
    return {
        "claims": len(tested),
        "labels": labels,
        "nearest": settings.nearest,
        "thresholds": {"threshold": by_claim, "hyde": by_passage},
        "chosen_on": len(train) if settings.threshold is None else 0,
        "gold_found": {"context": _found(tested, context), "hyde": _found(tested, imagined)},
        "model": setup.config.model,
        "machine": machine(),
        "verdicts": rows,
    }


def _verdicts(setup: Setup, names: tuple[str, ...], tested: Sequence[Claim]) -> list[Verdict]:
    from groundtune.errors import InputError
    from groundtune.evaluation.claim_rule import RuleVerdict
    from groundtune.evaluation.claim_verdicts import ModelVerdict
    from groundtune.methods._systems import backend_of, check_system

    if not names or not tested:
        what = "no claim outside the split train" if names else "nothing to give the verdict"
        raise InputError(what, expected="claims to test, and --system rule or prompt", next_step="groundtune claims")
    for name in names:
        if name != RULE:
            check_system(name)
    out: list[Verdict] = []
    for name in names:
        if name == RULE:
            out.append(RuleVerdict())
            continue
        backend = setup.backend() if name == "prompt" else backend_of(setup, name)
        label = setup.config.model if name == "prompt" else name
        out.append(ModelVerdict(label, backend, setup.workspace.root, max_tokens=setup.config.claims.max_tokens))
    return out


def _searched(
    setup: Setup, train: Sequence[Claim], tested: Sequence[Claim], texts: list[str]
) -> tuple[list[list[Evidence]], float]:
    """What is found for the tested claims by these texts, and the threshold: given, or chosen on the training claims."""
    from groundtune.errors import InputError
    from groundtune.evaluation.claims import found_threshold

    found = _search(setup)(texts)
    chosen = setup.config.claims.threshold
    if chosen is None:
        chosen = found_threshold(train, found[: len(train)])
    if chosen is None:
        raise InputError(
            "no threshold, and no training claims to choose one on",
            expected='claims with "split": "train", some of them NEE and some not',
            next_step="groundtune claims --threshold 0.4",
        )
    return found[len(train) :], chosen


def _search(setup: Setup) -> Callable[[list[str]], list[list[Evidence]]]:
    from groundtune.evaluation.claims import Evidence

    def search(texts: list[str]) -> list[list[Evidence]]:
        setup.retriever.embed_all(texts)
        out = []
        for text in texts:
            hits = [h for h in setup.retriever.retrieve(text) if not h.beside][: setup.config.claims.nearest]
            out.append(
                [
                    Evidence(h.chunk.text, h.chunk.document, h.chunk.page, 1.0 - max((s for _, s in h.sentences), default=0.0))
                    for h in hits
                ]
            )  # fmt: skip
        return out

    return search


def _found(tested: Sequence[Claim], evidence: Sequence[Sequence[Evidence]]) -> float | None:
    """Share of the needed passages that were found, of the claims that have some."""
    from groundtune.metrics._ranking import holds

    shares = [
        sum(any(holds(e.document, e.page, e.text, p) for e in found) for p in claim.passages) / len(claim.passages)
        for claim, found in zip(tested, evidence, strict=True)
        if claim.passages
    ]
    return sum(shares) / len(shares) if shares else None


def show_claims(result: dict[str, Any]) -> None:
    """Four matrices a verdict, and a line for each way."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from groundtune.evaluation.claims_report import WAYS

    console = Console()
    for row in result["verdicts"]:
        table = Table(title=f"{result['claims']} claims, verdict by {row['name']}", box=SIMPLE, padding=(0, 1, 0, 0))
        for heading in (
            "way",
            "claim is",
            *(f"called\n{x}" for x in ("True", "False", "NEE")),
            "accuracy",
            "macro\nF1",
        ):
            table.add_column(heading, justify="left" if heading in ("way", "claim is") else "right", no_wrap=True)
        for way in row["ways"]:
            for n, (label, counts) in enumerate(zip(way["labels"], way["matrix"], strict=True)):
                interval = f"{way['accuracy']:.2f} ({way['accuracy_low']:.2f}-{way['accuracy_high']:.2f})"
                figures = (interval, f"{way['macro_f1']:.2f}") if n == 0 else ("", "")
                table.add_row(WAYS[way["way"]][0] if n == 0 else "", label, *map(str, counts), *figures)
            table.add_section()
        console.print(table)
        lost = sum(way["not_understood"] for way in row["ways"])
        if lost:
            say(f"{lost} replies held no verdict and count as NEE")
    thresholds = result["thresholds"]
    where = f"chosen on {result['chosen_on']} training claims" if result["chosen_on"] else "given"
    say(f"threshold {thresholds['threshold']:.3f}, with HyDE {thresholds['hyde']:.3f} (cosine distance, {where})")
