"""What guards did, one line a finding: rule, action, score. No content unless the policy asks for it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from groundtune.config import GuardConfig

_LOG = logging.getLogger("groundtune.guards")
_COUNTED: ContextVar[Counter[str] | None] = ContextVar("counted", default=None)


def record(policy: GuardConfig, rule: str, action: object, text: str, score: float) -> None:
    """Note that a rule spoke."""
    counted = _COUNTED.get()
    if counted is not None:
        counted[rule] += 1
    content = f" text={text!r}" if policy.log_content else ""
    _LOG.info("guard=%s action=%s score=%.2f characters=%d%s", rule, action, score, len(text), content)


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """How often each rule speaks inside the ``with``."""
    counter: Counter[str] = Counter()
    token = _COUNTED.set(counter)
    try:
        yield counter
    finally:
        _COUNTED.reset(token)
