"""Cleaning: what is put right, what must stay as it is, and that every change is counted."""

from __future__ import annotations

import json
import random
import time

import pytest

from groundtune.ingest.clean import Tally, clean_sections, clean_text
from groundtune.ingest.clean_lines import SiteLines
from groundtune.ingest.clean_report import KINDS, NO_CHANGES, CleaningReport, shown
from groundtune.records import Section

GOOD = "Größe, Straße, Œuvre, naïve café «à la carte», Łódź, Čeština, 5 °C ± 2 µm, “quotes” – it’s £5, São João, Ångström ½"


def cleaned(text: str) -> tuple[str, dict[str, int]]:
    tally = Tally()
    out = clean_text(text, tally)
    return out, {kind: change.count for kind, change in tally.report().changes.items()}


def paged(*pages: str) -> list[Section]:
    return [Section(text, page=number) for number, text in enumerate(pages, start=1)]


def texts(sections: list[Section], **options: bool) -> tuple[list[str], CleaningReport]:
    tally = Tally()
    out = [section.text for section in clean_sections(sections, tally, **options)]
    return out, tally.report()


@pytest.mark.parametrize(
    ("text", "expected", "changes"),
    [
        ("itâ€™s StraÃŸe fÃ¼r 5 Â°C", "it’s Straße für 5 °C", {"mojibake": 4}),
        ("Ã–sterreich ÃœbergrÃ¶ÃŸe FÃ„HRE", "Österreich Übergröße FÄHRE", {"mojibake": 5}),
        ("voilÃ\xa0 Ã\xa0 table", "voilà à table", {"mojibake": 2}),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет", {"mojibake": 6}),
        ("zÅ‚oty Å›wiat", "złoty świat", {"mojibake": 2}),
        ("donÃ¢â‚¬â„¢t", "don’t", {"mojibake": 4}),
        ("ï»¿Start â‚¬5 âœ“ ðŸ˜€", "Start €5 ✓ 😀", {"mojibake": 4, "invisible": 1}),
        ("co\u00adoperate Hafen\u00ad\nordnung", "cooperate Hafenordnung", {"soft_hyphens": 2}),
        ("a\u200bb\ufeff c\u2060", "ab c", {"invisible": 3}),
        ("x\u200dy \u200ez\u202c", "xy z", {"invisible": 3}),
        ("see\U000e0049\U000e0067\U000e006e", "see", {"hidden_text": 1}),
        ("1\u00a0000\u202f€\u3000x", "1 000 € x", {"spaces": 3}),
        ("ofﬁce ﬂow", "office flow", {"ligatures": 2}),
        ("a\x00b\x07c\x9fd", "abcd", {"controls": 3}),
        ("a\r\nb\rc\x0cd\u2028e", "a\nb\nc\nd\ne", {"line_ends": 4}),
        ("u\u0308ber", "über", {"composed": 1}),
        ("half \ud83d pair", "half \ufffd pair", {"surrogates": 1, "lost_characters": 1}),
        ("a  \nb\t\n\n\n\n\nc ", "a\nb\n\nc", {"trailing_blanks": 3, "blank_lines": 1}),
        ("the har-\nbour", "the harbour", {"hyphenation": 1}),
        ("Hafen-\nordnung", "Hafenordnung", {"hyphenation": 1}),
        ("a well-\nknown self-\nservice", "a well-known self-service", {"hyphenation": 2}),
        ("a re-\nsign, they re-sign", "a re-sign, they re-sign", {"hyphenation": 1}),
        ("Nord-\nOstsee-Kanal", "Nord-Ostsee-Kanal", {"hyphenation": 1}),
        ("Ein-\nund Ausgang", "Ein- und Ausgang", {"hyphenation": 1}),
        ("the har- bour of the harbour", "the harbour of the harbour", {"hyphenation": 1}),
    ],
)
def test_what_is_put_right(text: str, expected: str, changes: dict[str, int]) -> None:
    assert cleaned(text) == (expected, changes)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "CAFÉ” – VOCÊ… MANHÃ” GROẞ“ É… À» Â « NÃO",
        "an area of 5 Å² and 3 Å–4 Å, Ä…",
        "il a dit « café»… “résumé”—",
        "می‌خواهم और क्‍ष שלום\u200f",
        "👩‍💻 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ❤️",
        "ภาษา\u200bไทย",
        "Name    Fee\nSmall   10\nLarge   12",
        "Ein- und Ausgang, pre- and post-war, 2026- heute",
        "one\n\n\ntwo",
        "    indented code\n\tand a tab",
        "| a | b- |\n| c | d |",
        "m² x₂ … ™ ½",
        "",
    ],
)
def test_what_stays(text: str) -> None:
    assert cleaned(text) == (text, {})


