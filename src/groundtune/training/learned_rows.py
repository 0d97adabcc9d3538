"""What a run is trained on, to look at: one row with its trained part marked, and how long the rows are against the limit.

A mask is right when a person sees that it is: exactly the answer and the mark that ends it. For the page of a run and for
``groundtune tune --show-row``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from groundtune.dataset.lengths import Lengths
from groundtune.dataset.render import TokenRow
from groundtune.dataset.stats.mask_view import LEGEND, spans
from groundtune.dataset.stats.plots import histogram
from groundtune.dataset.stats.tokens import distribution, pieces_of
from groundtune.page.text import esc

#: around what is trained, where there is no colour
OPEN, CLOSE = "⟦", "⟧"


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row to look at.

    Attributes:
        where: its place.
        tokens, trained: how many it has, and how many of them count in the loss.
        pieces: its tokens, as :func:`groundtune.dataset.stats.tokens.pieces_of` gives them.
        limit: most tokens of a row.
    """

    where: str
    tokens: int
    trained: int
    pieces: list[list[Any]]
    limit: int

    def marked(self) -> str:
        """Its text with brackets around what is trained."""
        out, inside = "", False
        for text, kind, _ in self.pieces:
            trained = kind in ("trained", "end")
            out += (OPEN if trained and not inside else CLOSE if inside and not trained else "") + (
                f" ... {text} tokens ... " if kind == "gap" else text
            )
            inside = trained
        return out + (CLOSE if inside else "")


def shown_row(where: str, row: TokenRow, tokenizer: Any, limit: int) -> ShownRow:
    """A row, to be looked at."""
    return ShownRow(where, len(row.ids), sum(row.trained), pieces_of(row, tokenizer), limit)


def style() -> str:
    """What a page with these sections needs beside its own style."""
    return files("groundtune.dataset.stats").joinpath("stats.css").read_text(encoding="utf-8")


def row_section(row: ShownRow) -> str:
    """The row in colour, as HTML."""
    told = f"{row.where}: {row.tokens:,} tokens, {row.trained:,} of them trained."
    return f'<p class="lead">{esc(told)}</p>{LEGEND}<div class="example"><div class="tokens" dir="auto">{spans(row.pieces, row.limit)}</div></div>'


def lengths_section(lengths: Lengths) -> str:
    """The histogram of lengths with the limit, as HTML; empty without rows."""
    import numpy as np

    found = distribution(np.array(lengths.tokens, dtype=np.int64), lengths.limit)
    if found is None:
        return ""
    return f'<p class="lead">{esc(lengths)}.</p>{histogram(found, lengths.limit, "Tokens of the rows")}'
