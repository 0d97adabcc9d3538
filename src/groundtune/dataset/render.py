"""Conversations to token rows: the chat template once, the loss mask from its assistant markers.

The mask comes from the template's ``{% generation %}`` blocks (transformers' ``return_assistant_tokens_mask``), or,
where a template has none, from the difference between the conversation with and without each assistant turn; never
from searching for marker strings. Every trained turn must end in an end-of-turn token that is itself trained: a model
that never learns to stop is the most common silent fault of fine-tuning tools. Control tokens that stand in a user's
text are encoded as the characters they are. Leaves out which rows share a batch (``pack``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from groundtune.errors import InputError
from groundtune.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: goes up when the same conversation comes out as another row: what was trained on rows of another version is trained anew
VERSION = 1
#: what happens to a row over the limit: refused, left out, or cut into overlapping windows
Truncation = Literal["error", "drop", "window"]


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One tokenized conversation.

    Attributes:
        ids: token ids.
        trained: same length; True where the token counts in the loss.
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


def as_dicts(
    messages: Sequence[Message], template: str = "", tools: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Messages in the form chat templates take.

    A template that knows no tools gets calls, results and the tools' descriptions as text, in the tags that Hermes and
    Qwen models use; one that knows no developer gets a system message.
    """
    native = "tool_calls" in template
    out: list[dict[str, Any]] = []
    if tools and "tools" not in template:
        out.append({"role": "system", "content": _described(tools)})
    for message in messages:
        row: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.role == "developer" and "developer" not in template:
            row["role"] = "system"
        if row["role"] == "system" and out and out[-1]["role"] == "system":
            out[-1]["content"] = f"{message.content}\n\n{out[-1]['content']}"
            continue
        if native:
            if message.tool_calls:
                row["tool_calls"] = [_call(c.name, c.arguments, c.id) for c in message.tool_calls]
            if message.name:
                row["name"] = message.name
            if message.tool_call_id:
                row["tool_call_id"] = message.tool_call_id
        elif message.role in ("tool", "function"):
            row = {"role": "user", "content": f"<tool_response>\n{message.content}\n</tool_response>"}
        elif message.tool_calls:
            calls = [f'<tool_call>\n{{"name": {json.dumps(c.name, ensure_ascii=False)}, "arguments": {c.arguments or "{}"}}}\n</tool_call>' for c in message.tool_calls]  # fmt: skip
            row["content"] = "\n".join([*([message.content] if message.content else []), *calls])
        out.append(row)
    return out


def _described(tools: Sequence[Mapping[str, Any]]) -> str:
    lines = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
    return "\n".join(["Tools that may be called:", *lines])


def _call(name: str, arguments: str, identity: str) -> dict[str, Any]:
    try:
        parsed: Any = json.loads(arguments or "{}")
    except ValueError:
        parsed = arguments
    return {"type": "function", "id": identity, "function": {"name": name, "arguments": parsed}}


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
) -> list[int]:
    """Token ids of a conversation with the marker that opens the assistant's turn."""
    if not tokenizer.chat_template:  # a base model: plain text
        text = "\n\n".join(m["content"] for m in as_dicts(messages, "", tools)) + "\n"
        return list(tokenizer(text)["input_ids"])
    return _templated(tokenizer, messages, tools, add_generation_prompt=True)


def _templated(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], **options: Any
) -> list[int]:
    encoded: Any = tokenizer.apply_chat_template(
        as_dicts(messages, str(tokenizer.chat_template), tools),
        tools=[dict(tool) for tool in tools] or None,
        return_dict=True,
        tokenize=True,
        sanitize_control_tokens=_holds_control_tokens(tokenizer, messages, tools),
        **options,
    )
    return list(encoded["input_ids"])