def test_cleaning_twice_changes_nothing_more() -> None:
    rng = random.Random(0)
    alphabet = [
        *"abcÄÖ ü\n\t-|é’â€œÃ¼Â°",
        "\xad",
        "\u200b",
        "\u0308",
        "\x00",
        "\r",
        "ﬁ",
        "\ud800",
        "Ð",
        "Ÿ",
        "\xa0",
        "\u200d",
    ]
    for _ in range(3000):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randint(0, 30)))
        once, changes = cleaned(text)
        assert once == text or changes or once == text.strip("\n") or not text.strip(), text
        once.encode("utf-8")
        again, more = cleaned(once)
        more.pop("lost_characters", None)
        assert again == once or "mojibake" in more or "hyphenation" in more, (text, once, again)


def test_every_kind_is_explained_and_sampled_without_invisible_characters() -> None:
    tally = Tally()
    for number in range(9):
        clean_text(f"word{number}\u00adend", tally)
    change = tally.report().changes["soft_hyphens"]
    assert change.count == 9
    assert len(change.samples) == 5
    assert change.samples[0] == "word0<U+00AD>end"
    assert set(tally.report().changes) <= set(KINDS)
    assert len(shown("x" * 500)) == 100


def test_reports_add_up_and_survive_json() -> None:
    one, two = Tally(), Tally()
    clean_text("ﬁn", one)
    clean_text("ﬂy\x00", two)
    both = one.report() + two.report() + NO_CHANGES
    assert (both.count("ligatures"), both.count("controls"), both.count("spaces")) == (2, 1, 0)
    assert both.changes["ligatures"].samples == ("ﬁn", "ﬂy")
    assert CleaningReport.from_json(json.loads(json.dumps(both.to_json()))) == both
    assert list(both.to_json()) == ["controls", "ligatures"]
    assert both.with_samples(lambda s: "***").changes["controls"].samples == ("***",)


def test_headers_footers_and_page_numbers_go_and_the_first_header_stays() -> None:
    pages = [f"Harbour Club – Rules\n\nText {name}.\n\nPage {n} of 4" for n, name in enumerate("ABCD", start=1)]
    out, report = texts(paged(*pages))
    assert out == ["Harbour Club – Rules\n\nText A.", "Text B.", "Text C.", "Text D."]
    assert report.count("running_lines") == 3
    assert report.count("page_numbers") == 4
    assert report.changes["running_lines"].samples == ("Harbour Club – Rules",)
    assert texts(paged(*pages), boilerplate=False)[0] == pages


def test_headers_of_odd_pages_go_too() -> None:
    pages = [
        f"{'Harbour Club' if n % 2 else 'Rules of 2026'}\nText {n * 37 % 11} of {'abcdefghij'[n]}" for n in range(1, 9)
    ]
    out, report = texts(paged(*pages))
    assert report.count("running_lines") == 6
    assert sum("Harbour Club" in text for text in out) == 1


