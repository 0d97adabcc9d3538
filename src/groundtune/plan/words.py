"""Bytes, seconds and dollars for people."""

from __future__ import annotations


def amount(size: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size / 1e3:,.0f} kB"


def duration(seconds: float) -> str:
    """Seconds for people."""
    for unit, factor, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800), ("days", 86_400, 86_400 * 730)):
        if seconds < most:
            return f"{seconds / factor:.1f} {unit}"
    return f"{seconds / 86_400 / 365.25:,.0f} years"


def money(usd: float) -> str:
    """Dollars for people."""
    return f"${usd:,.2f}" if usd >= 0.005 or usd == 0 else f"${usd:.2g}"
