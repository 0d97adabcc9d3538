"""What the templates ask, and what they leave alone: expected questions are written out, refusals as well."""

from __future__ import annotations

import pytest

from groundtune.dataset.build.lines import line_facts
from groundtune.dataset.build.sentences import sentence_facts
from groundtune.dataset.build.tables import Row, key_columns, pipe_rows, table_facts, written_rows
from groundtune.dataset.build.templates import (
    Fact,
    Place,
    Vocabulary,
    inside,
    normalised,
    sound,
    vocabulary,
    whole_sentences,
)
from groundtune.records import Section

PLACE = Place("guide.md", 1, 1)
KNOWN = Vocabulary(
    frozenset("lost keys cards telephones clothes umbrellas bags the school course fee crew".split()),
    frozenset({"Vessa", "Marlow"}),
)


def asked(sentence: str) -> list[tuple[str, str]]:
    """(question, answer) of a sentence, unsound ones left out."""
    facts = [f for made in sentence_facts(sentence, PLACE, KNOWN) if (f := sound(made))]
    return [(q, f.answer) for f in facts for q in f.questions]


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("A yearly card costs 48 crowns.", "How much does a yearly card cost?", "48 crowns"),
        ("A short stop of up to three hours costs 45 crowns for any boat.", "How much does a short stop of up to three hours cost for any boat?", "45 crowns"),
        ("The deposit for a winter place at Vessa is 900 crowns, which is set against the bill.", "How much is the deposit for a winter place at Vessa?", "900 crowns"),
        ("The average age of members is 51 years.", "What is the average age of members?", "51 years"),
        ("Vessa has 64 visitor berths, all of them on the pontoons.", "How many visitor berths does Vessa have?", "64"),
        ("The paper for Coastal Skipper has 60 questions and lasts 105 minutes.", "How many questions does the paper for Coastal Skipper have?", "60"),
        ("The Old Ropewalk was built in 1838 by the merchant Silas Greenaway, who was rich.", "When was the Old Ropewalk built?", "1838"),
        ("The winter timetable begins on 28 September 2026 and lasts until the end of April.", "When does the winter timetable begin?", "28 September 2026"),
        ("The reading rooms open at 9:30 on weekdays.", "At what time do the reading rooms open on weekdays?", "9:30"),
        ("Lost keys are replaced within 6 working days.", "Within what time are lost keys replaced?", "6 working days"),
        ("Lost work phones must be reported to the help desk within two hours.", "Within what time must lost work phones be reported to the help desk?", "two hours"),
        ("The proof load inspection of Big Maud is carried out every 14 weeks by the firm Crane.", "How often is the proof load inspection of Big Maud carried out?", "every 14 weeks"),
        ("Clothes, umbrellas and bags are kept for 90 days and then go to the mission.", "For how long are clothes, umbrellas and bags kept?", "90 days"),
        ("The payroll desk is in Room 1.07 and answers from nine.", "Where is the payroll desk?", "in Room 1.07"),
        ("The head of school is Niamh Castellan.", "Who is the head of school?", "Niamh Castellan"),
        ("The list is kept by the front desk manager, Solvei Brandt, who is new.", "Who is the front desk manager?", "Solvei Brandt"),
        ("The staff network is called Petrel and the guest network is called Sandpiper.", "What is the staff network called?", "Petrel"),
        ("The Sound Permit is a half-day course with a short test, given every Wednesday.", "What is the Sound Permit?", "a half-day course with a short test"),
        ("Overtime work means work beyond the rostered shift.", "What does overtime work mean?", "work beyond the rostered shift"),
        ("The help desk is staffed from 06:45 to 19:30 on working days.", "When is the help desk staffed?", "from 06:45 to 19:30 on working days"),
        ("The dredged channel of Vessa is 41 metres wide and is kept so.", "How wide is the dredged channel of Vessa?", "41 metres"),
    ],
)  # fmt: skip
def test_a_sentence_is_asked_in_the_one_way_it_allows(sentence: str, question: str, answer: str) -> None:
    known = vocabulary(["overtime work is paid"])
    facts = [
        f
        for made in sentence_facts(sentence, PLACE, Vocabulary(KNOWN.words | known.words, KNOWN.names))
        if (f := sound(made))
    ]
    assert (question, answer) in [(q, f.answer) for f in facts for q in f.questions]
    assert all(f.answer in f.passage == sentence for f in facts)


