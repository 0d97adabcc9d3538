"""The older completions."""

from __future__ import annotations

from typing import Literal

from groundtune.serving.shapes.chat import Usage
from groundtune.serving.shapes.parts import Count, Moment, Open, Shape


class OlderLogprobs(Shape):
    """Lists side by side, an item a token; a prompt's first token has no log-probability."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[Count]


class TextChoice(Open):
    """One text."""

    text: str
    index: Count
    logprobs: OlderLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter"] | None


class Completion(Open):
    """Texts."""

    id: str
    object: Literal["text_completion"]
    created: Moment
    model: str
    choices: list[TextChoice]
    system_fingerprint: str | None = None
    usage: Usage | None = None
