"""``groundtune dataset build``: documents to questions with answers, by templates and, on request, a teacher."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ProjectOption,
    ensure_documents,
    open_project,
    print_json,
    progress_bar,
    say,
    warn,
)

if TYPE_CHECKING:
    from groundtune.dataset.build.build import Built, Source
    from groundtune.dataset.build.teacher import Prices, Taught
    from groundtune.methods._setup import Setup
    from groundtune.system import System


def build(
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; default: questions.jsonl of the project.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="Also let this write questions: openai:MODEL[@URL], a model, or a system."),
    ] = None,
    questions: Annotated[
        int, typer.Option("--questions", min=1, max=20, help="Pairs the teacher writes a passage.")
    ] = 3,
    templates: Annotated[
        bool, typer.Option("--templates/--no-templates", help="Make the questions that need no model.")
    ] = True,
    per_document: Annotated[
        int, typer.Option("--per-document", min=1, help="Most facts of one document by templates.")
    ] = 60,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=64, help="Requests to the teacher at a time.")
    ] = 4,
    usd_per_million: Annotated[
        str | None,
        typer.Option("--usd-per-million", help="The teacher's price for a million tokens: IN,OUT or one for both."),
    ] = None,
    max_usd: Annotated[
        float | None, typer.Option("--max-usd", min=0, help="Stop before the teacher costs more.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Spend what is shown without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Make questions with answers from the documents, each with its passage, split by document and by fact."""
    from groundtune.errors import InputError

    setup = open_project(project, config)
    target = out or setup.workspace.root / "questions.jsonl"
    if target.exists() and not force:
        raise InputError(
            f"{target} is there already", expected="a new file", next_step="name another with --out, or add --force"
        )
    if not templates and not teacher:
        raise InputError(
            "--no-templates without --teacher makes nothing", next_step="leave out --no-templates, or name a teacher"
        )
    with setup.workspace.writing():
        sources = _sources(setup, quiet=json)
        taught = None
        if teacher:
            prices = _prices(teacher, usd_per_million)
            ask = _Asking(teacher, questions, concurrency, prices, max_usd, yes=yes, quiet=json)
            taught = ask.run(setup, sources)
        built = _built(sources, taught, per_document if templates else None)
        _write(built, taught, target, teacher=teacher, force=force, json=json)


def _sources(setup: Setup, *, quiet: bool) -> list[Source]:
    from groundtune.ingest.ingest import read_result, read_sections

    if setup.workspace.manifest("documents") is None:
        ensure_documents(setup, quiet=quiet)
    result = read_result(setup.workspace)
    return [(d, lambda d=d: read_sections(result.folder, d)) for d in result.documents]  # type: ignore[misc]


def _prices(teacher: str, given: str | None) -> Prices | None:
    from groundtune.dataset.build.teacher import Prices
    from groundtune.dataset.cost import find_price
    from groundtune.errors import ConfigError

    if given is not None:
        try:
            figures = [float(part) for part in given.split(",")]
        except ValueError:
            figures = []
        if len(figures) not in (1, 2) or not all(0 <= f < 1e6 for f in figures):
            raise ConfigError(f"--usd-per-million {given!r}", expected="dollars for a million tokens: 0.15,0.60 or 0.5")
        return Prices(figures[0], figures[-1])
    found = find_price(teacher) if teacher.startswith("openai:") else None
    if found is None or found.base_input is None or found.base_output is None:
        return None
    return Prices(found.base_input, found.base_output)


class _Asking:
    """What is asked of the teacher, and the consent to its cost."""

    def __init__(
        self,
        name: str,
        questions: int,
        concurrency: int,
        prices: Prices | None,
        max_usd: float | None,
        *,
        yes: bool,
        quiet: bool,
    ) -> None:
        self._name, self._questions, self._concurrency = name, questions, concurrency
        self._prices, self._max_usd, self._yes, self._quiet = prices, max_usd, yes, quiet

    def run(self, setup: Setup, sources: list[Source]) -> Taught:
        """Show the cost, ask for consent, then let the teacher write."""
        from groundtune.dataset.build.teacher import estimate, teach
        from groundtune.dataset.build.teacher_prompts import teacher_chunks

        system, hosted = _teacher(self._name, setup)
        chunks = list(teacher_chunks(sources))
        journal = setup.workspace.path("teacher.jsonl")
        ahead = estimate(chunks, journal, teacher=system.name, questions=self._questions, prices=self._prices)
        usage = ahead.usage
        money = f"about ${ahead.usd:.2f}" if ahead.usd is not None else "price unknown" if hosted else "on this machine"
        say(
            f"teacher  {ahead.chunks - ahead.done} of {ahead.chunks} passages to ask about: "
            f"about {usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written, {money}",
            quiet=self._quiet,
        )
        if hosted and usage.prompt_tokens:
            self._consent(money)
        with progress_bar("teacher") as report:
            return teach(
                system, chunks, journal, questions=self._questions, prices=self._prices, max_usd=self._max_usd,
                concurrency=self._concurrency if hosted else 1, progress=report,
            )  # fmt: skip

    def _consent(self, money: str) -> None:
        from groundtune.errors import InputError

        if self._yes:
            return
        if self._quiet or not sys.stdin.isatty():
            raise InputError(
                f"the teacher costs money ({money})",
                expected="your consent",
                next_step="add --yes, and --max-usd to set a limit",
            )
        if not typer.confirm("Go on?", err=True):
            raise InputError("stopped before the teacher was asked", next_step="nothing was spent")