@pytest.mark.parametrize(
    "sentence",
    [
        "It costs 48 crowns.",  # what does?
        "This card is valid for eight years.",
        "The card costs 48 crowns.",  # which card?
        "Her desk is in the museum office.",
        "A red board means that the owner comes home that day.",
        "Whoever breaks a lamp must pay for it within two days.",
        "Leave is never exchanged for money.",
        "The ordinary working week is 37 hours for shore staff and 36 hours for crew.",  # one of two answers
        "Records are erased after 10 months unless a law asks for more.",
        "Thirteen hours ashore are given for ten days, or fifteen if a cabin is provided.",
        "The small shop in the store is under repair until the autumn.",
        "Wind ends all lifting.",
        "Work starts on 8 June.",
        "The last keeper, Violet Sturrock, took the clock with her.",
        "When does the timetable change?",
        "",
    ],
)
def test_what_cannot_be_asked_safely_is_left_alone(sentence: str) -> None:
    assert asked(sentence) == [] if sentence else True
    assert not list(sentence_facts(sentence or " ", PLACE, KNOWN)) or asked(sentence) == []


def test_most_facts_have_a_second_phrasing() -> None:
    assert [q for q, _ in asked("A yearly card costs 48 crowns.")] == [
        "How much does a yearly card cost?",
        "What is the cost of a yearly card?",
    ]


def test_a_name_keeps_its_capital_inside_a_question_and_another_word_does_not() -> None:
    assert inside("Vessa", KNOWN) == "Vessa"
    assert inside("Lost keys", KNOWN) == "lost keys"
    assert inside("The key", KNOWN) == "the key"
    assert inside("Tidewall primer", KNOWN) is None  # a name or a word? not told
    assert inside("MV Kestrel", KNOWN) == "MV Kestrel"


def test_an_abbreviation_ends_no_sentence() -> None:
    text = "The vet is Dr. Lucasta Brime. She reads chips."
    assert list(whole_sentences(text)) == ["The vet is Dr. Lucasta Brime.", "She reads chips."]


@pytest.mark.parametrize(
    ("line", "question", "answer"),
    [
        ("- Early supplement, before 06:00: 28 crowns an hour.", 'What is given under "Early supplement, before 06:00" in "Pay"?', "28 crowns an hour"),
        ("Next meeting: 19 March 2026.", 'What does "Guide" say under "Next meeting"?', "19 March 2026"),
        ("- 1829: Gannet Head Light is lit.", "What happened in 1829?", "Gannet Head Light is lit"),
        ("- 3 March 1948: The Union becomes a cooperative. It grew.", "What happened on 3 March 1948?", "The Union becomes a cooperative"),
    ],
)  # fmt: skip
def test_lines_with_a_key_or_a_date(line: str, question: str, answer: str) -> None:
    facts = [f for made in line_facts(line, PLACE, title="Guide", heading="Pay") if (f := sound(made))]
    assert (question, answer) in [(q, f.answer) for f in facts for q in f.questions]


@pytest.mark.parametrize(
    "line",
    [
        "Section 5: Who may join",
        "Members choose among three mixtures: calm, tide and open sea.",
        "The following papers are needed: a letter and a form.",
        "for a change of name: the certificate",
        "Note: bring a towel",
        "https://example.org: a site",
        "Key: ",
        "Key: one: two",
        'He said: "no',
    ],
)
def test_lines_that_are_no_pairs(line: str) -> None:
    assert not [f for made in line_facts(line, PLACE, title="Guide") if (f := sound(made))]


