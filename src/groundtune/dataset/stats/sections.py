"""The sections of the statistics page: contents, lengths, loss mask, words and languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from groundtune.dataset.stats.mask_view import LEGEND, coloured
from groundtune.dataset.stats.plots import bars, curve, histogram
from groundtune.page.parts import scroll
from groundtune.page.text import DASH, count, esc, percent

Stats = Mapping[str, Any]

_FAULTY = "Rows that cannot be read"


def facts(entries: Sequence[tuple[str, str, str]]) -> str:
    """Numbers with their names and what they are of."""
    return (
        '<dl class="facts">'
        + "".join(
            f"<div><dt>{esc(name)}</dt><dd>{esc(value)}<small>{esc(note)}</small></dd></div>"
            for name, value, note in entries
        )
        + "</dl>"
    )


def contents(stats: Stats) -> str:
    """Roles, turns, splits, system messages, tools and rows that cannot be read."""
    counts = stats["counts"]
    total = counts["examples"]
    turns = counts["turns"]
    by_turns = _grouped({int(n): rows for n, rows in turns["examples_by_turns"].items()})
    blocks = [
        ("Turns an example", bars(by_turns, total)),
        ("Who speaks", bars(list(counts["roles"].items()), turns["total"])),
    ]
    named = {name or "without a split": n for name, n in counts["splits"].items()}
    if set(named) != {"without a split"}:
        blocks.append(("Splits", bars(list(named.items()), total, sort="long")))
    if len(counts["kinds"]) > 1 or "preference" in counts["kinds"]:
        blocks.append(("Kinds", bars(list(counts["kinds"].items()), total)))
    systems = counts["system_messages"]
    if systems["distinct"]:
        told = "".join(
            f'<li><span class="clip" dir="auto">{esc(s["text"])}</span><small>{count(s["turns"])} turn{"" if s["turns"] == 1 else "s"}</small></li>'
            for s in systems["most_frequent"]
        )
        blocks.append((f"System messages: {count(systems['distinct'])} different", f"<ol>{told}</ol>"))
    tools = counts["tools"]
    if tools["examples_with_tools"] or tools["calls"]:
        offered = {t["name"]: t["examples"] for t in tools["offered"]}
        called = {t["name"]: t["calls"] for t in tools["called"]}
        rows = [(name, offered.get(name, 0)) for name in list(offered)[:12]]
        shown = [f"{count(n)} / {count(called.get(name, 0))}" for name, n in rows]
        title = f"Tools: {count(tools['distinct_offered'])} different (examples with it / calls)"
        blocks.append((title, bars(rows, max((n for _, n in rows), default=0), sort="long", shown=shown)))
    drawn = "".join(f"<div><h3>{esc(title)}</h3>{body}</div>" for title, body in blocks)
    return f'<div class="split">{drawn}</div>{_unreadable(counts["unreadable"])}'


def _grouped(turns: Mapping[int, int]) -> list[tuple[str, float]]:
    """Turns as they are up to eight, longer ones together."""
    rows: list[tuple[str, float]] = [(f"{n} turn{'s' if n > 1 else ''}", turns[n]) for n in sorted(turns) if n <= 8]
    more = sum(rows for n, rows in turns.items() if n > 8)
    return [*rows, (f"9 to {max(turns)} turns", more)] if more else rows


def _unreadable(found: Stats) -> str:
    if not found["rows"]:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{esc(f["code"])}</th><td>{count(f["rows"])}</td><td>{esc(f["line"])}</td>'
        f'<td class="text">{esc(f["reason"])}</td></tr>'
        for f in found["faults"]
    )
    heads = (
        '<th scope="col">Fault</th><th scope="col">Rows</th><th scope="col">First line</th><th scope="col">There</th>'
    )
    return scroll(_FAULTY, f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>")


def lengths(stats: Stats) -> str:
    """Histograms of prompt, answer and whole against the context."""
    tokens, limit = stats["tokens"], stats["context_tokens"]
    if not tokens["rendered"]:
        return _refused(tokens)
    panels = []
    told = [
        ("whole", "Whole example", "prompt, answer and the marks of the chat template", limit),
        ("prompt", "Prompt", "what the model reads: every token outside the loss", limit),
        ("answer", "Answer", "what the model learns to write: every token inside the loss", limit),
        ("rejected", "Rejected", "prompt with the rejected continuation", limit),
    ]
    for key, title, meaning, edge in told:
        if (found := tokens[key]) is None:
            continue
        said = (
            f"Median <b>{count(found['p50'])}</b>, 95 % under <b>{count(found['p95'])}</b>, "
            f"longest <b>{count(found['max'])}</b>"
        )
        label = f"{title}: median {count(found['p50'])} tokens, longest {count(found['max'])}"
        panels.append(
            f'<figure class="panel bare"><figcaption><h3>{title}</h3><p>{esc(meaning.capitalize())}.</p></figcaption>'
            f'{histogram(found, edge, label)}<p class="under">{said}</p></figure>'
        )
    over = tokens["too_long"]
    interval = (
        "" if stats["sample"]["every_row"] else f" (95 % interval {percent(over['low'])} to {percent(over['high'])})"
    )
    if over["examples"]:
        lead = (
            f"{percent(over['share'])} of the examples{interval} have more than {count(limit)} tokens and do not fit."
        )
    elif stats["sample"]["every_row"]:
        lead = f"Every example fits into {count(limit)} tokens."
    else:
        lead = f"Every sampled example fits into {count(limit)} tokens{interval}."
    seen = any(tokens[key] and tokens[key]["bars"][-1]["high"] >= limit for key, *_ in told)
    line = "; the dashed line is the context" if seen else "; the context lies far to the right"
    return (
        f'<p class="lead">{esc(lead)} Bars count examples by their number of tokens{line}.</p>'
        f'<div class="panels{" three" if len(panels) == 3 else ""}">{"".join(panels)}</div>{_refused(tokens)}'
    )


def _refused(tokens: Stats) -> str:
    if not tokens["refused_examples"]:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{count(r["examples"])}</th><td>{esc(r["line"])}</td><td class="text">{esc(r["reason"])}</td></tr>'
        for r in tokens["refused"]
    )
    heads = '<th scope="col">Examples</th><th scope="col">First line</th><th scope="col">Why</th>'
    return scroll("Examples that cannot be trained on", f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>")


def mask(stats: Stats) -> str:
    """The share of trained tokens, and ten examples with every token in colour."""
    found = stats["mask"]
    if not found["examples"]:
        return ""
    lead = (
        f"The loss is on {percent(found['share'])} of the tokens: {count(found['trained_tokens'])} of "
        f"{count(found['tokens'])}. Below are {len(found['examples'])} examples from the shortest to the longest, "
        "tokenized as they will be for training."
    )
    shown = "".join(coloured(e, stats["context_tokens"], opened=at < 2) for at, e in enumerate(found["examples"]))
    return f'<p class="lead">{esc(lead)}</p>{LEGEND}<div class="tokens-list">{shown}</div>'


def words(stats: Stats) -> str:
    """Types and tokens, growth, frequent words, and how the tokenizer cuts the text."""
    found, pieces, spoken = stats["vocabulary"], stats["pieces"], stats["languages"]
    if not found["words"]:
        return ""
    types = count(found["types"]) if found["types_complete"] else f"at most {count(found['types'])}"
    cut = spoken["tokens_per_word"]
    entries = [
        ("Words", count(found["words"]), "running words of questions and answers"),
        ("Different words", types, f"{percent(found['once'] / max(found['types'], 1))} of them stand there once"),
        ("Tokens a word", DASH if cut is None else f"{cut:.2f}", "OpenAI's rule of thumb for English is 1.3"),
        ("Vocabulary in use", percent(pieces["used"] / pieces["vocabulary"]), f"{count(pieces['used'])} of {count(pieces['vocabulary'])} entries"),
        ("Rare entries", percent(pieces["rare_share"]), "of all tokens are entries seen under five times"),
        ("Broken characters", percent(pieces["broken_share"]), "of all tokens are only a part of a character"),
    ]  # fmt: skip
    if pieces["unknown_share"] is not None:
        entries.append(
            ("Unknown", percent(pieces["unknown_share"]), "of all tokens stand for what the vocabulary lacks")
        )
    frequent = [(w["word"], w["count"]) for w in found["frequent"][:24]]
    drawn = curve(found["growth"], "words read", "different words", "Different words against words read")
    return (
        f"{facts(entries)}<div class='split'><div><h3>Most frequent content words</h3>"
        f'<p class="quiet">Times that they stand there; function words and numbers are left out.</p>'
        f"{bars(frequent, 0, sort='words')}</div>"
        f'<div><h3>How the vocabulary grows</h3><p class="quiet">A curve that goes flat says that new examples bring few '
        f"new words; the dashed line would be a new word at every step of the same size.</p>{drawn}</div></div>"
    )


def language(stats: Stats) -> str:
    """Languages with tokens per word in each, and examples answered in another language than asked."""
    found = stats["languages"]
    known = [entry for entry in found["languages"] if entry["code"] != "unknown"]
    if not known:
        return ""
    heads = "".join(f'<th scope="col">{t}</th>' for t in ("Language", "Examples", "Share", "Tokens a word"))
    body = "".join(
        f'<tr><th scope="row">{esc(_CODES.get(e["code"], e["code"]))}</th><td>{count(e["examples"])}</td>'
        f"<td>{percent(e['examples'] / found['examples'])}</td>"
        f"<td>{DASH if e['tokens_per_word'] is None else format(e['tokens_per_word'], '.2f')}</td></tr>"
        for e in known[:12]
    )
    pairs = [(f"{p['asked']} \u2192 {p['answered']}", p["examples"]) for p in found["pairs"]]
    mixed = f"<div><h3>Asked in one language, answered in another</h3>{bars(pairs, 0)}</div>" if pairs else ""
    return (
        f'<p class="lead">Told from the text of {count(found["examples"])} examples. A language in which a word takes '
        "many more tokens is one that the model hardly knows.</p>"
        f'<div class="split"><div>{scroll("Languages", f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>")}</div>'
        f"{mixed}</div>"
    )


_CODES = {"short": "too short to tell", "unsure": "not sure"}
