"""The claims lesson as one HTML page: for each verdict four confusion matrices, and a table of the ways."""

from __future__ import annotations

from typing import Any

from groundtune.page.document import PageSection, render_document
from groundtune.page.parts import scroll
from groundtune.page.text import Record, count, esc, record, records, score

#: way -> (name, what it means)
WAYS = {
    "closed_book": ("Closed book", "the claim alone"),
    "context": ("With context", "the nearest passages are shown"),
    "threshold": ("With a threshold", "only passages nearer than the threshold are shown; without any: NEE"),
    "hyde": ("With HyDE", "passages are searched by a made-up document, then the threshold"),
}
_STYLE = """
.matrices { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.5rem; margin-top: 1.25rem; }
.matrix td { text-align: center; font-size: 1.05rem; background: color-mix(in srgb, var(--accent) var(--share), var(--card)); }
.matrix td.right { font-weight: 700; outline: 2px solid var(--right); outline-offset: -2px; }
.matrix figcaption { margin-bottom: .5rem; }
"""


def render_claims(result: Record) -> str:
    """What ``groundtune claims`` found, as a whole document; nothing is fetched."""
    sections = [
        PageSection(f"verdict-{n}", str(row.get("name")), f"Verdict by {row.get('name')}", _verdict(row))
        for n, row in enumerate(records(result.get("verdicts")))
    ]
    thresholds = record(result.get("thresholds"))
    labels = ", ".join(f"{n} {esc(label)}" for label, n in record(result.get("labels")).items())
    chosen = result.get("chosen_on")
    where = f"chosen on {count(chosen)} other claims" if chosen else "given"
    top = (
        f'<header class="top"><h1><span>Claims on <b>{esc(result.get("model"))}</b></span></h1>'
        f'<p class="verdict">{esc(_headline(result))}</p><ul class="because"><li>{count(result.get("claims"))} claims: '
        f"{labels}</li><li>{count(result.get('nearest'))} nearest passages; threshold {score(thresholds.get('threshold'))}, "
        f"with HyDE {score(thresholds.get('hyde'))} (cosine distance, {where})</li></ul></header>"
    )
    machine = record(result.get("machine"))
    footer = f'<footer><p class="quiet">{esc(machine.get("cpu"))}, Python {esc(machine.get("python"))}</p></footer>'
    return render_document("groundtune: claims", sections, style=_STYLE, top=top, footer=footer)


def _headline(result: Record) -> str:
    rows = [
        (way.get("macro_f1") or 0.0, str(row.get("name")), WAYS[str(way.get("way"))][0])
        for row in records(result.get("verdicts"))
        for way in records(row.get("ways"))
    ]
    if not rows:
        return "No verdict."
    best = max(rows)
    return f"Best: {best[1]}, {best[2].lower()}, macro F1 {score(best[0])}"


def _verdict(row: Record) -> str:
    ways = records(row.get("ways"))
    figures = "".join(_matrix(way) for way in ways)
    cells = "".join(
        f'<tr><th scope="row">{esc(WAYS[str(w.get("way"))][0])}</th><td>{score(w.get("accuracy"))}'
        f"<small>{score(w.get('accuracy_low'))}–{score(w.get('accuracy_high'))}</small></td>"
        f"<td>{score(w.get('macro_f1'))}</td>"
        + "".join(f"<td>{score(record(f).get('f1'))}</td>" for f in record(w.get("by_label")).values())
        + f"<td>{count(w.get('without_context'))}</td><td>{count(w.get('not_understood'))}</td></tr>"
        for w in ways
    )
    heads = ("Way", "Accuracy", "Macro F1", "F1 True", "F1 False", "F1 NEE", "Without context", "No verdict")
    head = "".join(f'<th scope="col">{h}</th>' for h in heads)
    table = scroll("The four ways", f"<thead><tr>{head}</tr></thead><tbody>{cells}</tbody>")
    return (
        '<p class="lead">Rows: what the claim is. Columns: what it was called. A darker cell holds more of its row. '
        f'NEE: not enough evidence.</p><div class="matrices">{figures}</div><div class="more">{table}</div>'
    )


def _matrix(way: Record) -> str:
    labels = [str(label) for label in way.get("labels") or ()]
    name, meaning = WAYS[str(way.get("way"))]
    rows: list[str] = []
    counts: list[list[Any]] = list(way.get("matrix") or ())
    for n, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = sum(row) or 1
        cells = "".join(
            f'<td{" class=right" if m == n else ""} style="--share:{60 * value / total:.0f}%">{value}</td>'
            for m, value in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{esc(label)}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{esc(label)}</th>' for label in labels)
    table = f'<thead><tr><th scope="col">is / called</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>'
    told = f"accuracy {score(way.get('accuracy'))}, macro F1 {score(way.get('macro_f1'))}"
    return (
        f'<figure class="matrix"><figcaption><h3>{esc(name)}</h3><p class="quiet">{esc(meaning)}. {told}</p>'
        f"</figcaption>{scroll(f'{name}: {told}', table)}</figure>"
    )
