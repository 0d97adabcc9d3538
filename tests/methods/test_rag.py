"""Retrieval-augmented answers with a backend that always says the same, and a retriever that always finds the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from groundtune.backends.echo import EchoBackend
from groundtune.config import Config, RetrievalConfig
from groundtune.methods._context import render_context, select_context
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.methods.baseline import Baseline
from groundtune.methods.rag import build
from groundtune.records import Chunk, Generation, Message
from groundtune.retrieval.retriever import Hit, Sentence, rank_sentences
from groundtune.system import as_messages
from groundtune.workspace import Workspace
from scripted import scripted_setup


def hit(number: int, score: float, *sentences: tuple[str, float], page: int | None = None) -> Hit:
    text = " ".join(s for s, _ in sentences)
    return Hit(Chunk(f"d{number}-0", f"d{number}", f"file{number}.pdf", text, page=page), score, sentences)


FEES = hit(
    1, 0.9, ("Fees are set in spring.", 0.3), ("A card costs 48 crowns.", 0.8), ("It is valid for a year.", 0.5), page=4
)
HOURS = hit(2, 0.6, ("The rooms open at 9:30.", 0.4), ("The hall is shut on Friday.", 0.7))
OTHER = hit(3, 0.2, ("Dogs stay outside.", 0.1))
HITS = [FEES, HOURS, OTHER]


class FakeRetriever:
    """Finds the same hits for every question, and keeps what it was asked."""

    def __init__(self, hits: list[Hit]) -> None:
        self.hits, self.asked = hits, []  # type: ignore[var-annotated]

    def embed_all(self, texts: list[str]) -> None:
        """Nothing to embed."""

    def retrieve(self, question: str, *, document: str | None = None, also: Sequence[str] = ()) -> list[Hit]:
        self.asked.append((question, document))
        return self.hits

    def refuses(self, question: str, hits: list[Hit]) -> bool:
        return False


class Recorder(EchoBackend):
    """An echo that keeps its prompts."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.prompts: list[list[Message]] = []

    def generate_batch(self, conversations: Any, *, max_tokens: int = 32, batch_size: int = 16) -> list[Generation]:
        self.prompts += conversations
        return super().generate_batch(conversations, max_tokens=max_tokens)


def setup_with(folder: Path, hits: list[Hit], **config: Any) -> Setup:
    config = {"model": "echo:Friday", "retrieval": RetrievalConfig(context_sentences=3), **config}
    setup = Setup(Workspace(folder), Config(**config), document="file2.pdf")
    setup.retriever = FakeRetriever(hits)  # type: ignore[assignment]
    return setup


def ranked(*parts: tuple[str, Hit, float]) -> list[Sentence]:
    return [
        Sentence(text, h.chunk, relevance, HITS.index(h), [s for s, _ in h.sentences].index(text))
        for text, h, relevance in parts
    ]


def test_rag_answers_what_the_backend_says_and_cites_where_it_stands(tmp_path: Path) -> None:
    system = build(setup_with(tmp_path, HITS))
    completion = system.answer(as_messages("When is the hall shut?"))
    assert completion.text == "Friday"
    assert not completion.abstained
    first = completion.sources[0]
    assert (first.document, first.chunk_id, first.page, first.quote) == (
        "file2.pdf",
        "d2-0",
        None,
        "The hall is shut on Friday.",
    )
    assert first.text == HOURS.chunk.text
    assert [s.chunk_id for s in completion.retrieved] == ["d1-0", "d2-0", "d3-0"]
    assert [s.chunk_id for s in completion.sources] == ["d2-0"]  # what does not say it is not cited
    assert [(s.text, s.supported, s.sources) for s in completion.statements] == [("Friday", True, completion.sources)]
    assert completion.usage.completion_tokens == 1


