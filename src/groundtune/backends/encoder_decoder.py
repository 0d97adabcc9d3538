"""An encoder-decoder (T5, BART, Marian ...) on this machine, through transformers: greedy, or the best of several beams.

The input is the conversation as plain text: encoder-decoders have no chat template. An input over the model's context
loses its end. Batches are sorted by length, padded on the right behind an attention mask; each answer is the same alone
and in a batch up to floating-point ties.

Legend: B rows, S input tokens, T written tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from groundtune.nn.encoder_decoder import context_tokens, open_encoder_decoder
from groundtune.nn.shared_tokenizer import shared
from groundtune.records import Generation, Message, Usage
from groundtune.training.pairs import padded


@dataclass(frozen=True, slots=True)
class Search:
    """How an answer is looked for.

    Attributes:
        beams: sequences kept at each step; 1 is greedy.
        length_penalty: above 0 favours long answers of the beams, below 0 short ones; nothing to greedy search.
        no_repeat: no run of so many tokens is written twice; 0: any may be.
    """

    beams: int = 1
    length_penalty: float = 1.0
    no_repeat: int = 0


class EncoderDecoderBackend:
    """Generates with an encoder-decoder in this process.

    Args:
        name: what it is called.
        model, tokenizer: as :func:`groundtune.nn.encoder_decoder.open_encoder_decoder` gives them.
        system_text: whether system messages belong to the input.
        input_tokens: longest input; default: the model's context.
        search: greedy or beams.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        *,
        system_text: bool = True,
        input_tokens: int | None = None,
        search: Search = Search(),
    ) -> None:
        self.name, self.model, self.tokenizer = name, model.eval(), tokenizer
        self.system_text, self.search = system_text, search
        self.context_tokens = context_tokens(model, tokenizer)
        self.input_tokens = min(input_tokens or self.context_tokens, self.context_tokens)

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
        inputs = [
            cut(input_ids(self.tokenizer, input_text(messages, system_text=self.system_text)), self.input_tokens)
            for messages in conversations
        ]
        order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]))
        out: list[Generation] = [Generation("")] * len(inputs)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            for row, generation in zip(rows, self._batch([inputs[i] for i in rows], max_tokens), strict=True):
                out[row] = generation
        return out

    @torch.inference_mode()
    def _batch(self, inputs: list[list[int]], max_tokens: int) -> list[Generation]:
        settings, device = self.model.generation_config, self.model.device
        ids_BS, mask_BS = (t.to(device) for t in padded(inputs, settings.pad_token_id))
        written_BT = self.model.generate(
            input_ids=ids_BS,
            attention_mask=mask_BS,
            max_new_tokens=min(max_tokens, self.context_tokens - 1),
            do_sample=False,
            num_beams=self.search.beams,
            length_penalty=self.search.length_penalty if self.search.beams > 1 else None,
            no_repeat_ngram_size=self.search.no_repeat,
        )
        # scored once more: what the search added (beams, bans) must not stand in the probabilities
        logits_BTV = self.model(input_ids=ids_BS, attention_mask=mask_BS, decoder_input_ids=written_BT[:, :-1]).logits
        new_BT = written_BT[:, 1:]
        chosen_BT = torch.log_softmax(logits_BTV.float(), -1).gather(-1, new_BT.unsqueeze(-1)).squeeze(-1)
        ends = settings.eos_token_id
        stop = set(ends if isinstance(ends, list) else [ends])
        out = []
        for given, new, chosen in zip(inputs, new_BT.tolist(), chosen_BT.tolist(), strict=True):
            length = next((i for i, token in enumerate(new) if token in stop), len(new))
            text = self.tokenizer.decode(new[:length], skip_special_tokens=True).strip()
            counted = min(length + 1, len(new))
            out.append(Generation(text, tuple(chosen[:counted]), Usage(len(given), counted)))
        return out


def input_text(messages: Sequence[Message], *, system_text: bool) -> str:
    """A conversation without its answer as the encoder reads it: the turns, a line each."""
    left_out = () if system_text else ("system", "developer")
    return "\n".join(m.content for m in messages if m.role not in left_out)


def input_ids(tokenizer: Any, text: str) -> list[int]:
    """An input's ids as the model's own tokenizer frames them, an end token at the end; control tokens are spelt out."""
    return _ended(tokenizer, list(tokenizer(text, split_special_tokens=True)["input_ids"]))


def target_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids the decoder is to write, an end token at the end; Marian's targets have a vocabulary of their own."""
    return _ended(tokenizer, list(tokenizer(text_target=text, split_special_tokens=True)["input_ids"]))


def _ended(tokenizer: Any, ids: list[int]) -> list[int]:
    return ids if ids and ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]


def cut(ids: list[int], limit: int) -> list[int]:
    """Ids without what is over a limit; the end token stays."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]


def open_backend(model: str, adapter: str | None = None) -> EncoderDecoderBackend:
    """The encoder-decoder of that folder or name, as it is."""
    opened, tokenizer = open_encoder_decoder(model)
    return EncoderDecoderBackend(model, opened, shared(tokenizer))
