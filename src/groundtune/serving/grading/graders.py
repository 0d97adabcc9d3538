"""Runs a grader on a sample: its reward, and what went wrong, in the form of OpenAI's ``RunGraderResponse``.

A grader that fails gives reward 0 with the kind of failure marked; only what can never work is an error of the request. Models that
judge are asked through a hook, since what answers is the server's business.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundtune.serving.errors import ApiError, bad_request
from groundtune.serving.grading.grader_formula import FormulaError, calculated
from groundtune.serving.grading.grader_requests import (
    LabelModel,
    Multi,
    PythonGrader,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from groundtune.serving.grading.grader_sandbox import GraderFault, run_python
from groundtune.serving.grading.grader_templates import InvalidVariable, SampleNotJson, rendered, sample_of
from groundtune.serving.grading.grader_text import Embed, similarity

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model said of a sample.

    Attributes:
        text: its answer; None where it refused.
        tokens: read and written.
    """

    text: str | None
    tokens: int = 0


#: (model, messages as {"role", "content"}, sampling parameters) -> its answer
Judge = Callable[[str, Sequence[Mapping[str, str]], Mapping[str, Any]], Judgement]


def _no_errors() -> dict[str, Any]:
    flags = (
        "formula_parse_error", "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
        "invalid_variable_error", "other_error", "python_grader_server_error", "python_grader_runtime_error",
        "model_grader_server_error", "model_grader_refusal_error", "model_grader_parse_error",
    )  # fmt: skip
    details = ("python_grader_server_error_type", "python_grader_runtime_error_details", "model_grader_server_error_details")  # fmt: skip
    return {**dict.fromkeys(flags, False), **dict.fromkeys(details, None)}


@dataclass(slots=True)
class Grading:
    """One run of a grader.

    Attributes:
        item, sample: what is graded.
        embed: for cosine.
        judge: asks a model; None: none is connected.
        errors: what went wrong, by OpenAI's names.
        tokens: of each model that judged.
    """

    item: Mapping[str, Any]
    sample: Mapping[str, Any]
    embed: Embed
    judge: Judge | None = None
    errors: dict[str, Any] = field(default_factory=_no_errors)
    tokens: dict[str, int] = field(default_factory=dict)
    rewards: dict[str, float] = field(default_factory=dict)

    def reward(self, grader: Any) -> float:
        """The reward of a grader; 0 where it failed, which ``errors`` then tells.

        Raises:
            ApiError: a grader that is not offered here.
        """
        try:
            value = self._reward(grader)
        except InvalidVariable:
            self.errors["invalid_variable_error"] = True
        except SampleNotJson:
            self.errors["sample_parse_error"] = True
        except FormulaError:
            self.errors["formula_parse_error"] = True
        except GraderFault as fault:
            self.errors |= {"python_grader_runtime_error": True, "python_grader_runtime_error_details": str(fault)}
        else:
            if math.isfinite(value):
                return value
            self.errors["other_error"] = True
        return 0.0

    def _reward(self, grader: Any) -> float:
        if isinstance(grader, StringCheck):
            return self._compared(grader)
        if isinstance(grader, TextSimilarity):
            return similarity(
                grader.evaluation_metric, self._text(grader.input), self._text(grader.reference), self.embed
            )
        if isinstance(grader, PythonGrader):
            return run_python(grader.source, self.sample, self.item)
        if isinstance(grader, ScoreModel):
            return self._scored(grader)
        if isinstance(grader, LabelModel):
            return self._labelled(grader)
        assert isinstance(grader, Multi)
        self.rewards = {name: self.reward(one) for name, one in grader.named.items()}
        return calculated(grader.calculate_output, self.rewards)

    def _text(self, template: str) -> str:
        return rendered(template, self.item, self.sample)

    def _compared(self, grader: StringCheck) -> float:
        text, reference = self._text(grader.input), self._text(grader.reference)
        holds = {
            "eq": text == reference, "ne": text != reference,
            "like": reference in text, "ilike": reference.casefold() in text.casefold(),
        }  # fmt: skip
        return float(holds[grader.operation])

    def _scored(self, grader: ScoreModel) -> float:
        low, high = grader.range
        said = self._asked(grader, f"Answer with one number from {low:g} to {high:g}, and nothing else.")
        found = _NUMBER.findall(said or "")
        if said is None or not found or not low <= float(found[-1]) <= high:
            self.errors["model_grader_parse_error"] = self.errors["model_grader_parse_error"] or said is not None
            return 0.0
        return float(found[-1])

    def _labelled(self, grader: LabelModel) -> float:
        said = self._asked(grader, f"Answer with one of these labels, and nothing else: {', '.join(grader.labels)}.")
        chosen = next((label for label in grader.labels if said and said.strip().casefold() == label.casefold()), None)
        if chosen is None:
            self.errors["model_grader_parse_error"] = self.errors["model_grader_parse_error"] or said is not None
            return 0.0
        return float(chosen in grader.passing_labels)

    def _asked(self, grader: ScoreModel | LabelModel, how: str) -> str | None:
        """What the model says; None where it did not answer, which ``errors`` then tells."""
        if self.judge is None:
            message = f"Graders that ask a model are not connected on this server: {grader.type}."
            raise bad_request(message, param="grader.type", code="unsupported_grader")
        asked = [{"role": m.role, "content": self._text(m.text)} for m in grader.input]
        try:
            said = self.judge(
                grader.model, [*asked, {"role": "developer", "content": how}], grader.sampling_params or {}
            )
        except ApiError as error:
            if error.status < 500:
                raise
            self.errors |= {"model_grader_server_error": True, "model_grader_server_error_details": error.message}
            return None
        self.tokens[grader.model] = self.tokens.get(grader.model, 0) + said.tokens
        if said.text is None:
            self.errors["model_grader_refusal_error"] = True
        return said.text


def run_grader(
    grader: Any, item: Mapping[str, Any] | None, model_sample: str, *, embed: Embed, judge: Judge | None = None
) -> dict[str, Any]:
    """Grade a sample; OpenAI's answer.

    Args:
        grader: one of ``grader_requests``, checked.
        item: what ``{{item.*}}`` stands for.
        model_sample: the text to grade.

    Raises:
        ApiError: a grader that is not offered here, or a judging model that does not exist.
    """
    began = time.perf_counter()
    grading = Grading(item or {}, sample_of(model_sample), embed, judge)
    reward = grading.reward(grader)
    return {
        "reward": reward,
        "metadata": {
            "name": grader.name,
            "type": grader.type,
            "errors": grading.errors,
            "execution_time": round(time.perf_counter() - began, 6),
            "scores": grading.rewards or {grader.name or grader.type: reward},
            "token_usage": sum(grading.tokens.values()) if grading.tokens else None,
            "sampled_model_name": next(iter(grading.tokens), None),
        },
        "sub_rewards": grading.rewards,
        "model_grader_token_usage_per_model": grading.tokens,
    }
