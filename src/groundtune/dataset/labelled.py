"""Texts with a class label, from any dataset file: which columns, what is wrong with a row, what is held out.

Leaves out tokens and tensors (``training.classes``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.dataset.files.rows import Broken, first_rows, rows, without_blank
from groundtune.errors import ConfigError, InputError

_PAIRS = (("sentence1", "sentence2"), ("text1", "text2"), ("question1", "question2"), ("premise", "hypothesis"), ("text_a", "text_b"))  # fmt: skip
_TEXTS = ("text", "sentence", "question", "query", "utterance", "content", "review", "prompt")
_LABELS = ("label", "category", "intent", "class", "labels", "target", "answer")


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns hold what.

    Attributes:
        text, label: column names.
        pair: column of the second text of a pair; empty where rows have one text.
    """

    text: str
    label: str
    pair: str = ""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One row to learn from.

    Attributes:
        text, label: what is read and what is to be answered.
        pair: the second text of a pair, or empty.
        where: file and line, for errors.
    """

    text: str
    label: str
    pair: str = ""
    where: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The texts without case and spacing: rows with the same key are the same question."""
        return " ".join(self.text.lower().split()), " ".join(self.pair.lower().split())


def fields_of(mapping: Mapping[str, str]) -> Fields | None:
    """The config's ``tune.fields``; None where it is empty.

    Raises:
        ConfigError: an unknown part, or one without text or label.
    """
    if not mapping:
        return None
    if unknown := sorted(mapping.keys() - {"text", "pair", "label"}):
        raise ConfigError(f"tune.fields.{unknown[0]}: unknown", expected="text, label and, for two texts a row, pair")
    if missing := [name for name in ("text", "label") if not mapping.get(name)]:
        raise ConfigError(f"tune.fields: no column for {missing[0]!r}", expected="{text: COLUMN, label: COLUMN}")
    return Fields(mapping["text"], mapping["label"], mapping.get("pair", ""))


def detect_fields(path: Path) -> Fields:
    """The columns of a file that by their names hold texts and labels.

    Raises:
        InputError: no rows with columns, or none with such names.
    """
    found = next((row for _, row in first_rows(path, 20) if isinstance(row, dict)), None)
    if found is None:
        raise InputError(f"{path}: no rows with columns", expected="a table, or one JSON object a line, with a text and a label")  # fmt: skip
    by_lower = {str(name).lower(): str(name) for name in reversed(found)}
    label = next((by_lower[name] for name in _LABELS if name in by_lower), "")
    pair = next((p for p in _PAIRS if all(name in by_lower for name in p)), None)
    text = next((by_lower[name] for name in _TEXTS if name in by_lower), "")
    if label and pair:
        return Fields(by_lower[pair[0]], label, by_lower[pair[1]])
    if label and text:
        return Fields(text, label)
    raise InputError(
        f"{path}: no column is called like a {'text' if label else 'label'}; it has {', '.join(map(str, found))}",
        expected=f"{' or '.join(_TEXTS[:4])} (or sentence1 and sentence2), and {' or '.join(_LABELS[:3])}",
        next_step="name the columns: tune.fields: {text: COLUMN, label: COLUMN}",
    )


def read_labelled(path: Path, fields: Fields | None = None) -> tuple[list[LabelledText], Fields]:
    """Every row of a dataset file, and the columns that were read.

    Raises:
        InputError: no file, no rows, or faulty ones: nothing is left out in silence.
    """
    fields = fields or detect_fields(path)
    out: list[LabelledText] = []
    faults: list[str] = []
    for line, row in without_blank(rows(path)):
        made = _row(row, fields, f"{path}:{line}")
        if isinstance(made, str):
            faults.append(f"{path}:{line}: {made}")
        else:
            out.append(made)
    if faults:
        raise InputError(
            f"{len(faults)} rows cannot be used; the first: {faults[0]}",
            expected=f"text in {fields.text!r}{f' and {fields.pair!r}' if fields.pair else ''}, one label in {fields.label!r}",
            next_step="mend or remove them, or name other columns under tune.fields",
        )
    if not out:
        raise InputError(f"{path}: holds no rows", expected="one text with its label a row")
    return out, fields


def _row(row: Any, fields: Fields, where: str) -> LabelledText | str:
    if isinstance(row, Broken):
        return row.reason
    if not isinstance(row, dict):
        return "no row with columns"
    for name in (fields.text, fields.pair):
        if name and not (isinstance(row.get(name), str) and row[name].strip()):
            return f"no text in {name!r}" if name in row else f"no column {name!r}"
    label = row.get(fields.label)
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(label, (str, int)) or not str(label).strip():
        return f"no label in {fields.label!r}" if fields.label in row else f"no column {fields.label!r}"
    return LabelledText(row[fields.text], str(label).strip(), row[fields.pair] if fields.pair else "", where)


def in_order(labels: Sequence[str]) -> list[str]:
    """Different labels in their order: by number where all are numbers, else by name."""
    different = set(labels)
    numbers = all(label.lstrip("-").isdecimal() for label in different)
    return sorted(different, key=lambda label: (int(label) if numbers else 0, label))


def check_labels(labels: Sequence[str], rows_: Sequence[LabelledText]) -> None:
    """See that rows to be judged by have labels that training knows.

    Raises:
        InputError: some do not.
    """
    strange = [row for row in rows_ if row.label not in labels]
    if strange:
        raise InputError(
            f"{strange[0].where}: the label {strange[0].label!r} is in no training row ({len(strange)} such rows)",
            expected=f"one of {', '.join(labels[:8])}{' ...' if len(labels) > 8 else ''}",
            next_step="add training rows with that label, or mend the label",
        )


def hold_out(rows_: Sequence[LabelledText], size: float) -> tuple[list[LabelledText], list[LabelledText]]:
    """Rows to train on and rows held out from them: the same ones whatever the seed, each label in proportion.

    Chosen by the hash of a row's texts. Rows that say the same as a training row stay in training.

    Args:
        size: a share of the rows below 1, or a number of them.
    """
    wanted = min(round(size * len(rows_)) if size < 1 else int(size), len(rows_) - 1)
    counts = Counter(row.label for row in rows_)
    quotas = {label: wanted * n / len(rows_) for label, n in counts.items()}
    take = {label: int(q) for label, q in quotas.items()}
    for label in sorted(quotas, key=lambda name: (take[name] - quotas[name], name))[: wanted - sum(take.values())]:
        take[label] += 1
    held: set[int] = set()
    for label, count in take.items():
        own = [n for n, row in enumerate(rows_) if row.label == label]
        own.sort(key=lambda n: (hashlib.sha256("\0".join(rows_[n].key).encode()).hexdigest(), n))
        held.update(own[: min(count, len(own) - 1)])
    trained = {row.key for n, row in enumerate(rows_) if n not in held}
    held = {n for n in held if rows_[n].key not in trained}
    return [r for n, r in enumerate(rows_) if n not in held], [r for n, r in enumerate(rows_) if n in held]
