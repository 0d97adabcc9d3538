"""Graders as clients describe them: OpenAI's ``Grader*`` schemas, with what can be checked before any sample is seen.

``multi`` takes one grader, as the description says, or several by name, as OpenAI's notebooks send them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from groundtune.serving.errors import bad_request
from groundtune.serving.grading.grader_formula import names_of
from groundtune.serving.grading.grader_templates import check_template

#: most characters of a python grader (OpenAI's limit: 256 kB)
LONGEST_SOURCE = 256 * 1024


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = ""
    pass_threshold: float | None = None


class StringCheck(_Part):
    """1 where a comparison of two texts holds, else 0."""

    type: Literal["string_check"]
    input: str
    reference: str
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Part):
    """How alike two texts are, 0 to 1."""

    type: Literal["text_similarity"]
    input: str
    reference: str
    evaluation_metric: Literal[
        "cosine", "fuzzy_match", "bleu", "gleu", "meteor",
        "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
    ]  # fmt: skip


class PythonGrader(_Part):
    """A number that a function ``grade(sample, item)`` returns."""

    type: Literal["python"]
    source: Annotated[str, Field(max_length=LONGEST_SOURCE)]
    image_tag: str | None = None


class EvalMessage(BaseModel):
    """A message to the model that judges; contents are texts with templates."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant", "system", "developer"]
    content: str | dict[str, Any] | list[dict[str, Any] | str]
    type: Literal["message"] = "message"

    @property
    def text(self) -> str:
        """All of the content.

        Raises:
            ApiError: a part that is no text.
        """
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "".join(_text(part) for part in parts)


class ScoreModel(_Part):
    """A number that a model gives."""

    type: Literal["score_model"]
    model: str
    input: Annotated[list[EvalMessage], Field(min_length=1)]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    sampling_params: dict[str, Any] | None = None


class LabelModel(_Part):
    """1 where a model chooses a label that passes, else 0."""

    type: Literal["label_model"]
    model: str
    input: Annotated[list[EvalMessage], Field(min_length=1)]
    labels: Annotated[list[str], Field(min_length=1)]
    passing_labels: list[str]
    sampling_params: dict[str, Any] | None = None


Single = Annotated[StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel, Field(discriminator="type")]


class Multi(_Part):
    """A formula over the rewards of others."""

    type: Literal["multi"]
    graders: dict[str, Single] | Single
    calculate_output: str

    @property
    def named(self) -> Mapping[str, Any]:
        """The graders by the names that the formula calls them."""
        return self.graders if isinstance(self.graders, dict) else {self.graders.name or "grader": self.graders}


Grader = Annotated[
    StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel | Multi, Field(discriminator="type")
]


class ValidateGrader(BaseModel):
    """The body of ``POST .../graders/validate``."""

    model_config = ConfigDict(extra="forbid")
    grader: Grader


class RunGrader(ValidateGrader):
    """The body of ``POST .../graders/run``."""

    model_sample: str
    item: dict[str, Any] | None = None


def _text(part: str | dict[str, Any]) -> str:
    if isinstance(part, str):
        return part
    if part.get("type") in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        return str(part["text"])
    raise bad_request(f"A grader's message can hold texts only here, not {part.get('type')!r}.", param="grader.input")


def check_grader(grader: Any, place: str = "grader") -> None:
    """See what can be seen without a sample: templates, source, formula, what is not offered here.

    Raises:
        ApiError: 400, with the place.
    """
    if isinstance(grader, StringCheck | TextSimilarity):
        check_template(grader.input, f"{place}.input")
        check_template(grader.reference, f"{place}.reference")
        if isinstance(grader, TextSimilarity) and grader.evaluation_metric == "meteor":
            message = "'meteor' is not offered here: it needs WordNet, which this server does not carry. Expected: rouge_l, gleu, bleu, fuzzy_match or cosine."
            raise bad_request(message, param=f"{place}.evaluation_metric", code="unsupported_metric")
    elif isinstance(grader, PythonGrader):
        _check_source(grader.source, place)
    elif isinstance(grader, ScoreModel | LabelModel):
        for n, asked in enumerate(grader.input):
            check_template(asked.text, f"{place}.input[{n}]")
        if isinstance(grader, ScoreModel) and grader.range[0] >= grader.range[1]:
            raise bad_request(f"Invalid '{place}.range': expected the lower number first.", param=f"{place}.range")
        if isinstance(grader, LabelModel) and not set(grader.passing_labels) <= set(grader.labels):
            raise bad_request(f"'{place}.passing_labels' must be among 'labels'.", param=f"{place}.passing_labels")
    elif isinstance(grader, Multi):
        for name, one in grader.named.items():
            check_grader(one, f"{place}.graders.{name}")
        unknown = sorted(names_of(grader.calculate_output, place) - grader.named.keys())
        if unknown:
            message = f"'{place}.calculate_output' names {unknown[0]!r}, which is no grader: expected one of {', '.join(grader.named)}."
            raise bad_request(message, param=f"{place}.calculate_output", code="invalid_formula")


def _check_source(source: str, place: str) -> None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise bad_request(
            f"'{place}.source' is no Python: {error}.", param=f"{place}.source", code="invalid_source"
        ) from None
    defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "grade"]
    if not defined or len(defined[-1].args.args) != 2:
        message = f"'{place}.source' must define a function grade(sample, item)."
        raise bad_request(message, param=f"{place}.source", code="invalid_source")
