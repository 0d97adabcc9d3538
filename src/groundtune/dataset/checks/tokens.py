"""Tokens of items as the chat template renders them: how many, how many are trained on, and what is wrong with the row.

Rows are rendered and tokenized in batches; ids and mask are those of ``render`` (a test holds them equal), which the
rows of a template without ``{% generation %}`` blocks go through one by one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from groundtune.dataset.render import TokenRow, Truncation, as_dicts, end_ids, render_example, windows
from groundtune.errors import InputError
from groundtune.records import Conversation, Message, Preference

#: rows with more characters, and 200 times the context, are estimated; running text is counted in pieces of that size
_HUGE_CHARACTERS = 1_000_000
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(slots=True)
class Measured:
    """An item in tokens.

    Attributes:
        tokens: of the row; of both rows of a preference.
        longest: of its longest row.
        trained: tokens in the loss.
        windows: rows that the policy ``window`` makes of it.
        faults: (code, detail).
    """

    tokens: int = 0
    longest: int = 0
    trained: int = 0
    windows: int = 1
    faults: list[tuple[str, str]] = field(default_factory=list)


class TokenCounter:
    """Counts and checks tokens with one tokenizer.

    Args:
        tokenizer: of the model that is to be trained; a fast one (``tokenizers``).
        context_tokens: the longest row that the model takes.
        truncation: what becomes of longer rows; only ``window`` changes what is counted as lost.
    """

    def __init__(self, tokenizer: Any, context_tokens: int, truncation: Truncation = "error") -> None:
        self.tokenizer = tokenizer
        self.context_tokens = context_tokens
        self.truncation = truncation
        self.template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
        self.marked = bool(_GENERATION.search(self.template)) and hasattr(tokenizer, "_tokenizer")
        self._special = {
            name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)
        }
        self._ends = end_ids(tokenizer)
        self._bos = tokenizer.bos_token_id
        added = [re.escape(t.content) for t in tokenizer.added_tokens_decoder.values() if t.content]
        self._added = re.compile("|".join(sorted(added, key=len, reverse=True))) if added else None

    def measure(self, items: Sequence[Conversation | Preference], *, running_text: bool = False) -> list[Measured]:
        """One result an item, in order."""
        rows = [list(_rows_of(item)) for item in items]
        flat = [row for sides in rows for row in sides]
        if running_text:
            measured = self._running([messages for messages, _ in flat])
        else:
            sizes = [sum(len(m.content) for m in messages) for messages, _ in flat]
            limit = max(_HUGE_CHARACTERS, 200 * min(self.context_tokens, _HUGE_CHARACTERS))
            good = [row for row, size in zip(flat, sizes, strict=True) if size <= limit]
            counted = iter(self._fast(good) if self.marked else [self._slow(*row) for row in good])
            measured = [
                next(counted) if size <= limit else self._estimated(row[0], size)
                for row, size in zip(flat, sizes, strict=True)
            ]
        out = []
        for sides in rows:
            parts, measured = measured[: len(sides)], measured[len(sides) :]
            out.append(_joined(parts))
        return out

    def _running(self, texts: list[Sequence[Message]]) -> list[Measured]:
        out = []
        for messages in texts:
            pieces = [e.ids for e in self._encode(list(_pieces(messages[0].content)))]
            tokens = sum(map(len, pieces)) + 1
            out.append(Measured(tokens, tokens, tokens))  # cut into windows for training: none is too long
        return out

    def _estimated(self, messages: Sequence[Message], size: int) -> Measured:
        """A row so long that it fits no model: its tokens by the share of its first 100,000 characters."""
        head = "\n".join(m.content for m in messages)[:100_000]
        tokens = len(self._encode([head])[0].ids) * size // len(head)
        trained = sum(len(m.content) for m in messages if m.role == "assistant" and m.trained) * tokens // size
        found = Measured(tokens, tokens, trained)
        code = "answer_too_long" if trained > self.context_tokens else "too_long"
        found.faults.append((code, f"about {tokens} tokens, {self.context_tokens} fit"))
        return found

    def _encode(self, texts: list[str]) -> list[Any]:
        with _all_cores():
            if hasattr(self.tokenizer, "_tokenizer"):
                encoded: list[Any] = self.tokenizer._tokenizer.encode_batch(texts, add_special_tokens=False)
                return encoded
            return [_Ids(self.tokenizer(t, add_special_tokens=False)["input_ids"]) for t in texts]

    def _render(self, messages: Sequence[Message], tools: Sequence[Any]) -> tuple[str, list[tuple[int, int]]] | str:
        from transformers.utils.chat_template_utils import render_jinja_template

        options: dict[str, Any] = {"return_assistant_tokens_mask": True, **self._special}
        if tools:
            options["tools"] = [dict(t) for t in tools]
        rendered: Any
        try:
            rendered = render_jinja_template(
                conversations=[as_dicts(messages, self.template, tools)], chat_template=self.template, **options
            )
        except Exception as error:  # the template's own exceptions are of many kinds
            return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        return rendered[0][0], list(rendered[1][0])

    def _fast(self, rows: list[tuple[Sequence[Message], Sequence[Any]]]) -> list[Measured]:
        rendered = [
            self._render(messages, tools) if not self._spelt_out(messages) else self._slow(messages, tools)
            for messages, tools in rows
        ]
        encodings = iter(self._encode([r[0] for r in rendered if isinstance(r, tuple)]))
        out = []
        for (messages, _), result in zip(rows, rendered, strict=True):
            if isinstance(result, Measured):
                out.append(result)
            elif isinstance(result, str):
                out.append(Measured(faults=[("template_refuses", result)]))
            else:
                out.append(self._judged(messages, result[0], result[1], next(encodings)))
        return out

    def _spelt_out(self, messages: Sequence[Message]) -> bool:
        """True where a text holds a control token, which ``render`` encodes as the characters it is."""
        return self._added is not None and any(
            self._added.search(m.content) or self._added.search(m.name) for m in messages
        )

    def _judged(self, messages: Sequence[Message], text: str, spans: list[tuple[int, int]], encoding: Any) -> Measured:
        answers = [m for m in messages if m.role == "assistant"]
        if len(spans) == len(answers):
            spans = [s for s, m in zip(spans, answers, strict=True) if m.trained]
        ids = encoding.ids
        ranges = [self._ended(ids, r) for r in (_token_range(encoding, *s) for s in spans) if r]
        found = Measured(len(ids), len(ids), sum(end - start for start, end in ranges))
        if not ranges:
            found.faults.append(("empty_loss_mask", ""))
        elif ids[ranges[-1][1] - 1] not in self._ends:
            shown = self.tokenizer.decode([ids[ranges[-1][1] - 1]])
            found.faults.append(("no_end_of_turn", f"the last trained token is {shown!r}"))
        if self._bos is not None and ids[:2] == [self._bos] * 2:
            found.faults.append(("double_bos", ""))
        if any(c.name not in text for m in messages for c in m.tool_calls):
            found.faults.append(("tools_not_rendered", "the name of a called tool is not in the rendered text"))
        self._length(found, ranges)
        return found

    def _ended(self, ids: list[int], span: tuple[int, int]) -> tuple[int, int]:
        """A range without what stands behind its end-of-turn token, a line break as a rule; as ``render`` has it."""
        start, end = span
        for at in range(end - 1, max(start, end - 3) - 1, -1):
            if ids[at] in self._ends:
                return start, at + 1
        return span

    def _length(self, found: Measured, ranges: list[tuple[int, int]]) -> None:
        over = found.longest - self.context_tokens
        if over <= 0:
            return
        answer = ranges[-1][1] - ranges[-1][0] if ranges else 0
        detail = f"{found.longest} tokens, {self.context_tokens} fit"
        if answer > self.context_tokens:
            found.faults.append(("answer_too_long", f"{answer} tokens in the answer, {self.context_tokens} fit"))
        else:
            found.faults.append(("too_long", detail))
        if self.truncation == "window":
            trained = [False] * found.longest
            for start, end in ranges:
                trained[start:end] = [True] * (end - start)
            found.windows = sum(
                1 for _ in windows(TokenRow(tuple(range(found.longest)), tuple(trained)), self.context_tokens)
            )
            found.faults.append(("answer_cut", f"{found.windows} windows"))

    def _slow(self, messages: Sequence[Message], tools: Sequence[Any]) -> Measured:
        extra: dict[str, Any] = {"tools": tools} if tools else {}
        try:
            row = render_example(self.tokenizer, messages, max_tokens=2**31, where="", **extra)
        except InputError as error:
            code = "no_end_of_turn" if "does not end the turn" in error.problem else "empty_loss_mask"
            return Measured(faults=[(code, error.problem.removeprefix(": "))])
        except Exception as error:  # the template's own exceptions are of many kinds
            return Measured(faults=[("template_refuses", str(error).splitlines()[0][:120] if str(error) else "")])
        found = Measured(len(row.ids), len(row.ids), sum(row.trained))
        if self._bos is not None and list(row.ids[:2]) == [self._bos] * 2:
            found.faults.append(("double_bos", ""))
        self._length(found, _ranges(row.trained))
        return found


@dataclass(frozen=True, slots=True)
class _Ids:
    ids: list[int]


def _rows_of(item: Conversation | Preference) -> Iterator[tuple[Sequence[Message], Sequence[Any]]]:
    if isinstance(item, Conversation):
        yield item.messages, item.tools
        return
    for side in (item.chosen, item.rejected):
        if side:
            yield (*(_context_only(m) for m in item.messages), *side), item.tools


def _context_only(message: Message) -> Message:
    """A turn of a prompt, which the loss is never on."""
    if message.role != "assistant":
        return message
    return Message("assistant", message.content, message.name, message.tool_calls, trained=False)


def _joined(parts: list[Measured]) -> Measured:
    if len(parts) == 1:
        return parts[0]
    faults = list({code: (code, detail) for p in reversed(parts) for code, detail in reversed(p.faults)}.values())
    return Measured(
        sum(p.tokens for p in parts),
        max((p.longest for p in parts), default=0),
        sum(p.trained for p in parts),
        sum(p.windows for p in parts),
        faults,
    )


def _token_range(encoding: Any, start: int, end: int) -> tuple[int, int] | None:
    """Tokens of the characters from ``start`` to ``end``, as transformers' assistant mask has them."""
    if end <= start:
        return None
    first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
    return None if first is None or last is None else (first, last + 1)


def _ranges(trained: Sequence[bool]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for at, flag in enumerate(trained):
        if flag and out and out[-1][1] == at:
            out[-1] = (out[-1][0], at + 1)
        elif flag:
            out.append((at, at + 1))
    return out


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces of a million characters, cut before a blank, where no token of word-based tokenizers goes on."""
    start = 0
    while len(text) - start > _HUGE_CHARACTERS:
        end = text.rfind(" ", start + 1, start + _HUGE_CHARACTERS)
        end = end if end > start else start + _HUGE_CHARACTERS
        yield text[start:end]
        start = end
    yield text[start:]


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let the tokenizer use every core, which the command line switches off for the sake of forked processes."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
