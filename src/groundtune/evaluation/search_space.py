"""What may be searched: settings and the values to try, and the arms (combinations of changes) that a search begins with.

The space is data. The built-in table names settings by their dotted names in ``groundtune.yaml``; one that this version's
config does not have, or a value that it does not take, is left out, so the table may be ahead of the settings. A user's own
table is checked and its faults are said. Leaves out how arms are compared (``search``).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from groundtune.config import Config, flat, settings
from groundtune.errors import ConfigError, InputError, did_you_mean

#: setting -> values to try
Space = dict[str, tuple[Any, ...]]

#: choices that are no setting of the file: what answers, and the instruction of a prompt (``prompt.NAME``)
SYSTEM, PROMPT = "system", "prompt."

#: the built-in table: values around the defaults, far enough apart to tell
TABLE: Space = {
    "index.chunk_tokens": (100, 200, 350),
    "index.overlap_tokens": (0, 25, 60),
    "index.chunker": ("sentence", "fixed", "structure", "semantic"),
    "index.embedder": ("minilm", "minilm_int8", "tuned"),
    "index.sentences": ("embedded", "pooled"),
    "retrieval.mode": ("hybrid", "vector", "text"),
    "retrieval.text_weight": (0.0, 0.1, 0.25, 0.5),
    "retrieval.feedback": (0, 3),
    "retrieval.smoothing": (0.0, 0.2, 0.7),
    "retrieval.candidates": (20, 40, 100),
    "retrieval.reranker": (None, "cross_encoder"),
    "retrieval.rerank_weight": (0.1, 0.2, 0.5),
    "retrieval.diversity": (0.0, 0.3),
    "retrieval.neighbours": (0, 1),
    "retrieval.refuse_below": (None, 0.2, 0.4),
    "retrieval.queries": ("none", "rewrite", "multi_query", "hyde", "step_back"),
    "retrieval.top_k": (3, 5, 10),
    "retrieval.context_sentences": (1, 2, 3, 6, 12),
    "retrieval.context_tokens": (300, 800, 1600),
    "answer.max_tokens": (16, 24, 48),
    "prompt.with_passages": (
        "Answer from the passages in a few words, or say: The passages do not say.",
        "Copy the words of the passages that answer the question. If none do, say: The passages do not say.",
        "You answer questions about the documents of an organisation. Use only the passages; be short. If they do not hold the answer, say: The passages do not say.",
    ),
    SYSTEM: ("rag", "chain_of_thought+rag"),
}
#: settings under ``retrieval`` that what is found cannot be judged by: the answer has to be, for what is read of it, refused
#: or asked of a model
READING = frozenset(
    f"retrieval.{name}"
    for name in ("top_k", "context_sentences", "context_tokens", "neighbours", "parents", "refuse_below", "queries")
)


@dataclass(frozen=True, slots=True)
class Arm:
    """One combination: what it changes of the current settings. The current settings are the arm without changes.

    Attributes:
        items: (setting, value), sorted by setting.
    """

    items: tuple[tuple[str, Any], ...] = ()

    @property
    def changes(self) -> dict[str, Any]:
        """Setting -> value."""
        return dict(self.items)

    @property
    def key(self) -> str:
        """The same for the same changes, in every run."""
        return json.dumps(self.items, ensure_ascii=False, default=str)

    def without(self, setting: str) -> Arm:
        """With one setting back at its current value."""
        return Arm(tuple(i for i in self.items if i[0] != setting))

    def part(self, *stages: str) -> Arm:
        """Only the changes of some stages; see :func:`stage_of`."""
        return Arm(tuple(i for i in self.items if stage_of(i[0]) in stages))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.items) or "current settings"


CURRENT = Arm()


def arm_of(changes: Mapping[str, Any]) -> Arm:
    """The arm of some changes."""
    return Arm(tuple(sorted(changes.items())))


def stage_of(setting: str) -> str:
    """``index`` (documents are cut or embedded anew), ``found`` (other chunks are found) or ``answer`` (only the answer differs)."""
    if setting.startswith("index."):
        return "index"
    return "found" if setting.startswith("retrieval.") and setting not in READING else "answer"


def with_changes(config: Config, changes: Mapping[str, Any]) -> Config:
    """The config with some settings changed.

    Raises:
        ConfigError: no such setting, or a value that it does not take.
    """
    values = config.model_dump()
    for name, value in changes.items():
        if not in_file(name):
            continue
        at = values
        *heads, last = name.split(".")
        for head in heads:
            at = at.get(head, {})
        if last not in at:
            known = [n for n, _ in settings()]
            raise ConfigError(f"{name}: unknown setting", next_step=did_you_mean(name, known, cutoff=0.5))
        at[last] = value
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(p) for p in fault["loc"])
        raise ConfigError(f"{key}: {fault['msg']} (found {fault['input']!r})") from None


def in_file(name: str) -> bool:
    """Whether a choice is a setting of ``groundtune.yaml``."""
    return name != SYSTEM and not name.startswith(PROMPT)


def value_of(config: Config, setting: str, beside: Mapping[str, Any]) -> Any:
    """The current value of a choice; ``beside`` holds those that are no settings."""
    if not in_file(setting):
        return beside[setting]
    at: Any = config
    for part in setting.split("."):
        at = getattr(at, part)
    return at


def built_in(config: Config, beside: Mapping[str, Any], usable: Callable[[str, Any], bool]) -> Space:
    """The table, without what this config has no setting for, does not take, or cannot use here."""
    known = {name for name, _ in settings()} | beside.keys()
    out: Space = {}
    for name, values in TABLE.items():
        if name not in known:
            continue
        taken = tuple(v for v in values if _takes(config, name, v) and usable(name, v))
        if any(v != value_of(config, name, beside) for v in taken):
            out[name] = taken
    return out


def _takes(config: Config, name: str, value: Any) -> bool:
    try:
        with_changes(config, {name: value})
    except ConfigError:
        return False
    return True


def checked(config: Config, given: Mapping[str, Sequence[Any]], beside: Mapping[str, Any], where: str) -> Space:
    """A user's table.

    Raises:
        ConfigError: every unknown setting and every value that a setting does not take, together.
    """
    faults: list[str] = []
    for name, values in given.items():
        if not in_file(str(name)) and name not in beside:
            faults.append(f"{name}: no such prompt; there are {', '.join(sorted(beside.keys() - {SYSTEM}))}")
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            faults.append(f"{name}: {values!r} is no list of values")
            continue
        for value in values:
            try:
                with_changes(config, {str(name): value})
            except ConfigError as error:
                faults.append(str(error).replace("\n  next:", ";"))
    if not given:
        faults.append("no setting in it")
    if faults:
        raise ConfigError(
            f"{where}: " + "\n  ".join(faults),
            expected="`setting: [value, value]` lines, as in `retrieval.top_k: [3, 5, 8]`",
            next_step="groundtune optimize --show-space prints the built-in ones",
        )
    return {str(name): tuple(values) for name, values in given.items()}


def read_space(path: Path, config: Config, beside: Mapping[str, Any]) -> Space:
    """A space in a YAML file: settings by dotted names or in sections, each with a list of values.

    Raises:
        InputError: it cannot be read. ConfigError: faults in it.
    """
    import yaml

    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: cannot be read as a search space: {str(error).splitlines()[0]}", expected="YAML in UTF-8"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: no settings in it", expected="`retrieval.top_k: [3, 5, 8]` lines")
    return checked(config, flat(found), beside, str(path))


def others(space: Space, config: Config, beside: Mapping[str, Any]) -> Space:
    """The space without the current values: what there is to change to."""
    left = {n: tuple(v for v in values if v != value_of(config, n, beside)) for n, values in space.items()}
    return {n: values for n, values in left.items() if values}


def first_arms(choices: Space, base: Sequence[Arm], limit: int, seed: int) -> list[Arm]:
    """The arms a stage begins with, at most ``limit``: ``base``, single changes of its first, then combinations drawn by the seed.

    Single changes show what each does and take two thirds of the places at most, each setting's first value before any
    setting's second. A combination changes the index in one respect at most, so that few indexes have to be made; what
    helps in several respects is joined later (:func:`joined`).

    Args:
        choices: setting -> values other than the current one.
        base: arms that must be in, the current settings first.
    """
    draw = random.Random(seed)
    out = dict.fromkeys(base)
    queues = {n: draw.sample(v, len(v)) for n, v in choices.items()}
    names = draw.sample(list(queues), len(queues))
    singles = [(n, queues[n][turn]) for turn in range(max(map(len, queues.values()), default=0)) for n in names if turn < len(queues[n])]  # fmt: skip
    places = limit - len(out)
    for single in singles[: places if len(singles) <= places * 2 // 3 else max(1, places * 2 // 3)]:
        out[arm_of({**base[0].changes, single[0]: single[1]})] = None
    for _ in range(20 * limit if len(choices) > 1 else 0):
        if len(out) >= limit:
            break
        chosen = draw.sample(names, draw.randint(2, len(names)))
        changes = {n: draw.choice(choices[n]) for n in chosen}
        of_index = [n for n in changes if stage_of(n) == "index"]
        for name in of_index[1:]:
            del changes[name]
        out[arm_of({**draw.choice(base).changes, **changes})] = None
    return list(out)[: max(limit, len(base))]


def joined(scores: Mapping[Arm, float], base: Arm) -> Arm:
    """``base`` with the single changes that helped: for each setting its best value, where that is better than the current one."""
    best: dict[str, tuple[float, Any]] = {}
    for arm, score in scores.items():
        if len(arm.items) == 1 and score > scores[CURRENT]:
            name, value = arm.items[0]
            if name not in best or score > best[name][0]:
                best[name] = (score, value)
    return arm_of({**base.changes, **{n: v for n, (_, v) in best.items()}})