PIPE = """Some text.

| Division | Turnover 2024 | Employees | Valid for | Half day |
| Ferries | 17,812,000 | 113 | four years | 2 |
| Marinas | 6,048,000 | 40 | six years | 3 |
| Total | 23,860,000 | 153 | | |
"""


def test_table_cells_are_asked_by_column_and_row() -> None:
    (rows,) = pipe_rows(PIPE, PLACE)
    facts = [f for made in table_facts(rows) if (f := sound(made))]
    questions = {q: f.answer for f in facts for q in f.questions}
    assert questions["What is the turnover in 2024 for Ferries?"] == "17,812,000"
    assert questions["How many employees are listed for Marinas?"] == "40"
    assert questions['What is listed under "Valid for" for Ferries?'] == "four years"
    assert questions['For the division "Marinas", what is the entry under "Half day"?'] == "3"
    assert not any("Total" in q for q in questions)
    assert all(f.passage.splitlines()[0].startswith("| Division") and f.answer in f.passage for f in facts)


def test_rows_that_one_column_does_not_tell_apart_are_named_by_two() -> None:
    text = "| Joint | Engine | Torque |\n| Bolts | D2 | 68 Nm |\n| Bolts | D4 | 94 Nm |\n| Screws | D4 | 83 Nm |"
    (rows,) = pipe_rows(text, PLACE)
    assert key_columns(rows, ["Joint", "Engine", "Torque"]) == ["Joint", "Engine"]
    questions = [q for f in table_facts(rows) for q in f.questions]
    assert 'What is the torque for joint "Bolts" and engine D2?' in questions


@pytest.mark.parametrize(
    "text",
    [
        "| weekdays 09:00-17:00 | Saturday closed |\n| weekdays 07:00-16:30 | closed |\n| x | y |",  # no header
        "| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |",
        "| Name | Name |\n| a | b |\n| c | d |",
        "| Name | Age |\n| Ann | 3 |",  # one row: nothing to tell it from
        "| Name | Age |\n| Ann | 3 |\n| Ann | 4 |",  # nothing names a row
    ],
)
def test_tables_that_are_not_understood_are_left_alone(text: str) -> None:
    assert not [f for rows in pipe_rows(text, PLACE) for f in table_facts(rows)]


def test_written_rows_keep_semicolons_inside_a_cell() -> None:
    texts = ["dish: Chowder; allergens: fish; milk; diet: none", "dish: Bisque; allergens: milk; diet: vegan"]
    sections = [(n, Section(t, row=n)) for n, t in enumerate(texts, 1)]
    (rows,) = written_rows(sections, "menu.csv")
    assert rows[0].cells == {"dish": "Chowder", "allergens": "fish; milk", "diet": "none"}
    facts = [f for made in table_facts(rows) if (f := sound(made))]
    assert ("What are the allergens of Chowder?", "fish; milk") in [(q, f.answer) for f in facts for q in f.questions]
    assert not [f for f in facts if f.answer == "none"]


def test_a_german_table_is_asked_in_german() -> None:
    rows = [
        Row({"Artikel": n, "Preis": p}, f"Artikel: {n}; Preis: {p}", PLACE)
        for n, p in (("Seil", "3 €"), ("Boje", "9 €"))
    ]
    questions = [q for f in table_facts(rows, german=True) for q in f.questions]
    assert 'Was steht unter "Preis" für Seil?' in questions


def test_an_unsound_fact_is_not_made() -> None:
    def fact(question: str, answer: str, passage: str = "The fee is 48 crowns (a year).") -> Fact:
        return Fact((question,), answer, passage, "amount", "x", PLACE)

    assert sound(fact("What is the fee?", "48 crowns"))
    assert sound(fact("What is the fee?", "49 crowns")) is None  # not in the passage
    assert sound(fact("What is the fee of 48 crowns?", "48 crowns")) is None  # tells its answer
    assert sound(fact("What is the fee?", "48 crowns (a")) is None
    assert sound(fact("Fee", "48 crowns")) is None
    assert normalised("“The  Fee”, is:") == "the fee is"
