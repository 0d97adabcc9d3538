"""A policy from YAML, the thresholds its rules speak from, refusals in words, and classifiers of other packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from groundtune.config import GUARD_RULES, GuardConfig
from groundtune.errors import ConfigError, InputError

#: score from which a rule speaks; chosen on training and validation text, see ``weights/card.md``
DEFAULTS = {
    "input_injection": 0.5,
    "input_off_topic": 0.65,  # 1 - similarity: 0.7 % of the example's training questions are that far off (docs/guardrails.md)
    "input_toxic": 0.5,
    "retrieved_instructions": 0.6,
    "output_followed": 0.3,
    "output_system_prompt": 0.5,
    "output_ungrounded": 0.5,
    "output_toxic": 0.5,
}
#: what a refusal says: a plain sentence with the reason, and the rule's name behind it
REASONS = {
    "input_injection": "I do not answer this: it reads like an attempt to change my instructions.",
    "input_personal_data": "I do not answer this: the question holds personal data.",
    "input_off_topic": "I do not answer this: none of the documents is about it.",
    "input_toxic": "I do not answer this: the question insults or threatens somebody.",
    "output_followed": "I do not give the answer that was written: it rests only on words that read like an order or are about something else.",
    "output_links": "I do not give the answer that was written: it holds an address that no document holds.",
    "output_secrets": "I do not give the answer that was written: it holds a key or a password.",
    "output_system_prompt": "I do not give the answer that was written: it repeats my instructions.",
    "output_ungrounded": "I do not give the answer that was written: the documents do not say this.",
    "output_personal_data": "I do not give the answer that was written: it holds personal data.",
    "output_toxic": "I do not give the answer that was written: it insults or threatens somebody.",
}


@dataclass(frozen=True, slots=True)
class Hook:
    """A classifier of another package: (text, stage) -> 0 to 1; stages are ``input``, ``retrieved``, ``output``."""

    name: str
    score: Callable[[str, str], float]


def refusal(rule: str) -> str:
    """The sentence that stands in the place of an answer."""
    return f"{REASONS.get(rule, f'I do not answer this: the guard {rule} spoke.')} [guard: {rule}]"


def threshold(policy: GuardConfig, rule: str, default: float = 0.5) -> float:
    """The score from which a rule speaks."""
    return policy.thresholds.get(rule, DEFAULTS.get(rule, default))


def load_policy(config: GuardConfig, folder: Path) -> GuardConfig:
    """The policy that the config names or is.

    Args:
        folder: the project's; a policy's path is relative to it.

    Raises:
        InputError: the file cannot be read. ConfigError: a faulty setting, with its key.
    """
    return read_policy(folder / config.policy) if config.policy else config


def read_policy(file: Path) -> GuardConfig:
    """A policy file: the keys of the section ``guards``, with or without that word above them. Raises as :func:`load_policy`."""
    try:
        values: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"guards: policy {file}: {error}", expected="a YAML file", next_step="see docs/guardrails.md"
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"{file}: not YAML: {str(error).splitlines()[0]}", expected="`rule: action` lines") from None
    if isinstance(values, dict) and set(values) == {"guards"}:
        values = values["guards"]
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: {type(values).__name__} at the top", expected="`rule: action` lines")
    try:
        return GuardConfig.model_validate(values)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, f['loc'])) or 'guards'}: {f['msg']} (found {f['input']!r})" for f in error.errors()
        ]
        raise ConfigError(
            f"{file}: " + "\n  ".join(faults),
            expected=f"rules {', '.join(GUARD_RULES)}",
            next_step="docs/guardrails.md",
        ) from None


def all_off() -> GuardConfig:
    """A policy in which nothing looks."""
    return GuardConfig.model_validate(dict.fromkeys(GUARD_RULES, False))


def every_rule() -> GuardConfig:
    """A policy in which every rule looks, with the action that it has by default or the one most like it."""
    wanted = {"input_injection": "refuse", "input_personal_data": "redact", "input_off_topic": "refuse", "input_toxic": "refuse",
              "retrieved_personal_data": "redact", "output_ungrounded": "refuse", "output_personal_data": "redact",
              "output_toxic": "refuse"}  # fmt: skip
    return GuardConfig.model_validate(wanted)


@cache
def hooks_of(names: tuple[str, ...]) -> tuple[Hook, ...]:
    """The classifiers of ``guards.classifiers``.

    Raises:
        ConfigError: one that is not there or cannot be called.
    """
    points = {p.name: p for p in metadata.entry_points(group="groundtune.guards")} if names else {}
    found = []
    for name in names:
        try:
            if name in points:
                made = points[name].load()
            else:
                module, _, attribute = name.partition(":")
                made = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"guards.classifiers: {name!r}: {error}",
                expected="MODULE:FUNCTION, or an entry point of the group groundtune.guards",
            ) from None
        if not callable(made):
            raise ConfigError(f"guards.classifiers: {name!r} cannot be called", expected="(text, stage) -> 0 to 1")
        found.append(Hook(name, made))
    return tuple(found)
