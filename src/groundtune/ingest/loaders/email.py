"""E-mail (.eml, and .mbox with many): the subject as heading, who wrote to whom and when, the text, attachments' names.

Attachments that are text are read; others are named with their type and size. Of a text in two forms the plain one is
taken, or the web page where the plain one says much less. Leaves out signatures' checks and Outlook's .msg.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

from groundtune.ingest import html_blocks, reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.records import Section

EXTENSIONS = (".eml", ".mbox")

_MAX_MESSAGE_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20
_MAX_NESTING = 10
_MAX_PARTS = 1_000
_TEXT_NAMES = (".txt", ".md", ".csv", ".tsv", ".json", ".log", ".ics", ".vcf", ".xml", ".yaml", ".yml", ".tex", ".srt")
_HEADERS = ("From", "To", "Cc", "Date")
_HEADER_LINE = re.compile(rb"^[!-9;-~]+:", re.MULTILINE)
_SPACE = re.compile(r"\s+")


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield the sections of each message, the subject first in ``heading``; in an .mbox ``row`` is the message's number.

    An .mbox is read message by message; what a message has beyond 64 MiB is left out, and its text says so.

    Raises:
        InputError: missing, empty, no text, no e-mail, or without text.
    """
    reading.check_file(path, "an e-mail")
    many = path.suffix.lower() == ".mbox"
    empty = True
    for number, data in enumerate(_messages(path, many=many), start=1):
        if number == 1 and not _HEADER_LINE.search(data[:65_536]):
            raise reading.damaged(path, "an e-mail", "it has no header lines such as `From: somebody`")
        for section in sectioning.sections(_blocks(data)):
            empty = False
            yield Section(section.text, row=number if many else None, heading=section.heading)
    if empty:
        reading.refuse_blank(path, "an e-mail with text")


def _messages(path: Path, *, many: bool) -> Iterator[bytes]:
    """The bytes of each message; a file in UTF-16 as UTF-8."""
    with path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = path.open("r", encoding=reading.encoding_of(path))
            with text:
                yield text.read(_MAX_MESSAGE_BYTES).encode("utf-8")
        elif not many:
            yield _cut(stream.read(_MAX_MESSAGE_BYTES + 1).removeprefix(b"\xef\xbb\xbf"))
        else:
            yield from _mailbox(stream)


def _mailbox(stream: BinaryIO) -> Iterator[bytes]:
    held: list[bytes] = []
    size, blank = 0, True
    while line := stream.readline(_BLOCK_BYTES):
        if blank and line.startswith(b"From ") and size:
            yield _cut(b"".join(held))
            held, size = [], 0
        if size <= _MAX_MESSAGE_BYTES and not (not size and line.startswith(b"From ")):
            held.append(line[1:] if re.match(rb">+From ", line) else line)
        size += len(line)
        blank = not line.strip()
    if any(held):
        yield _cut(b"".join(held))


def _cut(data: bytes) -> bytes:
    return data if len(data) <= _MAX_MESSAGE_BYTES else data[:_MAX_MESSAGE_BYTES]


def _blocks(data: bytes) -> Iterator[Block]:
    message = message_from_bytes(data.lstrip(), policy=policy.compat32)  # the newer policy fails on broken headers
    yield from _message(message, 1)
    if len(data) >= _MAX_MESSAGE_BYTES:
        yield Block(f"(cut off after {_MAX_MESSAGE_BYTES >> 20} MiB)")


def _message(message: Message, level: int) -> Iterator[Block]:
    """A message's blocks; one that is attached comes below, as a heading of its own."""
    yield Block(_header(message, "Subject") or "(no subject)", min(level, 9))
    lines = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
    plain: list[Message] = []
    pages: list[Message] = []
    attached: list[Message] = []
    _sort(message, plain, pages, attached, 0)
    names = [_described(part) for part in attached]
    if names:
        lines.append(f"Attachments: {'; '.join(names)}")
    if lines:
        yield Block("\n".join(lines))
    yield from _body(plain, pages)
    for part in attached:
        inner: Any = part.get_payload()
        if part.get_content_type() == "message/rfc822" and isinstance(inner, list) and inner and level < _MAX_NESTING:
            yield from _message(inner[0], level + 1)
        elif _is_text(part):
            yield Block(_name(part) or "attachment", min(level + 1, 9))
            text = _decoded(part)
            yield from html_blocks.blocks(text) if part.get_content_type() == "text/html" else _paragraphs(text)


