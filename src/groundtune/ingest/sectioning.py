"""From blocks (headings and paragraphs) to sections of bounded size, and from Markdown to blocks.

Covers the Markdown that people and converters write: headings, paragraphs, lists, pipe tables, quotes, code. Leaves
out nested structure and reference links, which stay as they are written.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from groundtune.ingest.reading import boundary
from groundtune.records import Section

MAX_SECTION_CHARACTERS = 20_000
#: a paragraph is handed on at this size even if it goes on
MAX_BLOCK_CHARACTERS = MAX_SECTION_CHARACTERS // 2
LIST_ITEM = re.compile(r"\s*(?:[-*+•◦▪‣●○■□☐☑☒✓–—\ue000-\uf8ff]|\(?\d{1,3}[.)]|\(?[a-z][.)]|[a-z]\))\s+\S")
_BULLET = re.compile(r"^(\s*)[*+•◦▪‣●○■\ue000-\uf8ff]\s+")
_ATX = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})\s*$")
_RULE = re.compile(r" {0,3}([-*_])(?:\s*\1){2,}\s*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,31});")
_INLINE = (
    (re.compile(r"<!--.*?-->"), ""),
    (re.compile(r"<br\s*/?>", re.IGNORECASE), " "),
    (re.compile(r"</?(?:p|div|span|a|b|i|u|em|strong|sub|sup|img|font|center|small)(?:\s[^<>]*)?/?>", re.I), ""),
    (re.compile(r"</?(?:table|thead|tbody|tr|td|th|[uod]l|li|d[td]|h[1-6r])(?:\s[^<>]*)?/?>", re.I), " "),
    (re.compile(r"!\[([^\[\]]*)\]\((?:[^()]|\([^()]*\))*\)"), r"\1"),
    (re.compile(r"\[([^\[\]]+)\]\(<?((?:https?:|mailto:)?)((?:[^()\s<>]|\([^()\s]*\))*)>?(?:\s+\"[^\"]*\")?\)"), None),
    (re.compile(r"<((?:https?:|mailto:)[^>\s]+)>"), r"\1"),
    (re.compile(r"(?<![\w\\*])(\*{1,3})(?=[^\s*])(.+?)(?<=[^\s\\])\1(?![*\w])"), r"\2"),
    (re.compile(r"(?<![\w\\])(_{1,3})(?=[^\s_])(.+?)(?<=[^\s\\])\1(?!\w)"), r"\2"),
    (re.compile(r"(?<!\\)(`+)\s?(.+?)\s?\1"), r"\2"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~$&=:;,/\"'^%@?-])"), r"\1"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A heading (``level`` from 1) or a paragraph, list, table or code (``level`` 0)."""

    text: str
    level: int = 0


def sections(
    blocks: Iterable[Block], *, enough: int = MAX_SECTION_CHARACTERS, limit: int = MAX_SECTION_CHARACTERS
) -> Iterator[Section]:
    """Group the blocks under each heading into sections; ``heading`` is the path of headings ("A > B").

    A section ends at a heading, once it holds ``enough`` characters, or before it would pass ``limit``; a single block
    may pass ``limit`` and is split at 20,000. A heading without text of its own or below it becomes a section of its
    title alone, so that nothing is lost.
    """
    path: list[tuple[int, str]] = []
    body: list[str] = []
    size, bare = 0, False
    for block in blocks:
        if block.level or size >= enough or (body and size + len(block.text) > limit):
            yield from _section(body, path)
            body, size = [], 0
        if block.level:
            if bare and path[-1][0] >= block.level:
                yield from _section([path[-1][1]], path)
            while path and path[-1][0] >= block.level:
                path.pop()
            if bare := bool(block.text):
                path.append((block.level, block.text))
        else:
            body.append(block.text)
            size, bare = size + len(block.text) + 2, False
    yield from _section([path[-1][1]] if bare else body, path)


def _section(body: list[str], path: list[tuple[int, str]]) -> Iterator[Section]:
    for text in split_long("\n\n".join(body)):
        yield Section(text, heading=" > ".join(title for _, title in path))


def split_long(text: str) -> Iterator[str]:
    """Pieces of at most 20,000 characters, cut at the best boundary; nothing where the text is blank."""
    at, end = 0, len(text)
    while end - at > MAX_SECTION_CHARACTERS:
        window = text[at : at + 2 * MAX_SECTION_CHARACTERS].lstrip()
        at = min(at + 2 * MAX_SECTION_CHARACTERS, end) - len(window)
        if len(window) > MAX_SECTION_CHARACTERS:
            window = window[: boundary(window, MAX_SECTION_CHARACTERS)]
        at += len(window)
        if piece := window.strip():
            yield piece
    if rest := text[at:].strip():
        yield rest


