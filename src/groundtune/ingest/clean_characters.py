"""Characters put right: wrong encodings where that is certain, controls, invisible characters, spaces, ligatures, NFC.

ftfy (Apache-2.0) repairs more, by how odd a text looks; here only what cannot be meant is changed, and counted, so that
the rules stand here and need no dependency. Takes time linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from groundtune.dedup import bounded_marks
from groundtune.ingest.clean_report import Tally

_CONTEXT = 12
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_ASCII_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TAGS = re.compile(r"(\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f)|[\U000e0000-\U000e007f]+")
_THAI_KHMER = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_INVISIBLE = re.compile(rf"[\u2060-\u2064\ufeff\u180e\u206a-\u206f]|(?<![{_THAI_KHMER}])\u200b")
#: joiners shape Arabic, Indic scripts and emoji; beside Latin letters and blanks they do nothing
_JOINER = re.compile(r"(?<![^\x00-\u024f\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\u024f\u200c\u200d])")
_DIRECTION = re.compile(r"[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_SOFT_HYPHEN = re.compile(r"\xad+(?:[ \t]*\n[ \t]*(?=\w))?")
_SPACE = re.compile(r"[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_LIGATURE = re.compile(r"[\ufb00-\ufb06]")
_ANY_ODD = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\udfff"
    r"\ufb00-\ufb06\ufdd0-\ufdef\ufeff\ufff9-\uffff\U000e0000-\U000e007f]"
)


def repair(text: str, tally: Tally) -> str:
    """The text with its characters put right, each kind of change counted."""
    if text.isascii():
        if not _ASCII_ODD.search(text):
            return text
        return _replaced(_CONTROL, "", _replaced(_LINE_END, "\n", text, "line_ends", tally), "controls", tally)
    text = _replaced(_SURROGATE, "\ufffd", text, "surrogates", tally)
    if _MAYBE_RECODED.search(text):
        text = _recoded(text, tally)
    if _ANY_ODD.search(text):
        text = _without_odd(text, tally)
    thinned = bounded_marks(text)
    if len(thinned) < len(text):
        tally.add("marks", len(text) - len(thinned))
    if not unicodedata.is_normalized("NFC", thinned):
        composed = unicodedata.normalize("NFC", thinned)
        tally.add("composed", max(1, len(thinned) - len(composed)), _first_difference(thinned, composed))
        return composed
    return thinned


def _without_odd(text: str, tally: Tally) -> str:
    if lost := text.count("\ufffd"):
        tally.add("lost_characters", lost, _around(text, at := text.index("\ufffd"), at + 1))
    text = _replaced(_LINE_END, "\n", text, "line_ends", tally)
    text = _replaced(_CONTROL, "", text, "controls", tally)
    text = _replaced(_TAGS, lambda match: match[1] or "", text, "hidden_text", tally)
    if not _RIGHT_TO_LEFT.search(text):
        text = _replaced(_DIRECTION, "", text, "invisible", tally)
    text = _replaced(_INVISIBLE, "", text, "invisible", tally)
    text = _replaced(_SOFT_HYPHEN, "", text, "soft_hyphens", tally)
    text = _replaced(_SPACE, lambda match: " " * len(match[0]), text, "spaces", tally)
    text = _replaced(_LIGATURE, lambda match: _LIGATURES[ord(match[0])], text, "ligatures", tally)
    return _replaced(_JOINER, "", text, "invisible", tally)


def _replaced(
    pattern: re.Pattern[str], by: str | Callable[[re.Match[str]], str], text: str, kind: str, tally: Tally
) -> str:
    """Every match replaced; those that it changes are counted, with samples of where they stood."""
    if not pattern.search(text):
        return text

    def replace(match: re.Match[str]) -> str:
        new = by if isinstance(by, str) else by(match)
        if new != match[0]:
            tally.add(kind, sample=_around(text, *match.span()) if tally.wants(kind) else "")
        return new

    return pattern.sub(replace, text)


def _around(text: str, start: int, end: int) -> str:
    return " ".join(text[max(0, start - _CONTEXT) : end + _CONTEXT].split(" "))


def _first_difference(before: str, after: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    return after[max(0, at - _CONTEXT) : at + _CONTEXT]


# Text in UTF-8 that was read as Windows-1252: a lead byte's character and its continuation bytes' characters.

_BYTES = {bytes([b]).decode("cp1252", "ignore") or chr(b): b for b in range(0x80, 0x100)} | {
    chr(b): b for b in range(0x80, 0xA0)
}
_FOLLOW = "[" + "".join(re.escape(c) for c, b in _BYTES.items() if b < 0xC0) + "]"
_RECODED = re.compile(rf"(?:[Â-ß]{_FOLLOW}|[à-ï]{_FOLLOW}{{2}}|[ð-ô]{_FOLLOW}{{3}})+")
_MAYBE_RECODED = re.compile(r"[Â-ô][^\x00-\x7f]")  # the same in a quarter of the time, where there is none
#: continuation bytes whose characters are quotes, dashes and the like: they may well follow a letter
_PUNCTUATION = frozenset(b"\x82\x84\x85\x8b\x91\x92\x93\x94\x96\x97\x9b\xa0\xab\xbb")
#: second bytes after E2 (â): punctuation, currencies, letter-like signs, arrows, mathematics, symbols
_AFTER_E2 = frozenset(b"\x80\x82\x84\x86\x88\x89\x98\x99\x9c")
_AFTER_EF = frozenset(b"\xac\xbb\xbf")


def _recoded(text: str, tally: Tally) -> str:
    """Wrong encodings put right, at most twice over (text can be read wrongly twice)."""

    def replace(match: re.Match[str]) -> str:
        raw = bytes(_BYTES[c] for c in match[0])
        try:
            meant = raw.decode("utf-8")
        except UnicodeDecodeError:
            return match[0]
        start, end = match.span()
        if not _certain(meant, text[start - 1 : start], text[end : end + 1]):
            return match[0]
        if tally.wants("mojibake"):
            before, after = text[max(0, start - _CONTEXT) : start], text[end : end + _CONTEXT]
            tally.add("mojibake", len(meant), f"{before}{match[0]}{after} -> {before}{meant}{after}")
        else:
            tally.add("mojibake", len(meant))
        return meant

    for _ in range(2):
        recoded = _RECODED.sub(replace, text)
        if recoded == text:
            break
        text = recoded
    return text


def _certain(meant: str, before: str, after: str) -> bool:
    """True where the characters cannot have been meant as they stand.

    One tell-tale sequence is enough (``Ã¼``, ``â€™``, ``Â°``), as are three letters in a row of another script. A
    quote or dash after a capital, as in ``É”``, is none; nor is ``Å²``, the square of a unit.
    """
    encoded = [c.encode("utf-8") for c in meant]
    if len(meant) >= 3 and all(c.isalpha() and ord(c) > 0x36F for c in meant):
        return True
    last = len(encoded) - 1
    for at, raw in enumerate(encoded):
        previous = before if at == 0 else "Â"  # inside a run: after another accented capital
        following = after if at == last else "Â"
        if len(raw) > 1 and _tell_tale(raw, previous, following):
            return True
    return False


def _tell_tale(raw: bytes, previous: str, following: str) -> bool:
    lead, second = raw[0], raw[1]
    if lead == 0xC2:
        return second >= 0xA0 and not previous.isupper()
    if lead == 0xC3:
        alone = second == 0xA0 and not previous.isalpha()
        return second not in _PUNCTUATION or following.isalpha() or previous.islower() or alone
    if lead in (0xC4, 0xC5):
        beside = (previous.isascii() and previous.islower()) or (following.isascii() and following.islower())
        return beside and (second not in _PUNCTUATION or following.isalpha())
    if lead == 0xE2:
        return second in _AFTER_E2
    return (lead == 0xEF and second in _AFTER_EF) or (lead == 0xF0 and second == 0x9F)
