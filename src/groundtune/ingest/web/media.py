"""What a response is: the suffix under which a loader reads it, its text as UTF-8. Leaves out reading it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_OFFICE = "application/vnd.openxmlformats-officedocument."
#: media type -> suffix
SUFFIXES: Mapping[str, str] = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "text/asciidoc": ".adoc",
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/ld+json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/rss+xml": ".xml",
    "application/atom+xml": ".xml",
    "application/pdf": ".pdf",
    "application/x-pdf": ".pdf",
    "application/rtf": ".rtf",
    "text/rtf": ".rtf",
    "application/epub+zip": ".epub",
    "message/rfc822": ".eml",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    f"{_OFFICE}wordprocessingml.document": ".docx",
    f"{_OFFICE}spreadsheetml.sheet": ".xlsx",
    f"{_OFFICE}presentationml.presentation": ".pptx",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.apache.parquet": ".parquet",
}
_KNOWN = {*SUFFIXES.values(), ".xlsm", ".xlsb", ".parquet", ".rst", ".adoc", ".asciidoc", ".markdown", ".mbox"}
_TEXTS = {".txt", ".md", ".markdown", ".adoc", ".asciidoc", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml"}
#: text whose encoding stands nowhere in it
_RECODED = {".html", ".txt", ".md", ".markdown", ".adoc", ".asciidoc", ".rst", ".csv", ".tsv"}
#: media types that say nothing
_VAGUE = {
    *("", "application/octet-stream", "binary/octet-stream", "application/download", "application/force-download"),
    *("application/zip", "application/x-zip-compressed", "application/unknown", "unknown/unknown"),
}
_FILE_NAME = re.compile(r"filename\*?=(?:UTF-8'[^']*')?\"?([^\";]+)", re.IGNORECASE)
_HTML = re.compile(rb"^\s*(?:<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(?:!doctype html|html|head|body)\b", re.I | re.S)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
#: links with these are not followed: no documents
_NO_DOCUMENT = frozenset(
    ".png .jpg .jpeg .gif .svg .webp .avif .ico .bmp .tif .tiff .psd .ai .eps .heic .mp3 .wav .ogg .oga .flac .aac .m4a"
    " .mp4 .m4v .mov .avi .mkv .webm .wmv .flv .mpg .mpeg .ogv .css .js .mjs .map .wasm .woff .woff2 .ttf .otf .eot"
    " .zip .gz .tgz .bz2 .xz .zst .7z .rar .tar .exe .msi .dmg .pkg .deb .rpm .apk .jar .iso .img .bin .dll .so .whl"
    " .safetensors .gguf .pt .onnx .torrent .ics .vcf".split()
)


def file_name(url: str, disposition: str = "") -> str:
    """The name of the file behind an address: as ``Content-Disposition`` has it, else the path's last part."""
    named = _FILE_NAME.search(disposition)
    return PurePosixPath(unquote(named[1].strip() if named else urlsplit(url).path)).name


def leads_nowhere(url: str) -> bool:
    """True for links to pictures, films, programs, archives and the like."""
    return PurePosixPath(urlsplit(url).path).suffix.lower() in _NO_DOCUMENT


def media_type_of(content_type: str) -> str:
    """``text/html`` of ``Text/HTML; charset=utf-8``."""
    return content_type.partition(";")[0].strip().lower()


def may_be_document(content_type: str, name: str) -> bool:
    """False where the media type already says that no loader will read it."""
    return media_type_of(content_type) in SUFFIXES or bool(suffix_of(content_type, name, b"<html"))


def suffix_of(content_type: str, name: str, head: bytes) -> str:
    """The suffix under which a loader reads a response; empty where there is none.

    Args:
        content_type: its ``Content-Type``.
        name: its file name, which decides where the media type is vague.
        head: its first bytes.
    """
    if head.startswith(b"%PDF-"):
        return ".pdf"
    media = media_type_of(content_type)
    own = PurePosixPath(name).suffix.lower()
    if media in SUFFIXES and not (media == "text/plain" and own in _TEXTS):
        return SUFFIXES[media]
    if media == "text/plain" or (media in _VAGUE and own in _KNOWN):
        return own
    if media in _VAGUE or media.endswith("+xml"):
        return ".html" if _HTML.match(head) else ".xml" if head.lstrip().startswith(b"<?xml") else ""
    return ".json" if media.endswith("+json") else ""


def as_utf8(body: bytes, content_type: str, suffix: str) -> bytes:
    """Text in UTF-8 where only the header says its encoding, which the file would lose; else the bytes as they came."""
    from w3lib.encoding import resolve_encoding

    declared = _CHARSET.search(content_type)
    if suffix not in _RECODED or not declared:
        return body
    codec = resolve_encoding(declared[1])
    if codec is None or codecs.lookup(codec).name in ("utf-8", "ascii"):
        return body
    try:
        if b"\x00" not in body and body.decode("utf-8"):
            return body  # many a server says latin-1 of everything
    except UnicodeDecodeError:
        pass
    try:
        return body.decode(codec).encode("utf-8")
    except UnicodeDecodeError:
        return body


def decoded(body: bytes, content_type: str) -> str:
    """A page's HTML as text, the way browsers find its encoding."""
    from w3lib.encoding import html_to_unicode

    return html_to_unicode(content_type or None, body, auto_detect_fun=_guessed)[1]


def _guessed(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
