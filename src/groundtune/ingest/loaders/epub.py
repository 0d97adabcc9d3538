"""E-books (.epub): the chapters in reading order, their headings as in web pages, the book's title above all.

Leaves out pictures, the cover's styling and books locked by a seller (DRM).
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from groundtune.errors import InputError
from groundtune.ingest import archives, html_blocks, reading, sectioning, xml_tree
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.ingest.xml_tree import attribute, below, text_of
from groundtune.records import Section

EXTENSIONS = (".epub",)

_KIND = "an e-book (.epub)"
_CONTAINER = "META-INF/container.xml"


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, chapter after chapter; memory holds one chapter.

    A chapter without a heading of its own has the title that the table of contents gives it.

    Raises:
        InputError: missing, empty, another kind of file, damaged, encrypted or locked, a ZIP bomb, or without text.
    """
    archives.check_zip(path, _KIND, must_hold=_CONTAINER)
    empty = True
    try:
        with zipfile.ZipFile(path) as archive:
            if _locked(archive):
                raise InputError(f"{path} is locked by its seller (DRM)", expected="an e-book without a lock",
                                 next_step="leave it out")  # fmt: skip
            for section in sectioning.sections(_blocks(archive)):
                empty = False
                yield section
    except archives.ERRORS as error:
        raise reading.damaged(path, _KIND, error) from error
    if empty:
        reading.refuse_blank(path, "a book with text")


def _locked(archive: zipfile.ZipFile) -> bool:
    """True where chapters are encrypted; fonts may be."""
    if "META-INF/encryption.xml" not in archive.namelist():
        return False
    root = xml_tree.parse(archives.read_part(archive, "META-INF/encryption.xml"))
    names = (attribute(reference, "URI").lower() for reference in below(root, "CipherReference"))
    return any(name.endswith((".html", ".xhtml", ".htm", ".xml")) for name in names)


def _blocks(archive: zipfile.ZipFile) -> Iterator[Block]:
    container = xml_tree.parse(archives.read_part(archive, _CONTAINER))
    package = next((attribute(root, "full-path") for root in below(container, "rootfile")), "")
    book = xml_tree.parse(archives.read_part(archive, package))
    folder = posixpath.dirname(package)
    items = {attribute(item, "id"): item for item in below(book, "item")}
    titles = _contents(archive, folder, items)
    title = next((text_of(element) for element in below(book, "title")), "")
    if title:
        yield Block(title, 1)
    for reference in below(book, "itemref"):
        item = items.get(attribute(reference, "idref"))
        if item is None or "nav" in attribute(item, "properties").split():
            continue
        name = _resolved(folder, attribute(item, "href"))
        if name in archive.namelist() and "html" in attribute(item, "media-type"):
            yield from _chapter(archives.read_part(archive, name), title, titles.get(name, ""))


def _chapter(data: bytes, book: str, title: str) -> Iterator[Block]:
    """A chapter's blocks, its headings one level below the book's title."""
    found = list(html_blocks.blocks(html_blocks.decoded(data)))
    below_book = bool(book)
    if title and found and not any(block.level for block in found):
        yield Block(title, 1 + below_book)
    for block in found:
        if block.level and block.text.casefold() == book.casefold():  # the title page repeats it
            continue
        yield Block(block.text, block.level + below_book if block.level else 0)


def _contents(archive: zipfile.ZipFile, folder: str, items: dict[str, Any]) -> dict[str, str]:
    """Chapter's file -> its title in the table of contents, of either version of the format."""
    out: dict[str, str] = {}
    for item in items.values():
        name = _resolved(folder, attribute(item, "href"))
        is_contents = "ncx" in attribute(item, "media-type") or "nav" in attribute(item, "properties").split()
        if not is_contents or name not in archive.namelist():
            continue
        root = xml_tree.parse(archives.read_part(archive, name))
        base = posixpath.dirname(name)
        for point in below(root, "navPoint"):
            target = next((attribute(content, "src") for content in below(point, "content")), "")
            out.setdefault(_resolved(base, target), next((text_of(label) for label in below(point, "text")), ""))
        for link in below(root, "a"):
            out.setdefault(_resolved(base, attribute(link, "href")), text_of(link))
    return out


def _resolved(folder: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(target.partition("#")[0])))
