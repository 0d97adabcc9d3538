"""What happens when facts change: the same facts with new answers, the seconds each System needs, what stays stale.

The answers of some trained facts are replaced in the documents. Systems that read the index are right again when the
changed chunks are embedded anew; systems that carry facts in their weights are trained further on the changed facts'
questions; a System with neither cannot take the change in. Each fact is asked with a wording that the update is not
trained on. How a System is updated is passed in; nothing of the user's workspace is altered.
"""

from __future__ import annotations

import random
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundtune.metrics.exact_match import score as exact_match
from groundtune.metrics.token_f1 import score as token_f1
from groundtune.records import Completion, Example, Passage
from groundtune.system import System, as_messages

#: (passages as they were and as they are, questions with the new answers, a folder to work in) -> the updated System
Update = Callable[[Sequence[tuple[Passage, Passage]], Sequence[Example], Path], System]


@dataclass(frozen=True, slots=True)
class Change:
    """One changed fact.

    Attributes:
        old, new: the question that is asked, with the old and with the new answer and passage.
        training: the fact's training questions with the new answer.
    """

    old: Example
    new: Example
    training: tuple[Example, ...]


def plan_changes(examples: Sequence[Example], count: int, seed: int) -> list[Change]:
    """Facts with one passage in which the answer stands once, each with a new answer of the same kind."""
    facts: dict[str, list[Example]] = {}
    for example in examples:
        if example.split in {"train", "held_out_phrasings"} and example.references and len(example.passages) == 1:
            facts.setdefault(example.fact, []).append(example)
    usable = [
        fact
        for fact, rows in sorted(facts.items())
        if sum(e.split == "train" for e in rows) > 1 and rows[0].passages[0].text.count(rows[0].references[0]) == 1
    ]
    rng = random.Random(seed)
    rng.shuffle(usable)
    words = [facts[f][0].references[0] for f in usable if not any(c.isdigit() for c in facts[f][0].references[0])]
    out = []
    for fact in usable[:count]:
        rows = sorted(
            facts[fact], key=lambda e: e.split == "held_out_phrasings"
        )  # a held-out wording last, where there is one
        before = rows[0].references[0]
        answer = new_answer(before, words, rng)
        passage = rows[0].passages[0]
        changed = replace(passage, text=passage.text.replace(before, answer))
        new = [replace(e, references=(answer,), passages=(changed,)) for e in rows]
        training = tuple(e for e in new[:-1] if e.split == "train")
        out.append(Change(replace(rows[-1], passages=(passage,)), new[-1], training))
    return out


def new_answer(answer: str, others: Sequence[str], rng: random.Random) -> str:
    """Another answer of the same kind: other digits, or another fact's words."""
    if any(c.isdigit() for c in answer):
        return re.sub(r"[1-9]", lambda m: str((int(m.group()) + 3) % 9 + 1), answer)
    choices = [o for o in others if o != answer]
    return rng.choice(choices) if choices else answer[::-1]


def measure(changes: Sequence[Change], system: System, update: Callable[[], System] | None) -> dict[str, Any]:
    """Ask before the update and after it.

    Args:
        changes: what changed.
        system: as it was before the change.
        update: makes the System of the changed world; None where a System cannot take the change in.

    Returns:
        ``facts``, ``seconds`` of the update, ``can_update``, ``right_before`` (old answers, before), ``right_after``
        (new answers, after) and ``stale_after`` (old answers, after).
    """
    questions = [as_messages(c.old.question) for c in changes]
    before = system.answer_batch(questions)
    started = time.perf_counter()
    updated = update() if update else system
    seconds = time.perf_counter() - started if update else 0.0
    after = updated.answer_batch(questions) if update else before
    return {
        "facts": len(changes),
        "seconds": round(seconds, 3),
        "can_update": update is not None,
        "right_before": sum(_right(a, c.old) for a, c in zip(before, changes, strict=True)),
        "right_after": sum(_right(a, c.new) for a, c in zip(after, changes, strict=True)),
        "stale_after": sum(_right(a, c.old) for a, c in zip(after, changes, strict=True)),
    }


def _right(completion: Completion, example: Example) -> bool:
    """The whole answer, or a quoted sentence that holds it (the baseline never answers in few words)."""
    whole = rf"(?<![\w-])(?<!\d[.,:]){re.escape(example.references[0].lower())}(?![\w-]|[.,:]\d)"  # 48 is not in 148 or 48.5
    held = bool(re.search(whole, completion.text.lower()))
    return bool(exact_match(completion, example)) or held or (token_f1(completion, example) or 0.0) > 0.8


def adaptability(
    examples: Sequence[Example], systems: Mapping[str, System], updates: Mapping[str, Update], *, count: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Measure every System, updated by its entry in ``updates`` where it has one; empty where no fact can be changed."""
    changes = plan_changes(examples, count, seed) if count else []
    if not changes:
        return {}
    edits = [(c.old.passages[0], c.new.passages[0]) for c in changes]
    training = [e for c in changes for e in c.training]
    out: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="groundtune-", ignore_cleanup_errors=True) as scratch:
        for number, (name, system) in enumerate(systems.items()):
            update = updates.get(name)
            folder = Path(scratch) / str(number)
            folder.mkdir()
            prepared = (lambda update=update, folder=folder: update(edits, training, folder)) if update else None
            out[name] = measure(changes, system, prepared)
    return out
