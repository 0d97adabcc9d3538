"""What training on a dataset costs: hosted, by tokens and a dated price table; on one's own machine, by measured time.

Epochs and billed tokens as OpenAI's fine-tuning has them (its cookbook's "Data preparation and analysis for chat model
fine-tuning"): about three epochs, more for few examples and fewer for many; of one example at most 16,385 tokens.
Departs from it in the tokenizer: a dataset is counted with the chosen model's own. Time on one's own machine is never
guessed: it is given, measured by a probe, or taken from an earlier run. Leaves out hosting of the tuned model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from groundtune.errors import InputError, UnknownNameError
from groundtune.records import Conversation, Message, Preference

PRICES_FILE = Path(__file__).with_name("prices.yaml")
MAX_BILLED_TOKENS = 16_385
TARGET_EPOCHS = 3
MIN_SEEN, MAX_SEEN = 100, 25_000
MIN_EPOCHS, MAX_EPOCHS = 1, 25
_FIGURES = ("training", "input", "output", "base_input", "base_output")


@dataclass(frozen=True, slots=True)
class Price:
    """What a provider asked on a date; US dollars for a million tokens, None where the source says nothing."""

    model: str
    provider: str
    date: str
    source: str
    aliases: tuple[str, ...] = ()
    training: float | None = None
    input: float | None = None
    output: float | None = None
    base_input: float | None = None
    base_output: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """A dataset's size: examples, tokens as billed for one epoch, tokens in all, examples cut, rows with a fault."""

    examples: int
    billed_tokens: int
    tokens: int
    over_limit: int = 0
    faulty: int = 0


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds for a thousand training tokens, and where that figure comes from."""

    seconds_per_1k_tokens: float
    source: str


@cache
def read_prices(path: Path = PRICES_FILE) -> tuple[Price, ...]:
    """The price table.

    Raises:
        InputError: an entry without model, provider, date or source, or a price that is no positive number; names it.
    """
    import yaml

    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = found["entries"]
        return tuple(_price(e, path) for e in entries)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a price table: {error}", expected="`entries:` with a list") from None


def _price(entry: Mapping[str, Any], path: Path) -> Price:
    for name in ("model", "provider", "date", "source"):
        if not entry.get(name):
            raise InputError(
                f"{path}: an entry without {name}: {dict(entry)}", expected="model, provider, date, source"
            )
    for name in _FIGURES:
        if entry.get(name) is not None and not (isinstance(entry[name], int | float) and 0 < entry[name] < 1e6):
            raise InputError(
                f"{path}: {entry['model']}: {name} is {entry[name]!r}", expected="dollars per million tokens"
            )
    known = {k: v for k, v in entry.items() if k in Price.__slots__}
    return Price(**{**known, "date": str(entry["date"]), "aliases": tuple(entry.get("aliases", ()))})


def find_price(name: str, prices: Iterable[Price] | None = None) -> Price | None:
    """The entry of a model, by its name, an alias, ``openai:NAME@address`` or ``ft:NAME:...``; else None."""
    bare = name.removeprefix("openai:").partition("@")[0]
    if bare.startswith("ft:"):
        bare = bare.split(":")[1]
    return next((p for p in (prices or read_prices()) if bare == p.model or bare in p.aliases), None)


def need_price(name: str) -> Price:
    """The entry of a model.

    Raises:
        UnknownNameError: none; names those there are.
    """
    found = find_price(name)
    if found is None:
        raise UnknownNameError("hosted model", name, [n for p in read_prices() for n in (p.model, *p.aliases)])
    return found


def auto_epochs(examples: int) -> int:
    """Epochs as OpenAI sets them: three, so many that 100 examples are seen, so few that 25,000 are not passed."""
    if examples <= 0:
        return TARGET_EPOCHS
    if examples * TARGET_EPOCHS < MIN_SEEN:
        return min(MAX_EPOCHS, MIN_SEEN // examples)
    if examples * TARGET_EPOCHS > MAX_SEEN:
        return max(MIN_EPOCHS, MAX_SEEN // examples)
    return TARGET_EPOCHS


def message_tokens(messages: Iterable[Message], count: Callable[[str], int]) -> int:
    """Tokens of a conversation as the cookbook counts: its texts and roles, 3 a message, 1 a name, 3 in all."""
    total = 3
    for message in messages:
        total += 3 + count(message.role) + count(message.content)
        if message.name:
            total += 1 + count(message.name)
        if message.tool_calls:
            total += count(json.dumps([[c.name, c.arguments] for c in message.tool_calls], ensure_ascii=False))
    return total


def item_tokens(item: Conversation | Preference, count: Callable[[str], int]) -> int:
    """Tokens that training on an item reads; of a preference the prompt with each continuation."""
    tools = count(json.dumps(list(item.tools), ensure_ascii=False)) if item.tools else 0
    if isinstance(item, Preference):
        both = (item.chosen, item.rejected)
        return sum(message_tokens((*item.messages, *end), count) + tools for end in both)
    return message_tokens(item.messages, count) + tools


def count_items(
    items: Iterable[Any], count: Callable[[str], int], *, splits: tuple[str, ...] = ("", "train")
) -> Counted:
    """Size of the trained part of a dataset.

    Args:
        items: of :func:`groundtune.dataset.files.items.read_items`; those with a fault are counted as such.
        count: tokens of a text.
        splits: an item of another split is held out and not billed.
    """
    examples = billed = tokens = over = faulty = 0
    for read in items:
        if read.item is None:
            faulty += 1
        elif getattr(read.item, "split", "") in splits:
            size = item_tokens(read.item, count)
            examples += 1
            tokens += size
            billed += min(MAX_BILLED_TOKENS, size)
            over += size > MAX_BILLED_TOKENS
    return Counted(examples, billed, tokens, over, faulty)


def dollars(tokens: int, usd_per_million: float) -> float:
    """Price of so many tokens, in US dollars."""
    return tokens * usd_per_million / 1e6


def find_speed(
    *,
    tokens_per_second: float | None = None,
    probe: Callable[[], float] | None = None,
    earlier: Mapping[str, Any] | None = None,
    base: str | None = None,
) -> Speed | None:
    """Seconds for a thousand training tokens; None where nothing was measured.

    Args:
        tokens_per_second: as the user gives it; goes before all others.
        probe: trains a few real steps and returns tokens a second.
        earlier: the figures of a run's manifest: ``seconds``, ``tokens`` (all tokens read, epochs included), ``base``.
        base: the model to be trained; an earlier run of another model says nothing about it.
    """
    if tokens_per_second:
        return Speed(1000 / tokens_per_second, "given")
    if probe is not None:
        return Speed(1000 / probe(), "measured now")
    if not earlier or not earlier.get("tokens") or not earlier.get("seconds"):
        return None
    if base is not None and earlier.get("base") not in (None, base):
        return None
    return Speed(1000 * float(earlier["seconds"]) / int(earlier["tokens"]), "the last run of this project")


def local_dollars(
    seconds: float, *, usd_per_hour: float | None = None, watts: float | None = None, usd_per_kwh: float | None = None
) -> float | None:
    """Cost of so many seconds of a machine: rent by the hour, its power, or both; None where neither is known."""
    hours = seconds / 3600
    parts = []
    if usd_per_hour is not None:
        parts.append(hours * usd_per_hour)
    if watts is not None and usd_per_kwh is not None:
        parts.append(hours * watts / 1000 * usd_per_kwh)
    return sum(parts) if parts else None
