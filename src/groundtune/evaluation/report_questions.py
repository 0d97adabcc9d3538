"""The per-question part of the report: every question with its reference, passage and each system's answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from groundtune.evaluation.report_text import CONTROLS, METRICS, metric_label, place, split_label
from groundtune.page.text import DASH, Record, duration, esc, number, plain, record, records, score

PARTLY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer is marked: a CSS class, a symbol and words, so that colour is never alone."""

    kind: str
    symbol: str
    words: str


_RIGHT: Final = Outcome("right", "✓", "right")
_PARTLY: Final = Outcome("partly", "≈", "partly right")
_HOLDS: Final = Outcome("partly", "≈", "holds the answer among other words")
_WRONG: Final = Outcome("wrong", "✗", "wrong")
_DECLINED: Final = Outcome("declined", "○", "declined, but the documents hold the answer")
_RIGHTLY_DECLINED: Final = Outcome("right", "✓", "rightly declined")
_INVENTED: Final = Outcome("wrong", "✗", "answered, but the documents do not say")
_UNMARKED: Final = Outcome("unmarked", "?", "not marked")
_MISSING: Final = Outcome("unmarked", DASH, "no answer recorded")

LEGEND: Final = (_RIGHT, _PARTLY, _WRONG, _DECLINED)


def outcome(question: Record, answer: Record | None) -> Outcome:
    """Mark one answer.

    Exact match is right; token F1 of at least one half, or the reference word for word inside a longer answer, is
    partly right. Without a reference the right answer is to decline.
    """
    if answer is None:
        return _MISSING
    scores, abstained = record(answer.get("scores")), bool(answer.get("abstained"))
    references = [str(item) for item in question.get("references") or ()]
    if not references:
        accuracy = number(scores.get("abstention_accuracy"))
        return _RIGHTLY_DECLINED if (abstained if accuracy is None else accuracy >= 0.5) else _INVENTED
    if abstained:
        return _DECLINED
    exact, overlap = number(scores.get("exact_match")), number(scores.get("token_f1"))
    if exact is None and overlap is None:
        return _UNMARKED
    if (exact or 0.0) >= 1.0 or (overlap or 0.0) >= 0.999:
        return _RIGHT
    if (overlap or 0.0) >= PARTLY:
        return _PARTLY
    return _HOLDS if _find(str(answer.get("text") or ""), references) else _WRONG


def render_questions(questions: Sequence[Record], systems: Sequence[str], recommended: object) -> str:
    """Filters, the column heads and one closed ``<details>`` per question."""
    if not questions:
        return '<p class="empty">This result holds no single questions.</p>'
    names = list(systems)
    for question in questions:
        names.extend(name for name in record(question.get("answers")) if name not in names)
    legend = "".join(f'<span><b class="m {o.kind}">{o.symbol}</b> {esc(o.words)}</span>' for o in LEGEND)
    heads = "".join(f"<span><b{' class=rec' if name == recommended else ''}>{esc(name)}</b></span>" for name in names)
    return (
        _filters(questions, recommended if recommended in names else None)
        + f'<p class="legend">{legend}</p>'
        + '<div class="q-list"><div class="q-head" aria-hidden="true"><span>Question</span>'
        + f'<span class="marks">{heads}</span></div><div id="questions">'
        + "".join(_question(index, question, names, recommended) for index, question in enumerate(questions))
        + "</div></div>"
    )


def _filters(questions: Sequence[Record], recommended: object) -> str:
    def choices(key: str) -> list[str]:
        return list(dict.fromkeys(str(question.get(key)) for question in questions if question.get(key)))

    shows = [("", "All questions"), ("disagree", "Where systems disagree"), ("none-right", "No system right")]
    if recommended is not None:
        shows.append(("recommended-wrong", f"{recommended} not right"))
    sorts = [("", "As in the test set"), ("hard", "Hardest first"), ("easy", "Easiest first")]
    fields = [
        ("split", "Test", [("", "All"), *((name, split_label(name)) for name in choices("split"))]),
        ("kind", "Kind", [("", "All"), *((name, plain(name)) for name in choices("kind"))]),
        ("show", "Show", shows),
        ("sort", "Order", sorts),
    ]
    drawn = []
    for name, label, options in fields:
        inner = "".join(f'<option value="{esc(value)}">{esc(text)}</option>' for value, text in options)
        drawn.append(f'<label>{label}<select name="{name}">{inner}</select></label>')
    return (
        '<form id="filters" class="filters" aria-label="Filter the questions" hidden>'
        '<label class="search">Search<input type="search" name="text" autocomplete="off" '
        'placeholder="question, answer or file"></label>'
        + "".join(drawn)
        + f'</form><p id="shown" class="quiet" aria-live="polite">{len(questions)} questions</p>'
    )


