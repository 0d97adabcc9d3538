"""Personal data found by rules, and on request replaced by its kind: ``[email] [phone] [iban] [card] [name]``.

Bank accounts are checked by country length and ISO 7064 mod 97, cards by issuer prefix, length and Luhn. Phone numbers
and names are in ``redact_phones`` and ``redact_names``. Leaves out what only a model could see: names that are in no
list, addresses, dates of birth; accounts and cards broken over a line end elsewhere than between their groups. Every rule takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from groundtune.ingest.clean_report import Tally
from groundtune.ingest.redact_names import Names, names_of, read_names
from groundtune.ingest.redact_phones import phones
from groundtune.records import Section

__all__ = ["KINDS", "Finding", "Names", "find", "masked", "names_of", "read_names", "redact", "redact_sections"]

KINDS = ("email", "iban", "card", "phone", "name")
_LOCAL = r"\w.!#$%&'*+/=?^{|}~-"
_EMAIL = re.compile(
    rf"(?<![{_LOCAL}])(?=\w)[\w.!#$%&'*+/=?^{{|}}~-]{{1,64}}(?:@| ?[(\[](?:at|ät)[)\]] ?)"
    r"(?:[^\W_][\w-]{0,62}(?:\.| ?[(\[](?:dot|punkt)[)\]] ?)){1,8}(?:xn--[a-z0-9-]{2,40}|[^\W\d_]{2,24})(?![\w-]|\.\w)",
    re.IGNORECASE,
)
#: with the at sign as in the query of a web address, where a name ends at other signs
_ENCODED = re.compile(
    r"(?<![\w.%+-])(?=\w)[\w.%+-]{1,64}%40(?:[^\W_][\w-]{0,62}\.){1,8}(?:xn--[a-z0-9-]{2,40}|[^\W\d_]{2,24})(?![\w-]|\.\w)",
    re.IGNORECASE,
)
#: what follows the last dot in file names such as logo@2x.png
_FILE_ENDINGS = frozenset("png jpg jpeg gif svg webp css js json pdf mp3 mp4 html htm xml".split())
_IBAN_LENGTHS = {
    code: int(length)
    for code, length in (
        (entry[:2], entry[2:])
        for entry in """
        AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29
        ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20
        LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29
        PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
        YE30""".split()
    )
}
#: between two groups of a number: one sign, or the end of a line with what stands around it (once in a number)
_GAP = r"(?:[ \xa0-]|[ \t\xa0-]{0,8}\r?\n[ \t\xa0]{0,8})"
_IBAN_START = re.compile(rf"(?<![A-Za-z0-9])([A-Z]{{2}})\d\d(?={_GAP}?[A-Z0-9]{{4}})", re.IGNORECASE)
#: what follows the first four characters: groups of four, with or without a gap
_IBAN_REST = {
    length: re.compile(
        rf"(?:{_GAP}?[A-Z0-9]{{4}}){{{length // 4 - 1}}}{_GAP}?[A-Z0-9]{{{length % 4}}}"
        r"(?![A-Za-z0-9])",
        re.IGNORECASE,
    )
    for length in set(_IBAN_LENGTHS.values())
    if length % 4
} | {
    length: re.compile(rf"(?:{_GAP}?[A-Z0-9]{{4}}){{{length // 4 - 1}}}(?![A-Za-z0-9])", re.IGNORECASE)
    for length in set(_IBAN_LENGTHS.values())
    if length % 4 == 0
}
#: what every account, card and phone number has: most text has not, and is done with at once
_FIVE_DIGITS = re.compile(r"\d(?:\W{0,20}\d){4}")
_DIGIT_GROUPS = re.compile(r"(?<![\w.,/:])\d{2,19}(?:[ \xa0-]\d{2,19}){0,40}(?![\w/:]|[.,]\d)")
#: groups with the end of a line among them: a card only if no digits stand before or behind them, as in tables
_WRAPPED_CARD = re.compile(rf"(?<![\w.,/:])\d{{4}}(?:{_GAP}\d{{1,6}}){{2,4}}(?![\w/:]|[.,]\d)")
_GROUP = re.compile(r"\d+")
#: (lowest prefix, highest prefix, lengths)
_ISSUERS = (
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)), (2221, 2720, (16,)),  # Mastercard
    (34, 34, (15,)), (37, 37, (15,)),  # American Express
    (6011, 6011, (16, 19)), (644, 649, (16, 19)), (65, 65, (16, 19)),  # Discover
    (300, 305, (14,)), (36, 36, (14,)), (38, 39, (14,)),  # Diners Club
    (3528, 3589, (16, 19)),  # JCB
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (5018, 5018, (16, 18, 19)), (5020, 5020, (16,)), (5038, 5038, (16,)), (6304, 6304, (16, 18, 19)),
    (6759, 6759, (16, 18, 19)), (6761, 6763, (16, 18, 19)),  # Maestro
)  # fmt: skip
#: how cards are printed; other groups are other numbers
_CARD_GROUPS = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 4, 2), (4, 4, 4, 4, 1), (4, 4, 4, 1)}


#: prefix -> lengths of the numbers that begin with it
_LENGTHS = {str(prefix): lengths for low, high, lengths in _ISSUERS for prefix in range(low, high + 1)}
_DOUBLED = str.maketrans("0123456789", "0246813579")


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data in a text: its kind, and where it stands (``text[start:end]``)."""

    kind: str
    start: int
    end: int
    text: str


