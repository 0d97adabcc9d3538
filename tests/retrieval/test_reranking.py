"""Rerankers: interpolation, a language model's order, any cross-encoder's folder, and the bundled one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.records import Chunk
from groundtune.retrieval.hits import Hit
from groundtune.retrieval.rerankers.language_model import LanguageModel, order_in
from groundtune.retrieval.reranking import open_reranker, reranked

TEXTS = ["Soup is served in the saloon.", "A mooring for a yacht costs 41 crowns.", "Cats travel in a basket."]
QUESTION = "What does a mooring for a yacht cost?"


class ByLength:
    NAME = "by length"

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        return [100.0 * len(t) for t in texts]


def hits() -> list[Hit]:
    return [Hit(Chunk(f"d-{n}", "d", "d", "x" * n), 1.0 - n / 10, ()) for n in range(5)]


def test_the_reranker_has_a_say_among_the_candidates_only() -> None:
    found = reranked(ByLength(), "q", hits(), 3, 1.0)
    assert [h.chunk.id for h in found] == ["d-2", "d-1", "d-0", "d-3", "d-4"]
    assert [h.reranked for h in found] == [200.0, 100.0, 0.0, None, None]
    assert found[0].score == pytest.approx(0.8 + 1.0) and found[1].score == pytest.approx(0.9 + 0.5)
    assert [h.chunk.id for h in reranked(ByLength(), "q", hits(), 3, 0.0)] == [h.chunk.id for h in hits()]


def test_an_order_is_read_from_whatever_the_model_writes() -> None:
    assert order_in("[3] > [1], then 3 again and 9.", 4) == [2, 0, 1, 3]
    assert order_in("I cannot say.", 2) == [0, 1]


def test_a_language_model_lifts_the_best_from_the_end_to_the_head() -> None:
    prompts: list[str] = []

    def picks_the_mooring(asked: Sequence[str]) -> list[str]:
        prompts.extend(asked)
        numbered = [line for line in asked[0].splitlines() if line.startswith("[")]
        return [next((line.split()[0] for line in numbered if "mooring" in line), "none")]

    texts = ["Soup."] * 23 + [TEXTS[1]]
    scores = LanguageModel(picks_the_mooring).scores(QUESTION, texts)
    assert max(range(24), key=scores.__getitem__) == 23
    assert sorted(scores) == [-float(n) for n in reversed(range(24))]
    assert len(prompts) == 4 and all(QUESTION in p for p in prompts)


def test_a_language_model_must_be_given() -> None:
    with pytest.raises(ConfigError, match="asks a language model"):
        open_reranker("language_model")


def test_a_wrong_name_and_a_wrong_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="cross_encoder"):
        open_reranker("cross_encodr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no cross-encoder"):
        open_reranker("empty", root=tmp_path)


def tiny(folder: Path, labels: int) -> Path:
    """A random BERT for sequence classification, with MiniLM's tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from groundtune.nn.encoder_models import minilm_folder

    AutoTokenizer.from_pretrained(minilm_folder()).save_pretrained(folder)
    config = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=labels
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_any_cross_encoder_by_its_folder(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tiny(tmp_path / "model", 1)
    found = open_reranker("model", root=tmp_path).scores(QUESTION, TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        alone = [float(model(**tokenizer(QUESTION, t, return_tensors="pt")).logits) for t in TEXTS]
    assert found == pytest.approx(alone, abs=1e-5)
    tiny(tmp_path / "classes", 3)
    with pytest.raises(InputError, match="3 labels"):
        open_reranker("classes", root=tmp_path)


def test_the_bundled_cross_encoder_puts_the_answer_first() -> None:
    reranker = open_reranker("cross_encoder")
    scores = reranker.scores(QUESTION, TEXTS)
    assert max(range(3), key=scores.__getitem__) == 1
    assert reranker.scores(QUESTION, TEXTS[1:2]) == pytest.approx(scores[1:2], abs=1e-3)  # padding has no say
    assert reranker.scores(QUESTION, []) == []
