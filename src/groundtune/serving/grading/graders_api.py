"""``/fine_tuning/alpha/graders/run`` and ``/validate`` (OpenAI's Graders API). Judging models are asked as the caller."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from groundtune.retrieval.embedding import open_embedder
from groundtune.serving.callers.access import caller_of
from groundtune.serving.described import gives
from groundtune.serving.generating.answers import generators_of
from groundtune.serving.generating.inside import judge
from groundtune.serving.grading.grader_requests import RunGrader, ValidateGrader, check_grader
from groundtune.serving.grading.graders import run_grader
from groundtune.serving.shapes.graders import CheckedGrader, Grade
from groundtune.serving.state import serving_of
from groundtune.serving.strict_json import Strict

router = APIRouter(tags=["fine-tuning"], route_class=Strict)


@router.post("/fine_tuning/alpha/graders/validate", **gives(CheckedGrader))
def validate_grader(request: Request, wanted: ValidateGrader) -> dict[str, Any]:
    """The grader as it was given, if it can be run."""
    check_grader(wanted.grader)
    return {"grader": wanted.grader.model_dump(exclude_unset=True)}


@router.post("/fine_tuning/alpha/graders/run", **gives(Grade))
def run(request: Request, wanted: RunGrader) -> dict[str, Any]:
    """Grade one sample."""
    check_grader(wanted.grader)
    setup = serving_of(request).setup

    def embed(texts: Any) -> Any:
        return open_embedder(setup.workspace, setup.config.index.embedder).embed(texts)

    ask = judge(request.app, caller_of(request), generators_of(request).loop)
    return run_grader(wanted.grader, wanted.item, wanted.model_sample, embed=embed, judge=ask)