def find(text: str, kinds: Collection[str] = KINDS, names: Names | None = None) -> list[Finding]:
    """Every finding of the kinds, in order, none within another.

    What is a bank account or a card is never a phone number, also where only phone numbers are asked for.

    Args:
        kinds: of ``KINDS``; ``name`` needs ``names``.

    Raises:
        ValueError: an unknown kind.
    """
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"unknown kinds of personal data: {sorted(unknown)}; known: {', '.join(KINDS)}")
    taken: list[Finding] = []
    for kind in KINDS:
        if kind in kinds or ("phone" in kinds and kind in ("iban", "card", "email")):
            taken = _merged(taken, [Finding(kind, s, e, text[s:e]) for s, e in _spans(text, kind, names)])
    return [finding for finding in taken if finding.kind in kinds]


def _spans(text: str, kind: str, names: Names | None) -> Iterator[tuple[int, int]]:
    if kind == "email":
        return _emails(text)
    if kind != "name" and not _FIVE_DIGITS.search(text):
        return iter(())
    if kind == "iban":
        return _ibans(text)
    if kind == "card":
        return _cards(text)
    if kind == "phone":
        return phones(text)
    return names.spans(text) if names else iter(())


def _merged(earlier: list[Finding], later: list[Finding]) -> list[Finding]:
    """Both in order; a later finding that overlaps an earlier one is left out."""
    out: list[Finding] = []
    at = 0
    for finding in later:
        while at < len(earlier) and earlier[at].end <= finding.start:
            out.append(earlier[at])
            at += 1
        if at == len(earlier) or earlier[at].start >= finding.end:
            out.append(finding)
    return out + earlier[at:]


def redact(text: str, kinds: Collection[str] = KINDS, names: Names | None = None) -> tuple[str, dict[str, int]]:
    """The text with every finding replaced by its kind in brackets, and how many there were of each kind."""
    counts: dict[str, int] = {}
    out: list[str] = []
    at = 0
    for finding in find(text, kinds, names):
        counts[finding.kind] = counts.get(finding.kind, 0) + 1
        out += (text[at : finding.start], f"[{finding.kind}]")
        at = finding.end
    return "".join((*out, text[at:])) if out else text, counts


def redact_sections(
    sections: Iterable[Section], kinds: Collection[str], names: Names | None, tally: Tally, *, change: bool = True
) -> Iterator[Section]:
    """Sections without the personal data of the kinds, headings included; counted with masked samples.

    Args:
        change: False only counts.
    """
    for section in sections:
        text, heading = (_counted(part, kinds, names, tally, change) for part in (section.text, section.heading))
        same = text == section.text and heading == section.heading
        yield section if same else replace(section, text=text, heading=heading)


