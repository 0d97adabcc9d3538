"""A second look at the best candidates: a reranker reads question and chunk together and gives each a score.

Registered ones are the modules of ``rerankers``: ``cross_encoder`` (bundled) and ``language_model``. Any other name is a
folder or a Hugging Face name of a cross-encoder for sequence classification with one label
(``cross-encoder/ms-marco-MiniLM-L6-v2``). The reranker's scores, spread from 0 to 1 over the candidates, are added to the
retriever's with a weight: interpolation loses less than replacement where the reranker is weak or far from its domain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

from groundtune import registry
from groundtune.errors import InputError, UnknownNameError
from groundtune.retrieval.fusion import spread
from groundtune.retrieval.hits import Hit

#: prompts -> what a language model writes for each
Generate = Callable[[Sequence[str]], Sequence[str]]


class Reranker(Protocol):
    """What rerankers are."""

    NAME: str

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the question; greater is better, on a scale of its own."""
        ...


def reranked(reranker: Reranker, question: str, hits: Sequence[Hit], candidates: int, weight: float) -> list[Hit]:
    """Hits with the reranker's say in their score, best first; those behind the candidates stay behind them.

    Args:
        hits: best first.
        candidates: how many of the best the reranker reads.
        weight: what its best candidate gains.
    """
    first, rest = list(hits[:candidates]), list(hits[candidates:])
    if len(first) < 2:
        return [*first, *rest]
    given = reranker.scores(question, [h.chunk.text for h in first])
    first = [
        replace(h, score=h.score + weight * share, reranked=own)
        for h, own, share in zip(first, given, spread(given), strict=True)
    ]
    return [*sorted(first, key=lambda h: (-h.score, h.chunk.id)), *rest]


def open_reranker(name: str, *, root: Path = Path(), generate: Generate | None = None) -> Reranker:
    """The reranker of a name.

    Args:
        name: registered, a folder, or a Hugging Face name.
        root: what folders are relative to.
        generate: what ``language_model`` asks.

    Raises:
        UnknownNameError: no such name. InputError: a folder or download without such a model.
    """
    if name in registry.names("rerankers"):
        return cast(Reranker, registry.get("rerankers", name).open_reranker(generate))
    folder = root / Path(name).expanduser()
    if folder.is_dir():
        return _opened(name, folder)
    if "/" not in name or name.startswith((".", "/", "~")):
        raise UnknownNameError("reranker", name, [*registry.names("rerankers"), "a folder", "a Hugging Face name"])
    return _opened(name, _downloaded(name))


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # of the network, of the hub, of the name: a dozen classes
        raise InputError(
            f"reranker {name!r}: no such folder, and not to be had from Hugging Face: {str(error).strip().splitlines()[0]}",
            expected="cross_encoder, language_model, a folder, or a name in the cache or that can be fetched",
            next_step="check `retrieval.reranker` in groundtune.yaml",
        ) from None


class SequenceClassifier:
    """A cross-encoder of a folder: a transformers model for sequence classification with one label.

    Args:
        name: what tables call it.
        folder: config.json, tokenizer, safetensors.
    """

    BATCH = 16

    def __init__(self, name: str, folder: Path) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.NAME = name
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any
            self._model, info = AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise _no_cross_encoder(folder, str(error).strip().splitlines()[0]) from None
        if self._model.config.num_labels != 1 or info["missing_keys"]:
            found = (
                f"it has {self._model.config.num_labels} labels"
                if self._model.config.num_labels != 1
                else "weights are missing"
            )
            raise _no_cross_encoder(folder, found)
        self._model.eval()
        limit = int(getattr(self._model.config, "max_position_embeddings", 512) or 512)
        self._longest = min(limit, int(self._tokenizer.model_max_length), 512)

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """The model's logits."""
        import torch

        out: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(texts), self.BATCH):
                part = list(texts[start : start + self.BATCH])
                read = self._tokenizer(
                    [question] * len(part), part, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
                )  # fmt: skip
                out += self._model(**read).logits.squeeze(-1).float().tolist()
        return out


def _no_cross_encoder(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder}: no cross-encoder that can be used: {reason}",
        expected="a model for sequence classification with one label: config.json, tokenizer, safetensors",
        next_step="check `retrieval.reranker` in groundtune.yaml",
    )


@lru_cache(maxsize=2)
def _opened(name: str, folder: Path) -> Reranker:
    return SequenceClassifier(name, folder)
