"""One comparison as one HTML file that needs nothing else: no network, no script to read it, paper or screen."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from groundtune.evaluation.report_questions import render_questions
from groundtune.evaluation.report_sections import adaptability, confidence, cost, differences, quality, retrieval
from groundtune.evaluation.report_tables import tables
from groundtune.evaluation.report_text import (
    METRICS,
    SPLITS,
    Page,
    headline_metric,
    mean_of,
    metric_label,
    split_label,
    split_names,
)
from groundtune.page.curves import STYLE as CURVE_STYLE
from groundtune.page.document import PageSection, render_document
from groundtune.page.text import DASH, count, date, duration, esc, money, number, record, records, score, size

_COSTS: Final = (
    ("Time per question", "half of the answers came faster than the large number, 95 % faster than the small one"),
    ("Peak memory", "the most memory the process held while the system answered"),
    ("Training", "time to get the system ready, once"),
    ("Disk", "what the system needs on disk: its model, its index, its trained weights"),
    ("Cost per 1,000", "US dollars of machine time for a thousand questions, at the hourly price in the settings"),
    ("Pays off after", "questions after which cheaper answers have paid for the training, measured against rag"),
    ("After a change", "facts answered right once changed documents were taken in, of all facts changed"),
)


def render_report(result: Mapping[str, Any]) -> str:
    """Turn one comparison result into one HTML document.

    Args:
        result: what ``groundtune compare`` writes; any system, split, metric or section may be missing.

    Returns:
        The whole document. Styles, script and plots are inside; nothing is fetched.
    """
    chosen = record(result.get("recommendation")).get("system")
    page = Page(
        result=result,
        systems=records(result.get("systems")),
        splits=split_names(result),
        recommended=None if chosen is None else str(chosen),
    )
    sections = [
        PageSection("quality", "Quality", "How good the answers are", quality(page)),
        PageSection("cost", "Cost", "What that quality costs", cost(page)),
        PageSection("systems", "Systems", "All systems, side by side", tables(page)),
        PageSection("differences", "Differences", "Which differences are real", differences(page)),
        PageSection("retrieval", "Search", "Does the search find the right passage?", retrieval(page)),
        PageSection("confidence", "Confidence", "When should it rather not answer?", confidence(page)),
        PageSection("change", "Change", "When facts change", adaptability(page)),
        PageSection("questions-part", "Questions", "Question by question", _questions(page)),
        PageSection("reading", "How to read", "How to read this page", _reading(page)),
    ]
    return render_document(
        f"{result.get('model') or 'groundtune'}: comparison of {date(result.get('created'))}",
        sections,
        style=_asset("report.css") + CURVE_STYLE,
        top=_verdict(page),
        footer=_footer(page),
        script=_asset("report.js"),
    )


def _asset(name: str) -> str:
    return files("groundtune.evaluation").joinpath(name).read_text(encoding="utf-8")


def _verdict(page: Page) -> str:
    told = record(page.result.get("recommendation"))
    text = told.get("text") or "This comparison recommends no system."
    reasons = "".join(f"<li>{esc(reason)}</li>" for reason in told.get("because") or ())
    model = esc(page.result.get("model") or "an unnamed model")
    asked = f"{count(page.result.get('questions'))} questions, {len(page.systems)} systems"
    return (
        f'<header class="top"><h1><span>Comparison on <b>{model}</b></span>'
        f"<span>{asked}, {esc(date(page.result.get('created')))}</span></h1>"
        f'<p class="verdict" dir="auto">{esc(text)}</p>'
        + (f'<ul class="because">{reasons}</ul>' if reasons else "")
        + _key_figures(page)
        + "</header>"
    )


def _key_figures(page: Page) -> str:
    system = next((s for s in page.systems if page.role(s) == "recommended"), None)
    if system is None:
        return ""
    figures = []
    for split in page.splits:
        metric = headline_metric(page.systems, split)
        if metric and (mean := mean_of(system, split, metric)) is not None:
            figures.append((split_label(split), score(mean), metric_label(metric)))
    wait, change = record(system.get("latency_seconds")), record(system.get("adaptability"))
    figures.append(("Typical wait", duration(wait.get("p50")), "per question"))
    figures.append(("Cost", money(system.get("cost_usd")), "per 1,000 questions"))
    if number(change.get("seconds")) is not None:
        figures.append(
            ("Time to update", duration(change.get("seconds")), f"{count(change.get('facts'))} changed facts")
        )
    drawn = "".join(
        f"<div><dt>{esc(label)}</dt><dd>{esc(value)}<small>{esc(unit)}</small></dd></div>"
        for label, value, unit in figures
    )
    return f'<dl class="figures" aria-label="{esc(page.recommended)} in figures">{drawn}</dl>'


def _questions(page: Page) -> str:
    names = [str(system.get("name")) for system in page.systems]
    lead = "Open a question to see the reference, the passage it stands in, and what every system said."
    asked = records(page.result.get("per_question"))
    return f'<p class="lead">{lead}</p>{render_questions(asked, names, page.recommended)}'


def _reading(page: Page) -> str:
    splits = [(label, meaning) for name, (label, meaning) in SPLITS.items() if name in page.splits]
    groups = (("The tests", splits), ("The scores", list(METRICS.values())), ("The costs", list(_COSTS)))
    drawn = "".join(
        f"<div><h3>{title}</h3><dl>"
        + "".join(f"<div><dt>{esc(term)}</dt><dd>{esc(meaning)}</dd></div>" for term, meaning in terms)
        + "</dl></div>"
        for title, terms in groups
        if terms
    )
    return (
        f'<div class="reading">{drawn}<div><h3>The intervals</h3>'
        "<p>A score from a few hundred questions is an estimate. The 95 % interval is the range in which the score "
        "would fall for most other sets of questions of the same kind.</p>"
        "<p>Several questions ask about the same fact and tend to be right or wrong together. Intervals and tests "
        "therefore draw whole facts, not single questions, when they resample.</p>"
        "<p>Among many comparisons some look good by chance. The Holm correction raises every p-value to allow for "
        "that; “real” means that the corrected value lies below the limit set for this comparison.</p>"
        "<p>The control answers every question with the most frequent answer. A system that does not beat it has "
        "learnt nothing of use.</p></div></div>"
    )


def _footer(page: Page) -> str:
    machine = record(page.result.get("machine"))
    software = [f"{n} {machine[k]}" for n, k in (("Python", "python"), ("PyTorch", "torch")) if machine.get(k)]
    rows = [
        ("Model", page.result.get("model")),
        ("Made", date(page.result.get("created"))),
        ("Processor", ", ".join(str(v) for v in (machine.get("cpu"), _cores(machine.get("cores"))) if v)),
        ("Memory", size(machine.get("memory_bytes"))),
        ("Platform", machine.get("platform")),
        ("Software", ", ".join(software)),
    ]
    facts = "".join(f"<div><dt>{term}</dt><dd>{esc(value or DASH)}</dd></div>" for term, value in rows)
    notes = "".join(f"<li>{esc(note)}</li>" for note in page.result.get("notes") or ())
    return (
        "<footer><h2>How this was made</h2>"
        + (f'<ul class="notes" aria-label="Notes">{notes}</ul>' if notes else "")
        + f'<dl class="machine">{facts}</dl><pre tabindex="0" aria-label="Command"><code>'
        + f"{esc(page.result.get('command') or DASH)}</code></pre></footer>"
    )


def _cores(value: Any) -> str:
    cores = number(value)
    return "" if cores is None else f"{count(cores)} core{'' if cores == 1 else 's'}"