def _question(index: int, question: Record, names: Sequence[str], recommended: object) -> str:
    answers = record(question.get("answers"))
    found = {name: record(answers[name]) if name in answers else None for name in names}
    marks = {name: outcome(question, answer) for name, answer in found.items()}
    rated = [marks[name].kind == "right" for name in names if name not in CONTROLS and found[name] is not None]
    flags = []
    if len(set(rated)) > 1:
        flags.append("disagree")
    if rated and not any(rated):
        flags.append("none-right")
    if recommended in marks and marks[str(recommended)].kind != "right":
        flags.append("recommended-wrong")
    told = "; ".join(f"{name}: {mark.words}" for name, mark in marks.items())
    cells = "".join(
        f'<b class="m {mark.kind}" title="{esc(name)}: {esc(mark.words)}">{mark.symbol}</b>'
        for name, mark in marks.items()
    )
    tags = f"{esc(split_label(str(question.get('split'))))} · {esc(plain(question.get('kind') or 'question'))}"
    cards = "".join(_card(name, found[name], marks[name], question, name == recommended) for name in names)
    easy = sum(rated) / len(rated) if rated else 0
    return (
        f'<details class="q" data-index="{index}" data-split="{esc(question.get("split"))}" '
        f'data-kind="{esc(question.get("kind"))}" data-flags="{" ".join(flags)}" data-easy="{easy:.3f}">'
        f'<summary><span class="q-text"><span dir="auto">{esc(question.get("question"))}</span>'
        f"<small>{tags} · {sum(rated)} of {len(rated)} right</small></span>"
        f'<span class="marks" role="img" aria-label="{esc(told)}">{cells}</span></summary>'
        f'<div class="q-body">{_reference(question)}<div class="cards">{cards}</div></div></details>'
    )


def _reference(question: Record) -> str:
    references = [str(item) for item in question.get("references") or ()]
    if references:
        said = " <i>or</i> ".join(f'<b dir="auto">{esc(item)}</b>' for item in references)
    else:
        said = "<b>Not in the documents.</b> The right answer is to say so."
    extra = [str(question[key]) for key in ("id", "fact") if question.get(key)]
    parts = [
        f'<div class="reference-answer"><h4>Reference answer</h4><p>{said}</p>'
        f'<p class="quiet mono">{esc(" · ".join(extra))}</p></div>'
    ]
    for passage in records(question.get("passages")):
        text = _highlight(str(passage.get("text") or ""), references)
        parts.append(
            f'<figure class="passage"><h4>Where it stands</h4><blockquote dir="auto">{text}</blockquote>'
            f"<figcaption>{place(passage)}</figcaption></figure>"
        )
    return f'<div class="truth">{"".join(parts)}</div>'


def _find(text: str, references: Sequence[str]) -> re.Match[str] | None:
    """The first reference that stands in a text as whole words."""
    for reference in references:
        words = reference.strip().rstrip(".")
        if words and (hit := re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE)):
            return hit
    return None


def _highlight(text: str, references: Sequence[str]) -> str:
    hit = _find(text, references)
    return f"{esc(text[: hit.start()])}<mark>{esc(hit[0])}</mark>{esc(text[hit.end() :])}" if hit else esc(text)


def _card(name: str, answer: Record | None, mark: Outcome, question: Record, recommended: bool) -> str:
    head = (
        f'<header><b class="m {mark.kind}" aria-hidden="true">{mark.symbol}</b><h4>{esc(name)}</h4>'
        + ('<span class="tag rec">recommended</span>' if recommended else "")
        + ('<span class="tag control">control</span>' if name in CONTROLS else "")
        + ('<span class="tag abstained">abstained</span>' if answer and answer.get("abstained") else "")
        + "</header>"
    )
    if answer is None:
        return f'<article class="card unmarked">{head}<p class="quiet">{mark.words}</p></article>'
    text = str(answer.get("text") or "").strip()
    said = f'<p class="said" dir="auto">{esc(text)}</p>' if text else '<p class="said quiet">(empty answer)</p>'
    scores = record(answer.get("scores"))
    ordered = [key for key in METRICS if key in scores] + [key for key in scores if key not in METRICS]
    shown = " · ".join(f"{esc(metric_label(key))} {score(scores[key])}" for key in ordered)
    took = "" if number(answer.get("seconds")) is None else f" · {duration(answer.get('seconds'))}"
    told = f'<p class="verdict-line {mark.kind}">{esc(mark.words)}{took}</p>'
    sources = records(answer.get("sources"))
    listed = [_source(source, question) for source in sources]
    found = f'<ul class="sources" aria-label="Sources">{listed[0]}</ul>' if listed else ""
    if len(listed) > 1:
        more = f"{len(listed) - 1} more source{'s' if len(listed) > 2 else ''}"
        rest = "".join(listed[1:])
        found += f'<details class="more"><summary>{more}</summary><ul class="sources">{rest}</ul></details>'
    return f'<article class="card {mark.kind}">{head}{said}{told}{found}<p class="scores">{shown}</p></article>'


def _source(source: Record, question: Record) -> str:
    hit = any(
        passage.get("document") == source.get("document") and passage.get("page") == source.get("page")
        for passage in records(question.get("passages"))
    )
    quote = str(source.get("quote") or "").strip()
    quoted = f'<q dir="auto">{esc(quote)}</q>' if quote else ""
    same = ' <span class="hit">✓ right place</span>' if hit else ""
    rank = f' <span class="quiet">{score(source.get("score"))}</span>' if source.get("score") is not None else ""
    return f'<li title="{esc(source.get("chunk_id") or "")}">{place(source)}{rank}{same}{quoted}</li>'