@pytest.mark.parametrize(
    "pages",
    [
        ["Text A\nsame", "Text B\nsame"],  # two pages only
        ["Text A\nsame", "Text B\nsame", "Text C", "Text D"],  # half of the pages
        ["| Item | Price |\n| a | 1 |", "| Item | Price |\n| b | 2 |", "| Item | Price |\n| c | 3 |"],  # table rows
        ["nothing to see", "nothing to see", "nothing to see"],  # the only line
        ["Ann\nTotal: 120 EUR", "Bob\nTotal: 250 EUR", "Cy\nTotal: 310 EUR"],  # numbers that are data
        ["Budget of 2024\nten", "Budget of 2025\ntwelve", "Budget of 2026\nsix"],  # years that count up
        ["Step 1\nopen the lid", "Step 2\nclose the lid", "Step 3\nlock the lid"],  # steps that count up
        ["a\nb\nc\nsame\nd\ne\nf", "g\nh\ni\nsame\nj\nk\nl", "m\nn\no\nsame\np\nq\nr"],  # in the middle
        ["x" * 300 + "\nA", "x" * 300 + "\nB", "x" * 300 + "\nC"],  # a paragraph
    ],
)
def test_lines_that_stay_on_their_pages(pages: list[str]) -> None:
    out, report = texts(paged(*pages))
    assert out == pages
    assert report == NO_CHANGES


def test_lines_of_sections_without_pages_stay() -> None:
    sections = [Section(f"same\n{n}", row=n) for n in range(5)]
    assert texts(sections)[0] == [s.text for s in sections]


def test_a_section_of_which_nothing_is_left_is_left_out() -> None:
    sections = [Section("kept", heading="A\u00ad > B\xa0c"), Section("\u200b \x00"), Section("Page 1", page=1)]
    tally = Tally()
    assert list(clean_sections(sections, tally)) == [Section("kept", heading="A > B c"), Section("Page 1", page=1)]


def test_sections_without_pages_pass_one_at_a_time() -> None:
    taken: list[int] = []

    def source() -> object:
        for n in range(100):
            taken.append(n)
            yield Section(f"row {n}", row=n)

    out = clean_sections(source(), Tally())  # type: ignore[arg-type]
    next(out)
    assert len(taken) <= 2


def test_several_sections_of_one_page_are_one_page() -> None:
    sections = []
    for page, word in enumerate(["apples", "pears", "plums"], start=1):
        sections += [
            Section("Club news", page=page),
            Section(f"about {word}", page=page),
            Section("the end", page=page),
        ]
    out, report = texts(sections)
    assert out == ["Club news", "about apples", "the end", "about pears", "about plums"]
    assert report.count("running_lines") == 4


def test_site_lines_stay_on_the_first_page_only() -> None:
    pages = {f"/{n}": [Section(f"Home | News\nWe use cookies.\nStory {n}\n| a | b |", heading="x")] for n in range(6)}
    pages["/bare"] = [Section("We use cookies.")]
    site, tally = SiteLines(), Tally()
    for sections in pages.values():
        site.add(sections)
    assert site.found
    out = {name: [s.text for s in site.without(name, sections, tally)] for name, sections in pages.items()}
    assert out["/0"] == [pages["/0"][0].text]
    assert out["/3"] == ["Story 3\n| a | b |"]
    assert out["/bare"] == ["We use cookies."]  # its only line
    assert tally.report().count("site_lines") == 10


def test_few_pages_of_a_site_have_no_site_lines() -> None:
    site = SiteLines()
    for n in range(4):
        site.add([Section(f"Home\nStory {n}")])
    assert not site.found


@pytest.mark.parametrize(
    "text",
    [
        " " * 1_000_000,
        " \n" * 500_000,
        "a-" * 500_000,
        "a- " * 330_000,
        "a-\n" * 330_000,
        "Ã" * 1_000_000,
        "Ã¼" * 500_000,
        "â€" * 500_000,
        "\u0301\u0323" * 500_000,
        "\xad" * 1_000_000,
        "\U0001f3f4\U000e0067" * 500_000,
        "\n" * 1_000_000,
        "\r" * 1_000_000,
        "x" * 1_000_000,
    ],
    ids=lambda text: repr(text[:3]),
)
def test_a_megabyte_of_anything_takes_about_linear_time(text: str) -> None:
    started = time.process_time()
    cleaned(text)
    assert time.process_time() - started < 4  # of this process; under 1.5 s on an idle machine
