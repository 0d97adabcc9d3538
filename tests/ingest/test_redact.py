"""Personal data: what is found, what must not be, and that no rule takes more than linear time.

The account and card numbers are the published examples of the standards and of payment providers.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from groundtune.errors import InputError
from groundtune.ingest.clean_report import Tally
from groundtune.ingest.redact import KINDS, Finding, find, masked, names_of, read_names, redact, redact_sections
from groundtune.records import Section

LIST = names_of(["Anna Schmidt", "Jörg von der Heide", "Mark", "Müller-Lüdenscheid, Hans", "O'Brien", "李明"])


def found(text: str, kind: str) -> list[str]:
    return [finding.text for finding in find(text, (kind,), LIST)]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("email", "write to anna.s+x@mail.example.org.", ["anna.s+x@mail.example.org"]),
        ("email", "<a@b.de>, müller@exämple.de; A_B@X-Y.CO.UK", ["a@b.de", "müller@exämple.de", "A_B@X-Y.CO.UK"]),
        ("email", "info (at) harbour.example, x[at]y[dot]org", ["info (at) harbour.example", "x[at]y[dot]org"]),
        ("email", "mailto:a@b.org?subject=x", ["a@b.org"]),
        ("iban", "IBAN: DE89 3704 0044 0532 0130 00 BIC COBADEFF", ["DE89 3704 0044 0532 0130 00"]),
        ("iban", "GB29NWBK60161331926819, FR14 2004 1010 0505 0001 3M02 606", ["GB29NWBK60161331926819", "FR14 2004 1010 0505 0001 3M02 606"]),
        ("iban", "| AT611904300234573201 | x | ES91 2100 0418 4502 0005 1332 |", ["AT611904300234573201", "ES91 2100 0418 4502 0005 1332"]),
        ("iban", "ch93 0076 2011 6238 5295 7 NL91ABNA0417164300", ["ch93 0076 2011 6238 5295 7", "NL91ABNA0417164300"]),
        ("card", "Visa 4111 1111 1111 1111, Amex 3782 822463 10005", ["4111 1111 1111 1111", "3782 822463 10005"]),
        ("card", "5555555555554444 and 4012-8888-8888-1881", ["5555555555554444", "4012-8888-8888-1881"]),
        ("card", "| 3 | 6011111111111117 | 12 |", ["6011111111111117"]),
        ("phone", "+49 40 1234567, +49 (0)40 123-4567, 0049 151 23456789", ["+49 40 1234567", "+49 (0)40 123-4567", "0049 151 23456789"]),
        ("phone", "040/1234567 or (040) 123 45 67 or 0151-23456789", ["040/1234567", "(040) 123 45 67", "0151-23456789"]),
        ("phone", "015123456789, 07700900123", ["015123456789", "07700900123"]),
        ("phone", "020 7946 0958; (020) 7946 0958; 01632 960 001; +44 20 7946 0958", ["020 7946 0958", "(020) 7946 0958", "01632 960 001", "+44 20 7946 0958"]),
        ("phone", "(212) 555-0123, 212-555-0123, 1-800-555-0199, +1 212.555.0123", ["(212) 555-0123", "212-555-0123", "1-800-555-0199", "+1 212.555.0123"]),
        ("phone", "01 23 45 67 89, 01.23.45.67.89, +33 1 23 45 67 89", ["01 23 45 67 89", "01.23.45.67.89", "+33 1 23 45 67 89"]),
        ("phone", "Tel.: 12345-67, Phone number: 555 0123, Fax 4711234", ["12345-67", "555 0123", "4711234"]),
        ("email", "https://x.example/?to=anna%40example.org&x=1, anna%40example.org.", ["anna%40example.org", "anna%40example.org"]),
        ("iban", "IBAN DE89 3704 0044 0532\n0130 00", ["DE89 3704 0044 0532\n0130 00"]),
        ("iban", "DE89 \r\n  3704 0044 0532 0130 00", ["DE89 \r\n  3704 0044 0532 0130 00"]),
        ("iban", "AT61 1904 3002 3457-\n3201 and", ["AT61 1904 3002 3457-\n3201"]),
        ("card", "Visa 4111 1111 1111\n1111 until 12/28", ["4111 1111 1111\n1111"]),
        ("card", "3782 822463 \r\n 10005", ["3782 822463 \r\n 10005"]),
        ("card", "4111 1111 1111 1111\n5555 5555 5555 4444\n12 34", ["4111 1111 1111 1111", "5555 5555 5555 4444"]),
        ("card", "1000\n" * 60 + "4111 1111 1111 1111", ["4111 1111 1111 1111"]),
        ("phone", "write or call +49 40\n1234567, +49 (0)40 12\n3456-7", ["+49 40\n1234567", "+49 (0)40 12\n3456-7"]),
        ("phone", "+1 212 555\n0123 or +33 1 23 45\n67 89 10", ["+1 212 555\n0123", "+33 1 23 45\n67 89 10"]),
        ("phone", "Tel. 040 123\n4567, Telefon: (0431)\n  123456", ["040 123\n4567", "(0431)\n  123456"]),
        ("phone", "+49 40 1234567\n200 guests; Tel. 040 123456\n300 boats", ["+49 40 1234567", "040 123456"]),
        ("name", "Anna Schmidt, ANNA SCHMIDT, anna schmidt", ["Anna Schmidt", "ANNA SCHMIDT", "anna schmidt"]),
        ("name", "Schmidt, Anna; Anna Schmidt's boat; Anna Schmidts Boot", ["Schmidt, Anna", "Anna Schmidt", "Anna Schmidts"]),
        ("name", "Anna\nSchmidt and Joerg von der Heide (von der Heide, Jörg)", ["Anna\nSchmidt", "Joerg von der Heide", "von der Heide, Jörg"]),
        ("name", "Hans Mueller-Luedenscheid, Müller-Lüdenscheid, Hans", ["Hans Mueller-Luedenscheid", "Müller-Lüdenscheid, Hans"]),
        ("name", "Mark's mark, O’Brien, 李明", ["Mark", "O’Brien", "李明"]),
    ],
)  # fmt: skip
def test_what_is_found(kind: str, text: str, expected: list[str]) -> None:
    assert found(text, kind) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "@app.route, logo@2x.png, foo@1.2.3, a@b, user @ example.org, x@localhost, me@.org"),
        ("iban", "DE89 3704 0044 0532 0130 01, DE8937040044053201300, XX89370400440532013000, DE 12 Monate, at 888-346-3656 to locate"),
        ("card", "4111 1111 1111 1112, 1234 5678 9012 3456, 0000 0000 0000 0000, 978-3-16-148410-0, 41111 1111 1111 111"),
        ("card", "2026-01-31 08:15 4111.1111.1111.1111 0.4111111111111111 41111111111111111111"),
        ("phone", "2026-01-31, 31.01.2026, 01.02.2026, 01/02/2026, 01-02-2026, 31 01 2026, 08:15-09:30"),
        ("phone", "ISO 9001:2015, 10.0.0.1, 192.168.100.200, 1.234.567,89 EUR, $1,234.50, 0.123456789, 12 000 000"),
        ("phone", "order no. 0123 456 789, Rechnung 01-2026-0034, Konto 0123 456 789 01, #0123 456 7890"),
        ("phone", "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2, ISSN 0317-8471, 0000-0002-1825-0097, 00123456"),
        ("phone", "0700 0830 0945 1100, +10 000 000, x+1000000, +5 °C, 2024 2025 2026, pages 012-034, 1990-2026"),
        ("phone", "Phys. Rev. D. 104, 035024 (2021).10.1103/x, scitotenv.2016.05.006 27203517"),
        ("phone", "DE89 3704 0044 0532 0130 00 and 4111 1111 1111 1111"),
        ("phone", "call 112, phone 24 hours, call 2026, Tel Aviv 1948, fax 2026-01-31, ring 12:30"),
        ("email", "100%40x, a%40b, width:50%40px.png, logo%402x.png"),
        ("iban", "DE89 3704\n0044 0532\n0130 00, DE89 3704 0044 0532\n\n0130 00, DE89 3704 0044 0532\n0130 01"),
        ("card", "4111 1111\n1111 1111\n4111 1111\n1111 1111, 4111 1111 1111\n1111 2026, 12 4111 1111 1111\n1111"),
        ("card", "4111\n1111\n1111\n1111; 4111 1111 1111\n\n1111"),
        ("phone", "+20 30\n40 50 60 70, +5 10\n20 30 40 50, + 49 40\n1234567, +20 300\n400 50"),
        ("phone", "+49 40\n31.01.2026, Tel. 040\n2026-01-31, room 0151\n2345678, 04 12\n1234567, Tel. 040\n\n1234567"),
        ("name", "mark the spot, remarks, Annalena Schmidt; Anna; Schmidt. Markus, Heide"),
        ("name", "Anna. The Schmidt"),
    ],
)  # fmt: skip
def test_what_is_not_found(kind: str, text: str) -> None:
    assert found(text, kind) == []


def test_redacted_by_kind_with_counts() -> None:
    text = "Anna Schmidt's IBAN is DE89 3704 0044 0532 0130 00; write to a@b.de or b@b.de, Tel. 040 1234567."
    out, counts = redact(text, KINDS, LIST)
    assert out == "[name]'s IBAN is [iban]; write to [email] or [email], Tel. [phone]."
    assert counts == {"email": 2, "iban": 1, "phone": 1, "name": 1}
    assert redact(out, KINDS, LIST) == (out, {})
    assert redact(text, ()) == (text, {})


def test_findings_are_in_order_and_never_overlap() -> None:
    text = "mail anna.schmidt@schmidt.example or Anna Schmidt 4111 1111 1111 1111 +49 40 1234567 " * 3
    findings = find(text, KINDS, LIST)
    assert [f.kind for f in findings[:4]] == ["email", "name", "card", "phone"]
    assert all(a.end <= b.start for a, b in pairwise(findings))
    assert all(text[f.start : f.end] == f.text for f in findings)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="passport"):
        find("x", ("passport",))


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (Finding("email", 0, 0, "anna7@x.org"), "axxx0@x.xxx"),
        (Finding("phone", 0, 0, "+49 40 123"), "+00 00 000"),
        (Finding("iban", 0, 0, "DE89 3704"), "xx00 0000"),
        (Finding("name", 0, 0, "Anna Müller"), "Axxx xxxxxx"),
    ],
)
def test_a_masked_sample_shows_the_form_only(finding: Finding, expected: str) -> None:
    assert masked(finding) == expected


def test_sections_are_redacted_with_their_headings_and_counted() -> None:
    sections = [Section("write to a@b.de", heading="Contact > Anna Schmidt", page=3), Section("nothing")]
    tally = Tally()
    out = list(redact_sections(sections, KINDS, LIST, tally))
    assert out == [Section("write to [email]", heading="Contact > [name]", page=3), Section("nothing")]
    assert {kind: c.count for kind, c in tally.report().changes.items()} == {"email": 1, "name": 1}
    assert "a@b.de" not in str(tally.report().to_json())
    only_counted = Tally()
    assert list(redact_sections(sections, KINDS, LIST, only_counted, change=False)) == sections
    assert only_counted.report() == tally.report()


def test_a_list_of_names_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("\ufeffAnna Schmidt\n\n# staff\n  Jörg   Heide \n", encoding="utf-8")
    assert read_names(file) == ("Anna Schmidt", "Jörg Heide")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "holds no name"), (b"# x\n", "holds no name"), (b"M\xfcller", "not UTF-8"), (b"Ann\n-\n", ":2:"), (b"x" * 300, ":1:"), (None, "cannot be read")],
)  # fmt: skip
def test_a_wrong_list_of_names_is_one_clear_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_names(file)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "unit",
    ["a", "1", "@", "a@", "a@a.", "1 ", "01 ", "+1", "+49 1 ", "DE12", "DE12 ", "4111 ", "Anna ", "Anna-", "a.", "(0", "tel ", "(at) ", "0-", "é", " ", "DE12\n", "4111 \n", "+49\n1", "\n ", "a%40", "%40", "0\n123", "1234 \n"],
)  # fmt: skip
def test_a_megabyte_of_anything_takes_linear_time(kind: str, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    find(text, (kind,), LIST)
    assert time.process_time() - started < 3  # of this process; at most 1.2 s on two cores shared by eight
