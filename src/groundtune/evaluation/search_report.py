"""A search for settings as one HTML page that needs nothing else: what was found, what each choice is worth, what was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from groundtune.evaluation.report_text import metric_label, p_value, signed, split_label
from groundtune.page.document import PageSection, render_document
from groundtune.page.parts import scroll
from groundtune.page.text import DASH, count, date, duration, esc, number, record, records, size

_STYLE: Final = """
.gain { stroke: var(--accent); stroke-width: 2; } .gain-dot { fill: var(--accent); } .zero { stroke: var(--soft); stroke-dasharray: 2 3; }
td.plot { min-width: 12rem; padding-top: .8rem; } .dropped { color: var(--soft); }
"""
_PARTS: Final = {"found": "what is found, no model asked", "answers": "answers"}


def render_search(result: Mapping[str, Any]) -> str:
    """Turn the result of ``groundtune optimize`` into one HTML document; nothing is fetched."""
    sections = [
        PageSection("held-out", "Held out", "Old settings and new, on questions never used before", _held_out(result)),
        PageSection("worth", "Each choice", "What each choice is worth", _worth(result)),
        PageSection("singles", "One by one", "What each value did alone, on training questions", _singles(result)),
        PageSection("rounds", "The search", "Round by round", _rounds(result)),
        PageSection("untried", "Not tried", "What there was no time for", _not_tried(result)),
        PageSection("reading", "How to read", "How to read this page", _reading(result)),
    ]
    title = f"{result.get('model') or 'groundtune'}: settings of {date(result.get('created'))}"
    return render_document(title, sections, style=_STYLE, top=_top(result), footer=_footer(result))


def _top(result: Mapping[str, Any]) -> str:
    asked, held = record(result.get("asked")), record(result.get("held_out"))
    told = record(result.get("recommendation"))
    lines = f"<pre><code>{esc(result['lines'])}</code></pre>" if result.get("lines") else ""
    return (
        f'<header class="top"><h1><span>Settings of <b>{esc(result.get("system"))}</b> with <b>{esc(result.get("model"))}</b></span>'
        f"<span>{esc(date(result.get('created')))}, {esc(duration(result.get('seconds')))}</span></h1>"
        f'<p class="verdict">{esc(told.get("text"))}</p>'
        f'<ul class="because"><li>{count(asked.get("search"))} training questions to search with, {count(asked.get("validation"))} others to choose '
        f"the winner by, {count(held.get('questions'))} held-out ones to report on.</li></ul>{lines}</header>"
    )


def _held_out(result: Mapping[str, Any]) -> str:
    held = record(result.get("held_out"))
    systems = records(held.get("systems"))
    pairs = {(p.get("split"), p.get("metric")): p for p in records(held.get("pairs"))}
    rows = []
    for split, metrics in record(systems[0].get("scores")).items() if systems else ():
        for metric in metrics:
            means = [record(record(record(s.get("scores")).get(split)).get(metric)) for s in systems]
            pair = (
                record(held.get("overall")) if (split, metric) == ("all", "score") else pairs.get((split, metric), {})
            )
            name = "All questions" if split == "all" else split_label(split)
            label = "Score of the search" if metric == "score" else metric_label(metric)
            cells = "".join(f"<td>{_three(m.get('mean'))}<small>{_interval(m)}</small></td>" for m in means)
            rows.append(f"<tr><th>{esc(name)}</th><td>{esc(label)}</td>{cells}{_pair_cells(pair)}</tr>")
    heads = "".join(f"<th>{h}</th>" for h in ("Questions", "Metric", "Now", "Found")[: 2 + len(systems)])
    return scroll(
        "Means with 95 % intervals; differences are paired, p is Holm-corrected over the splits of a metric",
        f"<thead><tr>{heads}<th>Difference</th><th></th><th>p</th></tr></thead><tbody>{''.join(rows)}</tbody>",
    )


def _worth(result: Mapping[str, Any]) -> str:
    held = record(result.get("held_out"))
    rows = records(held.get("worth"))
    if not rows:
        return ""
    widest = max([abs(number(r.get(k)) or 0.0) for r in rows for k in ("low", "high")] + [0.01])
    drawn = []
    for row in rows:
        without = record(row.get("without"))
        drawn.append(
            f"<tr><th>{esc(row.get('setting'))}</th><td>{esc(row.get('from'))} → {esc(row.get('to'))}</td>{_pair_cells(row)}"
            f'<td class="plot">{_bar(row, widest)}</td>{_figure_cells(without)}</tr>'
        )
    heads = ("Setting", "From, to", "Worth", "95 % interval", "p", "", "Recall@5", "MRR", "Token F1", "Time", "Index")
    lead = '<p class="lead">The new settings minus the same with this one choice set back: what the answers lose without it, on the held-out questions. The figures to the right are those without the choice.</p>'
    missing = held.get("not_measured") or ()
    rest = f'<p class="quiet">Not measured for want of time: {esc(", ".join(missing))}.</p>' if missing else ""
    table = f"<thead><tr>{''.join(f'<th>{h}</th>' for h in heads)}</tr></thead><tbody>{''.join(drawn)}</tbody>"
    return lead + scroll("One choice at a time set back; p is Holm-corrected over the choices", table) + rest


def _pair_cells(pair: Mapping[str, Any]) -> str:
    if number(pair.get("difference")) is None:
        return f"<td>{DASH}</td><td></td><td></td>"
    p = pair.get("p_holm", pair.get("p_value"))
    return f"<td>{_signed(pair['difference'])}</td><td><small>{_signed(pair['low'])} to {_signed(pair['high'])}</small></td><td>{esc(p_value(p))}</td>"


def _figure_cells(row: Mapping[str, Any]) -> str:
    scores = record(record(row.get("scores")).get("all"))
    means = "".join(f"<td>{_three(record(scores.get(m)).get('mean'))}</td>" for m in ("recall_at_5", "mrr", "token_f1"))
    wait, index = record(row.get("latency_seconds")).get("p50"), record(row.get("index")).get("seconds")
    return f"{means}<td>{esc(duration(wait))}</td><td>{esc(duration(index))}</td>"


def _bar(row: Mapping[str, Any], widest: float) -> str:
    """An interval around its middle, on a scale with zero in the centre."""
    at = {k: 50 + 48 * (number(row.get(k)) or 0.0) / widest for k in ("low", "high", "difference")}
    return (
        '<svg width="100%" height="14" aria-hidden="true"><line class="zero" x1="50%" x2="50%" y1="0" y2="14"/>'
        f'<line class="gain" x1="{at["low"]:.1f}%" x2="{at["high"]:.1f}%" y1="7" y2="7"/>'
        f'<circle class="gain-dot" cx="{at["difference"]:.1f}%" cy="7" r="4"/></svg>'
    )


def _singles(result: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><th>{esc(r.get('setting'))}</th><td>{esc(r.get('value'))}</td><td>{_signed(r.get('difference'))}</td>"
        f"<td>{esc(_PARTS.get(str(r.get('part')), r.get('part')))}</td><td>{count(r.get('questions'))}</td></tr>"
        for r in records(result.get("singles"))
    ]
    if not rows:
        return ""
    lead = '<p class="lead">Each value on its own against the current settings, in the largest round it reached. These are the questions the search chose by: read them as hints, not as results.</p>'
    heads = "".join(f"<th>{h}</th>" for h in ("Setting", "Value", "Difference", "Scored", "Questions"))
    return lead + scroll("Single changes", f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>")


def _rounds(result: Mapping[str, Any]) -> str:
    parts = []
    for number_, turn in enumerate(records(result.get("rounds")), 1):
        arms = sorted(records(turn.get("arms")), key=lambda a: -(number(a.get("score")) or 0.0))
        body = "".join(
            f'<tr class="{"" if a.get("kept") else "dropped"}"><th>{esc(_changes(a))}</th><td>{_three(a.get("score"))}</td>'
            f"<td>{'kept' if a.get('kept') else 'dropped'}</td></tr>"
            for a in arms
        )
        title = f"Round {number_}: {_PARTS.get(str(turn.get('part')))}, {count(turn.get('questions'))} questions, {len(arms)} combinations"
        table = scroll(title, f"<thead><tr><th>Changes</th><th>Score</th><th></th></tr></thead><tbody>{body}</tbody>")
        parts.append(f'<details class="more"><summary>{esc(title)}</summary>{table}</details>')
    chosen = "".join(
        f"<tr><th>{esc(_changes(a))}</th><td>{_three(a.get('score'))}</td></tr>"
        for a in records(result.get("validation"))
    )
    if chosen:
        caption = f"The choice: {count(record(result.get('asked')).get('validation'))} training questions kept back"
        parts.append(scroll(caption, f"<thead><tr><th>Changes</th><th>Score</th></tr></thead><tbody>{chosen}</tbody>"))
    back = ", ".join(f"{r.get('setting')} {r.get('value')}" for r in records(result.get("put_back")))
    return "".join(parts) + (f'<p class="quiet">Put back, for it did not help there: {esc(back)}.</p>' if back else "")


def _changes(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {v}" for n, v in record(row.get("changes")).items()) or "current settings"


def _not_tried(result: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{esc(_changes(r))}</th><td>{esc(r.get('why'))}</td></tr>" for r in records(result.get("not_tried"))
    )
    table = f"<thead><tr><th>Changes</th><th>Why</th></tr></thead><tbody>{rows}</tbody>"
    return scroll("Combinations left out of a round", table) if rows else ""


def _reading(result: Mapping[str, Any]) -> str:
    known = records(record(result.get("held_out")).get("systems"))
    held = record(record(record(known[-1].get("scores")).get("all")).get("score")).get("mean") if known else None
    return (
        '<div class="reading"><div><h3>The best of many</h3><p>Of many combinations the best one was also the luckiest, so its '
        "score on the questions it was chosen by is too high (the winner’s curse). That is why it was chosen on questions which "
        f"the rounds did not ask, where it had {_three(result.get('winner_on_validation'))}, and is reported on questions that no choice used, "
        f"where it has {_three(held)}.</p><p>Successive halving: each round asks fewer combinations more questions, all of them the same ones.</p></div>"
        "<div><h3>The score</h3><p>Of an answer: the weighted mean of the metrics in optimize.answer_weights. Of what is found: "
        "those in optimize.retrieval_weights. Intervals and tests draw whole facts.</p><p>Choices work together: what each is "
        "worth need not add up to what all of them are.</p></div></div>"
    )


def _footer(result: Mapping[str, Any]) -> str:
    machine = record(result.get("machine"))
    rows = (
        ("Processor", machine.get("cpu")),
        ("Memory", size(machine.get("memory_bytes"))),
        ("Budget", f"{result.get('minutes')} min"),
        ("Seed", result.get("seed")),
    )
    facts = "".join(f"<div><dt>{term}</dt><dd>{esc(value)}</dd></div>" for term, value in rows)
    return f'<footer><h2>How this was made</h2><dl class="machine">{facts}</dl></footer>'


def _three(value: Any) -> str:
    known = number(value)
    return DASH if known is None else f"{known:.3f}"


def _signed(value: Any) -> str:
    known = number(value)
    return signed(value) if known is None else f"{known:+.3f}".replace("-", "\u2212")


def _interval(entry: Mapping[str, Any]) -> str:
    return f"{_three(entry.get('low'))}–{_three(entry.get('high'))}"
