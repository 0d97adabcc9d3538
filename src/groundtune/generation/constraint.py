"""Answers that must follow a grammar: JSON of a schema, or a tool call that the model itself begins (llguidance)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from groundtune.errors import InputError
from groundtune.generation.vocabulary import Vocabulary

#: JSON on one line, a space behind commas and colons or none, as the model was taught it; more, and small models fill pages
#: with white space (the separators are regular expressions)
_COMPACT: Any = {"whitespace_flexible": False, "item_separator": ",[ ]?", "key_separator": ":[ ]?"}
#: what may stand around a call's JSON (a line break, as a rule): JSON's own white space, in Lark; as short for the same reason
_SPACE = r"/[ \t\r\n]{0,2}/"


@dataclass(frozen=True, slots=True)
class Grammar:
    """What an answer must be.

    Attributes:
        text: in llguidance's own form.
        trigger: the constraint begins only behind this text, if the model writes it; "": at once.
        lark, schema: what it was made of, for who reads no ``text``: a grammar, else JSON Schema.
    """

    text: str
    trigger: str = ""
    lark: str = ""
    schema: Mapping[str, Any] | None = None


def json_grammar(schema: Mapping[str, Any] | None, *, trigger: str = "", end: str = "", again: str = "") -> Grammar:
    """JSON of a schema; of any object where it is None.

    Args:
        trigger: as in :class:`Grammar`; a line break or two may stand behind it.
        end: what must stand behind the JSON, a line break or two allowed between.
        again: text behind which another such JSON may follow; "": there is only one.

    Raises:
        InputError: a schema that cannot be held to.
    """
    import llguidance

    whole: Any = {"type": "object"} if schema is None else dict(schema)
    lark = ""
    try:
        if trigger or end:
            inner = json.dumps({"x-guidance": _COMPACT, **whole})
            close = f" {_SPACE} {json.dumps(end)}" if end else ""
            more = f" ({_SPACE} {json.dumps(again)} one)*" if again else ""
            lark = f"start: one{more}\none: {_SPACE} body{close}\nbody: %json {inner}\n"
            text = llguidance.LLMatcher.grammar_from_lark(lark)
        else:
            text = llguidance.LLMatcher.grammar_from_json_schema(whole, defaults=_COMPACT)
        fault = llguidance.LLMatcher.validate_grammar(text, None)
    except (ValueError, TypeError) as error:
        fault = str(error)
    if fault:
        raise InputError(f"this JSON Schema cannot be held to: {fault.strip().splitlines()[0]}", expected="JSON Schema")
    return Grammar(text, trigger, lark, whole)


class Constraint:
    """A grammar at work on one sequence.

    Attributes:
        fault: why it had to be given up on the way; "": it has not been.

    Raises:
        InputError: the grammar does not go with this vocabulary.
    """

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary) -> None:
        import llguidance

        self._trigger, self._vocabulary, self._written = grammar.trigger.encode(), vocabulary, b""
        self._matcher = llguidance.LLMatcher(vocabulary.guidance, grammar.text)
        if self._matcher.is_error():
            raise InputError(f"this grammar cannot be held to: {self._matcher.get_error().splitlines()[0]}")
        self._begun, self.fault = not self._trigger, ""
        size = vocabulary.size
        self._bits = np.full((1, (size + 31) // 32), -1, dtype=np.int32)

    @property
    def finished(self) -> bool:
        """Whether the answer is complete: nothing may follow."""
        return self._begun and not self.fault and bool(self._matcher.is_stopped())

    def mask(self, logits_V: torch.Tensor) -> None:
        """Make every token impossible that the grammar does not allow here; none where it had to be given up."""
        if not self._begun or self.fault:
            return
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.size * self._bits.itemsize)
        if self._matcher.is_error():
            self._give_up(self._matcher.get_error())
            return
        allowed = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: logits_V.shape[0]].astype(bool)
        if not (allowed & (logits_V[: len(allowed)] > -torch.inf).numpy()).any():
            self._give_up("no token of the model can stand here")
            return
        logits_V[: len(allowed)][torch.from_numpy(~allowed)] = -torch.inf
        logits_V[len(allowed) :] = -torch.inf

    def took(self, id: int) -> None:
        """Go on behind a token."""
        if self.fault:
            return
        if self._begun:
            taken = self._matcher.consume_token(id)
            if self._matcher.is_error() or not (taken or self._matcher.is_stopped()):
                self._give_up(self._matcher.get_error())
            return
        self._written = (self._written + self._vocabulary.bytes_of(id))[-len(self._trigger) - 64 :]
        at = self._written.find(self._trigger)
        if at >= 0:
            self._begun = True
            behind = self._written[at + len(self._trigger) :]
            if behind and not self._matcher.consume_tokens(self._vocabulary.guidance.tokenize_bytes(behind)):
                self._begun, self._written = False, b""  # what stands there is no such call

    def _give_up(self, why: str) -> None:
        self.fault = why.strip().splitlines()[0] if why.strip() else "unknown"
