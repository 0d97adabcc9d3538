"""Conversations to token rows: the chat template once, the loss mask from its assistant markers.

The mask comes from the template's ``{% generation %}`` blocks (transformers' ``return_assistant_tokens_mask``), or,
where a template has none, from the difference between the conversation with and without each assistant turn; never
from searching for marker strings. A row whose last trained token is not an end-of-turn token is refused: a model that
never learns to stop is the most common silent fault of fine-tuning tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from groundtune.errors import InputError
from groundtune.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One tokenized conversation.

    Attributes:
        ids: token ids.
        trained: same length; True where the token counts in the loss.
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


def as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages in the form chat templates take."""
    return [{"role": m.role, "content": m.content} for m in messages]


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of a conversation with the marker that opens the assistant's turn."""
    if not tokenizer.chat_template:  # a base model: plain text
        text = "\n\n".join(m.content for m in messages) + "\n"
        return list(tokenizer(text)["input_ids"])
    encoded: Any = tokenizer.apply_chat_template(
        as_dicts(messages), add_generation_prompt=True, return_dict=True, tokenize=True
    )
    return list(encoded["input_ids"])


def render_example(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, max_tokens: int, where: str
) -> TokenRow:
    """A conversation as a row to train on, with the loss on assistant tokens only.

    Raises:
        InputError: longer than ``max_tokens`` (nothing is cut silently), nothing to train on, or no end of turn.
    """
    ids, trained = _ids_and_mask(tokenizer, messages)
    if len(ids) > max_tokens:
        raise InputError(
            f"{where}: {len(ids)} tokens, over the limit of {max_tokens}",
            expected=f"at most {max_tokens} tokens (the model's context)",
            next_step="shorten the example, or choose a model with a longer context",
        )
    if not any(trained) or not all(m.content.strip() for m in messages if m.role == "assistant"):
        raise InputError(f"{where}: no assistant token to train on", expected="a non-empty assistant message")
    last = max(i for i, flag in enumerate(trained) if flag)
    if ids[last] not in _end_ids(tokenizer):
        raise InputError(
            f"{where}: the last trained token {tokenizer.decode([ids[last]])!r} does not end the turn",
            expected=f"one of {[tokenizer.decode([i]) for i in _end_ids(tokenizer)]} inside the template's generation block",
        )
    return TokenRow(tuple(ids), tuple(trained))


def _ids_and_mask(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
    template = tokenizer.chat_template
    if isinstance(template, str) and "{% generation %}" in template.replace("{%-", "{%"):
        encoded: Any = tokenizer.apply_chat_template(
            as_dicts(messages), return_dict=True, tokenize=True, return_assistant_tokens_mask=True
        )
        return list(encoded["input_ids"]), [bool(b) for b in encoded["assistant_masks"]]
    ids: list[int] = []
    mask: list[bool] = []
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        prompt = render_prompt(tokenizer, messages[:index])
        if template:
            whole: Any = tokenizer.apply_chat_template(as_dicts(messages[: index + 1]), return_dict=True, tokenize=True)
            full = list(whole["input_ids"])
        else:
            full = prompt + list(tokenizer(message.content, add_special_tokens=False)["input_ids"])
        end = next((i for i in range(len(full) - 1, -1, -1) if full[i] in _end_ids(tokenizer)), None)
        if end is None or end < len(prompt):
            full = [*full, tokenizer.eos_token_id]
            end = len(full) - 1
        # earlier turns may stand here differently (no end marker, thoughts left out): their mask holds while they agree
        kept = next(
            (n for n, (a, b) in enumerate(zip(ids, prompt, strict=False)) if a != b), min(len(ids), len(prompt))
        )
        mask = [*mask[:kept], *[False] * (len(prompt) - kept), *[i <= end for i in range(len(prompt), len(full))]]
        ids = full
    return ids, mask[: len(ids)]


def _end_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    ends = {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
    for token in ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>"):
        found = tokenizer.convert_tokens_to_ids(token)
        if isinstance(found, int) and found != tokenizer.unk_token_id:
            ends.add(found)
    return ends
