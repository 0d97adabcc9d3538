"""German documents end to end: compounds and inflected words are found, and a multilingual embedder is one name away."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from groundtune.config import IndexConfig, RetrievalConfig
from groundtune.ingest.ingest import ingest
from groundtune.retrieval import index
from groundtune.retrieval.embedding import embedder_of_index
from groundtune.retrieval.retriever import Retriever, names_in
from groundtune.workspace import Workspace
from tiny_bert import write_tiny_bert

FILES = {
    "urlaub.txt": "Vollzeitkräfte haben Anspruch auf 29 Tage bezahlten Urlaub im Jahr. Der Antrag geht an das Büro.",
    "hafen.txt": "Die Gebühren für einen Liegeplatz im Hafen werden bei der Ankunft bezahlt, z. B. im Büro am Kai.",
    "fahrrad.txt": "Für Fahrräder ist auf der Fähre Platz; sie werden vom Personal an der Reling festgemacht.",
    "versammlung.txt": "Die Versammlung der Mitglieder tritt einmal im Jahr zusammen und wählt den Rat.",
    "english.txt": "The ferries carry bicycles, and the crew ties them to the rail of the ship on every crossing.",
}
QUESTIONS = {
    "Wie hoch ist der Jahresurlaubsanspruch?": "urlaub.txt",
    "Welche Liegeplatzgebuehr wird bezahlt?": "hafen.txt",  # typed without an umlaut
    "Was gilt für das Fahrrad auf Fähren?": "fahrrad.txt",
    "Wann ist die Mitgliederversammlung?": "versammlung.txt",
    "Is a bicycle carried by ferry?": "english.txt",
}


def project(folder: Path, config: IndexConfig) -> Workspace:
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    workspace = Workspace(folder)
    ingest(workspace, list(FILES))
    index.build_index(workspace, config)
    return workspace


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return project(tmp_path_factory.mktemp("mixed"), IndexConfig())


@pytest.mark.parametrize(("question", "document"), QUESTIONS.items())
def test_full_text_finds_compounds_and_inflected_words(built: Workspace, question: str, document: str) -> None:
    retriever = Retriever(built.path("index"), IndexConfig(), RetrievalConfig(mode="text", top_k=1))
    assert [hit.chunk.document for hit in retriever.retrieve(question)] == [document]


def multilingual_folder(folder: Path) -> Path:
    """A random encoder in the layout of paraphrase-multilingual-MiniLM-L12-v2: a BERT behind a Unigram tokenizer, mean pooling."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    write_tiny_bert(folder, FILES.values(), vocabulary=400)
    for name in ("vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    letters = sorted({letter for text in FILES.values() for letter in text if not letter.isspace()})
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *letters, "▁Hafen", "▁Liege", "platz", "▁Jahr"]
    tokenizer = Tokenizer(models.Unigram([(p, -float(n)) for n, p in enumerate(pieces)], unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    written = [{"idx": n, "name": str(n), "path": p, "type": f"sentence_transformers.models.{t}"} for n, (p, t) in enumerate(modules)]  # fmt: skip
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    for name, value in (
        ("modules.json", written), ("1_Pooling/config.json", pooling),
        ("sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False}),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def test_a_multilingual_embedder_is_one_name_away(tmp_path: Path) -> None:
    multilingual_folder(tmp_path / "models" / "multilingual")
    config = IndexConfig(embedder="models/multilingual")
    workspace = project(tmp_path, config)
    embedder = embedder_of_index(workspace, config)
    plain, umlaut = embedder.embed(["Gebuhr", "Gebühr"])
    assert embedder.MAX_TOKENS == 64
    assert embedder.count_tokens("Liegeplatz") == 2
    assert not np.allclose(plain, umlaut)  # MiniLM's English tokenizer takes the two for the same
    retriever = Retriever(workspace.path("index"), config, RetrievalConfig(mode="vector", top_k=1), embedder)
    hits = retriever.retrieve(FILES["hafen.txt"])
    assert [hit.chunk.document for hit in hits] == ["hafen.txt"]  # nearest to itself


def test_shared_words_weigh_more_in_a_language_the_embedder_does_not_know(built: Workspace) -> None:
    def best(question: str, weight: float) -> float:
        config = RetrievalConfig(top_k=1, text_weight=0.1, text_weight_foreign=weight)
        return Retriever(built.path("index"), IndexConfig(), config).retrieve(question)[0].score

    german, english = (
        "Was gilt auf den Fähren für ein Fahrrad, das an der Reling steht?",
        "Do the ferries carry bicycles?",
    )
    assert best(german, 2.0) == pytest.approx(best(german, 0.5) + 1.5, abs=1e-4)  # the best chunk by words counts as 1
    assert best(english, 2.0) == best(english, 0.5)


def test_a_name_begins_behind_the_article() -> None:
    text = "Die Genossenschaft nennt den Steg C, und Der Alte Hafen liegt am Kai."
    assert names_in(text, ["de"]) == ["Steg C", "Alte Hafen"]
    assert "Die Genossenschaft" in names_in(text)
