"""What cleaning did, counted by kind with a few samples each: added up over documents, and turned into JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SAMPLES = 5
_SAMPLE_CHARACTERS = 100
_TRIED = 50
#: kind -> what a report says of it, in the order of a report
KINDS = {
    "mojibake": "characters of a wrong encoding put right",
    "surrogates": "halves of characters replaced by U+FFFD",
    "lost_characters": "U+FFFD found: characters that were lost before (left as they are)",
    "controls": "control characters taken out",
    "invisible": "invisible characters taken out",
    "hidden_text": "invisible tag characters, which can hide text, taken out",
    "soft_hyphens": "soft hyphens taken out",
    "spaces": "odd spaces made plain",
    "ligatures": "ligatures written as letters",
    "composed": "letters with loose accents composed (NFC)",
    "marks": "accents beyond 30 on one letter taken out",
    "line_ends": "odd line ends made plain",
    "hyphenation": "words divided at line ends joined",
    "trailing_blanks": "lines with blanks at their end trimmed",
    "blank_lines": "runs of over two blank lines shortened",
    "running_lines": "headers and footers that repeat over pages taken out",
    "page_numbers": "page numbers taken out",
    "site_lines": "lines that repeat over the pages of a site taken out",
    "email": "e-mail addresses",
    "phone": "phone numbers",
    "iban": "bank account numbers (IBAN)",
    "card": "payment card numbers",
    "name": "names of the list",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change: how often, and up to five distinct samples, ``before -> after`` where that tells more."""

    count: int
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """Changes by kind (a key of ``KINDS``). ``+`` adds counts up and keeps the first samples."""

    changes: Mapping[str, Change]

    def __add__(self, other: CleaningReport) -> CleaningReport:
        merged: dict[str, Change] = {}
        for kind in _ordered({*self.changes, *other.changes}):
            ours, theirs = self.changes.get(kind, Change(0)), other.changes.get(kind, Change(0))
            samples = tuple(dict.fromkeys((*ours.samples, *theirs.samples)))[:SAMPLES]
            merged[kind] = Change(ours.count + theirs.count, samples)
        return CleaningReport(merged)

    def count(self, kind: str) -> int:
        """How often; 0 for a kind that did not occur."""
        return self.changes[kind].count if kind in self.changes else 0

    def with_samples(self, change: Callable[[str], str]) -> CleaningReport:
        """The same with every sample passed through a function, such as one that redacts personal data."""
        return CleaningReport(
            {kind: Change(each.count, tuple(map(change, each.samples))) for kind, each in self.changes.items()}
        )

    def to_json(self) -> dict[str, Any]:
        """``{kind: {"count": 3, "samples": ["..."]}}``, in the order of ``KINDS``."""
        return {
            kind: {"count": self.changes[kind].count, "samples": list(self.changes[kind].samples)}
            for kind in _ordered(self.changes)
        }

    @classmethod
    def from_json(cls, rows: Mapping[str, Any]) -> CleaningReport:
        """The inverse of :meth:`to_json`."""
        return cls({kind: Change(int(row["count"]), tuple(row["samples"])) for kind, row in rows.items()})


NO_CHANGES = CleaningReport({})


class Tally:
    """Collects changes while a document goes through; :meth:`report` says what came together."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._samples: dict[str, dict[str, None]] = {}
        self._tried: dict[str, int] = {}

    def add(self, kind: str, count: int = 1, sample: str = "") -> None:
        """Count changes of a kind, with what one of them looked like."""
        self._counts[kind] = self._counts.get(kind, 0) + count
        if sample and self.wants(kind):
            self._tried[kind] = self._tried.get(kind, 0) + 1
            self._samples.setdefault(kind, {})[shown(sample)] = None

    def wants(self, kind: str) -> bool:
        """True while another sample of this kind is of use: five are enough, and so are 50 that were much the same."""
        return len(self._samples.get(kind, ())) < SAMPLES and self._tried.get(kind, 0) < _TRIED

    def report(self) -> CleaningReport:
        """What was counted so far."""
        return CleaningReport(
            {kind: Change(self._counts[kind], tuple(self._samples.get(kind, ()))) for kind in _ordered(self._counts)}
        )


def shown(text: str) -> str:
    """A sample as one line of at most 100 characters, what is invisible by its code point: ``<U+00AD>``."""
    visible = "".join(c if c == " " or c.isprintable() else f"<U+{ord(c):04X}>" for c in text[: _SAMPLE_CHARACTERS + 1])
    return visible if len(visible) <= _SAMPLE_CHARACTERS else f"{visible[: _SAMPLE_CHARACTERS - 1]}…"


def _ordered(kinds: Iterable[str]) -> list[str]:
    known = {kind: at for at, kind in enumerate(KINDS)}
    return sorted(kinds, key=lambda kind: (known.get(kind, len(known)), kind))