def _counted(text: str, kinds: Collection[str], names: Names | None, tally: Tally, change: bool) -> str:
    out: list[str] = []
    at = 0
    for finding in find(text, kinds, names):
        tally.add(finding.kind, sample=masked(finding))
        out += (text[at : finding.start], f"[{finding.kind}]")
        at = finding.end
    return "".join((*out, text[at:])) if out and change else text


def masked(finding: Finding) -> str:
    """What it looked like, not what it was: letters as x, digits as 0, the first letter of an address or name kept."""
    shape = re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", finding.text))
    return finding.text[0] + shape[1:] if finding.kind in ("email", "name") else shape


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if all(sign not in text.lower() for sign in ("@", "%40", "at)", "at]", "ät")):
        return iter(())
    found = [
        match.span()
        for match in (*_EMAIL.finditer(text), *_ENCODED.finditer(text))
        if match[0].rpartition(".")[2].lower() not in _FILE_ENDINGS and match[0][0] not in "-/"
    ]
    return _in_order(found)


def _in_order(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans by where they begin, without those that overlap an earlier one."""
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            yield start, stop
            end = stop


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    done = 0
    for start in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(start[1].upper())
        if length is None or start.start() < done:
            continue
        rest = _IBAN_REST[length].match(text, start.end())
        if (
            rest
            and rest[0].count("\n") <= 1
            and _mod_97("".join(c for c in text[start.start() : rest.end()] if c.isalnum()))
        ):
            done = rest.end()
            yield start.start(), done


def _mod_97(iban: str) -> bool:
    """ISO 7064: country and check digits to the end, letters as 10 to 35, the remainder by 97 is 1."""
    if not (iban.isascii() and iban[2:4].isdigit()):
        return False
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def _cards(text: str) -> Iterator[tuple[int, int]]:
    return _in_order([*_cards_of_lines(text), *_cards_over_line_ends(text)])


def _cards_over_line_ends(text: str) -> Iterator[tuple[int, int]]:
    for match in _WRAPPED_CARD.finditer(text):
        groups = _GROUP.findall(match[0])
        start, end = match.span()
        alone = not (text[max(0, start - 10) : start].rstrip(" \t\r\n\xa0-")[-1:].isdigit()
                     or text[end : end + 10].lstrip(" \t\r\n\xa0-")[:1].isdigit())  # fmt: skip
        lengths = tuple(map(len, groups))
        if match[0].count("\n") == 1 and alone and _is_card("".join(groups), 0, lengths, len(groups)):
            yield start, end


def _cards_of_lines(text: str) -> Iterator[tuple[int, int]]:
    for run in _DIGIT_GROUPS.finditer(text):
        groups = [g.span() for g in _GROUP.finditer(text, *run.span())]
        lengths = tuple(end - start for start, end in groups)
        digits = "".join(_GROUP.findall(run[0]))
        at = begin = 0
        while at < len(groups):
            sizes = (1,) if lengths[at] >= 13 else (5, 4, 3) if lengths[at] == 4 else ()
            size = next((n for n in sizes if _is_card(digits, begin, lengths[at : at + n], n)), 0)
            if size:
                yield groups[at][0], groups[at + size - 1][1]
            begin += sum(lengths[at : at + (size or 1)])
            at += size or 1


def _is_card(digits: str, begin: int, lengths: tuple[int, ...], size: int) -> bool:
    if lengths not in _CARD_GROUPS and not len(lengths) == size == 1:
        return False
    number = digits[begin : begin + sum(lengths)]
    return len(lengths) == size and number.isascii() and _issued(number) and _luhn(number)


def _issued(digits: str) -> bool:
    return any(len(digits) in _LENGTHS.get(digits[:n], ()) for n in (1, 2, 3, 4))


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812: every second digit from the right doubled, digits of the products added up, divisible by ten."""
    total = sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))
    return total % 10 == 0 and len(set(digits)) > 1
