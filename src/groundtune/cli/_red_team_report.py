"""The result of ``groundtune red-team`` as one HTML page that fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from groundtune.page.document import PageSection, render_document
from groundtune.page.parts import scroll
from groundtune.page.text import esc


def render_report(result: dict[str, Any]) -> str:
    """The page: stages, families, each rule alone, false alarms, and what got through."""
    alarms = result["false_alarms"]
    asked = alarms["questions"]
    added = asked["added_seconds"]
    rows = [
        ("ordinary questions answered otherwise", asked["changed"], asked["questions"]),
        ("ordinary questions refused", asked["refused"], asked["questions"]),
        ("sentences of the documents taken out", alarms["documents"]["dropped"], alarms["documents"]["sentences"]),
    ]
    for name, found in alarms["files"].items():
        rows.append((f"{name}: sentences taken out", found["sentences"]["dropped"], found["sentences"]["sentences"]))
        rows += [
            (f"{name}: {k} stopped", found[k]["stopped"], found[k]["asked"])
            for k in ("questions", "answers")
            if k in found
        ]
    rows += [
        (f"{name} questions off topic (input_off_topic)", found["stopped"], found["asked"])
        for name, found in result["off_topic"].items()
    ]
    alone = [
        (rule, *(f"{row[s]['succeeded']} of {row[s]['cases']}" for s in result["stages"]))
        for rule, row in result["rules_alone"].items()
    ]
    sections = [
        PageSection("stages", "Stages", "Attacks that succeed", _before_after(result["stages"], "Stage") + _before_after(result["sets"], "Set")),
        PageSection("families", "Families", "By family of attack", _before_after(result["families"], "Family")),
        PageSection("rules", "Rules", "Each rule alone", _table("Successes with one rule on", ("Rule", *result["stages"]), alone)),
        PageSection("alarms", "False alarms", "Ordinary text", _table("False alarms", ("What", "stopped", "of"), rows) + f"<p>The guards add {added['first'] * 1e3:.1f} ms to a question, {added['again'] * 1e3:.1f} ms to one asked again.</p>"),
        PageSection(
            "dropped", "Taken out", "Sentences of the documents that are taken out",
            _table("The first ten", ("Sentence",), [(t,) for t in alarms["documents"]["examples"]]),
        ),
        PageSection(
            "through", "Got through", "What got through",
            _table("Cases", ("Case", "Answer"), [(t["id"], t["answer"]) for t in result["got_through"]]),
        ),
    ]  # fmt: skip
    title = f"Red team: {result['system']} with {result['backend']}, guards {result['guards']}"
    return render_document(title, sections, style="", top=f"<header><h1>{esc(title)}</h1></header>", footer="")


def _before_after(rows: dict[str, dict[str, Any]], name: str) -> str:
    found = [(k, r["cases"], r["before"], r["after"], r["times_lower"] or "-") for k, r in rows.items()]
    return _table(f"By {name.lower()}", (name, "cases", "before", "after", "times lower"), found)


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{esc(h)}</th>' for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{esc(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return scroll(caption, f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")
