"""Lines that repeat: headers, footers and page numbers of one document, navigation and banners of one site.

The PDF loader already takes out what neighbouring pages share, by where it stands on the paper (``pdf_layout``); this
is for slides, recognised scans and every other format with pages, where only the lines themselves are known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from groundtune.ingest.clean_report import Tally
from groundtune.records import Section

#: lines at either end of a page that may be its header or footer
_ENDS = 3
_LONGEST_LINE = 200
_LEAST_PAGES = 3
_HELD_CHARACTERS = 20_000_000
_LEAST_SITE_PAGES = 5
_COUNTED_LINES = 1_000_000
_NUMBER = re.compile(r"\d+")
_PAGE_WORD = re.compile(r"\b(?:page|p\.|pg\.?|seite|s\.|slide|folie|blatt|sheet|pagina|página|strona|sida|side)(?= ?0)")


@dataclass(slots=True)
class _Page:
    """A page's sections, and its candidate lines: masked line -> its numbers."""

    number: int
    sections: list[Section]
    ends: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Running:
    """A line found on most pages. ``fixed[i]`` is its i-th number, None where that is the page plus ``offsets[i]``."""

    fixed: tuple[int | None, ...]
    offsets: tuple[int, ...]
    first_page: int

    @property
    def counts_pages(self) -> bool:
        return None in self.fixed

    def fits(self, numbers: tuple[int, ...], page: int) -> bool:
        expected = (page + o if f is None else f for f, o in zip(self.fixed, self.offsets, strict=True))
        return numbers == tuple(expected)


def without_running_lines(sections: Iterable[Section], tally: Tally) -> Iterator[Section]:
    """One document's sections without the lines that repeat over its pages.

    A line goes if it is one of the first or last three of its page, the same on more than half of the pages that have
    text (or on four fifths of the odd or of the even ones) and on at least three. Its numbers may differ only as page
    numbers do: by one from page to page. The first page that has it keeps it, unless it counts the pages, so that no
    text is lost. A table row stays, and so does every line of a page that has no other.
    """
    pages: list[_Page] = []
    held = 0
    for section in sections:
        if section.page is None:
            yield from _without(pages, tally)
            pages, held = [], 0
            yield section
            continue
        if pages and pages[-1].number == section.page:
            pages[-1].sections.append(section)
        else:
            if held > _HELD_CHARACTERS:
                yield from _without(pages, tally)
                pages, held = [], 0
            pages.append(_Page(section.page, [section]))
        held += len(section.text)
    yield from _without(pages, tally)


def _without(pages: list[_Page], tally: Tally) -> Iterator[Section]:
    running = _running(pages) if len(pages) >= _LEAST_PAGES else {}
    for page in pages:
        yield from _page_without(page, running, tally) if running else page.sections


def _lines(page: _Page) -> list[tuple[int, int, str]]:
    """(section, line, text) of every line with text."""
    return [
        (s, n, line.strip())
        for s, section in enumerate(page.sections)
        for n, line in enumerate(section.text.split("\n"))
        if line.strip()
    ]


