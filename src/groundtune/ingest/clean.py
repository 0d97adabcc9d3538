"""Sections with their characters and white space put right, and without the lines that repeat over pages.

Nothing is changed silently: every change is counted in a ``Tally``. Leaves out personal data (``redact``) and
duplicates (``duplicates``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from groundtune.ingest.clean_characters import repair
from groundtune.ingest.clean_lines import without_running_lines
from groundtune.ingest.clean_report import CleaningReport, Tally
from groundtune.records import Section

__all__ = ["CleaningReport", "Tally", "clean_sections", "clean_text"]

_TRAILING = re.compile(r"(?<![ \t])[ \t]+(?=\n|\Z)")
_BLANK_LINES = re.compile(r"\n{4,}")
_DIVIDER = re.compile(r"[-\u2010](?<=[^\W\d_].)(?:\n| (?=[a-zà-öø-ÿ]))")
#: the word before, what divides, the word after; words of over 60 letters are none
_DIVIDED = re.compile(r"(?<![^\W\d_])([^\W\d_]{1,60})([-\u2010](?:\n[ \t]*| (?=[a-zà-öø-ÿ])))(?=([^\W\d_]{1,60}))")
_WORD = re.compile(r"[^\W\d_]+")
_HYPHENATED = re.compile(r"(?<![^\W\d_])([^\W\d_]+)[-\u2010](?=([^\W\d_]+))")
#: after a suspended hyphen, as in "Ein- und Ausgang"
_SUSPENDING = frozenset("und oder bzw sowie bis and or to et ou y o e en of und/oder and/or".split())
_KEPT_PREFIXES = frozenset({"self", "well", "half", "full", "ex", "long", "short", "high", "low", "non", "e", "co"})


def clean_sections(sections: Iterable[Section], tally: Tally, *, boilerplate: bool = True) -> Iterator[Section]:
    """One document's sections cleaned, one at a time; a section of which nothing is left is left out.

    Args:
        sections: in the document's order.
        tally: takes the counts; complete when the last section was taken.
        boilerplate: also take out lines that repeat over pages. Sections with a page are then held back until the
            document, or 20 million characters of it, were seen; others pass at once.
    """
    cleaned = (section for raw in sections if (section := _cleaned(raw, tally)).text)
    return without_running_lines(cleaned, tally) if boilerplate else cleaned


def _cleaned(section: Section, tally: Tally) -> Section:
    text = clean_text(section.text, tally)
    heading = " ".join(clean_text(section.heading, tally).split()) if section.heading else ""
    if text == section.text and heading == section.heading:
        return section
    return replace(section, text=text, heading=heading)


def clean_text(text: str, tally: Tally) -> str:
    """A text with its characters (``clean_characters``) and white space put right.

    Words divided at a line end are joined, blanks at line ends and over two blank lines in a row go. Blanks inside a
    line stay, since they align columns.
    """
    text = repair(text, tally)
    if "-" in text or "\u2010" in text:
        text = _joined(text, tally)
    if " \n" in text or "\t\n" in text or text[-1:] in (" ", "\t"):
        text, count = _TRAILING.subn("", text)
        tally.add("trailing_blanks", count)
    if "\n\n\n\n" in text:
        text, count = _BLANK_LINES.subn("\n\n", text)
        tally.add("blank_lines", count)
    return text.strip("\n") if text.strip() else ""


def _joined(text: str, tally: Tally) -> str:
    """Words divided by a hyphen at a line end made whole.

    The hyphen stays where the text has the word with it elsewhere, before a capital and after words such as "self-";
    a space in place of the line end, which a loader may have left, is closed only where the text has the whole word.
    """
    if not _DIVIDER.search(text):
        return text
    lowered = text.lower()
    known: set[str] = set(_WORD.findall(lowered))
    hyphenated: set[tuple[str, str]] = set(_HYPHENATED.findall(lowered))

    def join(match: re.Match[str]) -> str:
        first, found, second = match.groups()
        whole = f"{first}{second}".lower()
        if whole in known and second not in _SUSPENDING:
            divider = ""
        elif "\n" not in found:
            divider = found
        elif second in _SUSPENDING:
            divider = "- "
        else:
            kept = not second[0].islower() or first.lower() in _KEPT_PREFIXES
            kept = kept or (first.lower(), second.lower()) in hyphenated or min(len(first), len(second)) < 2
            divider = "-" if kept else ""
        if divider != found:
            sample = f"{first}- {second} -> {first}{divider}{second}" if tally.wants("hyphenation") else ""
            tally.add("hyphenation", sample=sample)
        return f"{first}{divider}"

    return _DIVIDED.sub(join, text)
