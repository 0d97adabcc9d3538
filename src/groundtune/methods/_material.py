"""What a run of a causal model is trained on: a dataset file, or the project's questions, as conversations and token rows.

Each question stands with its answer, closed book, and each fact once behind its own passage, so that the same weights
still read when they are put behind retrieval (RAFT, Zhang et al. 2024, without its chain of thought). Nothing is left out
in silence: faulty rows, rows over the limit and validation rows that are trained on are refused or counted.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundtune.config import TuneConfig
from groundtune.dataset.lengths import Lengths
from groundtune.dataset.prompts import closed_book, numbered, with_passages
from groundtune.dataset.render import TokenRow, Truncation, render_example, windows
from groundtune.errors import InputError
from groundtune.methods._overlap import check_overlap
from groundtune.methods._setup import Setup
from groundtune.records import Conversation, Example, Message


@dataclass(frozen=True, slots=True)
class Material:
    """What a run is trained on.

    Attributes:
        train, validation: conversations with what an error calls them.
        documents: files the rows come from; `complete` where that is all of them.
        watched: group -> conversations whose loss is taken before and after, never trained on but for "trained".
    """

    train: list[tuple[str, Conversation]]
    validation: list[tuple[str, Conversation]]
    documents: tuple[str, ...]
    complete: bool
    watched: dict[str, list[tuple[str, Conversation]]]


def gather(setup: Setup, config: TuneConfig) -> Material:
    """The rows of ``tune.data``, or of the project's questions.

    Raises:
        InputError: none, faulty ones, or validation rows that are also trained on.
    """
    material = _of_files(setup, config) if config.data else _of_questions(setup)
    if config.validation_share and not material.validation:
        material = _held_back(material, config.validation_share)
    check_overlap(material.train, material.validation)
    return material


def _held_back(material: Material, share: float) -> Material:
    """A share of the training rows as validation rows, chosen by their prompts' hashes, so that equal prompts stay together."""
    asked = {_key(c) for _, c in material.watched["trained"]}  # of questions: without those behind their passage
    keys = [_key(c) for _, c in material.train]
    candidates = sorted(asked & set(keys), key=lambda key: zlib.crc32(str(key).encode()))
    out_keys = set(candidates[: max(1, round(share * len(candidates)))])
    chosen = [key in out_keys for key in keys]
    train = [row for row, out in zip(material.train, chosen, strict=True) if not out]
    validation = [row for row, out in zip(material.train, chosen, strict=True) if out]
    if not train or not validation:
        raise InputError(
            f"{len(material.train)} rows are too few to hold back {share:.0%} of them", expected="more training rows"
        )
    watched = {**material.watched, "trained": [r for r in material.watched["trained"] if r not in validation]}
    return replace(material, train=train, validation=validation, watched={**watched, "validation": validation})


def _key(conversation: Conversation) -> int:
    from groundtune.dataset.item_text import key_of, prompt_of

    return key_of(prompt_of(conversation))


def _of_files(setup: Setup, config: TuneConfig) -> Material:
    assert config.data is not None
    root, fields = setup.workspace.root, config.fields
    train = read_conversations(root / config.data, fields)
    validation = read_conversations(root / config.validation, fields) if config.validation else []
    documents = tuple(sorted({c.source for _, c in train if c.source}))
    watched = {"trained": train, **({"validation": validation} if validation else {})}
    return Material(train, validation, documents, all(c.source for _, c in train), watched)


def read_conversations(path: Path, fields: Mapping[str, str] | None = None) -> list[tuple[str, Conversation]]:
    """Every conversation of a dataset file in any format, with its place.

    Args:
        fields: part (question, answer, system ...) -> column, where the columns have names of their own.

    Raises:
        InputError: no file, no rows, or faulty ones: nothing is left out in silence.
    """
    from groundtune.dataset.files.items import read_items

    out: list[tuple[str, Conversation]] = []
    faults: list[str] = []
    for item in read_items(path, mapping=fields or None):
        where = f"{path}:{item.line}"
        if item.item is None:
            faults.append(f"{where}: {item.fault}")
        elif isinstance(item.item, Conversation):
            out.append((where, item.item))
        else:
            faults.append(f"{where}: a preference pair, which `groundtune align` trains on")
    if faults:
        raise InputError(
            f"{len(faults)} rows cannot be trained on; the first: {faults[0]}",
            expected="conversations",
            next_step=f"groundtune dataset check {path} --quarantine faulty.jsonl",
        )
    if not out:
        raise InputError(f"{path}: holds no conversation", expected="one example a row")
    return out


def _of_questions(setup: Setup) -> Material:
    examples = setup.training_examples()
    if not examples:
        raise InputError(
            f"{setup.questions_path}: no question in the split 'train' has an answer",
            expected="questions to train on",
            next_step='add rows with "split": "train", or name a dataset file under tune.data',
        )
    splits: dict[str, list[Example]] = {}
    for example in setup.examples:
        if example.references:
            splits.setdefault(example.split, []).append(example)
    asked = {split: _questions(rows) for split, rows in splits.items()}
    watched = {"trained": asked["train"]}
    watched |= {name: rows for name, rows in asked.items() if name not in ("train", "validation")}
    return Material(
        training_conversations(examples),
        asked.get("validation", []),
        tuple(sorted({p.document for e in examples for p in e.passages})),
        all(e.passages for e in examples),
        watched,
    )


def _questions(examples: Sequence[Example]) -> list[tuple[str, Conversation]]:
    return [
        (f"example {e.id}", Conversation((*closed_book(e.question), Message("assistant", e.references[0]))))
        for e in examples
    ]


def training_conversations(examples: Sequence[Example], *, with_reading: bool = True) -> list[tuple[str, Conversation]]:
    """Questions as conversations to train on; see the module's head."""
    out: list[tuple[str, Conversation]] = []
    read: set[str] = set()
    for example, asked in zip(examples, _questions(examples), strict=True):
        out.append(asked)
        if with_reading and example.passages and example.fact not in read:
            read.add(example.fact)
            places = [numbered(n, p.document, p.page, p.text) for n, p in enumerate(example.passages, 1)]
            answer = Message("assistant", example.references[0])
            out.append((f"example {example.id}", Conversation((*with_passages(places, example.question), answer))))
    return out


def token_rows(
    tokenizer: Any,
    conversations: Sequence[tuple[str, Conversation]],
    *,
    max_tokens: int,
    truncation: Truncation = "error",
) -> tuple[list[TokenRow], Lengths]:
    """Conversations as rows to train on, and how long they were before those over the limit were left out or cut.

    Raises:
        InputError: a row that cannot be rendered; with "error" also rows over the limit, all of them counted.
    """
    whole = [
        render_example(tokenizer, c.messages, max_tokens=max_tokens, where=where, tools=c.tools, truncation="drop")
        for where, c in conversations
    ]
    lengths = Lengths(tuple(len(row.ids) for row in whole), max_tokens)
    if lengths.over and truncation == "error":
        at = next(n for n, count in enumerate(lengths.tokens) if count > max_tokens)
        raise InputError(
            f"{conversations[at][0]}: {lengths.tokens[at]} tokens, over the limit of {max_tokens}; {lengths}",
            expected=f"at most {max_tokens} tokens a row (tune.max_tokens, or the model's context): nothing is cut unasked",
            next_step="shorten the rows, set tune.truncation: drop or window, or choose a model with a longer context",
        )
    rows: list[TokenRow] = []
    for row in whole:
        if len(row.ids) <= max_tokens:
            rows.append(row)
        elif truncation == "window":
            rows.extend(windows(row, max_tokens))
    return rows, lengths
