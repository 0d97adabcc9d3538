"""Phone numbers in running text: international, and national as written in Germany, Britain, France, the US and near.

Own rules rather than the package phonenumbers (10 MB, and a default country it must be told): a number is taken where
its form or the word before it says so, and left where it is a date, time, price, or the number of an order, account
or book. A national number without any blank or hyphen is taken only as a mobile one or after a word such as "Tel".
A number may go on in the next line where it begins with "+" or, after such a word, with 0, and is too short without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SEPARATORS = r"[ \xa0.()/\u2010-\u2014-]"
_BEFORE = r"(?<![\w.,:/+@=#-])"
_INTERNATIONAL = re.compile(
    rf"(?:(?<![\w+@=#])\+ ?|{_BEFORE}00(?=[1-9]))[1-9](?:{_SEPARATORS}{{0,3}}\d){{6,14}}+(?!\d)"
)
_NATIONAL = re.compile(rf"{_BEFORE}\(?0[1-9](?:[ \xa0)/\u2010-\u2014-]{{0,3}}\d){{6,10}}+(?![\d:.,%€$£]*\d|[%€$£])")
_FRENCH = re.compile(rf"{_BEFORE}0[1-9](?:[. \xa0]\d\d){{4}}(?![\w.]*\d)")
_AMERICAN = re.compile(rf"{_BEFORE}(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[.-])[2-9]\d\d[ .-]\d{{4}}(?![\w-]|\.\d)")
#: any run of digits, a phone number if the words before it say so
_ANY = re.compile(rf"(?<![\w+.,:]\d)(?<![\w@])[(+]?\d(?:{_SEPARATORS}{{0,3}}\d){{4,14}}+(?![\d:]|[.,]\d|[%€$£])")
_NAMED = re.compile(
    r"\b(?:tel|telefon|telephone|phone|fon|fax|telefax|mobil|mobile|mobiltelefon|handy|cell|cellphone|rufnummer|"
    r"telefonnummer|hotline|whatsapp|call|text|dial|ring|durchwahl|téléphone|tél|teléfono|telefono|telefoon)\b\.?"
    r"(?:[ \t\xa0]*(?:number|nummer|no\.?|nr\.?|us|at|on|:|\||=|-|unter|is|ist|home|work|office|\([a-z]{1,8}\))){0,3}"
    r"[ \t\xa0]*\Z",
    re.IGNORECASE,
)
#: a beginning that is too short alone, the end of the line, and at least three digits at the head of the next
_WRAPPED = re.compile(
    rf"(?<![\w+@=#.,:/-])(?P<first>(?:\+[1-9]|\(?0[1-9])(?:{_SEPARATORS}{{0,3}}\d){{1,6}}+\)?)[ \t\xa0/-]{{0,8}}\r?\n"
    r"[ \t\xa0]{0,8}(?P<second>\(?\d(?:[ \xa0)/-]{0,2}\d){2,11}+)(?![\w:]|[.,/-]\d| ?[%€$£])"
)
#: words before a number that make it another number
_OTHER = re.compile(
    r"(?:\b(?:isbn|issn|iban|bic|doi|orcid|id|no|nr|num|nummer|number|order|invoice|account|acct|konto|kontonummer|"
    r"rechnung|auftrag|bestellung|bestellnummer|bestell-nr|artikel|artikelnummer|kunden|kundennummer|ref|reference|"
    r"serial|part|"
    r"sku|vat|ust|steuernummer|blz|az|version|build|page|seite|item|case|docket|lot|batch|model|grant|patent|room|"
    r"pmid)\b|#)"
    r"[.:#\-\s]{0,4}\Z",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\(?(?:[0-3]?\d([./-])[01]?\d\1(?:(?:19|20)\d\d|\d\d)|[0-3]?\d [01]?\d (?:19|20)\d\d|"
    r"(?:19|20)\d\d([./-])\d{1,2}\2\d{1,2})(?!\d)"
)
_DIGITS = re.compile(r"\d+")
_COUNTRIES = frozenset(
    """
    1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82
    84 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234
    235 236 237 238 239 240 241 242 243 244 245 246 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263
    264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375
    376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591
    592 593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690
    691 692 800 808 850 852 853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970
    971 972 973 974 975 976 977 979 992 993 994 995 996 998
    """.split()
)


def phones(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each phone number, in order, none within another."""
    found = [(m.start(), m.end()) for m in _INTERNATIONAL.finditer(text) if _international(m[0])]
    found += [(m.start(), m.end()) for m in _FRENCH.finditer(text) if not _other_before(text, m.start())]
    found += [m.span() for m in _AMERICAN.finditer(text) if not _other_before(text, m.start())]
    found += [m.span() for m in _NATIONAL.finditer(text) if _national(m[0]) and not _other_before(text, m.start())]
    found += [m.span() for m in _ANY.finditer(text) if _named(m[0]) and _phone_before(text, m.start())]
    found += [m.span() for m in _WRAPPED.finditer(text) if _goes_on(text, m)]
    end = 0
    for start, stop in sorted(found, key=lambda span: (span[0], -span[1])):
        if start >= end:
            yield _trimmed(text, start, stop)
            end = stop


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without a bracket that opens before the number and closes behind it, as in "(0151 234567)"."""
    opened, closed = text.count("(", start, end), text.count(")", start, end)
    return (start + 1 if text[start] == "(" and closed < opened else start), end


def _other_before(text: str, start: int) -> bool:
    before = text[max(0, start - 24) : start]
    word = before.rstrip(" .:-\t\n\xa0")[-1:]
    return (word.isalpha() or word == "#") and _OTHER.search(before) is not None


def _phone_before(text: str, start: int) -> bool:
    before = text[max(0, start - 40) : start]
    return before.strip(" \t\xa0.:|=-()0123456789") != "" and _NAMED.search(before) is not None


def _international(number: str) -> bool:
    groups = _DIGITS.findall(number)
    digits = "".join(groups).removeprefix("00") if number[0] == "0" else "".join(groups)
    if not 8 <= len(digits) <= 15 or not any(digits[:n] in _COUNTRIES for n in (1, 2, 3)):
        return False
    if digits[0] == "1":
        return len(digits) == 11 and digits[1] >= "2"
    thousands = len(groups) > 1 and all(len(g) == 3 for g in groups[1:]) and len(digits) <= 9
    return not thousands and len(set(digits)) > 2


def _national(number: str) -> bool:
    groups = _DIGITS.findall(number)
    digits = "".join(groups)
    if _DATE.match(number) or len(set(digits)) < 3:
        return False
    if len(groups) == 1:  # mobile numbers are often written so
        return len(digits) in (11, 12) and digits.startswith(("015", "016", "017", "07", "06"))
    if len(digits) < 9 or len(groups) > 6 or _clock_times(groups):
        return False
    if len(groups[0]) < 3 and any(len(g) == 4 and g.startswith(("19", "20")) for g in groups[1:2]):
        return False  # 01-2026-0034
    return max(map(len, groups)) >= 3 or len(groups) >= 4


def _clock_times(groups: list[str]) -> bool:
    """0700 0830 0945, a line of a timetable."""
    return all(len(g) == 4 and g[:2] < "24" and g[2:] < "60" for g in groups)


def _goes_on(text: str, match: re.Match[str]) -> bool:
    """The two lines hold one number for certain."""
    groups = _DIGITS.findall(match[0])
    if _DATE.match(match["second"]) or _DATE.match(match["first"]):
        return False
    if match["first"][0] == "+":  # groups of two and three digits stand in tables; those of two in French numbers
        long = max(map(len, groups)) >= 4 or groups[0] == "33"
        return long and _international(match[0])
    first = sum(map(len, _DIGITS.findall(match["first"])))
    return first < 8 <= sum(map(len, groups)) <= 13 and _phone_before(text, match.start())


def _named(number: str) -> bool:
    groups = _DIGITS.findall(number)
    digits = sum(map(len, groups))
    return 5 <= digits <= 15 and not _DATE.match(number) and not (_clock_times(groups) and len(groups) > 1)
