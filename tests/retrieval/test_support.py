"""The support score: what must count against a passage whatever else it says, and what must not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from groundtune.config import AnswerConfig
from groundtune.retrieval.claim_words import words_of
from groundtune.retrieval.embedders import minilm
from groundtune.retrieval.support import (
    THRESHOLD,
    WORTH_EMBEDDING,
    Claim,
    features,
    support,
    support_scores,
)

LEAVE = "Full-time staff receive 27 days of paid annual leave in each calendar year."
ASKED = "How much vacation does somebody on a full contract get?"


def flat(texts: Sequence[str]) -> np.ndarray:
    """An embedder for which everything is alike."""
    return np.ones((len(texts), 1))


@pytest.mark.parametrize("embed", [None, minilm.embed], ids=["words", "minilm"])
@pytest.mark.parametrize(
    ("statement", "passage", "question"),
    [
        ("27 days", LEAVE, ASKED),
        ("twenty-seven days", LEAVE, ASKED),
        ("Staff get 27 days of annual leave each year.", LEAVE, ""),
        ("The fee is 6,840 crowns.", "The yearly fee is 6840 crowns for a boat.", "What is the fee for a boat?"),
        ("It opens at 8:30.", "The office opens at 08:30 on weekdays.", "When does the office open?"),
        ("The meeting is on 12 September 2026.", "The meeting is on 2026-09-12.", "When is the meeting?"),
        ("Yes.", "Dogs are allowed in the saloon.", "Are dogs allowed in the saloon?"),
        ("No.", "Dogs are not allowed in the saloon.", "Are dogs allowed in the saloon?"),
        ("There is room for six dogs.", "Zone Amber has room for no more than six dogs.", "How many dogs have room?"),
        ("18 working days", "The panel decides within 18 days.", "How soon does the panel decide?"),
    ],
)
def test_what_the_passage_says_is_supported(statement: str, passage: str, question: str, embed: object) -> None:
    assert support(statement, passage, question=question, embed=embed) >= THRESHOLD  # type: ignore[arg-type]


@pytest.mark.parametrize("embed", [None, minilm.embed], ids=["words", "minilm"])
@pytest.mark.parametrize(
    ("statement", "passage", "question"),
    [
        ("24 days", LEAVE, ASKED),
        ("27 weeks", LEAVE, ASKED),
        ("Staff get 26 days of annual leave each year.", LEAVE, ""),
        ("Staff do not receive 27 days of paid annual leave.", LEAVE, ""),
        ("Dogs are allowed in the saloon.", "Dogs are not allowed in the saloon.", ""),
        ("No.", "Dogs are allowed in the saloon.", "Are dogs allowed in the saloon?"),
        ("Bram Kestle", "The longest-serving keeper was Ambrose Quennell.", "Who was the longest-serving keeper?"),
        ("The keeper was Ambrose Merrow.", "The keeper of Gannet Head was Ambrose Quennell.", ""),
        ("The meeting is on 12 October.", "The meeting is on 12 September.", "When is the meeting?"),
        ("27 days", "The quay was painted in spring.", ASKED),
        ("Staff may take the ferry free of charge.", LEAVE, ""),
        ("In 2024 the fee was 50 crowns.", "In 2026 the fee is 50 crowns.", "What was the fee in 2024?"),
        ("Parcel W31 leaves at nine.", "Parcel W41 leaves at nine.", ""),
    ],
)
def test_what_it_does_not_say_is_not(statement: str, passage: str, question: str, embed: object) -> None:
    assert support(statement, passage, question=question, embed=embed) < THRESHOLD  # type: ignore[arg-type]


def test_a_short_answer_counts_beside_its_question_only() -> None:
    elsewhere = "The fog signal was out of order for 27 days in the winter of 1911."
    right, wrong = support_scores([Claim("27 days", LEAVE, ASKED), Claim("27 days", elsewhere, ASKED)], minilm.embed)
    assert right >= THRESHOLD > wrong


def test_the_threshold_is_the_setting_s_default() -> None:
    assert AnswerConfig().support == THRESHOLD


def test_the_place_says_which_year_a_passage_is_about() -> None:
    asked = "How many days of leave do staff receive in 2024?"
    new = support("27 days", LEAVE, question=asked, place="staff handbook 2026")
    assert support("27 days", LEAVE, question=asked, place="staff handbook 2024") > new


def test_a_passage_counts_as_its_best_sentences() -> None:
    around = f"The office is in Vessa. {LEAVE} Lockers cost 120 crowns."
    alone, within = support("27 days", LEAVE, question=ASKED), support("27 days", around, question=ASKED)
    assert within == pytest.approx(alone, abs=0.05)
    both = "Fees rose in spring. They are 48 crowns for a card."
    assert support("Fees rose in spring to 48 crowns for a card.", both) >= THRESHOLD
    assert support("Fees rose in spring to 48 crowns for a card.", "Fees rose in spring.") < THRESHOLD


def test_scores_come_in_order_and_only_what_may_be_support_is_embedded() -> None:
    seen: list[str] = []

    def embed(texts: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        return flat(texts)

    claims = [Claim("24 days", LEAVE, ASKED), Claim("27 days", LEAVE, ASKED), Claim("27 days", "", "")]
    scores = support_scores(claims, embed)
    assert all(0 <= s <= 1 for s in scores)
    assert scores[1] == max(scores)
    assert seen.count(LEAVE) == 1
    assert scores[0] < WORTH_EMBEDDING
    assert not any("24 days" in text for text in seen)
    assert support_scores([], embed) == []


def test_words_of_a_text() -> None:
    said = words_of("The fee of $6,840 fell to 2.60 per cent on 2026-09-12; it isn't paid in May 2027 to Bram Kestle.")
    assert said.numbers == {
        "6840": {"dollar"}, "2.6": {"percent"}, "2026": set(), "12": set(), "2027": set(),
    }  # fmt: skip
    assert {"septemb", "may", "bram", "kestl"} <= said.names
    assert {"paid", "may"} <= said.denied
    assert "fell" not in said.denied
    assert words_of("Die Gebühr ist nicht in der Satzung zu finden.", "de").names == frozenset()


def test_features_are_shares() -> None:
    row = features(Claim("Staff of the Blue Store get 24 days.", LEAVE, ASKED))
    assert all(0 <= value <= 1 for value in row.values())
    assert (row["number"], row["name"], row["denied"]) == (1.0, 1.0, 0.0)
    assert features(Claim("24 days", LEAVE, "Is it 24 days?"))["number"] == 0.5
    assert features(Claim("Yes", LEAVE, "Is it 24 days?"))["number"] == 1.0


@pytest.mark.parametrize(
    ("a", "b", "language"),
    [("booking", "booked", "en"), ("Fees", "fee", "en"), ("policies", "policy", "en"), ("Gebühren", "Gebuehr", "de")],
)
def test_forms_of_a_word_are_one(a: str, b: str, language: str) -> None:
    assert words_of(a, language).stems == words_of(b, language).stems != frozenset()


def test_german() -> None:
    passage = "Beschäftigte in Vollzeit erhalten im Kalenderjahr 27 Tage bezahlten Urlaub."
    asked = "Wie viele Tage Urlaub erhalten die Beschäftigten in Vollzeit?"
    assert support("27 Tage", passage, question=asked) >= THRESHOLD
    assert support("24 Tage", passage, question=asked) < THRESHOLD
    assert support("Beschäftigte erhalten keinen bezahlten Urlaub.", passage) < THRESHOLD
