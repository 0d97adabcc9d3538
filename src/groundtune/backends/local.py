"""Any Hugging Face causal model by folder or name, on this machine, through transformers.

Greedy, or drawn at a temperature. A prompt over the model's context loses its middle: instructions stand first, the question last. Batches are padded on the left and sorted by length; each prompt's answer is the same alone and in a
batch up to floating-point ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from groundtune.dataset.render import render_prompt, turn_end
from groundtune.nn.adapters.apply import virtual_tokens
from groundtune.nn.checkpoints import load_model
from groundtune.records import Generation, Message, Usage


class Draws(LogitsProcessor):
    """Sampling as the likeliest token under noise of each row's own (Gumbel-max: Maddison et al., NeurIPS 2014, section 2).

    Args:
        temperature: divides logits; above 0.
        seeds: one a row.
    """

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        self.temperature, self.seeds = temperature, list(seeds)
        self._random = [np.random.default_rng(seed) for seed in seeds]

    def of(self, rows: Sequence[int]) -> Draws:
        """Those of some rows, from their beginning."""
        return Draws(self.temperature, [self.seeds[row] for row in rows])

    def __call__(self, input_ids: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        """Scores whose greatest is a draw; (rows, vocabulary)."""
        noise_BV = np.stack([r.gumbel(size=scores_BV.shape[1]) for r in self._random])
        return scores_BV.double() / self.temperature + torch.from_numpy(noise_BV).to(scores_BV.device)


class LocalBackend:
    """Generates with a model in this process.

    Args:
        model: folder or name; ``pebble`` is the bundled one.
        adapter: folder of an adapter to put on top, as PEFT saves it, or None.
    """

    def __init__(self, model: str, adapter: str | None = None) -> None:
        self.model, self.tokenizer = load_model(model, adapter=adapter)
        self.name = model
        context = int(getattr(self.model.config, "max_position_embeddings", 0) or 2048)
        self.context_tokens = context - virtual_tokens(self.model)

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 32) -> Generation:
        """One answer."""
        return self.generate_batch([messages], max_tokens=max_tokens, batch_size=1)[0]

    def count_tokens(self, text: str) -> int:
        """Tokens of a text in this model's vocabulary."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate_batch(
        self, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 32, batch_size: int = 16
    ) -> list[Generation]:
        """Answers to many conversations, in their order."""
        return self._written(conversations, max_tokens, batch_size)

    def sample_batch(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        seeds: Sequence[int],
        max_tokens: int = 32,
        batch_size: int = 16,
    ) -> list[Generation]:
        """Answers drawn at a temperature, each by its own seed: the same whatever else is in the batch."""
        return self._written(conversations, max_tokens, batch_size, Draws(temperature, seeds))

    def _written(
        self, conversations: Sequence[Sequence[Message]], max_tokens: int, batch_size: int, draws: Draws | None = None
    ) -> list[Generation]:
        prompts = [render_prompt(self.tokenizer, messages) for messages in conversations]
        limit = self.context_tokens - max_tokens
        prompts = [p if len(p) <= limit else [*p[: limit // 2], *p[-(limit - limit // 2) :]] for p in prompts]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        out: list[Generation] = [Generation("")] * len(prompts)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            drawn = draws.of(rows) if draws else None
            for row, generation in zip(rows, self._batch([prompts[i] for i in rows], max_tokens, drawn), strict=True):
                out[row] = generation
        return out

    @cached_property
    def _turn_end(self) -> int | None:
        return turn_end(self.tokenizer)

    def _stops(self) -> set[int]:
        """Where an answer ends: as the model says, and where its template ends turns, which is what was trained."""
        ends = self.model.generation_config.eos_token_id
        own = ends if isinstance(ends, list) else [ends]
        return {*own, self.tokenizer.eos_token_id, self._turn_end} - {None}

    def _batch(self, prompts: list[list[int]], max_tokens: int, draws: Draws | None = None) -> list[Generation]:
        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id
        pad = self.tokenizer.eos_token_id if pad is None else pad
        device, stop = self.model.device, self._stops()
        ids_BT = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
        mask_BT = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        with torch.inference_mode():
            written: Any = self.model.generate(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                max_new_tokens=max_tokens,
                do_sample=False,
                logits_processor=LogitsProcessorList([draws] if draws else []),
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=pad,
                eos_token_id=sorted(stop) or None,
                output_logits=True,
                return_dict_in_generate=True,
            )
        logits_BSV = torch.stack(written.logits, dim=1).float()
        new_BS = written.sequences[:, width:]
        chosen_BS = torch.log_softmax(logits_BSV, -1).gather(-1, new_BS.unsqueeze(-1)).squeeze(-1)
        out = []
        for prompt, new, chosen in zip(prompts, new_BS.tolist(), chosen_BS.tolist(), strict=True):
            length = next((i for i, token in enumerate(new) if token in stop), len(new))
            text = self.tokenizer.decode(new[:length], skip_special_tokens=True).strip()
            usage = Usage(len(prompt), min(length + 1, len(new)))
            out.append(Generation(text, tuple(chosen[: min(length + 1, len(new))]), usage))
        return out


def open_backend(model: str, adapter: str | None = None) -> LocalBackend:
    """The model of that folder or name."""
    return LocalBackend(model, adapter)
