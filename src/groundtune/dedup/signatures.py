"""From a text to what is compared of it: its normalised form, its exact key, its MinHash signature.

The sketch is rensa's R-MinHash over word 3-shingles (A. Broder 1997; S. Dahlgaard et al., arXiv 1704.04370,
for the fast sketch): 128 slots, 32 bits each. Leaves out how signatures are searched (``near``).
"""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from dataclasses import dataclass
from typing import Any

SLOTS = 128
#: texts under so many tokens are compared by their characters: three-word runs of a few words say too little
SHORT_TOKENS = 16
#: so many tokens to either side of that, a text is looked up in both ways, so that no edit crosses the border unseen
_MARGIN_TOKENS = 2
_SEED = 20_240_101
#: scripts written without spaces: each character is a token
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SIGNS = "<>=+%$€£¥≤≥≠±×÷"
_SEPARATORS = (
    f"\\s\\x00-\\x2f:-@\\[-`{{-\\xa1\\xa6-\\xa9\\xab-\\xaf\\xb4\\xb6-\\xb8\\xbb\\xbf\u2000-\u206f\u3000-\u303f{_SIGNS}"
)
_TOKEN = re.compile(
    rf"[{_UNSPACED}]|[^{_UNSPACED}{_SEPARATORS}]+(?:\+\+|[+#](?!\w))?|[{_SIGNS}]|(?<![\w)])[-−](?=[.,]?\d)"
)
#: where an ASCII text needs the expression above; else blanks for separators do
_SPECIAL = re.compile(r"[#<>=+%$]|-[.,]?\d")
_ASCII = "".join(chr(i) if chr(i).isalnum() else " " for i in range(128))
_DIGIT = re.compile(r"\d")
#: a capital inside a sentence: after a small letter, a digit or a comma and a blank
_NAME = re.compile(r"(?<=[^\W_A-Z][ ,] )[A-Z][^\W_]{1,40}|(?<=[^\W_A-Z] )[A-Z][^\W_]{1,40}")
_MAYBE_MARKS = re.compile(r"[\u0300-\U0010ffff]{31}")
_MARKS = re.compile(r"[^\w\s\x00-\u02ff]{31,}")


def bounded_marks(text: str) -> str:
    """The text with at most 30 combining marks in a row, as Unicode's stream-safe format has it (UAX 15).

    Normalising takes time quadratic in the length of such a run: 64,000 marks, which no writing has, take 3 seconds.
    """
    return _MARKS.sub(_thinned, text) if _MAYBE_MARKS.search(text) else text


def _thinned(match: re.Match[str]) -> str:
    out, run = [], 0
    for character in match[0]:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= 30:
            out.append(character)
    return "".join(out)


def tokens(text: str) -> list[str]:
    """Its words, case folded: runs without spaces and punctuation; single characters in Chinese, Japanese, Thai ...

    Signs that change what is said stay: ``< > = + %``, currencies, a minus before a digit, ``C++``, ``C#``.
    """
    if text.isascii():
        if _SPECIAL.search(text):
            return _TOKEN.findall(text.lower())
        return text.lower().translate(_ASCII).split()  # the same, four times as fast
    return _TOKEN.findall(unicodedata.normalize("NFKC", bounded_marks(_encodable(text))).casefold())


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def normalised(text: str) -> str:
    """What two exact duplicates have in common: NFKC, case folded, words with one space between, no punctuation.

    A text without any word, such as ``"???"``, stays as it is without the blanks at its ends.
    """
    return " ".join(tokens(text)) or _encodable(text).strip()


def names_in(text: str) -> list[str]:
    """Words with a capital inside a sentence, in their order; in German every noun looks like one."""
    return _NAME.findall(text)


def exact_key(text: str) -> int:
    """64 bits of the BLAKE2b hash of the normalised text: the same in every process and on every machine."""
    return _hashed(normalised(text).encode())