def test_the_prompt_holds_the_best_sentences_and_the_question(tmp_path: Path) -> None:
    setup, backend = setup_with(tmp_path, HITS), Recorder("x")
    build(setup, backend=backend).answer(
        [*as_messages("Earlier?"), Message("assistant", "Yes"), *as_messages("What does it cost?")]
    )
    assert setup.retriever.asked == [("What does it cost?", "file2.pdf")]  # type: ignore[attr-defined]
    prompt = backend.prompts[0][-1].content
    assert prompt == (
        "Question: What does it cost?\n\n[1] file1.pdf, page 4\nA card costs 48 crowns. It is valid for a year.\n\n[2] file2.pdf\nThe hall is shut on Friday.\n\nQuestion: What does it cost?"
    )


@pytest.mark.parametrize(("model", "sentences"), [("pebble", 1), ("echo:x", 5)])
def test_how_much_is_read_depends_on_the_model(tmp_path: Path, model: str, sentences: int) -> None:
    setup, backend = setup_with(tmp_path, HITS[:2], model=model, retrieval=RetrievalConfig()), Recorder("x")
    build(setup, backend=backend).answer(as_messages("What does it cost?"))
    assert sum(s in backend.prompts[0][-1].content for h in HITS[:2] for s, _ in h.sentences) == sentences


def test_an_abstention_cites_nothing(tmp_path: Path) -> None:
    completion = build(setup_with(tmp_path, HITS), backend=EchoBackend("The passages do not say.")).answer(
        as_messages("Why?")
    )
    assert completion.abstained
    assert completion.sources == ()
    assert len(completion.retrieved) == 3


def test_nothing_found(tmp_path: Path) -> None:
    completion = build(setup_with(tmp_path, [])).answer(as_messages("Why?"))
    assert (completion.text, completion.sources, completion.retrieved) == ("Friday", (), ())
    assert [s.supported for s in completion.statements] == [False]


def test_names_and_batches(tmp_path: Path) -> None:
    setup = setup_with(tmp_path, HITS)
    assert build(setup).name == "rag"
    layered = build(setup, backend=EchoBackend("Monday"), name="tuned+rag")
    assert layered.name == "tuned+rag"
    assert "tuned model" in layered.description
    assert [c.text for c in layered.answer_batch([as_messages("a?"), as_messages("b?")])] == ["Monday", "Monday"]
    assert layered.answer_batch([]) == []


def test_the_baseline_quotes_the_best_sentence(tmp_path: Path) -> None:
    completion = Baseline(setup_with(tmp_path, HITS)).answer(as_messages("What does it cost?"))
    assert completion.text == completion.sources[0].quote == "A card costs 48 crowns."
    assert completion.sources[0].chunk_id == "d1-0"
    assert Baseline(setup_with(tmp_path, [])).answer(as_messages("?")).abstained


def test_sentences_are_ranked_by_their_own_and_their_chunk_s_score() -> None:
    # own + half the chunk's: 0.8 + 0.45, 0.7 + 0.3, 0.5 + 0.45, 0.3 + 0.45, 0.4 + 0.3, 0.1 + 0.1
    assert [(s.text.split()[-1], pytest.approx(s.relevance)) for s in rank_sentences(HITS)] == [
        ("crowns.", 1.25),
        ("Friday.", 1.0),
        ("year.", 0.95),
        ("spring.", 0.75),
        ("9:30.", 0.7),
        ("outside.", 0.2),
    ]


def test_a_sentence_that_two_chunks_share_counts_once_where_it_is_best() -> None:
    again = hit(4, 0.2, ("The hall is shut on Friday.", 0.7), ("---", 0.9))
    found = [s for s in rank_sentences([again, HOURS]) if "Friday" in s.text]
    assert [s.chunk.id for s in found] == ["d2-0"]
    assert not any(s.text == "---" for s in rank_sentences([again]))


