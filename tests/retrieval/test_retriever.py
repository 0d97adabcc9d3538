"""Of two versions the newer one comes first unless a year is asked for, and a name in the way is followed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from groundtune.config import IndexConfig, RetrievalConfig
from groundtune.ingest.ingest import ingest
from groundtune.retrieval import index
from groundtune.retrieval.retriever import Retriever, names_in, rank_sentences, valid_versions
from groundtune.workspace import Workspace

FILES = {
    "fees-2024.txt": "A mooring for a yacht costs 30 crowns a night.",
    "fees-2026.txt": "A mooring for a yacht costs 41 crowns a night.",
    "dogs.txt": "Dogs over 25 kilograms must travel in Zone Amber of the ship.",
    "decks.txt": "Zone Amber has room for no more than six of them on one crossing.",
    "meals.txt": "Soup is served in the saloon of the ship on every crossing.",
    "cats.txt": "Cats travel in a basket on the ship and never on deck.",
    "bikes.txt": "Bicycles are tied to the rail of the ship by the crew.",
    "bags.txt": "Heavy bags stay on the car deck of the ship.",
}


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    folder: Path = tmp_path_factory.mktemp("versions")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    workspace, config = Workspace(folder), IndexConfig()
    ingest(workspace, list(FILES))
    index.build_index(workspace, config)
    return Retriever(workspace.path("index"), config, RetrievalConfig(top_k=3))


def like(retriever: Retriever, **settings: object) -> Retriever:
    """The same index, searched with other settings."""
    made = copy.copy(retriever)
    made.config = RetrievalConfig.model_validate({"top_k": 3, **settings})
    return made


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("What does a mooring for a yacht cost?", "fees-2026.txt"),
        ("What did a mooring for a yacht cost in 2024?", "fees-2024.txt"),
        ("What does a mooring for a yacht cost in 2026?", "fees-2026.txt"),
    ],
)
def test_the_newer_version_unless_a_year_is_named(retriever: Retriever, question: str, first: str) -> None:
    hits = retriever.retrieve(question)
    assert hits[0].chunk.document == first
    assert {h.chunk.document for h in hits[:2]} == {"fees-2024.txt", "fees-2026.txt"}  # the other one is not hidden


def test_a_name_that_the_best_sentence_brings_up_is_followed(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "My dog weighs 40 kilograms: how many such dogs does the ship take?"
    hits = retriever.retrieve(question)
    assert hits[0].chunk.document == "dogs.txt"
    assert hits[-1].chunk.document == "decks.txt"
    assert len(hits) == 3
    monkeypatch.setattr("groundtune.retrieval.retriever.HOP_SENTENCES", 0)
    assert "decks.txt" not in {h.chunk.document for h in retriever.retrieve(question)}


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("What does a mooring for a yacht cost?", "fees-2026.txt"),
        ("What did a mooring for a yacht cost in 2024?", "fees-2024.txt"),
        ("What will a mooring for a yacht cost in 2027?", "fees-2026.txt"),
    ],
)
def test_of_two_versions_of_a_sentence_the_valid_one_is_read(retriever: Retriever, question: str, kept: str) -> None:
    ranked = rank_sentences(retriever.retrieve(question))
    assert {"fees-2024.txt", "fees-2026.txt"} < {s.chunk.document for s in ranked}
    valid = valid_versions(ranked, question)
    assert [s.chunk.document for s in valid if s.chunk.document.startswith("fees")] == [kept]
    assert len(valid) == len(ranked) - 1


def test_within_one_document_nothing_else_is_followed(retriever: Retriever) -> None:
    hits = retriever.retrieve("How many dogs over 25 kilograms does the ship take?", document="dogs.txt")
    assert {h.chunk.document for h in hits} == {"dogs.txt"}


def test_names_are_words_in_capitals_and_codes() -> None:
    text = "The Blue Store keeps drums of class K4, Each Pay Band D member asks Ann. OSHC pays in Port Ellery."
    assert names_in(text) == ["Blue Store", "K4", "Pay Band D", "Port Ellery"]


def test_further_wordings_are_searched_too(retriever: Retriever) -> None:
    question = "What about the animals?"
    assert "bikes.txt" not in [h.chunk.document for h in retriever.retrieve(question)[:2]]
    found = retriever.retrieve(question, also=["Bicycles are tied to the rail.", "Who ties bicycles to the rail?"])
    assert found[0].chunk.document == "bikes.txt"
    assert retriever.retrieve(question, also=[question]) == retriever.retrieve(question)


def test_what_counts_as_not_there_is_not_found(retriever: Retriever) -> None:
    question = "What does a mooring for a yacht cost?"
    first = retriever.retrieve(question)[0]
    rest = retriever.retrieve(question, without={first.chunk.id})
    assert len(rest) == 3 and first.chunk.id not in {h.chunk.id for h in rest}


def test_shared_words_count_by_their_weight(retriever: Retriever) -> None:
    question = "saloon"
    plain, heavy = (like(retriever, text_weight=w).retrieve(question)[0] for w in (0.0, 1.0))
    assert plain.chunk.document == heavy.chunk.document == "meals.txt"
    assert heavy.score == pytest.approx(plain.score + 1.0)


def test_the_whole_chunk_or_its_best_sentence(retriever: Retriever) -> None:
    question = "What does a mooring for a yacht cost?"
    whole = like(retriever, chunk_weight=1.0, text_weight=0.0).retrieve(question)[0]
    entry = retriever.store.entries([whole.chunk.id])[whole.chunk.id]
    assert whole.score == pytest.approx(float(entry.vector @ retriever.embedder.embed([question])[0]), abs=1e-5)


@pytest.mark.parametrize(
    "settings", [{"feedback": 2}, {"smoothing": 0.5}, {"diversity": 0.8}, {"feedback": 2, "mode": "text"}]
)
def test_each_way_gives_as_many_hits_and_another_score_or_order(
    retriever: Retriever, settings: dict[str, object]
) -> None:
    question = "What may travel on the deck of the ship?"
    plain, other = like(retriever, mode=settings.get("mode", "hybrid")).retrieve(question), like(retriever, **settings).retrieve(question)  # fmt: skip
    assert len(other) == len(plain) == 3
    changed = [(h.chunk.id, h.score) for h in other] != [(h.chunk.id, h.score) for h in plain]
    assert changed == (settings.get("mode") != "text")  # full text has no vector to move


def test_a_reranker_turns_the_order(retriever: Retriever) -> None:
    class Catty:
        NAME = "catty"

        def scores(self, question: str, texts: list[str]) -> list[float]:
            return [float("Cats" in t) for t in texts]

    made = like(retriever, rerank_weight=5.0)
    made.reranker = Catty()  # type: ignore[assignment]
    found = made.retrieve("What does a mooring for a yacht cost?")
    assert (found[0].chunk.document, found[0].reranked) == ("cats.txt", 1.0)


def test_a_question_is_refused_below_the_threshold_alone(retriever: Retriever) -> None:
    question = "What does a mooring for a yacht cost?"
    hits = retriever.retrieve(question)
    confidence = retriever.confidence(question, hits)
    assert confidence > retriever.confidence("Who won the chess match?", retriever.retrieve("Who won the chess match?"))
    assert not retriever.refuses(question, hits)  # nothing is refused until it is asked for
    assert like(retriever, refuse_below=min(1.0, confidence + 0.01)).refuses(question, hits)
    assert not like(retriever, refuse_below=confidence).refuses(question, hits)


def test_vectors_of_a_search_under_way_outlast_those_that_are_kept(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = like(retriever)
    kept = {f"other {n}": [0.0] for n in range(10_001)}
    made._vectors = kept
    question = "What does a mooring for a yacht cost?"
    assert made.embed_all([question, "other 1"]).keys() == {question, "other 1"}
    assert kept.keys() == {question}
    search = made.store.near_chunks
    made.store = copy.copy(made.store)
    monkeypatch.setattr(made.store, "near_chunks", lambda *a, **k: (kept.clear(), search(*a, **k))[1])
    assert made.retrieve(question)[0].chunk.document == "fees-2026.txt"