def _sort(part: Message, plain: list[Message], pages: list[Message], attached: list[Message], depth: int) -> None:
    """Put each part where it belongs."""
    inner: Any = part.get_payload()
    kind = part.get_content_type()
    if kind != "message/rfc822" and isinstance(inner, list) and depth < _MAX_NESTING * 3:
        for below in inner[:_MAX_PARTS]:
            _sort(below, plain, pages, attached, depth + 1)
    elif _name(part) or kind == "message/rfc822" or part.get_content_disposition() == "attachment":
        attached.append(part)
    elif kind == "text/html":
        pages.append(part)
    elif kind.startswith("text/"):
        plain.append(part)
    elif not isinstance(inner, list):
        attached.append(part)


def _body(plain: list[Message], pages: list[Message]) -> Iterator[Block]:
    written = [block for part in plain for block in _paragraphs(_decoded(part))]
    shown = [block for part in pages for block in html_blocks.blocks(_decoded(part))]
    yield from shown if _words(shown) > 2 * _words(written) else written


def _words(blocks: list[Block]) -> int:
    return sum(len(re.findall(r"\w+", block.text)) for block in blocks)


def _paragraphs(text: str) -> Iterator[Block]:
    held: list[str] = []
    size = 0
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.strip():
            held.append(line.rstrip())
            size += len(line)
        if held and (not line.strip() or size > sectioning.MAX_BLOCK_CHARACTERS):
            # addresses and quotations are no prose
            verbatim = any(re.match(r"\s*(?:https?://|>)", kept) for kept in held)
            yield Block("\n".join(held) if verbatim else sectioning.join_wrapped(held))
            held, size = [], 0


def _is_text(part: Message) -> bool:
    return part.get_content_maintype() == "text" or _name(part).lower().endswith(_TEXT_NAMES)


def _name(part: Message) -> str:
    try:
        return _unfolded(part.get_filename() or "")
    except (ValueError, LookupError, TypeError, AttributeError):  # a name encoded wrongly
        return "attachment"


def _described(part: Message) -> str:
    payload: Any = part.get_payload()
    size = len(payload) if isinstance(payload, str) else 0
    if str(part.get("Content-Transfer-Encoding") or "").strip().lower() == "base64":
        size = size * 3 // 4
    about = f" ({part.get_content_type()}, {max(1, size >> 10)} KiB)" if size else f" ({part.get_content_type()})"
    return (_name(part) or "without a name") + about


def _header(message: Message, name: str) -> str:
    try:
        return _unfolded(str(message.get(name) or ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def _unfolded(value: str) -> str:
    """A header on one line, its encoded words and stray bytes read."""
    from email.header import decode_header

    parts = []
    try:
        for data, charset in decode_header(value):
            raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
            parts.append(_text(raw, "" if charset in (None, "unknown-8bit") else str(charset)))
    except (ValueError, LookupError):  # an encoded word that is none
        parts = [value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")]
    return _SPACE.sub(" ", "".join(parts)).strip()


def _decoded(part: Message) -> str:
    """A part's text, from whatever transfer encoding and charset it has."""
    try:
        payload: Any = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        payload = str(part.get_payload()).encode("utf-8", "surrogateescape")
    charset = str(part.get_content_charset("") or "")
    data = payload if isinstance(payload, bytes) else b""
    return html_blocks.decoded(data, charset) if part.get_content_type() == "text/html" else _text(data, charset)


def _text(data: bytes, charset: str) -> str:
    mark = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
    for name in (charset, mark, "utf-8-sig"):
        wide = name.lower().replace("_", "-").startswith("utf-16")
        try:
            if name:  # mail programs that end a line of two-byte characters with one byte leave half a character over
                return data[: len(data) // 2 * 2 if wide else None].decode(name).replace("\x00", "")
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("cp1252", "replace").replace("\x00", "")
