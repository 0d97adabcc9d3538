"""Moderations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, create_model

from groundtune.guardrails.moderation import CATEGORIES
from groundtune.serving.shapes.parts import Open

Score = Annotated[float, Field(ge=0, le=1)]


def _of_each(name: str, kind: object, doc: str) -> type[Open]:
    fields: dict[str, object] = {
        key.replace("/", "_").replace("-", "_"): (kind, Field(alias=key)) for key in CATEGORIES
    }
    made: type[Open] = create_model(name, __base__=Open, __doc__=doc, **fields)  # type: ignore[call-overload]
    return made


Flags = _of_each("Flags", bool, "Which categories a text is of.")
Scores = _of_each("Scores", Score, "How sure that is.")
InputTypes = _of_each("InputTypes", list[str], "What was looked at.")


class Verdict(Open):
    """What was found in one text."""

    flagged: bool
    categories: Flags  # type: ignore[valid-type]
    category_scores: Scores  # type: ignore[valid-type]
    category_applied_input_types: InputTypes  # type: ignore[valid-type]


class Moderation(Open):
    """Verdicts, one a text."""

    id: str
    model: str
    results: list[Verdict]
