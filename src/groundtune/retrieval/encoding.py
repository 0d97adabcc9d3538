"""Sentence encoders of folders as embedders: texts to unit vectors, and parts of texts to unit vectors in the same pass.

BERT runs through onnxruntime (:mod:`groundtune.nn.onnx.bert`), everything else through transformers. A part's vector is the
mean of its own tokens' states after the whole text was read ("late chunking", Guenther et al., 2024, arXiv:2409.04701).
Leaves out models behind an endpoint (``endpoint``) and which folder a name stands for (``embedding``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.nn.encoders import Pooling, Vectors, hidden_states, open_encoder, open_reading
from groundtune.nn.onnx import bert

#: (first character, character behind the last) ranges of a text
Span = Sequence[tuple[int, int]]
#: rows of token ids to (position, states (T, D))
States = Callable[[Sequence[Sequence[int]]], Iterator[tuple[int, Vectors]]]


class FolderEmbedder:
    """A sentence encoder of a folder.

    Args:
        name: what tables call it.
        folder: where it is, in the layout of sentence-transformers.
        int8: multiply in whole numbers of 8 bits; of BERT only.

    Raises:
        InputError: no encoder that can be used.
    """

    def __init__(self, name: str, folder: Path, *, int8: bool = False) -> None:
        self.NAME = name
        self._pooling: Pooling
        self._states: States
        inside = folder if (folder / "config.json").exists() else folder / "0_Transformer"
        if bert.can_open(inside):
            settings: Any = json.loads((inside / "config.json").read_text(encoding="utf-8"))
            reading = open_reading(folder, positions=int(settings["max_position_embeddings"]))
            model = bert.Bert(inside, int8=int8)
            self.DIMENSIONS, self._states = model.width, model.states
            self.MAX_TOKENS, self._pooling = reading.max_tokens, reading.pooling
            self._tokenizer, self._counter = reading.tokenizer, reading.counter
        else:
            encoder = open_encoder(folder)
            self.DIMENSIONS, self._states = encoder.dimensions, lambda rows: hidden_states(encoder, rows)
            self.MAX_TOKENS, self._pooling = encoder.max_tokens, encoder.pooling
            self._tokenizer, self._counter = encoder.tokenizer, encoder.counter

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without the marks that the model adds."""
        return len(self._counter.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), DIMENSIONS); a text over ``MAX_TOKENS`` counts with its beginning."""
        out = np.zeros((len(texts), self.DIMENSIONS), dtype=np.float32)
        rows = [e.ids for e in self._tokenizer.encode_batch(list(texts))]
        for i, states_TD in self._states(rows):
            out[i] = states_TD[0] if self._pooling == "cls" else states_TD.mean(0)
        return _unit(out)

    def embed_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
        """Unit vectors of texts, and of parts of each, with one pass over each text.

        Args:
            texts: as for :meth:`embed`.
            parts: of each text any number of parts; a part is one or more ranges of characters.

        Returns:
            (len(texts), DIMENSIONS), and for each text (parts, DIMENSIONS); a part without a token that was read is 0.
        """
        out = np.zeros((len(texts), self.DIMENSIONS), dtype=np.float32)
        encoded = self._tokenizer.encode_batch(list(texts))
        found: list[Vectors] = [np.zeros((len(p), self.DIMENSIONS), dtype=np.float32) for p in parts]
        for i, states_TD in self._states([e.ids for e in encoded]):
            out[i] = states_TD[0] if self._pooling == "cls" else states_TD.mean(0)
            if parts[i]:
                found[i] = _unit(_sums(encoded[i].offsets, parts[i], states_TD))
        return _unit(out), found


def _sums(offsets: Sequence[tuple[int, int]], parts: Sequence[Span], states_TD: Vectors) -> Vectors:
    """(parts, D): the sum of the states of the tokens that begin in a part; a model's own marks have no characters and belong to none.

    From running sums, not by a matrix: a BLAS would wake threads beside those that the encoder computes on.
    """
    places = np.array(offsets)
    own = np.flatnonzero(places[:, 1] > places[:, 0])
    starts = places[own, 0]
    running = np.zeros((len(own) + 1, states_TD.shape[1]))
    np.cumsum(states_TD[own], axis=0, dtype=np.float64, out=running[1:])
    edges = [np.searchsorted(starts, np.array(part).reshape(-1, 2)) for part in parts]
    return np.array([(running[e[:, 1]] - running[e[:, 0]]).sum(0) for e in edges], dtype=np.float32)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return np.asarray(vectors / lengths, dtype=np.float32)
