"""How long the rows of a run are against its limit, said before training: a limit that nobody chose cuts answers off unseen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of each row before any is cut or left out.

    Attributes:
        tokens: of each row.
        limit: most tokens of a row that is trained on.
    """

    tokens: tuple[int, ...]
    limit: int

    @property
    def over(self) -> int:
        """Rows over the limit."""
        return sum(n > self.limit for n in self.tokens)

    def quantile(self, share: float) -> int:
        """The least length that this share of the rows does not exceed; 0 without rows."""
        if not self.tokens:
            return 0
        return sorted(self.tokens)[max(0, math.ceil(share * len(self.tokens)) - 1)]

    def figures(self) -> dict[str, Any]:
        """``p50``, ``p95``, ``longest``, ``limit`` in tokens, and how many rows and tokens are over it."""
        return {
            "p50": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "longest": max(self.tokens, default=0),
            "limit": self.limit,
            "rows_over": self.over,
            "tokens_over": sum(max(0, n - self.limit) for n in self.tokens),
        }

    def __str__(self) -> str:
        f = self.figures()
        told = f"{len(self.tokens):,} rows: half have up to {f['p50']:,} tokens, 95 % up to {f['p95']:,}, the longest {f['longest']:,}; the limit is {self.limit:,}"
        return told + (
            f", {f['rows_over']:,} rows are over it by {f['tokens_over']:,} tokens" if f["rows_over"] else ""
        )
