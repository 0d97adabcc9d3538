"""Web pages: trafilatura finds the main text (no menus, no footers) as Markdown, whose headings make the sections.

Where it finds nothing, or loses text or headings of a page that has no menus to leave out, all visible text is taken;
where it loses half of a page that has, or all headings, all but the menus.
Leaves out scripts: a page whose text is only made in the browser has none here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import html_blocks, reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.records import Section

EXTENSIONS = (".html", ".htm", ".xhtml")

_MAX_BYTES = 24 << 20
#: a longer page is a whole document rather than an article among menus, and finding its main text takes minutes
_MAX_ARTICLE_CHARACTERS = 1 << 20
_TAG = re.compile(r"<(?:!doctype|html|head|body|title|div|p|h[1-6]|table|ul|ol|article|section|main|span|a|br)\b", re.I)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
#: marks of menus, footers and the like, which are worth leaving out
_FURNITURE = re.compile(
    r"<(?:nav|header|footer|aside|form)\b|(?:class|id|role)\s*=\s*[\"'][^\"'>]{0,200}?"
    r"(?:nav|menu|footer|header|sidebar|cookie|banner|breadcrumb|share|comment|advert)",
    re.I,
)
#: share of a plain page's words that its main text must have
_ENOUGH = 0.97
#: so many times the main text's words outside menus, footers and the like, and the main text was found wrongly
_MAX_LOST = 2
#: so many times its words, and what lies outside menus is the same text, whose headings the main text has lost
_MAX_MORE = 1.5


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, with the path of headings above it.

    Raises:
        InputError: missing, empty, over 24 MiB, no HTML, or without text.
    """
    reading.check_file(path, "an HTML page")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path} has more than {_MAX_BYTES >> 20} MiB", expected="one web page", next_step="split it")
    page = _decoded(path)
    if not _TAG.search(page):
        raise InputError(f"{path} is not an HTML page: it has no HTML tags", expected="a saved web page",
                         next_step="give it the extension .txt if it is plain text")  # fmt: skip
    empty = True
    for section in sectioning.sections(_blocks(page)):
        empty = False
        yield section
    if empty:
        raise InputError(f"{path} has no text", expected="a page with text in its HTML",
                         next_step="save it from the browser once it is loaded, or leave it out")  # fmt: skip


def _decoded(path: Path) -> str:
    """The page as text: by its byte order mark, as UTF-8, as it declares, or as detected."""
    data = path.read_bytes()
    declared = _CHARSET.search(data[:4096])
    try:
        if not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-8") if b"\x00" not in data else _detected(path)
    except UnicodeDecodeError:
        if declared:
            try:
                return data.decode(declared[1].decode("ascii"))
            except (LookupError, UnicodeDecodeError):
                return _detected(path)
    return _detected(path)


def _detected(path: Path) -> str:
    with reading.open_text(path) as stream:
        return stream.read()


def _blocks(page: str) -> Iterator[Block]:
    import trafilatura

    markdown = "" if len(page) > _MAX_ARTICLE_CHARACTERS else trafilatura.extract(
        page, output_format="markdown", include_formatting=True, include_tables=True, include_comments=False,
        favor_recall=True,
    )  # fmt: skip
    found = list(sectioning.markdown_blocks((markdown or "").splitlines()))
    everything = list(html_blocks.blocks(page))
    if _FURNITURE.search(page):
        content = list(html_blocks.blocks(page, furniture=False))
        ours, theirs = _words(content), max(_words(found), 1)
        flat = _headings(content) and not _headings(found) and ours <= _MAX_MORE * theirs  # as it makes short pages
        if flat or ours >= _MAX_LOST * theirs:
            yield from content
        else:
            yield from found or content or everything
    else:
        poor = _words(found) < _ENOUGH * _words(everything) or _headings(found) < _headings(everything)
        yield from everything if poor else found


def _headings(blocks: list[Block]) -> int:
    return sum(block.level > 0 for block in blocks)


def _words(blocks: list[Block]) -> int:
    return sum(len(re.findall(r"\w+", block.text)) for block in blocks)
