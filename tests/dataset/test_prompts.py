"""What counts as saying that there is no answer, in English and in German."""

from __future__ import annotations

import pytest

from groundtune.dataset.prompts import ABSTENTION, abstains


@pytest.mark.parametrize(
    "answer",
    [
        "", " \n", ABSTENTION, "The documents do not say.", "I don't know.", "Not mentioned.",
        "Die Dokumente sagen dazu nichts.", "In den Unterlagen steht dazu nichts.", "nicht angegeben", "Das wird nirgends erwähnt.",
        "Ich weiß es nicht.", "Das kann ich aus dem Text nicht beantworten: ich finde nichts.", "Dazu gibt es keine Angaben.",
        "Der Text enthält keine Antwort.", "Das lässt sich nicht beantworten.", "Wir können das leider nicht beantworten.",
    ],
)  # fmt: skip
def test_an_abstention(answer: str) -> None:
    assert abstains(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "27 days", "no dogs", "not before 9:00", "27 Tage", "Hunde sind nicht erlaubt", "Kinder zahlen nichts", "keine Gebühr",
        "Die Fähre fährt nicht am 1. Januar.", "Unterlagen sind nicht nötig", "Wir nehmen keine Hunde mit.",
    ],
)  # fmt: skip
def test_an_answer(answer: str) -> None:
    assert not abstains(answer)