def _hashed(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def jaccard(left: str, right: str) -> float:
    """The exact share of common word 3-shingles, which the signatures estimate; 1.0 for two texts without words."""
    ours, theirs = tokens(left), tokens(right)
    short = max(len(ours), len(theirs)) < SHORT_TOKENS
    a, b = (set(_characters(t) if short else _words(t)) for t in (ours, theirs))
    return len(a & b) / len(a | b) if a or b else 1.0


def _words(words: list[str]) -> list[str]:
    return [f"{a} {b} {c}" for a, b, c in zip(words, words[1:], words[2:], strict=False)]


def _characters(words: list[str]) -> list[str]:
    """Runs of four characters, told apart from words by their first one; the whole where it is shorter."""
    text = " ".join(words)
    return [f"\x00{text[i : i + 4]}" for i in range(max(1, len(text) - 3))]


@dataclass(frozen=True, slots=True)
class Signature:
    """What is kept of a text.

    Attributes:
        exact: its :func:`exact_key`.
        numbers: 64-bit hash of its numbers, dates included, in their order; 0 where it has none.
        slots: the sketch, ``SLOTS`` unsigned 32-bit numbers, little-endian.
        other: the sketch of the other kind of shingle, for a text near the border of ``SHORT_TOKENS``; else empty.
        tokens: how many tokens it has.
    """

    exact: int
    numbers: int
    slots: bytes
    other: bytes
    tokens: int


class SignatureBuilder:
    """The signature of a text that comes in pieces, such as a document's sections; memory does not grow with it.

    Pieces are taken as separated by a space: the same words in other pieces give the same signature.
    """

    def __init__(self) -> None:
        from rensa import RMinHash  # type: ignore[import-untyped,unused-ignore]

        self._sketch = RMinHash(num_perm=SLOTS, seed=_SEED)
        self._exact = hashlib.blake2b(digest_size=8)
        self._numbers = hashlib.blake2b(digest_size=8)
        self._count, self._numbered = 0, False
        self._tail: list[str] = []
        self._head: list[str] = []
        self._plain = ""

    def add(self, text: str) -> None:
        """Take in the next piece."""
        found = tokens(text)
        if not found:
            if not self._count and len(self._plain) < 1000:
                self._plain = f"{self._plain} {_encodable(text).strip()}".strip()
            return
        joined = " ".join(found)
        self._exact.update(f"{' ' if self._count else ''}{joined}".encode())
        if numbers := _numbers(found, joined):
            self._numbers.update(f"{numbers} ".encode())
            self._numbered = True
        if self._count < SHORT_TOKENS + _MARGIN_TOKENS:
            self._head += found[: SHORT_TOKENS + _MARGIN_TOKENS]
        self._count += len(found)
        run = self._tail + found
        self._sketch.update(_words(run))
        self._tail = run[-2:]

    def finish(self) -> Signature:
        """The signature of all pieces."""
        count = self._count
        exact = int.from_bytes(self._exact.digest(), "little") if count else _hashed(self._plain.encode())
        numbers = int.from_bytes(self._numbers.digest(), "little") if self._numbered else 0
        words = _packed(self._sketch) if count >= SHORT_TOKENS - _MARGIN_TOKENS else b""
        characters = b""
        if count < SHORT_TOKENS + _MARGIN_TOKENS:
            from rensa import RMinHash  # type: ignore[import-untyped,unused-ignore]

            short = RMinHash(num_perm=SLOTS, seed=_SEED)
            short.update(_characters(self._head[:count] or [self._plain]))
            characters = _packed(short)
        ordered = (characters, words) if count < SHORT_TOKENS else (words, characters)
        return Signature(exact, numbers, *ordered, count)


def _packed(sketch: Any) -> bytes:
    return struct.pack(f"<{SLOTS}I", *sketch.digest())


def _numbers(found: list[str], joined: str) -> str:
    """The words that hold a digit, a minus before them included, in their order."""
    if not _DIGIT.search(joined):
        return ""
    return " ".join(w for at, w in enumerate(found) if _DIGIT.search(w) or (w in "-−" and found[at + 1 : at + 2]))


def signature_of(text: str) -> Signature:
    """The signature of a text."""
    builder = SignatureBuilder()
    builder.add(text)
    return builder.finish()