def _holds_control_tokens(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> bool:
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    texts = [
        t
        for m in messages
        for t in (m.content, m.name, *(part for c in m.tool_calls for part in (c.name, c.arguments)))
    ]
    texts += [json.dumps(tool, ensure_ascii=False) for tool in tools]
    return any(token in text for text in texts if text for token in added)


def render_example(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    where: str,
    tools: Sequence[Mapping[str, Any]] = (),
    truncation: Truncation = "error",
) -> TokenRow:
    """A conversation as a row to train on, with the loss on assistant tokens only.

    Args:
        tokenizer: the model's own, with its chat template.
        messages: the turns; an assistant's with ``trained`` False is context only.
        max_tokens: the model's context.
        where: what an error calls the row.
        tools: on offer in this conversation.
        truncation: "error" refuses a longer row; anything else hands it on whole, to :func:`windows` or to be left out.

    Raises:
        InputError: longer than ``max_tokens`` (nothing is cut silently), nothing to train on, no end of turn, or two
            beginnings of text.
    """
    ids, trained = _ids_and_mask(tokenizer, messages, tools, where)
    if len(ids) > max_tokens and truncation == "error":
        raise InputError(
            f"{where}: {len(ids)} tokens, over the limit of {max_tokens}",
            expected=f"at most {max_tokens} tokens (the model's context)",
            next_step="shorten the example, or choose a model with a longer context",
        )
    answers = [m for m in messages if m.role == "assistant" and m.trained]
    if not any(trained) or not all(m.content.strip() or m.tool_calls for m in answers):
        raise InputError(f"{where}: no assistant token to train on", expected="a non-empty assistant message")
    if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
        raise InputError(
            f"{where}: begins with two {tokenizer.bos_token!r} tokens",
            expected="one",
            next_step="take the marker out of the text; the chat template adds it",
        )
    last = max(i for i, flag in enumerate(trained) if flag)
    if ids[last] not in end_ids(tokenizer):
        raise InputError(
            f"{where}: the last trained token {tokenizer.decode([ids[last]])!r} does not end the turn",
            expected=f"one of {[tokenizer.decode([i]) for i in end_ids(tokenizer)]} inside the template's generation block",
        )
    return TokenRow(tuple(ids), tuple(trained))


def windows(row: TokenRow, max_tokens: int) -> Iterator[TokenRow]:
    """A row over the limit as overlapping windows in which every trained token is trained exactly once.

    Each window but the first begins with at most half a window of what came before, as context. Windows without a
    trained token are left out.
    """
    start = covered = 0
    while covered < len(row.ids):
        end = min(len(row.ids), start + max_tokens)
        trained = tuple(row.trained[i] and i >= covered for i in range(start, end))
        if any(trained):
            yield TokenRow(row.ids[start:end], trained)
        covered = end
        start = max(end - max_tokens // 2, 0)


def _ids_and_mask(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], where: str
) -> tuple[list[int], list[bool]]:
    template = tokenizer.chat_template
    marked = isinstance(template, str) and "{% generation %}" in template.replace("{%-", "{%")
    # a part of the answers only, or control tokens to be spelt out: the markers cannot tell these, the turns can
    if marked and all(m.trained for m in messages) and not _holds_control_tokens(tokenizer, messages, tools):
        encoded: Any = tokenizer.apply_chat_template(
            as_dicts(messages, str(template), tools),
            tools=[dict(tool) for tool in tools] or None,
            return_dict=True,
            tokenize=True,
            return_assistant_tokens_mask=True,
        )
        ids, mask = list(encoded["input_ids"]), [bool(b) for b in encoded["assistant_masks"]]
        return ids, _ended(ids, mask, end_ids(tokenizer))
    return _turn_by_turn(tokenizer, messages, tools, where)


def _turn_by_turn(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], where: str
) -> tuple[list[int], list[bool]]:
    """Ids and mask from rendering the conversation up to each assistant turn, without it and with it."""
    ids: list[int] = []
    mask: list[bool] = []
    ends = end_ids(tokenizer)
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        prompt = render_prompt(tokenizer, messages[:index], tools)
        if tokenizer.chat_template:
            full = _templated(tokenizer, messages[: index + 1], tools)
        else:
            said = as_dicts([message])[0]["content"]
            full = prompt + list(tokenizer(said, add_special_tokens=False)["input_ids"])
        end = next((i for i in range(len(full) - 1, -1, -1) if full[i] in ends), None)
        start = _agreeing(prompt, full)
        if (
            start < len(prompt) and tokenizer.chat_template
        ):  # what opens the turn holds more than the turn, "<think>" say
            before = _templated(tokenizer, messages[:index], tools)
            if start < _agreeing(before, full) or start < len(before) - 1:
                raise InputError(
                    f"{where}: the chat template writes the turns before an answer otherwise once it is there",
                    expected="a template whose rendering of a conversation begins with that of its first turns",
                    next_step="use the model's training template, with {% generation %} blocks",
                )
        if end is None or end < start:
            full = [*full, tokenizer.eos_token_id]
            end = len(full) - 1
        # earlier turns may stand here differently (no end marker, thoughts left out): their mask holds while they agree
        kept = min(_agreeing(ids, prompt), start)
        own = [message.trained and i <= end for i in range(start, len(full))]
        mask = [*mask[:kept], *[False] * (start - kept), *own]
        ids = full
    return ids, mask[: len(ids)]


def _agreeing(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of what two rows of ids begin with in common."""
    return next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _ended(ids: list[int], mask: list[bool], ends: set[int]) -> list[bool]:
    """The mask without what a generation block holds after its end-of-turn token (a line break, as a rule)."""
    out = list(mask)
    for last in (i for i, flag in enumerate(mask) if flag and not (i + 1 < len(mask) and mask[i + 1])):
        at = last
        while at > last - 3 and at >= 0 and mask[at] and ids[at] not in ends:
            at -= 1
        if at > last - 3 and at >= 0 and mask[at]:
            out[at + 1 : last + 1] = [False] * (last - at)
    return out


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that a trained answer ends in with this tokenizer's template: generation must stop there.

    It need not be the end-of-sequence token: a base model stops at ``<|endoftext|>``, and its template ends turns otherwise.
    """
    from jinja2.exceptions import TemplateError

    said = (Message("user", "Hello"), Message("assistant", "Hello"))
    try:
        row = render_example(tokenizer, said, max_tokens=10**9, where="a greeting")
    except (InputError, TemplateError, TypeError, ValueError):  # the rows themselves will say what is wrong
        return None if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)
    return row.ids[max(i for i, flag in enumerate(row.trained) if flag)]


def end_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token that ends a turn: the end-of-sequence token and the common models' own markers."""
    ends = {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
    for token in ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>"):
        found = tokenizer.convert_tokens_to_ids(token)
        if isinstance(found, int) and found != tokenizer.unk_token_id:
            ends.add(found)
    return ends
