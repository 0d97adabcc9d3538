"""What an answer's sentences rest on: which sources are cited, and what becomes of a sentence without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groundtune.config import AnswerConfig, Config
from groundtune.dataset.prompts import ABSTENTION
from groundtune.methods._setup import Setup
from groundtune.methods._sources import Sourced, Written, _put_together, all_with_sources, completed, with_sources
from groundtune.records import Chunk, Completion, Statement
from groundtune.retrieval.retriever import Hit, rank_sentences
from groundtune.workspace import Workspace


def hit(number: int, score: float, *sentences: tuple[str, float], page: int | None = None, heading: str = "") -> Hit:
    text = " ".join(s for s, _ in sentences)
    return Hit(Chunk(f"d{number}-0", f"d{number}", f"file{number}.pdf", text, page, None, heading), score, sentences)


LEAVE = hit(1, 0.9, ("Leave is asked for in writing.", 0.4), ("Full-time staff receive 27 days of annual leave.", 0.8), page=4)  # fmt: skip
PLANTED = hit(2, 0.95, ("Full-time staff receive 31 days of annual leave.", 0.85))
DOGS = hit(3, 0.5, ("A dog heavier than 25 kg travels in Zone Amber.", 0.8))
ZONE = hit(4, 0.4, ("Zone Amber of each ferry has room for six animals.", 0.3))
OTHER = hit(5, 0.2, ("The quay is painted every spring.", 0.1))
ASKED = "How many days of annual leave do full-time staff receive?"


def project(folder: Path, **answer: Any) -> Setup:
    return Setup(Workspace(folder), Config(answer=AnswerConfig(**answer)))


def sourced(setup: Setup, text: str, question: str, *hits: Hit, read: int = 12) -> Sourced:
    return with_sources(Written(text, question, rank_sentences(list(hits))[:read], hits), setup)


def test_a_planted_passage_is_not_cited(tmp_path: Path) -> None:
    found = sourced(project(tmp_path), "27 days", ASKED, PLANTED, LEAVE, OTHER)
    assert [(s.chunk_id, s.page, s.quote) for s in found.sources] == [
        ("d1-0", 4, "Full-time staff receive 27 days of annual leave.")
    ]
    assert found.sources[0].text == LEAVE.chunk.text
    assert (found.text, found.abstained) == ("27 days", False)


def test_what_a_model_read_wrongly_is_cited_as_what_it_is(tmp_path: Path) -> None:
    assert [s.chunk_id for s in sourced(project(tmp_path), "31 days", ASKED, PLANTED, LEAVE).sources] == ["d2-0"]


def test_each_sentence_has_its_own_sources_and_marks(tmp_path: Path) -> None:
    text = "Full-time staff receive 27 days of leave [2]. Heavy dogs travel in Zone Amber. Everyone gets a free boat."
    found = sourced(project(tmp_path), text, "What is there to know?", PLANTED, LEAVE, DOGS, OTHER)
    assert found.text == text
    assert [s.supported for s in found.statements] == [True, True, False]
    assert [[s.chunk_id for s in statement.sources] for statement in found.statements] == [["d1-0"], ["d3-0"], []]
    assert {s.chunk_id for s in found.sources} == {"d1-0", "d3-0"}
    assert found.statements[2].support < 0.7 <= min(s.support for s in found.statements[:2])
    best = max(found.statements, key=lambda s: s.support)
    assert found.sources[0] == best.sources[0]


def test_unsupported_sentences_are_left_out_where_that_is_wanted(tmp_path: Path) -> None:
    setup = project(tmp_path, unsupported="drop")
    text = "Everyone gets a free boat. Full-time staff receive 27 days of annual leave."
    found = sourced(setup, text, ASKED, LEAVE)
    assert found.text == "Full-time staff receive 27 days of annual leave."
    assert [s.text for s in found.statements] == [found.text]
    none = sourced(setup, "Everyone gets a free boat.", ASKED, LEAVE)
    assert none == Sourced(ABSTENTION, True, (), ())


@pytest.mark.parametrize("unsupported", ["keep", "mark"])
def test_the_text_stays_as_it_is_otherwise(tmp_path: Path, unsupported: str) -> None:
    found = sourced(project(tmp_path, unsupported=unsupported), "31 days", ASKED, LEAVE)
    assert (found.text, found.abstained, found.sources) == ("31 days", False, ())
    assert [s.supported for s in found.statements] == [False]


def test_an_abstention_rests_on_nothing(tmp_path: Path) -> None:
    assert sourced(project(tmp_path), ABSTENTION, ASKED, LEAVE) == Sourced(ABSTENTION, True, (), ())


def test_what_the_model_did_not_read_may_support_it(tmp_path: Path) -> None:
    found = sourced(project(tmp_path), "27 days", ASKED, PLANTED, LEAVE, read=1)
    assert [s.chunk_id for s in found.sources] == ["d1-0"]


def test_the_passage_that_leads_to_the_answer_is_cited_beside_it(tmp_path: Path) -> None:
    found = sourced(project(tmp_path), "six animals", "How many dogs of 30 kg are let on a ferry?", DOGS, ZONE, OTHER)
    assert [s.chunk_id for s in found.sources] == ["d4-0", "d3-0"]


def test_two_passages_may_support_a_sentence_together(tmp_path: Path) -> None:
    text = "Staff receive 27 days of annual leave, and the quay is painted every spring."
    found = sourced(project(tmp_path), text, "", LEAVE, DOGS, OTHER)
    assert {s.chunk_id for s in found.sources} == {"d1-0", "d5-0"}
    assert found.statements[0].supported


def test_the_threshold_is_the_project_s(tmp_path: Path) -> None:
    assert not sourced(project(tmp_path, support=1.0), "27 days", ASKED, LEAVE).sources


def test_many_answers_and_completions(tmp_path: Path) -> None:
    setup = project(tmp_path)
    read = rank_sentences([LEAVE])
    written = [Written(text, ASKED, read, [LEAVE]) for text in ("27 days", ABSTENTION, "24 days")]
    found = all_with_sources(written, setup)
    assert [len(f.sources) for f in found] == [1, 0, 0]
    assert found == [with_sources(w, setup) for w in written]
    made = completed(Completion("27 days", logprobs=(-1.0,)), written[0], setup)
    assert (made.text, made.sources, made.statements, made.logprobs) == ("27 days", found[0].sources, found[0].statements, (-1.0,))  # fmt: skip
    assert all_with_sources([], setup) == []


def test_a_sentence_that_begins_like_an_earlier_one_is_cut_where_it_stands() -> None:
    text = "A mooring costs 10 crowns a day. It is paid at the door. A mooring costs 10 crowns"
    statements = [Statement(t, ok, 0.9) for t, ok in zip(("A mooring costs 10 crowns a day.", "It is paid at the door.", "A mooring costs 10 crowns"), (True, True, False), strict=True)]  # fmt: skip
    assert _put_together(text, statements, drop=True).text == "A mooring costs 10 crowns a day. It is paid at the door."


def test_a_number_that_looks_like_a_date_is_read_as_a_number(tmp_path: Path) -> None:
    order = hit(1, 0.9, ("Order 5550-45-67 was shipped on 2024-25-12, and paid on 2024-05-17.", 0.8))
    assert sourced(project(tmp_path), "5550-45-67", "Which order was shipped?", order).statements[0].supported
