"""From a request's parameters to how tokens are chosen; shared by chat, completions and responses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from groundtune import __version__
from groundtune.generation.constraint import Grammar
from groundtune.generation.sampling import Sampling
from groundtune.serving.catalog import Model
from groundtune.serving.errors import bad_request
from groundtune.serving.generating.engines import AnyEngine

#: requests' parameters that are Sampling's own
_SAME = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")
_DIGITS = re.compile("[0-9]{1,12}")


def sampling_changes(wanted: Any, *, grammar: Grammar | None = None) -> dict[str, Any]:
    """Fields of ``Sampling`` that a request names.

    Raises:
        ApiError: a key of ``logit_bias`` that is no token id.
    """
    changes: dict[str, Any] = {n: v for n in _SAME if (v := getattr(wanted, n, None)) is not None}
    if wanted.stop:
        changes["stop"] = tuple([wanted.stop] if isinstance(wanted.stop, str) else wanted.stop)
    if wanted.logit_bias:
        changes["logit_bias"] = {_token_id(key): float(value) for key, value in wanted.logit_bias.items()}
    if grammar is not None:
        changes["grammar"] = grammar
    limits = [getattr(wanted, name, None) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens")]
    limit = next((value for value in limits if value is not None), None)
    if limit is not None:
        changes["max_tokens"] = limit
    alternatives = getattr(wanted, "top_logprobs", None)
    if alternatives:
        changes["alternatives"] = alternatives
    return changes


def _token_id(key: str) -> int:
    if not _DIGITS.fullmatch(key):
        raise bad_request(f"Invalid key in 'logit_bias': {key}. You should only be submitting non-negative integers.", param="logit_bias", code="invalid_value")  # fmt: skip
    return int(key)


def room_for(
    engine: AnyEngine, prompt: Sequence[int], limit: int | None, changes: dict[str, Any], number: int, param: str
) -> Sampling:
    """How a choice is written: as the request says, at most to the context's end.

    Programs written for large models ask for more tokens than a small one has room for; they get what there is.

    Args:
        limit: most tokens that the request allows; None: the context's end.
        number: of the choice; a seed gives each another draw.

    Raises:
        ApiError: the prompt is over the context; a bias on no token.
    """
    context = engine.context_tokens
    if len(prompt) + (limit != 0) > context:
        raise bad_request(
            f"This model's maximum context length is {context} tokens, however your {param} resulted in {len(prompt)} tokens. Please reduce the length of the {param}.",
            param=param,
            code="context_length_exceeded",
        )
    over = [id for id in changes.get("logit_bias", ()) if id >= engine.vocabulary.size]
    if over:
        raise bad_request(f"Invalid key in 'logit_bias': {over[0]}: this model has {engine.vocabulary.size} tokens.", param="logit_bias", code="invalid_value")  # fmt: skip
    own = {"temperature": engine.default_temperature, **changes}
    if own.get("seed") is not None:
        own["seed"] = (own["seed"] % 2**64) * 1000 + number
    return Sampling(**{**own, "max_tokens": min(context - len(prompt), context if limit is None else limit)})


def fingerprint(model: Model) -> str:
    """What writes, in a few letters: the same while weights and version are the same."""
    return "fp_" + hashlib.sha256(f"{__version__} {model.target} {model.adapter}".encode()).hexdigest()[:10]
