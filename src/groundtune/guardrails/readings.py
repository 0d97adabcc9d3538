"""The ways a text can be read: as a model reads it, once what hides words from a filter is undone.

Invisible and look-alike characters, entities, comments and attributes of HTML, letters apart, digits in the place of
letters, and common encodings (Base64, Base32, hexadecimal, binary, percent, ``\\u`` escapes, Morse, letters shifted or
mirrored, words or letters backwards). A decoding counts only where it turns what is no words into words, so an ordinary
text has one reading. Leaves out real ciphers, pictures, and anything whose key is elsewhere.
Source of the look-alikes: Unicode Technical Standard 39 (confusables), the letters of Latin alphabets only.
"""

from __future__ import annotations

import base64
import binascii
import html
import math
import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache, partial
from urllib.parse import unquote

#: share of words that are words, from which a text is read; below ``UNREADABLE`` it is none
READABLE, UNREADABLE = 0.7, 0.4
_LOOKS_LIKE = str.maketrans(
    "аеорсухіјѕԁһӏԛԝвкмнтгАВЕКМНОРСТХУЅІЈαεορτυνκιΑΒΕΖΗΙΚΜΝΟΡΤΥΧɑɡıȷℓ",
    "aeopcyxijsdhlqwbkmhtrABEKMHOPCTXYSIJaeoptuvkiABEZHIKMNOPTYXagijl",
)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0100-\U000e01ef]"
)
_TAGGED = re.compile("[\U000e0020-\U000e007e]+")
_MARKUP = re.compile(r"<!--(.*?)(?:-->|$)|<([a-zA-Z/][^<>]{0,2000})>", re.DOTALL)
_ATTRIBUTE = re.compile(
    r"""(?:alt|title|aria-label|content|placeholder|data-[\w-]+|value)\s*=\s*(?:"([^"]*)"|'([^']*)')"""
)
_LEET: tuple[dict[int, int], ...] = (
    str.maketrans("0134578@$!|", "oieastbasii"),
    str.maketrans("0134578@$!|", "oleastbasll"),
)
_APART = re.compile(r"(?<![^\W_])[^\W\d_]([ .·_*\-~/|,]{1,2})[^\W\d_](?:\1[^\W\d_])+(?![^\W_])")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_RUN, _CAMEL = re.compile(r"[A-Za-z]{18,}"), re.compile(r"(?<=[a-z])(?=[A-Z])|_")
_BLOCK = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?:(?:0x|\\x|%)?[0-9a-fA-F]{2}[ ,:]?){8,}")
_BINARY = re.compile(r"(?:[01]{8}\s?){4,}")
_DECIMAL = re.compile(r"(?:\b\d{2,3}\b[ ,]{0,2}){8,}")
_MORSE_RUN = re.compile(r"(?:[.\-·–−]{1,6}(?:\s*/\s*|\s+|$)){6,}")
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\[nrt]|&#x?[0-9a-fA-F]+;|%[0-9a-fA-F]{2})")
_MORSE = dict(
    zip(
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..".split(),
        "abcdefghijklmnopqrstuvwxyz",
        strict=True,
    )
)  # fmt: skip


@lru_cache(maxsize=20_000)
def readings(text: str) -> tuple[str, ...]:
    """The text as it is read, then each decoding of it or of a part of it; the first is always there."""
    plain = canonical(text)
    found = dict.fromkeys([plain])
    for decoded in _decoded(plain):
        found.setdefault(" ".join(decoded.split()), None)
    return tuple(t for t in found if t) or ("",)


def canonical(text: str) -> str:
    """One spelling: visible characters, Latin letters for those that look like them, markup opened, letters together."""
    text = _TAGGED.sub(lambda m: " " + "".join(chr(ord(c) - 0xE0000) for c in m[0]) + " ", text)
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", html.unescape(text)))
    if _ESCAPES.search(text):
        text = _unescaped(text)
    text = _MARKUP.sub(lambda m: f" {m[1]} " if m[1] is not None else f" {_attributes(m[2])} ", text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not _stacked(c))
    text = _WORDS_MIXED.sub(lambda m: m[0].translate(_LOOKS_LIKE), unicodedata.normalize("NFC", text))
    text = _APART.sub(lambda m: _together(m[0], m[1]), text)
    return " ".join(text.split())


#: a word with a Latin letter, or a letter that looks like one, and one of another alphabet
_WORDS_MIXED = re.compile(r"[^\W\d_]*[а-яА-Яіјѕԁһӏԛԝα-ωΑ-Ωɑɡıȷℓ][^\W\d_]*")


def _stacked(character: str) -> bool:
    """Marks that no European language writes, such as lines through letters."""
    return unicodedata.combining(character) != 0 and not "\u0300" <= character <= "\u030c" and character != "\u0327"


def _attributes(tag: str) -> str:
    return " ".join(a or b for a, b in _ATTRIBUTE.findall(tag))


def _together(run: str, separator: str) -> str:
    """Letters that stood apart; a wider gap divides words. Abbreviations (``e.g.``) stay."""
    return run if len(run) < 5 else divided(run.replace(separator, ""))