@pytest.mark.parametrize(
    ("tokens", "most", "kept"),
    [
        (100, 5, ["crowns.", "year.", "Friday."]),  # chunk by chunk, the best first, each in reading order
        (100, 1, ["crowns."]),
        (17, 5, ["crowns.", "year.", "Friday."]),  # 5 + 6 + 6 words are 17
        (16, 5, ["crowns.", "Friday."]),
        (100, 2, ["crowns.", "Friday."]),
    ],
)
def test_context_is_the_best_that_fits(tokens: int, most: int, kept: list[str]) -> None:
    sentences = ranked(
        ("A card costs 48 crowns.", FEES, 0.9),
        ("The hall is shut on Friday.", HOURS, 0.8),
        ("It is valid for a year.", FEES, 0.7),
    )
    context = select_context(sentences, RetrievalConfig(context_tokens=tokens, context_sentences=most), EchoBackend(""))
    assert [s.text.split()[-1] for s in context] == kept


def test_what_does_not_fit_makes_room_for_what_does() -> None:
    long = hit(1, 0.9, ("word " * 20 + "long.", 0.5))
    sentences = [
        Sentence("A card costs 48 crowns.", FEES.chunk, 0.9, 0, 1),  # 5 of 16 tokens
        Sentence(long.sentences[0][0], long.chunk, 0.8, 1, 0),  # 21: too long
        Sentence("Dogs stay outside.", OTHER.chunk, 0.7, 2, 0),  # 3: fits
    ]
    context = select_context(sentences, RetrievalConfig(context_tokens=16, context_sentences=3), EchoBackend(""))
    assert [s.text for s in context] == ["A card costs 48 crowns.", "Dogs stay outside."]
    alone = select_context(sentences[1:2], RetrievalConfig(context_tokens=16), EchoBackend(""))
    assert len(alone) == 1  # the best sentence is there even if it is over the budget


def test_context_within_the_budget_whatever_it_is() -> None:
    sentences = rank_sentences(HITS)
    backend = EchoBackend("")
    for tokens in range(16, 40):
        context = select_context(sentences, RetrievalConfig(context_tokens=tokens, context_sentences=6), backend)
        assert sum(backend.count_tokens(s.text) for s in context) <= tokens


def test_passages_are_numbered_with_file_and_page() -> None:
    context = ranked(
        ("A card costs 48 crowns.", FEES, 0.9),
        ("It is valid for a year.", FEES, 0.7),
        ("Dogs stay outside.", OTHER, 0.1),
    )
    assert render_context(context) == [
        "[1] file1.pdf, page 4\nA card costs 48 crowns. It is valid for a year.",
        "[2] file3.pdf\nDogs stay outside.",
    ]


def test_a_heading_is_no_answer_unless_it_is_all_there_is() -> None:
    page = hit(1, 0.5, ("Annual leave", 0.9), ("Staff receive 27 days.", 0.6), ("Zone 4", 0.5), ("| row | no end", 0.4))
    assert [s.text for s in rank_sentences([page])] == ["Staff receive 27 days.", "Zone 4", "| row | no end"]
    assert [s.text for s in rank_sentences([hit(2, 0.5, ("Annual leave", 0.9))])] == ["Annual leave"]


@pytest.mark.parametrize("name", ["rag", "chain_of_thought+rag", "self_consistency+rag", "directional_stimulus+rag", "demonstrate_search_predict"])  # fmt: skip
def test_a_question_that_is_refused_is_put_to_no_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, backend = scripted_setup(tmp_path, ["Answer: 48 crowns"])
    monkeypatch.setattr(setup.retriever, "refuses", lambda question, hits: "moon" in question, raising=False)
    setup.config = setup.config.model_copy(update={"answer": setup.config.answer.model_copy(update={"hops": 1})})
    asked = [as_messages("How far is the moon?"), as_messages("What does a yearly card cost?")]
    refused, answered = build_system(name, setup).answer_batch(asked)
    assert refused.abstained and not refused.sources and not refused.usage.completion_tokens
    assert answered.text == "48 crowns" or "48 crowns" in answered.text
    assert backend.prompts and not any("moon?" in prompt[-1].content for prompt in backend.prompts)
