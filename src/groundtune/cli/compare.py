"""``groundtune compare``: every System side by side on the held-out questions, and what follows from it.

Whatever a System needs (documents, index, tuned weights) is made first where it is missing.
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
    ensure_scratch,
    ensure_tuned,
    open_project,
    print_json,
    progress_bar,
    say,
    warn,
)
from groundtune.cli.judge import believed_judge

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup
    from groundtune.records import Example


JudgeOption = Annotated[
    bool, typer.Option("--judge", help="Let `judge.model` grade the answers too, once `groundtune judge` believes it.")
]


def compare(
    systems: Annotated[
        str | None, typer.Option("--systems", help="Comma-separated; default: `compare.systems` of groundtune.yaml.")
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Most questions a split; default all.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the comparison as one HTML file.")] = None,
    judge: JudgeOption = False,
    json: JsonOption = False,
) -> None:
    """Compare the systems on the held-out questions and say which to use."""
    if report:
        check_report_path(report)
    setup = open_project(project, config, model=model)
    names = tuple(s.strip() for s in systems.split(",") if s.strip()) if systems else setup.config.compare.systems
    result = run_comparison(setup, names, limit=questions, quiet=json, judge=judge)
    result["report"] = None
    if report:
        result["report"] = str(write_report(result, report))
    if json:
        print_json(result)
    else:
        show_table(result)
        if report:
            say(f"report   {report}")


def run_comparison(
    setup: Setup, names: tuple[str, ...], *, limit: int | None, quiet: bool, adapt: bool = True, judge: bool = False
) -> dict[str, Any]:
    """Make what the systems need, then compare them; the result is kept as ``.groundtune/reports/comparison.json``."""
    from groundtune.errors import InputError
    from groundtune.evaluation.adaptability import adaptability
    from groundtune.evaluation.compare import choose_questions, compare_systems
    from groundtune.methods._systems import build_system, check_system
    from groundtune.methods._updates import updates
    from groundtune.workspace import write_json

    settings = setup.config.compare
    if not names:
        raise InputError(
            "no system to compare",
            expected="names divided by commas",
            next_step="groundtune compare --systems baseline,rag",
        )
    for name in names:  # before the minutes that making them takes
        check_system(name)
    examples = choose_questions(setup.examples, limit or settings.questions_per_split, setup.config.seed)
    if not examples:
        raise InputError(
            f"{setup.questions_path}: every question is in the split 'train'",
            expected="held-out questions",
            next_step='give some rows another "split"',
        )
    trusted = believed_judge(setup) if judge else None
    with setup.workspace.writing():
        training = prepare(setup, names, quiet=quiet)
        warn_of_strangers(setup, examples)
        systems = {name: build_system(name, setup) for name in names}
        with progress_bar("compare") as bar:
            result, _ = compare_systems(
                systems,
                examples,
                settings,
                seed=setup.config.seed,
                training=training,
                progress=lambda n, done, total: bar(done, total, n),
                judge=trusted,
            )
        count = settings.adaptability_facts if adapt and not setup.config.model.startswith("echo:") else 0
        changed = adaptability(setup.examples, systems, updates(names, setup), count=count, seed=setup.config.seed)
        for row in result["systems"]:
            row["adaptability"] = changed.get(row["name"])
        from groundtune.evaluation.recommendation import recommend

        result["recommendation"] = recommend(result["systems"], result["pairs"])
        result["model"] = setup.config.model
        result["notes"] = [
            "Peak memory is the whole process's while the system answered; systems run one after another in one process, so later ones include what earlier ones loaded.",
            f"Cost is this machine at {settings.usd_per_hour:.2f} USD an hour times the median seconds of a question.",
            "Trained systems were never shown the facts of held_out_facts: only their documents hold them.",
        ]
        folder = setup.workspace.path("reports")
        folder.mkdir(exist_ok=True)
        write_json(folder / "comparison.json", result)
    return result


def prepare(setup: Setup, names: tuple[str, ...], *, quiet: bool) -> dict[str, dict[str, float]]:
    """Documents, index and weights for the named systems; returns their training seconds and bytes on disk."""
    from groundtune.methods._systems import searches
    from groundtune.methods._tuning import last_method, training_methods

    retrieving = [n for n in names if searches(n)]
    bases = dict.fromkeys(n.partition("+")[0] for n in names)
    if retrieving or bases.keys() & {"scratch", "long_context"}:
        ensure_documents(setup, quiet=quiet)
    if retrieving:
        ensure_index(setup, quiet=quiet)
    runs: dict[str, dict[str, Any]] = {}
    if "tuned" in bases or ("scratch" in bases and setup.config.scratch.seconds is None):
        runs["tuned"] = ensure_tuned(setup, quiet=quiet)
    for name in [n for n in training_methods() if n in bases]:
        same = "tuned" in runs and name == last_method(setup)
        runs[name] = runs["tuned"] if same else ensure_tuned(setup, name, last=False, quiet=quiet)
    if "scratch" in bases:
        runs["scratch"] = ensure_scratch(setup, quiet=quiet)
    index_bytes = _size(setup.workspace.path("index")) if retrieving else 0
    base_bytes = _model_bytes(setup)
    out: dict[str, dict[str, float]] = {}
    for name in names:
        run = runs.get(name.partition("+")[0])
        disk = index_bytes if name in retrieving else 0
        disk += run["disk_bytes"] if run else 0
        if name not in {"baseline", "most_frequent"} and (run is None or run.get("adapter")):
            disk += base_bytes
        out[name] = {"train_seconds": run["seconds"] if run else 0.0, "disk_bytes": disk}
        if run and "trainable_parameters" in run:
            out[name]["trainable_parameters"] = run["trainable_parameters"]
    return out


def warn_of_strangers(setup: Setup, examples: list[Example]) -> None:
    """Say which documents the questions name that were not ingested: recall would be 0 without a reason to be seen."""
    from groundtune.ingest.ingest import read_result

    if setup.workspace.manifest("documents") is None:
        return
    known = {d.path for d in read_result(setup.workspace).documents}
    strangers = sorted({p.document for e in examples for p in e.passages} - known)
    if strangers:
        named = ", ".join(strangers[:5]) + (" ..." if len(strangers) > 5 else "")
        warn(
            f"{setup.questions_path.name} names documents that were not ingested, so recall counts them as missed: {named}"
        )


def _model_bytes(setup: Setup) -> int:
    from groundtune.nn.checkpoints import model_path

    folder = Path(model_path(setup.resolve(setup.config.model)))
    return _size(folder) if folder.is_dir() else 0


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def check_report_path(path: Path) -> None:
    """See that a report can be written there, before the minutes that a comparison takes.

    Raises:
        InputError: it is a folder, or lies inside a file.
    """
    from groundtune.errors import InputError

    if path.is_dir():
        raise InputError(
            f"{path} is a folder", expected="a file for the report", next_step=f"--report {path / 'report.html'}"
        )
    above = next(p for p in path.absolute().parents if p.exists())
    if not above.is_dir():
        raise InputError(
            f"{path}: {above} is a file, not a folder", expected="a file in a folder", next_step="--report report.html"
        )


def write_report(result: dict[str, Any], path: Path) -> Path:
    """Write the HTML report whole."""
    from groundtune.evaluation.report import render_report

    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    half.write_text(render_report(result), encoding="utf-8")
    half.replace(path)
    return path.resolve()


#: columns of a terminal that has room for the weights trained beside the scores; the report always has
_WIDE = 96


def show_table(result: dict[str, Any]) -> None:
    """The comparison as a table with the advice under it."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    title = f"{result['questions']} held-out questions: token F1 ± half of its 95 % interval"
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    splits = [s for s in result["splits"] if s != "unanswerable"]
    headings = [s.replace("held_out_", "held-out\n").replace("_", " ") for s in splits]
    ways = sum("trainable_parameters" in row for row in result["systems"])
    console = Console()  # the column says nothing of tuned and tuned+rag, and must not cut scores short
    more = ["weights\ntrained"] if ways > 2 and console.width >= _WIDE else []
    for heading in ["system", *headings, "abstains\nrightly", "recall\n@5", "s per\nquestion", "train\ns", *more]:
        table.add_column(heading, justify="left" if heading == "system" else "right", no_wrap=True)
    for row in result["systems"]:
        cells = [_cell(row["scores"].get(s, {}).get("token_f1")) for s in splits]
        refuses = _mean(row["scores"].get("unanswerable", {}).get("abstention_accuracy"))
        recall = _mean(row["scores"].get("all_answerable", {}).get("recall_at_5"))
        weights = [f"{row['trainable_parameters']:,}" if "trainable_parameters" in row else "-" for _ in more]
        seconds = (f"{row['latency_seconds']['p50']:.2f}", f"{row['train_seconds']:.0f}")
        table.add_row(row["name"], *cells, refuses, recall, *seconds, *weights)
    console.print(table)
    if "recommendation" in result and len(result["systems"]) > 1:
        say(f"[bold]{result['recommendation']['text']}[/bold]")
        for reason in result["recommendation"]["because"]:
            say(f"  - {reason}")


def _cell(score: dict[str, float] | None) -> str:
    return f"{score['mean']:.2f} ±{(score['high'] - score['low']) / 2:.2f}" if score else "-"


def _mean(score: dict[str, float] | None) -> str:
    return f"{score['mean']:.2f}" if score else "-"
