"""An index over a few small documents, with the real embedder: what is found, and that building is repeatable."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundtune.config import Config, IndexConfig, RetrievalConfig
from groundtune.errors import ConfigError
from groundtune.ingest.ingest import ingest
from groundtune.records import Passage
from groundtune.retrieval import index
from groundtune.retrieval.embedders import minilm
from groundtune.retrieval.embedding import embedder_of_index
from groundtune.retrieval.retriever import Retriever, rank_sentences
from groundtune.retrieval.stores import lance
from groundtune.retrieval.update import edited, index_with_changes
from groundtune.workspace import Workspace
from sample_project import HOURS, MEMBERSHIP, PAGES, PRICES, write_pdf

CONFIG = Config(index=IndexConfig(chunk_tokens=32, overlap_tokens=0))


def build(folder: Path, config: IndexConfig = CONFIG.index) -> Workspace:
    documents = folder / "documents"
    documents.mkdir()
    (documents / "hours.txt").write_text(HOURS, encoding="utf-8")
    (documents / "membership.md").write_text(MEMBERSHIP, encoding="utf-8")
    (documents / "prices.csv").write_text(PRICES, encoding="utf-8")
    (documents / "O'Brien's \"notes\".txt").write_text(
        "The porter's cat is called Bess and sleeps in the boiler room.", encoding="utf-8"
    )
    write_pdf(documents / "handbook.pdf", PAGES)
    workspace = Workspace(folder)
    ingest(workspace, ["documents"])
    index.build_index(workspace, config)
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return build(tmp_path_factory.mktemp("indexed"))


def retriever(workspace: Workspace, **settings: Any) -> Retriever:
    return Retriever(workspace.path("index"), CONFIG.index, RetrievalConfig(**settings))


def rows(workspace: Workspace) -> dict[str, lance.Entry]:
    store = lance.Store(workspace.path("index") / "store")
    return store.entries([c.id for c in store.chunks()])


def same(a: dict[str, lance.Entry], b: dict[str, lance.Entry]) -> bool:
    return a.keys() == b.keys() and all(
        a[i].chunk == b[i].chunk
        and a[i].search_text == b[i].search_text
        and a[i].sentences == b[i].sentences
        and all(np.array_equal(getattr(a[i], v), getattr(b[i], v)) for v in ("vector", "vectors", "context_vectors"))
        for i in a
    )


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
@pytest.mark.parametrize(
    ("question", "document", "page", "words"),
    [
        ("On which extension does the duty officer answer?", "handbook.pdf", 2, "extension 4471"),
        ("Within how many days are lost keys replaced?", "handbook.pdf", 3, "6 working days"),
        ("What does a yearly card cost?", "membership.md", None, "48 crowns"),
        ("What is the price of a kayak?", "prices.csv", None, "17 crowns"),
        ("What is the name of the porter's cat?", "O'Brien's \"notes\".txt", None, "Bess"),
    ],
)
def test_the_right_chunk_comes_first(
    workspace: Workspace, mode: str, question: str, document: str, page: int | None, words: str
) -> None:
    hits = retriever(workspace, mode=mode).retrieve(question)
    assert (hits[0].chunk.document, hits[0].chunk.page) == (document, page)
    assert words in hits[0].chunk.text
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_the_sentence_that_says_it_ranks_first(workspace: Workspace) -> None:
    found = retriever(workspace).retrieve("What does the porter carry with him?")
    assert rank_sentences(found)[0].text == "The porter carries a radio and no telephone."


def test_a_table_row_keeps_its_number_and_a_heading_its_place(workspace: Workspace) -> None:
    chunks = [e.chunk for e in rows(workspace).values()]
    assert sorted(c.row for c in chunks if c.document == "prices.csv") == [1, 2, 3]
    assert {c.heading for c in chunks if c.document == "membership.md"} == {
        "Membership > Fees",
        "Membership > Meetings",
    }
    assert sorted(c.page or 0 for c in chunks if c.document == "handbook.pdf") == [1, 2, 3]


@pytest.mark.parametrize("document", ["handbook.pdf", "prices.csv", "O'Brien's \"notes\".txt"])
@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_one_document_can_be_searched_alone(workspace: Workspace, mode: str, document: str) -> None:
    question = "What does a yearly card cost, when are you open, and who is the porter, kayak?"
    free = retriever(workspace, mode=mode, top_k=20).retrieve(question)
    narrow = retriever(workspace, mode=mode, top_k=20).retrieve(question, document=document)
    assert {h.chunk.document for h in narrow} == {document}
    assert len({h.chunk.document for h in free}) > 1


def test_top_k_is_kept(workspace: Workspace) -> None:
    assert len(retriever(workspace, top_k=2).retrieve("crowns")) == 2


@pytest.mark.parametrize(
    "question", ["?!", "the of and", "'; DROP TABLE chunks; --", '"quoted" AND (x OR', "日本語", "a" * 3000]
)
def test_odd_questions_are_just_questions(workspace: Workspace, question: str) -> None:
    for mode in ("hybrid", "vector", "text"):
        assert len(retriever(workspace, mode=mode).retrieve(question)) <= 5


def test_an_answer_that_changes_is_found_without_touching_the_index(workspace: Workspace, tmp_path: Path) -> None:
    before = rows(workspace)
    edits = [
        (
            Passage("membership.md", "A yearly card costs 48 crowns."),
            Passage("membership.md", "A yearly card costs 61 crowns."),
        ),
        (
            Passage("prices.csv", "item: kayak, price: 17 crowns, deposit: 80 crowns"),
            Passage("prices.csv", "item: kayak, price: 29 crowns, deposit: 80 crowns"),
        ),
        (Passage("hours.txt", "A yearly card costs 48 crowns."), Passage("hours.txt", "nothing of this")),
    ]
    changed = index_with_changes(workspace, CONFIG, edits, tmp_path / "copy")
    card, kayak = changed.retrieve("What does a yearly card cost?"), changed.retrieve("What is the price of a kayak?")
    assert "61 crowns" in card[0].chunk.text
    assert rank_sentences(card)[0].text == "A yearly card costs 61 crowns."
    assert "29 crowns" in kayak[0].chunk.text
    assert "48" not in " ".join(h.chunk.text for h in changed.retrieve("48 crowns"))
    assert "61 crowns" in changed.store.entries([card[0].chunk.id])[card[0].chunk.id].search_text
    assert len(list(changed.store.chunks())) == len(before)
    assert same(rows(workspace), before)


def test_new_words_are_found_by_full_text_after_a_change(workspace: Workspace, tmp_path: Path) -> None:
    edits = [
        (
            Passage("hours.txt", "The cloakroom is in the cellar"),
            Passage("hours.txt", "The cloakroom is in the orangery"),
        )
    ]
    changed = index_with_changes(workspace, CONFIG, edits, tmp_path / "copy")
    assert [hit[0] for hit in changed.store.text_search("orangery", 5)] == [
        h.chunk.id for h in changed.retrieve("orangery")[:1]
    ]
    assert changed.store.text_search("cellar", 5) == []


def test_edited_changes_only_the_cell_of_its_row() -> None:
    table = "| kayak | 17 crowns | 80 crowns |\n| canoe | 17 crowns | 60 crowns |"
    assert edited(table, "kayak, 17 crowns, 80 crowns", "kayak, 29 crowns, 80 crowns") == table.replace("17", "29", 1)
    assert edited(table, "raft, 17 crowns, 80 crowns", "raft, 29 crowns, 80 crowns") == table


def test_a_rebuilt_index_has_the_same_rows_and_vectors(workspace: Workspace, tmp_path: Path) -> None:
    again = build(tmp_path)
    assert len(rows(again)) >= 10
    assert same(rows(again), rows(workspace))
    for vector in ("vector", "vectors"):
        norms = [np.linalg.norm(getattr(e, vector), axis=-1) for e in rows(again).values()]
        assert all(np.allclose(n, 1, atol=1e-5) for n in norms)


def test_unchanged_documents_are_not_indexed_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "embed", lambda texts: pytest.fail("embedded again"))
    assert index.build_index(workspace, CONFIG.index)[1] is False


def test_a_stopped_run_keeps_the_vectors_it_has(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(workspace.root, tmp_path / "p")
    again = Workspace(tmp_path / "p")
    shutil.rmtree(again.path("index"))
    monkeypatch.setattr(index, "BATCH", 4)
    embed, calls = minilm.embed, []

    def stopping(texts: list[str]) -> Any:
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(texts)

    monkeypatch.setattr(minilm, "embed", stopping)
    with pytest.raises(KeyboardInterrupt):
        index.build_index(again, CONFIG.index)
    assert again.manifest("index") is None
    index.build_index(again, CONFIG.index)
    batches = -(-len(rows(workspace)) // 4)
    assert len(calls) == batches + 1  # only the batch that was under way is embedded a second time
    found = rows(again)
    assert {i: (e.chunk, e.search_text) for i, e in found.items()} == {
        i: (e.chunk, e.search_text) for i, e in rows(workspace).items()
    }
    assert all(np.allclose(found[i].vector, e.vector, atol=1e-5) for i, e in rows(workspace).items())


def test_an_index_of_an_older_version_is_named(tmp_path: Path) -> None:
    old = build(tmp_path)
    manifest = old.manifest("index")
    assert manifest
    old.amend("index", {**manifest["inputs"], "version": 3}, manifest["figures"])
    with pytest.raises(ConfigError, match="another version of groundtune") as caught:
        embedder_of_index(old, CONFIG.index)
    assert caught.value.next_step == "groundtune index"
    index.build_index(old, CONFIG.index)
    assert embedder_of_index(old, CONFIG.index).embed(["hours"]).shape == (1, 384)
