"""Pieces that several pages show: scrolling tables, bars cut into shares."""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.page.text import esc


def scroll(caption: str, inner: str) -> str:
    """A table in a box that scrolls sideways, reachable by keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{esc(caption)}">'
        f"<table><caption>{esc(caption)}</caption>{inner}</table></div>"
    )


def share_bar(parts: Sequence[tuple[str, float]], total: float) -> str:
    """A bar cut into named shares of a total."""
    drawn, start = [], 0.0
    for kind, amount in parts:
        width = max(amount, 0.0) / total * 100 if total else 0.0
        drawn.append(f'<rect class="part {kind}" x="{start:.2f}%" width="{width:.2f}%" height="12"/>')
        start += width
    return f'<svg class="share" width="100%" height="12" aria-hidden="true">{"".join(drawn)}</svg>'