def plain(text: str) -> str:
    """One line of Markdown without its inline marks; a link to another site keeps its address in brackets."""
    if not re.search(r"[*_`\[<\\&]", text):
        return text
    for pattern, replacement in _INLINE:
        text = pattern.sub(_link if replacement is None else replacement, text)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)


def _link(match: re.Match[str]) -> str:
    label, scheme, rest = match.groups()
    known = not scheme or rest.strip("/") in label
    return str(label) if known else f"{label} ({scheme if scheme != 'mailto:' else ''}{rest})"


def dashed(line: str) -> str:
    """A list item with "- " for whatever bullet it has; other lines as they are."""
    return _BULLET.sub(r"\1- ", line)


def row_of(cells: Iterable[str]) -> str:
    """A table row as ``| a | b |``; a single cell as its text; "" where every cell is blank."""
    clean = [" ".join(cell.split()) for cell in cells]
    if len(clean) == 1:
        return clean[0]
    return f"| {' | '.join(clean)} |" if any(clean) else ""


def markdown_blocks(lines: Iterable[str]) -> Iterator[Block]:
    """Parse Markdown into blocks, one line at a time; soft-wrapped lines are joined, table rules dropped."""
    buffer: list[str] = []
    fence, size = "", 0
    for line in lines:
        size = size + len(line) if buffer else len(line)
        if size > MAX_BLOCK_CHARACTERS:
            yield from _flush(buffer, raw=bool(fence))
            size = len(line)
        if fence:
            if _closes(line, fence):
                yield from _flush(buffer, raw=True)
                fence = ""
            else:
                buffer.append(line.rstrip())
        elif opening := _FENCE.match(line):
            yield from _flush(buffer)
            fence = opening[1]
        elif not line.strip():
            yield from _flush(buffer)
        elif heading := _ATX.match(line):
            yield from _flush(buffer)
            yield Block(plain(heading[2] or "").strip(), len(heading[1]))
        elif len(buffer) == 1 and _SETEXT.match(line) and not LIST_ITEM.match(buffer[0]) and buffer[0][0] != "|":
            yield Block(plain(buffer.pop()).strip(), 1 if "=" in line else 2)
        elif _RULE.match(line):
            yield from _flush(buffer)
        else:
            _add(buffer, line)
    yield from _flush(buffer, raw=bool(fence))


def _closes(line: str, fence: str) -> bool:
    return line.strip().startswith(fence) and not line.strip().strip(fence[0])


def _add(buffer: list[str], line: str) -> None:
    """Append a line to the block, as a new line or as the continuation of the last one."""
    bare = re.sub(r"^\s*(?:>\s?)+", "", line)
    last = buffer[-1] if buffer else ""
    if "|" in line and _TABLE_RULE.match(line):
        if buffer and "|" in last and last[0] != "|":  # a table whose rows have no outer pipes
            buffer[-1] = _row(last)
    elif bare.lstrip().startswith("|") or (last.startswith("|") and "|" in bare):
        if row := _row(bare):
            buffer.append(row)
    elif not last or last.startswith("|") or last.endswith(("  ", "\\")) or LIST_ITEM.match(bare):
        buffer.append(dashed(bare))
    else:
        buffer[-1] = f"{last} {bare.lstrip()}"


def _row(line: str) -> str:
    return row_of(re.split(r"(?<!\\)\|", re.sub(r"^\s*\||(?<!\\)\|\s*$", "", line)))


def _flush(buffer: list[str], *, raw: bool = False) -> Iterator[Block]:
    text = "\n".join(buffer if raw else (plain(line).rstrip(" \\") for line in buffer))
    buffer.clear()
    if text.strip():
        yield Block(text.strip("\n"))


def join_wrapped(lines: list[str]) -> str:
    """A paragraph of plain text with its hard line wraps undone, list items and aligned columns kept as lines.

    A line was wrapped where the next line's first word would not have fitted into the paragraph's width.
    """
    width = max(map(len, lines))
    out = lines[:1]
    for previous, line in pairwise(lines):
        word = line.split(maxsplit=1)[0]
        wrapped = width >= 50 and len(previous) + 1 + len(word) > width - 8
        aligned = re.search(r"\S(?: {3,}|\t)\S", previous) or re.search(r"\S(?: {3,}|\t)\S", line)
        if wrapped and not aligned and not LIST_ITEM.match(line) and not line.startswith("|"):
            out[-1] = f"{out[-1].rstrip()} {line.lstrip()}"
        else:
            out.append(line)
    return "\n".join(dashed(line.rstrip()) for line in out)