@lru_cache(maxsize=2_000)
def divided(run: str) -> str:
    """Words that were written without gaps, divided where common words make it up (Viterbi over Zipf's law); else as is."""
    lower, ranks = run.lower(), _vocabulary()
    if not 8 < len(lower) <= 400 or not lower.isascii() or not lower.isalpha():
        return run
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(lower) + 1):
        choices = []
        for start in range(max(0, end - 16), end):
            word = lower[start:end]
            cost = (
                9.0 + math.log(1 + ranks[word] / 300)
                if word in ranks and (len(word) > 1 or word in "ai")
                else 25.0 * len(word)
            )
            choices.append((best[start][0] + cost, start))
        best.append(min(choices))
    words, end = [], len(lower)
    while end:
        words.append(run[best[end][1] : end])
        end = best[end][1]
    return " ".join(reversed(words))


def _unescaped(text: str) -> str:
    text = re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1] or m[2], 16)), text)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs become one character
    text = re.sub(r"\\[nrt]", " ", text)
    return unquote(text, errors="ignore")


def _decoded(text: str) -> Iterator[str]:
    """Decodings that turn what is no words into words."""
    for version in _LEET:
        if len(re.findall(r"[A-Za-z][0134578@$!|]|[0134578@$][A-Za-z]", text)) >= 3 and not _HEX.search(text):
            changed = re.sub(r"\S*[A-Za-z]\S*|\b[0134578@$|]{2,4}\b", partial(_as_letters, version), text)
            if readable(changed) > readable(text) + 0.12:
                yield changed
    for part in _BLOCK.findall(text):
        yield from filter(_is_text, _from_block(part))
    for pattern, base, width in ((_HEX, 16, 2), (_BINARY, 2, 8)):
        for match in pattern.finditer(text):
            digits = re.sub(r"0x|\\x|%|[ ,:\s]", "", match[0])
            codes = [int(digits[n : n + width], base) for n in range(0, len(digits) - width + 1, width)]
            yield from filter(_is_text, [bytes(codes).decode("utf-8", "ignore")])
    for match in _DECIMAL.finditer(text):
        codes = [int(n) for n in re.findall(r"\d+", match[0])]
        yield from filter(_is_text, ["".join(chr(c) for c in codes if 31 < c < 256)])
    for match in _MORSE_RUN.finditer(text):
        words = re.split(r"\s*/\s*|\s{2,}", match[0].translate(str.maketrans("·–−", ".--")).strip())
        letters = ["".join(_MORSE.get(sign, "") for sign in word.split()) for word in words]
        yield " ".join(letters)
    if _RUN.search(text):
        apart = _RUN.sub(lambda m: divided(m[0]), _CAMEL.sub(" ", text))
        if readable(apart) > readable(text) + 0.2:
            yield apart
    if len(_WORD.findall(text)) >= 3 and readable(text) < READABLE:
        yield from _turned(text)


def _as_letters(version: dict[int, int], match: re.Match[str]) -> str:
    return match[0].rstrip("!.,:").translate(version) + " "


def _turned(text: str) -> Iterator[str]:
    """Letters shifted, mirrored or backwards, words without gaps or in syllables, where that makes words of it."""
    lower = text.lower()
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    tried = [lower[::-1], " ".join(word[::-1] for word in lower.split())]
    tried += [lower.translate(str.maketrans(alphabet, alphabet[n:] + alphabet[:n])) for n in range(1, 26)]
    tried.append(lower.translate(str.maketrans(alphabet, alphabet[::-1])))
    tried.append(re.sub(r"\b([a-z]+?)([bcdfghjklmnpqrstvwxz]{1,3})(?:ay|-ay)\b", r"\2\1", lower))
    best = max(tried, key=readable)
    if readable(best) >= max(READABLE, readable(text) + 0.3):
        yield best


def _from_block(part: str) -> Iterator[str]:
    for decode in (base64.b64decode, base64.urlsafe_b64decode, base64.b32decode):
        for cut in range(4):
            body = part.rstrip("=")[: len(part.rstrip("=")) - cut]
            try:
                raw = decode(body + "=" * (-len(body) % (8 if decode is base64.b32decode else 4)))
                yield raw.decode("utf-8")
                break
            except (binascii.Error, UnicodeDecodeError, ValueError):
                continue


def _is_text(text: str) -> bool:
    printable = sum(c.isprintable() or c.isspace() for c in text)
    return len(text) >= 6 and printable >= 0.95 * len(text) and readable(text) >= 0.5


def readable(text: str) -> float:
    """Share of the letters of a text that stand in words of MiniLM's vocabulary (English, names, some of other languages)."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    words = re.findall(r"[^\W\d_]+", plain)
    letters = sum(len(w) for w in words)
    known = _vocabulary()
    return sum(len(w) for w in words if w in known or w.rstrip("s") in known) / letters if letters else 1.0


@cache
def _vocabulary() -> dict[str, int]:
    """MiniLM's whole words and their ranks, more common ones first."""
    from groundtune.nn.encoder_models import minilm_folder

    pieces = (minilm_folder() / "vocab.txt").read_text(encoding="utf-8").split()
    return {p: rank for rank, p in enumerate(pieces) if p[0].isalpha() and p.isascii() and (len(p) > 1 or p in "ai")}
