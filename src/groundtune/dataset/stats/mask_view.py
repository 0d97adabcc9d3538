"""Tokens in colour: what the loss is on, what is context, where turns end and where the context does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from groundtune.page.text import count, esc, percent

LEGEND = (
    '<p class="legend"><span><span class="t trained">token</span>trained</span>'
    '<span><span class="t end">&lt;end&gt;</span>ends the turn, trained</span>'
    '<span><span class="t">token</span>read, not trained</span>'
    '<span><span class="t mark">&lt;mark&gt;</span>control token, not trained</span>'
    '<span><span class="t begin">&lt;begin&gt;</span>beginning of text</span>'
    '<span><span class="t trained beyond">token</span>beyond the context</span></p>'
)


def coloured(example: Mapping[str, Any], context_tokens: int, *, opened: bool) -> str:
    """One example with its tokens; ``example`` is one of ``mask.examples`` of ``stats.measure``."""
    share = example["trained"] / example["tokens"]
    told = (
        f"<b>line {esc(example['line'])}</b>, {count(example['turns'])} turns, {count(example['tokens'])} tokens, "
        f"{count(example['trained'])} of them trained ({percent(share)})"
    )
    if not example["fits"]:
        told += f', <b class="wrong">{count(example["tokens"] - context_tokens)} too many</b>'
    tokens = spans(example["pieces"], context_tokens)
    long = " long" if example["tokens"] > 150 else ""
    return (
        f'<details class="example"{" open" if opened else ""}><summary>{told}</summary>'
        f'<div class="tokens{long}" dir="auto">{tokens}</div></details>'
    )


def spans(pieces: Sequence[Sequence[Any]], context_tokens: int) -> str:
    """Tokens, as ``stats.tokens.pieces_of`` gives them, as coloured HTML."""
    parts: list[str] = []
    inside = True
    ends = f"the context of {count(context_tokens)} tokens ends"
    for text, kind, at in pieces:
        if kind == "gap":
            among = inside and at + int(text) > context_tokens
            inside = inside and not among
            note = f"; {ends} among them" if among else ""
            parts.append(f'<span class="left-out">{count(int(text))} tokens are left out here{note}</span>')
            continue
        if inside and at >= context_tokens:
            inside = False
            parts.append(f'<span class="edge">{ends} here</span>')
        classes = "t" + (f" {kind}" if kind != "context" else "") + ("" if at < context_tokens else " beyond")
        parts.append(f'<span class="{classes}">{_visible(text)}</span>')
    return "".join(parts)


def _visible(text: str) -> str:
    """A token's text with its line breaks marked; a token that is part of a character shows as a dot."""
    return esc(text).replace("\r", "").replace("\n", "↵\n") if text else "·"
