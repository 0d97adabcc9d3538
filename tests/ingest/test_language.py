"""Languages of short and long texts, and what is no text in a language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundtune.ingest.language import language_of

TATOEBA = Path(__file__).resolve().parents[3] / "shared" / "evalsets" / "tatoeba"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The harbour office is closed on Sundays and on public holidays.", "en"),
        ("Das Hafenbüro ist an Sonn- und Feiertagen geschlossen.", "de"),
        ("DAS HAFENBÜRO IST AN SONN- UND FEIERTAGEN GESCHLOSSEN.", "de"),
        ("Le bureau du port est fermé le dimanche et les jours fériés.", "fr"),
        ("Портовая контора закрыта по воскресеньям.", "ru"),
        ("港務局は日曜日と祝日は休みです", "ja"),
        ("한국어입니다", "ko"),
        (
            "Sonntags geschlossen, siehe https://example.org/the/harbour/office/is/closed und info@the-harbour.example",
            "de",
        ),
        ("| Gebühr | 12 |\n| Liegeplatz für Boote bis neun Meter | 40 |\n" * 3, "de"),
    ],
)
def test_languages(text: str, code: str) -> None:
    found, confidence = language_of(text)
    assert found == code
    assert 0.5 <= confidence <= 1


@pytest.mark.parametrize(
    "text", ["", "  ", "ok", "12345 67890", "....", "| 1 | 2 |", "https://example.org/a", "a\ud800b", "x = f(y) + 1"]
)
def test_what_is_undetermined(text: str) -> None:
    code, confidence = language_of(text)
    assert code == "und"
    assert 0 <= confidence < 0.5


def test_a_long_text_is_as_sure_as_a_short_one() -> None:
    sentence = "Das Büro am Hafen öffnet um acht Uhr und schließt am Nachmittag. "
    assert language_of(sentence * 20_000) == ("de", pytest.approx(1.0, abs=0.01))


def test_the_text_in_the_middle_counts() -> None:
    table = "| 12 | 13 | A4 |\n" * 300
    assert language_of(f"{table}{'The office opens at eight and closes at noon every day. ' * 80}{table}")[0] == "en"


@pytest.mark.skipif(not TATOEBA.is_dir(), reason="needs ../shared/evalsets/tatoeba")
@pytest.mark.parametrize(
    ("file", "code", "undecided"),
    [
        ("deu", "de", 0.05),
        ("fra", "fr", 0.07),
        ("ita", "it", 0.16),
        ("nld", "nl", 0.08),
        ("por", "pt", 0.13),
        ("spa", "es", 0.23),
    ],
)
def test_sentences_of_tatoeba(file: str, code: str, undecided: float) -> None:
    lines = (TATOEBA / f"{file}-eng.jsonl").read_text(encoding="utf-8").splitlines()
    found = [language_of(json.loads(line)["src"])[0] for line in lines]
    decided = [each for each in found if each != "und"]
    assert len(found) == 1000
    assert decided.count(code) / len(decided) > 0.975
    assert 1 - len(decided) / len(found) <= undecided
