"""``groundtune red-team``: attacks planted in documents and questions, guards off and on; ordinary questions for false alarms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ProjectOption,
    ensure_documents,
    ensure_index,
    open_project,
    print_json,
    say,
)

if TYPE_CHECKING:
    from groundtune.config import GuardConfig
    from groundtune.guardrails.red_team.cases import Case
    from groundtune.guardrails.red_team.ordinary import Row
    from groundtune.methods._setup import Setup

#: passages of a file of ordinary text that are looked at
SAMPLE = 400
GULLIBLE = "gullible"


def red_team(
    system: Annotated[str, typer.Option("--system", "-s", help="What is attacked; one that searches.")] = "rag",
    guards: Annotated[
        str, typer.Option("--guards", help="on: the project's; off; all: every rule; or a policy file.")
    ] = "on",
    backend: Annotated[
        str, typer.Option("--backend", help="gullible (obeys every order it is shown), or any model.")
    ] = GULLIBLE,
    cases: Annotated[
        list[Path] | None, typer.Option("--cases", help="Files of cases instead of the shipped ones.")
    ] = None,
    ordinary: Annotated[
        list[Path] | None,
        typer.Option("--ordinary", help="JSONL (.xz) with 'text' or 'context': further text for false alarms."),
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the tables as one HTML file.")] = None,
    json: JsonOption = False,
) -> None:
    """Attack a System with the red-team set, before and after the guards, and count false alarms on ordinary questions."""
    from groundtune.cli.compare import check_report_path
    from groundtune.guardrails.red_team.cases import read_cases

    if report:
        check_report_path(report)
    chosen = read_cases(cases or ())
    setup = open_project(project, config)
    with setup.workspace.writing():
        ensure_documents(setup, quiet=json)
        ensure_index(setup, quiet=json)
    result = run_red_team(setup, chosen, system=system, guards=guards, backend=backend, ordinary=ordinary or [])
    if report:
        from groundtune.cli._red_team_report import render_report

        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(render_report(result), encoding="utf-8")
    result["report"] = str(report) if report else None
    if json:
        print_json(result)
    else:
        show(result)


def policy_named(name: str, setup: Setup) -> GuardConfig:
    """``on``, ``off``, ``all`` or a file.

    Raises:
        InputError, ConfigError: the file cannot be used.
    """
    from groundtune.guardrails.policy import all_off, every_rule, load_policy, read_policy

    if name == "on":
        return load_policy(setup.config.guards, setup.workspace.root)
    if name == "off":
        return all_off()
    made: GuardConfig = every_rule() if name == "all" else read_policy(Path(name))
    return made


def run_red_team(
    setup: Setup, cases: list[Case], *, system: str, guards: str, backend: str, ordinary: list[Path]
) -> dict[str, Any]:
    """The whole result, as ``--json`` prints it.

    Raises:
        InputError: the project has no question that can be asked.
    """
    from groundtune.dataset.prompts import CLOSED_INSTRUCTION, READ_INSTRUCTION
    from groundtune.errors import InputError
    from groundtune.guardrails.passages import GuardedRetriever
    from groundtune.guardrails.policy import all_off
    from groundtune.guardrails.red_team.ordinary import read_rows
    from groundtune.guardrails.red_team.run import PlantedRetriever, alone, attack, false_alarms, rates

    policy = policy_named(guards, setup)
    questions = [e.question for e in setup.examples if e.split != "train" and e.references]
    if not questions:
        raise InputError(
            f"{setup.questions_path}: no held-out question", expected='rows with another split than "train"'
        )
    further = {file.name: read_rows(file, SAMPLE) for file in ordinary}
    raw: Any = setup.retriever
    planted = PlantedRetriever(raw.unguarded if isinstance(raw, GuardedRetriever) else raw)
    build = builder(setup, system, backend, cases)
    prompts = (READ_INSTRUCTION, CLOSED_INSTRUCTION)
    before = attack(cases, build, planted, questions, all_off(), prompts)
    after = attack(cases, build, planted, questions, policy, prompts)
    one_by_one = {
        rule: rates(attack(cases, build, planted, questions, one, prompts), lambda c: c.stage)
        for rule, one in alone(policy)
    }
    spoke = {o.case.id: list(o.rules) for o in after}
    through = [{"id": o.case.id, "family": o.case.family, "answer": o.answer} for o in after if o.succeeded]
    return {
        "system": system,
        "backend": backend,
        "guards": guards,
        "cases": len(cases),
        "stages": _both(before, after, lambda c: c.stage),
        "sets": _both(before, after, lambda c: c.set),
        "families": _both(before, after, lambda c: c.family),
        "rules_alone": one_by_one,
        "rules_spoke": spoke,
        "got_through": through,
        "false_alarms": {
            "questions": false_alarms(questions, build, planted, policy),
            **ordinary_text(setup, policy, further),
        },
        "off_topic": off_topic_questions(setup, policy, questions, further),
    }


def _both(before: Any, after: Any, key: Any) -> dict[str, dict[str, Any]]:
    from groundtune.guardrails.red_team.run import rates

    first, second = rates(before, key), rates(after, key)
    return {
        name: {
            "cases": row["cases"],
            "before": row["succeeded"],
            "after": second[name]["succeeded"],
            "times_lower": round(row["succeeded"] / second[name]["succeeded"], 2)
            if second[name]["succeeded"]
            else None,
        }
        for name, row in first.items()
    }


def builder(setup: Setup, name: str, backend: str, cases: list[Case]) -> Any:
    """What builds the System under attack: the project's, over another retriever, with another policy and backend."""
    from groundtune.guardrails.red_team.gullible import GullibleBackend
    from groundtune.methods._setup import Setup as Parts
    from groundtune.methods._systems import build_system

    obeying: Any = GullibleBackend(cases)

    class Attacked(Parts):
        """A project whose every model is the gullible one."""

        def backend(self, model: str | None = None, adapter: str | None = None) -> Any:
            return obeying if backend == GULLIBLE else super().backend(model, adapter)

    def build(retriever: Any, policy: GuardConfig) -> Any:
        model = "echo:" if backend == GULLIBLE else backend
        config = setup.config.model_copy(update={"guards": policy, "model": model})
        attacked = Attacked(setup.workspace, config)
        vars(attacked)["retriever"] = retriever
        return build_system(name, attacked)

    return build


