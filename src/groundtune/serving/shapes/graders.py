"""What graders give."""

from __future__ import annotations

from typing import Any

from groundtune.serving.shapes.parts import Count, Shape


class CheckedGrader(Shape):
    """The grader that was given."""

    grader: dict[str, Any]


class GradingFaults(Shape):
    """What went wrong."""

    formula_parse_error: bool
    sample_parse_error: bool
    truncated_observation_error: bool
    unresponsive_reward_error: bool
    invalid_variable_error: bool
    other_error: bool
    python_grader_server_error: bool
    python_grader_server_error_type: str | None
    python_grader_runtime_error: bool
    python_grader_runtime_error_details: str | None
    model_grader_server_error: bool
    model_grader_refusal_error: bool
    model_grader_parse_error: bool
    model_grader_server_error_details: str | None


class GradingNotes(Shape):
    """How it was graded."""

    name: str
    type: str
    errors: GradingFaults
    execution_time: float
    scores: dict[str, float]
    token_usage: Count | None
    sampled_model_name: str | None


class Grade(Shape):
    """A reward."""

    reward: float
    metadata: GradingNotes
    sub_rewards: dict[str, float]
    model_grader_token_usage_per_model: dict[str, int]