def _candidates(lines: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    ends = lines if len(lines) <= 2 * _ENDS else lines[:_ENDS] + lines[-_ENDS:]
    return [line for line in ends if len(line[2]) <= _LONGEST_LINE and line[2][0] != "|"]


def _masked(line: str) -> tuple[str, tuple[int, ...]]:
    numbers = tuple(int(n[-9:]) for n in _NUMBER.findall(line))
    return _NUMBER.sub("0", " ".join(line.casefold().split())), numbers


def _running(pages: list[_Page]) -> dict[str, _Running]:
    """The lines that repeat over most pages, by their masked form."""
    places: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
    for page in pages:
        for _, _, line in _candidates(_lines(page)):
            masked, numbers = _masked(line)
            if masked not in page.ends:
                page.ends[masked] = numbers
                places.setdefault(masked, []).append((page.number, numbers))
    odd = sum(page.number % 2 for page in pages)
    out = {}
    for masked, found in places.items():
        rule = _rule(found, _countable(masked))
        if rule is None:
            continue
        fitting = [page for page, numbers in found if rule.fits(numbers, page)]
        parities = {page % 2 for page in fitting}
        of_side = (odd if parities == {1} else len(pages) - odd) if len(parities) == 1 else len(pages)
        most = len(fitting) > len(pages) / 2 or (len(parities) == 1 and of_side >= 4 and len(fitting) > 0.8 * of_side)
        if len(fitting) >= _LEAST_PAGES and most:
            out[masked] = replace(rule, first_page=min(fitting))
    return out


def _countable(masked: str) -> bool:
    """True where a number may be the page's: "page 0 of 0", "- 0 -", "annual report of the club 0"; not "step 0"."""
    words = re.findall(r"[^\W\d_]+", masked)
    return not words or len(words) > 2 or _PAGE_WORD.search(masked) is not None


def _rule(found: list[tuple[int, tuple[int, ...]]], countable: bool) -> _Running | None:
    """How the numbers of a line go over the pages, by what most of its places have; None where they are data."""
    size = len(found[0][1])
    fixed: list[int | None] = []
    offsets: list[int] = []
    for at in range(size):
        years = all(1900 <= numbers[at] <= 2100 for _, numbers in found)
        value, same = Counter(numbers[at] for _, numbers in found).most_common(1)[0]
        offset, counting = Counter(numbers[at] - page for page, numbers in found).most_common(1)[0]
        counting = counting if countable and not years else 0
        if max(same, counting) * 2 <= len(found):
            return None
        fixed.append(value if same >= counting else None)
        offsets.append(offset)
    return _Running(tuple(fixed), tuple(offsets), found[0][0])


def _page_without(page: _Page, running: dict[str, _Running], tally: Tally) -> Iterator[Section]:
    lines = _lines(page)
    gone: dict[tuple[int, int], tuple[str, str]] = {}
    for place, number, line in _candidates(lines):
        masked, numbers = _masked(line)
        rule = running.get(masked)
        if not rule or not rule.fits(numbers, page.number):
            continue
        titled = line in page.sections[place].heading
        if not titled if rule.counts_pages else page.number != rule.first_page:
            gone[place, number] = ("page_numbers" if rule.counts_pages else "running_lines", line)
    if not gone or len(gone) == len(lines):
        yield from page.sections
        return
    for kind, line in gone.values():
        tally.add(kind, sample=line)
    for at, section in enumerate(page.sections):
        drop = {number for s, number in gone if s == at}
        yield from _dropped(section, drop)


def _dropped(section: Section, drop: set[int]) -> Iterator[Section]:
    """The section without some of its lines; nothing where none is left."""
    if not drop:
        yield section
        return
    kept = "\n".join(line for n, line in enumerate(section.text.split("\n")) if n not in drop)
    if text := re.sub(r"\n{3,}", "\n\n", kept).strip("\n"):
        yield replace(section, text=text)


class SiteLines:
    """Lines that most pages of one site have: navigation, cookie banners, footers. One object for each site.

    First hand every page to :meth:`add`, then take each from :meth:`without`, in one order. About 100 bytes a distinct
    line, at most about 100 MB.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._pages = 0
        self._kept_by: dict[int, str] = {}

    def add(self, sections: Iterable[Section]) -> None:
        """Count the lines of one page of the site."""
        self._pages += 1
        for key in {key for section in sections for _, _, key in _site_lines(section)}:
            self._counts[key] = self._counts.get(key, 0) + 1
        if len(self._counts) > _COUNTED_LINES:  # what most pages have is not among those seen once by now
            self._counts = {key: count for key, count in self._counts.items() if count > 1}

    @property
    def found(self) -> bool:
        """True when some line repeats: without one, no page changes."""
        return any(map(self._repeats, self._counts))

    def _repeats(self, key: int) -> bool:
        count = self._counts.get(key, 0)
        return count >= _LEAST_SITE_PAGES and count > self._pages / 2

    def without(self, page: str, sections: Iterable[Section], tally: Tally) -> list[Section]:
        """A page without the lines that more than half of the pages have, and at least five.

        The first page that has such a line keeps it, so that an address in the footer is not lost. Table rows and
        lines of over 200 characters stay, and so does every line of a page that has no other.

        Args:
            page: the page's name.
        """
        whole = list(sections)
        drops: list[set[int]] = []
        lines: list[str] = []
        for section in whole:
            drop = set()
            for number, line, key in _site_lines(section):
                if self._repeats(key) and self._kept_by.setdefault(key, page) != page:
                    drop.add(number)
                    lines.append(line)
            drops.append(drop)
        kept = [s for section, drop in zip(whole, drops, strict=True) for s in _dropped(section, drop)]
        if not lines or not kept:
            return whole
        for line in lines:
            tally.add("site_lines", sample=line)
        return kept


def _site_lines(section: Section) -> Iterator[tuple[int, str, int]]:
    """(line number, line, its key) of the lines that may be taken out."""
    for number, raw in enumerate(section.text.split("\n")):
        line = " ".join(raw.split())
        if line and len(line) <= _LONGEST_LINE and line[0] != "|":
            yield (
                number,
                line,
                int.from_bytes(blake2b(line.encode("utf-8", "replace"), digest_size=8).digest(), "little"),
            )