def _teacher(name: str, setup: Setup) -> tuple[System, bool]:
    """The teacher as a System, and whether a request to it may cost money."""
    from groundtune import registry
    from groundtune.dataset.build.teacher import BackendTeacher
    from groundtune.methods._systems import build_system

    if name.startswith("openai:"):
        return BackendTeacher(registry.get("backends", "openai_compatible").open_backend(name)), True
    if name.partition("+")[0] in registry.names("methods"):
        return build_system(name, setup), setup.config.model.startswith("openai:")
    return BackendTeacher(setup.backend(name)), False


def _built(sources: list[Source], taught: Taught | None, per_document: int | None) -> Built:
    from groundtune.dataset.build.build import assemble, build_examples, extract
    from groundtune.dataset.build.teacher import taught_facts
    from groundtune.errors import InputError

    with progress_bar("build") as report:
        if taught is None:
            assert per_document is not None
            return build_examples(sources, per_document=per_document, progress=report)
        found = extract(sources, per_document=per_document, progress=report) if per_document else None
    facts = taught_facts(taught)
    if found is None:
        built = assemble(facts)
    else:
        others = found.every() if found.over_limit else ()
        built = assemble((*found.facts, *facts), others=others, over_limit=found.over_limit)
    if not built.examples:
        reasons = Counter(r.reason for r in taught.rejects).most_common(3)
        why = "; ".join(f"{r}: {n}" for r, n in reasons) or "no reply"
        raise InputError(
            f"the teacher wrote no question that its passage supports ({why})",
            next_step="name a stronger model with --teacher, or leave out --no-templates",
        )
    return built


def _write(built: Built, taught: Taught | None, target: Path, *, teacher: str | None, force: bool, json: bool) -> None:
    from groundtune.dataset.build.build import built_rows, write_built

    write_built(target, built_rows(built), force=force)
    splits = dict(sorted(Counter(e.split for e in built.examples).items()))
    result: dict[str, Any] = {
        "out": str(target),
        "questions": len(built.examples),
        "facts": len({e.fact for e in built.examples}),
        "documents": built.documents,
        "splits": splits,
        "duplicates": built.duplicates,
        "ambiguous": built.ambiguous,
        "over_limit": built.over_limit,
        "teacher": None,
    }
    say(
        f"build    {result['questions']} questions about {result['facts']} facts of {built.documents} documents: "
        + ", ".join(f"{n} {name}" for name, n in splits.items()),
        quiet=json,
    )
    say(
        f"         left out: {built.ambiguous} questions with two answers, {built.duplicates} facts told twice, "
        f"{built.over_limit} facts over --per-document",
        quiet=json,
    )
    if taught is not None:
        result["teacher"] = _teacher_result(taught, target, teacher or "", quiet=json)
    if json:
        print_json(result)
    else:
        say(f"next: read some of {target}, then groundtune dataset check {target}")


def _teacher_result(taught: Taught, target: Path, name: str, *, quiet: bool) -> dict[str, Any]:
    from groundtune.dataset.build.build import write_built

    rejects = target.with_name(f"{target.stem}.rejects.jsonl")
    if taught.rejects:
        write_built(rejects, (asdict(r) for r in taught.rejects), force=True)
    cost = "" if taught.usd is None else f", ${taught.usd:.4f}"
    say(
        f"teacher  {len(taught.pairs)} supported pairs, {len(taught.rejects)} rejected"
        + (f" (listed in {rejects})" if taught.rejects else "")
        + f"; {taught.usage.prompt_tokens:,} tokens read, {taught.usage.completion_tokens:,} written{cost}",
        quiet=quiet,
    )
    if taught.failed or taught.left:
        warn(
            f"{taught.failed} passages failed and {taught.left} were left because of --max-usd; "
            "the same command with --force asks for these only"
        )
    return {
        "name": name,
        "pairs": len(taught.pairs),
        "rejected": len(taught.rejects),
        "rejects": str(rejects) if taught.rejects else None,
        "failed": taught.failed,
        "left": taught.left,
        "usage": asdict(taught.usage),
        "cost_usd": taught.usd,
    }
