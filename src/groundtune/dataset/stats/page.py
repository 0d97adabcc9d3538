"""The characteristics of a dataset as one HTML file that needs nothing else: no network, no script, paper or screen."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from groundtune.dataset.stats.sample import HUGE_CHARACTERS
from groundtune.dataset.stats.sections import Stats, contents, language, lengths, mask, words
from groundtune.page.document import PageSection, render_document
from groundtune.page.parts import scroll
from groundtune.page.text import DASH, count, date, duration, esc, percent, plain

_READING = (
    ("Token", "a piece of text as the model reads it; a word is one token or several"),
    ("Context", "the most tokens that the model can take at once, prompt and answer together"),
    ("Loss mask", "which tokens the training counts: what the assistant writes and the mark that ends its turn"),
    ("Copies", "rows whose turns are equal, apart from case, spaces and punctuation"),
    ("Near twins", "rows whose words overlap by four fifths: Jaccard similarity of runs of three words, by MinHash"),
    ("Topics", "groups of examples whose questions have similar embeddings; their words stand out against all others"),
    ("Deviations", "how far a value lies from the middle one, in units of the usual distance; over 3.5 is odd"),
)


def verdict(stats: Stats, model: str) -> str:
    """How many examples there are, and how many of them fit the model."""
    tokens, told = stats["tokens"], _examples(stats["counts"]["examples"])
    context = f"{model}'s {count(stats['context_tokens'])} tokens"
    if not tokens["rendered"]:
        return f"{told}, none that can be trained on."
    fewer = tokens["rendered"] < stats["sample"]["rows"] or stats["counts"]["huge"]
    if fewer:
        told += f". {count(tokens['rendered'])} {'was' if tokens['rendered'] == 1 else 'were'} tokenized"
    if not tokens["too_long"]["examples"]:
        return f"{told}, {'all ' if tokens['rendered'] > 1 else ''}within {context}."
    return f"{told}; {percent(tokens['too_long']['share'])}{' of these' if fewer else ''} do not fit {context}."


def findings(stats: Stats) -> list[str]:
    """What a reader should know next, as plain sentences: most pressing first."""
    counts, tokens, copies = stats["counts"], stats["tokens"], stats["duplicates"]
    told = []
    if n := counts["unreadable"]["rows"]:
        told.append(f"{_rows(n)} cannot be read and would be left out.")
    if n := counts["huge"]:
        told.append(
            f"{_rows(n)} of over {count(HUGE_CHARACTERS)} characters {'was' if n == 1 else 'were'} only counted."
        )
    if n := tokens["refused_examples"]:
        told.append(f"{_examples(n)} cannot be trained on: {tokens['refused'][0]['reason']}.")
    if n := copies["exact"]["copies"]:
        told.append(f"{_rows(n)} {'repeats' if n == 1 else 'repeat'} another row word for word.")
    if n := copies["exact"]["same_question"]:
        told.append(f"{_rows(n)} ask what another row asks, and are answered differently.")
    if n := copies["near"]["examples"]:
        across = copies["near"]["across_splits"]
        note = f", {count(across)} of them in another split" if across else ""
        told.append(f"{_examples(n)} {_are(n)} almost an earlier one{note}.")
    if n := sum(pair["examples"] for pair in stats["languages"]["pairs"]):
        told.append(f"{_examples(n)} {_are(n)} answered in another language than asked.")
    if share := stats["mask"]["share"]:
        told.append(f"The model learns to write {percent(share)} of the tokens; the rest it only reads.")
    if not stats["sample"]["every_row"]:
        sampled = count(stats["sample"]["rows"])
        told.append(f"Lengths, words, near twins and topics stand on {sampled} examples, drawn alike.")
    return told


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _rows(n: int) -> str:
    return f"{count(n)} row{'' if n == 1 else 's'}"


def _examples(n: int) -> str:
    return f"{count(n)} example{'' if n == 1 else 's'}"


def render_page(stats: Stats, *, name: str, model: str, format: str = "", created: str = "", command: str = "") -> str:
    """Turn the figures of :func:`groundtune.dataset.stats.measure.measure` into one HTML document.

    Args:
        stats: the figures; nothing in them is trusted, all text is escaped.
        name: the file's name.
        model: whose tokenizer and context they hold for.
        format: the file's format.
        created: when, as ISO time.
        command: what was typed.
    """
    sections = [
        PageSection("contents", "Contents", "What is in it", contents(stats)),
        PageSection("lengths", "Lengths", "How long the examples are", lengths(stats)),
        PageSection("mask", "Loss mask", "What the model learns to write", mask(stats)),
        PageSection("words", "Words", "Which words it uses", words(stats)),
        PageSection("language", "Language", "Which languages it is in", language(stats)),
        PageSection("topics", "Topics", "What it is about", _topics(stats)),
        PageSection("duplicates", "Duplicates", "What stands there more than once", _duplicates(stats)),
        PageSection("odd", "Longest, oddest", "Which examples stand out", _standing_out(stats)),
        PageSection("reading", "How to read", "How to read this page", _reading(stats)),
    ]
    return render_document(
        f"{name}: dataset statistics",
        sections,
        style=files("groundtune.dataset.stats").joinpath("stats.css").read_text(encoding="utf-8"),
        top=_top(stats, name, model, format, created),
        footer=_footer(stats, model, created, command),
    )


def _top(stats: Stats, name: str, model: str, format: str, created: str) -> str:
    counts, tokens = stats["counts"], stats["tokens"]
    told = findings(stats)
    whole, spoken = tokens["whole"], stats["languages"]["languages"]
    figures = [
        ("Median length", count(whole["p50"]) if whole else DASH, "tokens"),
        ("Too long", percent(tokens["too_long"]["share"]), f"for {count(stats['context_tokens'])} tokens"),
        ("Trained", percent(stats["mask"]["share"]), "of the tokens"),
        ("Turns", f"{counts['turns']['mean']:.1f}" if counts["turns"]["mean"] else DASH, "an example, on average"),
        ("Copies", count(stats["duplicates"]["exact"]["copies"]), "rows that repeat another"),
    ]
    if spoken and spoken[0]["code"] not in ("unknown", "short", "unsure"):
        share = spoken[0]["examples"] / stats["languages"]["examples"]
        most = (
            ("mixed", f"most often {spoken[0]['code']}")
            if share < 0.6
            else (spoken[0]["code"], f"in {percent(share)} of the examples")
        )
        figures.append(("Language", *most))
    drawn = "".join(
        f"<div><dt>{esc(label)}</dt><dd>{esc(value)}<small>{esc(unit)}</small></dd></div>"
        for label, value, unit in figures
    )
    shape = f"{esc(format)}, " if format else ""
    return (
        f'<header class="top"><h1><span>Dataset <b dir="auto">{esc(name)}</b></span>'
        f"<span>{shape}measured with {esc(model)}{f', {esc(date(created))}' if created else ''}</span></h1>"
        f'<p class="verdict" dir="auto">{esc(verdict(stats, model))}</p><ul class="because">'
        + "".join(f"<li>{esc(line)}</li>" for line in told)
        + f'</ul><dl class="figures" aria-label="The dataset in figures">{drawn}</dl></header>'
    )


def _topics(stats: Stats) -> str:
    found = stats["topics"]
    if not found["topics"]:
        if not found["texts"]:
            return ""
        return f'<p class="lead">{count(found["texts"])} examples are too few, or too alike, to tell topics apart.</p>'
    cards = []
    for topic in found["topics"]:
        near = "".join(
            f'<li><span class="clip" dir="auto">{esc(s["asked"] or s["answered"])}</span>'
            f'<span class="where">line {esc(s["line"])}</span></li>'
            for s in topic["nearest"]
        )
        title = ", ".join(topic["words"][:2]) or "without a word of its own"
        cards.append(
            f'<article class="card topic"><h3><b dir="auto">{esc(title)}</b>'
            f"<span>{percent(topic['size'] / found['texts'])}, {count(topic['size'])}</span></h3>"
            f'<p class="words" dir="auto">{esc(" · ".join(topic["words"][2:]))}</p><ol>{near}</ol></article>'
        )
    loose = " They overlap: the borders between them are loose." if found["silhouette"] < 0.1 else ""
    return (
        f'<p class="lead">{len(cards)} groups of what is asked, in {count(found["texts"])} examples, with the words that set '
        f"each apart and the examples nearest to its middle.{loose}</p>"
        f'<div class="cards">{"".join(cards)}</div>'
        f'<p class="quiet">{esc(found["rule"])} ({found["silhouette"]:.2f} of at most 1).</p>'
    )


def _duplicates(stats: Stats) -> str:
    exact, near = stats["duplicates"]["exact"], stats["duplicates"]["near"]
    lead = (
        f"{count(exact['copies'])} rows repeat another one word for word. Of {count(near['looked_at'])} rows that were "
        f"compared, {count(near['examples'])} are almost an earlier one"
        + (f"; {count(near['other_numbers'])} of these differ in a number" if near["other_numbers"] else "")
        + (f", {count(near['across_splits'])} stand in another split" if near["across_splits"] else "")
        + "."
    )
    twins = "".join(_twin(pair) for pair in near["shown"])
    groups = "".join(
        f'<tr><th scope="row">{count(g["rows"])}</th><td class="mono lines">{esc(", ".join(map(str, g["lines"])))}</td>'
        f'<td class="text" dir="auto"><span class="clip">{esc(g["asked"])}</span></td>'
        f'<td class="text" dir="auto"><span class="clip">{esc(g["answered"])}</span></td></tr>'
        for g in exact["shown"]
    )
    heads = "".join(f'<th scope="col">{t}</th>' for t in ("Times", "Lines", "Asked", "Answered"))
    table = scroll("Copies, most frequent first", f"<thead><tr>{heads}</tr></thead><tbody>{groups}</tbody>")
    return (
        f'<p class="lead">{lead}</p>'
        + (f'<div class="twins">{twins}</div>' if twins else "")
        + (table if groups else "")
    )


def _twin(pair: Mapping[str, Any]) -> str:
    a, b = pair["a"], pair["b"]
    sides = zip(_marked(a["asked"], b["asked"]), _marked(a["answered"], b["answered"]), (a, b), strict=True)
    columns = "".join(
        f'<div dir="auto"><span class="where">line {esc(row["line"])}{esc(_in(row["split"]))}</span>\n'
        f'<span class="q-part">{asked}</span>\n{answered}</div>'
        for asked, answered, row in sides
    )
    note = "" if pair["same_numbers"] else "; they differ in a number, and may both be right"
    return f'<div class="twin"><p>{percent(pair["similarity"])} alike{note}</p><div>{columns}</div></div>'


def _in(split: str) -> str:
    return f", {split}" if split else ""


def _marked(a: str, b: str) -> tuple[str, str]:
    """Two texts with the words that differ marked."""
    left, right = a.split(" "), b.split(" ")
    parts: tuple[list[str], list[str]] = ([], [])
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for out, words_, start, end in ((parts[0], left, a0, a1), (parts[1], right, b0, b1)):
            if start < end:
                text = esc(" ".join(words_[start:end]))
                out.append(text if kind == "equal" else f"<mark>{text}</mark>")
    return " ".join(parts[0]), " ".join(parts[1])


def _standing_out(stats: Stats) -> str:
    longest, found = stats["longest"], stats["oddest"]
    if not longest:
        return ""
    odd = [[_deviation(e), f"line {e['line']}", e["asked"], e["answered"]] for e in found["examples"]]
    long = [
        [
            f"{count(e['tokens'])} tokens" if e["tokens"] is not None else "not tokenized",
            f"line {e['line']}, {count(e['characters'])} characters",
            e["asked"],
            e["answered"],
        ]
        for e in longest
    ]
    lead = (
        f"Odd is what stands furthest from the middle by one of four measures; {count(found['odd'])} examples are over 3.5 "
        "deviations. They may be the best or the worst of the data: look before removing."
    )
    measures = "".join(f"<div><dt>{esc(plain(m))}</dt><dd>{esc(t)}</dd></div>" for m, t in found["measures"].items())
    return (
        f'<p class="lead">{esc(lead)}</p>'
        + (_examples_table("Oddest", "Why", odd) if odd else "")
        + f'<dl class="reading-list quiet">{measures}</dl>'
        + _examples_table("Longest", "Length", long)
    )


def _deviation(entry: Mapping[str, Any]) -> str:
    value, usual, name = entry["value"], entry["usual"], entry["measure"]
    shown = {
        "length": f"{count(value)} characters, usual {count(usual)}",
        "tokens_per_character": f"{value:.2f} tokens a character, usual {usual:.2f}",
        "strange": f"{percent(value)} strange characters",
        "isolation": f"{value:.2f} from its nearest, usual {usual:.2f}",
    }[name]
    return f"{shown} ({abs(entry['deviations']):.1f} deviations)"


def _examples_table(caption: str, first: str, rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{esc(t)}</th>' for t in (first, "Asked", "Answered"))
    body = "".join(
        f'<tr><th scope="row" class="why">{esc(why)}<small>{esc(where)}</small></th>'
        + "".join(f'<td class="text" dir="auto"><span class="clip">{esc(text)}</span></td>' for text in texts)
        + "</tr>"
        for why, where, *texts in rows
    )
    return scroll(caption, f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>")


def _reading(stats: Stats) -> str:
    terms = "".join(f"<div><dt>{esc(term)}</dt><dd>{esc(meaning)}</dd></div>" for term, meaning in _READING)
    sample = stats["sample"]
    drawn = (
        "Every row was measured."
        if sample["every_row"]
        else f"All {count(sample['of'])} rows were counted and compared for copies. Tokens, words, near twins and odd rows "
        f"stand on {count(sample['rows'])} rows, drawn so that every row has the same chance; the same file gives the same rows."
    )
    return (
        f'<div class="reading"><div><h3>Words</h3><dl>{terms}</dl></div><div><h3>How it was measured</h3>'
        f"<p>{esc(drawn)} Languages and topics stand on at most 2,000 of these. Rows are tokenized with the chat template of "
        "the model, as for training; the answer is every token that the loss counts, the prompt is every other one.</p>"
        "<p>Colours carry no meaning of their own: trained tokens are underlined too, and bars beyond the context stand right of "
        "the dashed line.</p></div></div>"
    )


def _footer(stats: Stats, model: str, created: str, command: str) -> str:
    rows = [
        ("Model", f"{model}, {count(stats['context_tokens'])} tokens"),
        ("Made", date(created) if created else ""),
        ("Measured", duration(stats.get("seconds")) if stats.get("seconds") else ""),
    ]
    told = "".join(f"<div><dt>{term}</dt><dd>{esc(value)}</dd></div>" for term, value in rows if value)
    line = f'<pre tabindex="0" aria-label="Command"><code>{esc(command)}</code></pre>' if command else ""
    return f'<footer><h2>How this was made</h2><dl class="machine">{told}</dl>{line}</footer>'
