"""``/moderations``: is a text harmful (OpenAI's Moderations API); what judges is :mod:`~groundtune.guardrails.moderation`.

Pictures are not looked at: beside a text they change nothing, alone they are refused.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from groundtune.guardrails import moderation
from groundtune.serving.callers.access import admit
from groundtune.serving.described import gives
from groundtune.serving.elsewhere.passing import Passing
from groundtune.serving.errors import bad_request
from groundtune.serving.ids import new_id
from groundtune.serving.shapes.moderations import Moderation
from groundtune.serving.state import serving_of

router = APIRouter(tags=["moderations"], route_class=Passing)
#: texts of a request, characters of all of them
MOST, LONGEST = 2048, 1_000_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Address(_Part):
    url: str


class _Text(_Part):
    type: Literal["text"]
    text: str


class _Image(_Part):
    type: Literal["image_url"]
    image_url: _Address


class CreateModeration(_Part):
    """What is to be judged: a text, several, or the parts of one message."""

    input: str | list[str] | list[_Text | _Image] = Field(union_mode="left_to_right")
    model: str = "omni-moderation-latest"


@router.post("/moderations", **gives(Moderation))
def create_moderation(request: Request, wanted: CreateModeration) -> dict[str, Any]:
    """Judge texts, each on its own; the parts of a message are one text."""
    model = serving_of(request).catalog.resolve(wanted.model, "moderation")
    texts = _texts(wanted.input)
    if len(texts) > MOST or sum(map(len, texts)) > LONGEST:
        message = f"Invalid 'input': at most {MOST} texts with {LONGEST} characters together are taken."
        raise bad_request(message, param="input", code="invalid_value")
    with admit(request, model, 0):
        results = [moderation.shown(moderation.moderate(text)) for text in texts]
    return {"id": new_id("moderation"), "model": wanted.model, "results": results}


def _texts(given: str | list[str] | list[_Text | _Image]) -> list[str]:
    if isinstance(given, str):
        return [given]
    texts = [item for item in given if isinstance(item, str)]
    if texts:
        return texts
    parts = [item.text for item in given if isinstance(item, _Text)]
    if not parts:
        message = "'input' has no text: expected one at least; pictures are not looked at by this server."
        raise bad_request(message, param="input", code="invalid_value")
    return ["\n".join(parts)]