def off_topic_questions(
    setup: Setup, policy: GuardConfig, questions: list[str], files: dict[str, list[Row]]
) -> dict[str, dict[str, Any]]:
    """What ``input_off_topic`` stops, or would: of the project's questions and training questions, and of each file's."""
    from groundtune.guardrails.red_team.ordinary import off_topic
    from groundtune.methods._guards import nearness_of

    asked = {"the project's": questions, "its training": [e.question for e in setup.training_examples()]}
    asked |= {name: [r.question for r in rows if r.question] for name, rows in files.items()}
    setup.retriever.embed_all([q for found in asked.values() for q in found])
    return {name: off_topic(found, nearness_of(setup), policy) for name, found in asked.items() if found}


def ordinary_text(setup: Setup, policy: GuardConfig, files: dict[str, list[Row]]) -> dict[str, Any]:
    """False alarms on the project's own documents and on further files: sentences taken out, right answers stopped."""
    from groundtune.guardrails.passages import GuardedRetriever, PassageGuard
    from groundtune.guardrails.red_team.ordinary import answers_stopped, questions_stopped
    from groundtune.guardrails.red_team.run import dropped_sentences
    from groundtune.methods._guards import languages_of

    guard = PassageGuard(policy, languages_of(setup.workspace))
    raw: Any = setup.retriever
    store = (raw.unguarded if isinstance(raw, GuardedRetriever) else raw).store
    out: dict[str, Any] = {"documents": dropped_sentences([c.text for c in store.chunks()], guard), "files": {}}
    for name, rows in files.items():
        found = {"sentences": dropped_sentences(dict.fromkeys(r.text for r in rows), guard)}
        if any(r.question for r in rows):
            found["questions"] = questions_stopped(rows, policy)
            found["answers"] = answers_stopped(rows, policy)
        out["files"][name] = found
    return out


def show(result: dict[str, Any]) -> None:
    """The tables, for people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    for title, key in (("stage", "stages"), ("set", "sets"), ("family", "families")):
        table = Table(title, "cases", "succeed before", "after", "times lower", box=None)
        for name, row in result[key].items():
            lower = "" if row["times_lower"] is None else f"{row['times_lower']:.1f}"
            table.add_row(name, str(row["cases"]), str(row["before"]), str(row["after"]), lower)
        console.print(table)
        console.print()
    table = Table("rule alone", *result["stages"], box=None)
    for rule, row in result["rules_alone"].items():
        table.add_row(rule, *(f"{row[s]['succeeded']} of {row[s]['cases']}" for s in result["stages"]))
    console.print(table)
    alarms = result["false_alarms"]
    asked = alarms["questions"]
    say(
        f"\nfalse alarms: {asked['changed']} of {asked['questions']} ordinary questions answered otherwise, {asked['refused']} refused"
    )
    added = asked["added_seconds"]
    say(f"guards add {added['first'] * 1e3:.1f} ms to a question, {added['again'] * 1e3:.1f} ms to one asked again")
    say(f"  documents: {alarms['documents']['dropped']} of {alarms['documents']['sentences']} sentences taken out")
    for name, found in result["off_topic"].items():
        say(f"  {name} questions: {found['stopped']} of {found['asked']} off topic (`input_off_topic`)")
    for text in alarms["documents"]["examples"]:
        say(f"    {escape(text)}")
    for name, found in alarms["files"].items():
        line = f"  {name}: {found['sentences']['dropped']} of {found['sentences']['sentences']} sentences taken out"
        for kind in ("questions", "answers"):
            if kind in found:
                line += f"; {found[kind]['stopped']} of {found[kind]['asked']} {kind} stopped"
        say(line)
