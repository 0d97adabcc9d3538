"""What happens when facts change: the same facts with new answers, the seconds each System needs, what stays stale.

The answers of some trained facts are replaced in the documents. Systems that read the index are right again when the
changed documents are embedded anew; systems that carry facts in their weights are trained further on the changed facts'
questions; a System with neither cannot learn the change. Nothing of the user's workspace is altered: all of it happens
in a temporary copy.
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
from groundtune.records import Completion, Example
from groundtune.system import System, as_messages


@dataclass(frozen=True, slots=True)
class Change:
    """One changed fact: its questions with the old answer, the same with the new one."""

    old: tuple[Example, ...]
    new: tuple[Example, ...]

    @property
    def asked(self) -> tuple[Example, Example]:
        """One question of the fact, with the old and with the new answer."""
        return self.old[-1], self.new[-1]


def plan_changes(examples: Sequence[Example], count: int, seed: int) -> list[Change]:
    """Facts with one passage in which the answer stands once, each with a new answer of the same kind."""
    facts: dict[str, list[Example]] = {}
    for example in examples:
        if example.split == "train" and example.references and len(example.passages) == 1:
            facts.setdefault(example.fact, []).append(example)
    usable = [f for f, rows in sorted(facts.items()) if rows[0].passages[0].text.count(rows[0].references[0]) == 1]
    rng = random.Random(seed)
    rng.shuffle(usable)
    words = [facts[f][0].references[0] for f in usable if not any(c.isdigit() for c in facts[f][0].references[0])]
    out = []
    for fact in usable[:count]:
        old = facts[fact]
        answer = new_answer(old[0].references[0], words, rng)
        passage = old[0].passages[0]
        changed = replace(passage, text=passage.text.replace(old[0].references[0], answer))
        out.append(Change(tuple(old), tuple(replace(e, references=(answer,), passages=(changed,)) for e in old)))
    return out


def new_answer(answer: str, others: Sequence[str], rng: random.Random) -> str:
    """Another answer of the same kind: other digits, or another fact's words."""
    if any(c.isdigit() for c in answer):
        return re.sub(r"\d", lambda m: str((int(m.group()) + 3) % 9 + 1) if m.group() != "0" else "0", answer)
    choices = [o for o in others if o != answer]
    return rng.choice(choices) if choices else answer[::-1]


def measure(changes: Sequence[Change], system: System, update: Callable[[], System] | None) -> dict[str, Any]:
    """Ask before the update and after it.

    Args:
        changes: what changed.
        system: as it was before the change.
        update: makes the System of the changed world; None where a System cannot take the change in.

    Returns:
        ``facts``, ``seconds`` of the update, ``right_before``, ``right_after`` (new answers), ``stale_after`` (old ones).
    """
    questions = [as_messages(c.asked[0].question) for c in changes]
    before = system.answer_batch(questions)
    started = time.perf_counter()
    updated = update() if update else system
    seconds = time.perf_counter() - started if update else 0.0
    after = updated.answer_batch(questions) if update else before
    return {
        "facts": len(changes),
        "seconds": round(seconds, 3),
        "can_update": update is not None,
        "right_before": sum(_right(a, c.asked[0]) for a, c in zip(before, changes, strict=True)),
        "right_after": sum(_right(a, c.asked[1]) for a, c in zip(after, changes, strict=True)),
        "stale_after": sum(_right(a, c.asked[0]) for a, c in zip(after, changes, strict=True)),
    }


def _right(completion: Completion, example: Example) -> bool:
    """The whole answer, or a quoted sentence that holds it (the baseline never answers in few words)."""
    held = f" {example.references[0].lower()} " in f" {re.sub(r'[^\w.,:-]', ' ', completion.text.lower())} "
    return bool(exact_match(completion, example)) or held or (token_f1(completion, example) or 0.0) > 0.8


def adaptability(setup: Any, systems: Mapping[str, System], *, count: int, seed: int) -> dict[str, dict[str, Any]]:
    """Measure every System that can be measured; empty without facts that can be changed."""
    changes = plan_changes(setup.examples, count, seed)
    if not changes:
        return {}
    out: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="groundtune-") as scratch:
        folder = Path(scratch)
        for name, system in systems.items():
            out[name] = measure(changes, system, _updater(setup, name, changes, folder))
    return out


def _updater(setup: Any, name: str, changes: Sequence[Change], folder: Path) -> Callable[[], System] | None:
    from groundtune.methods._setup import ClosedBook, Setup
    from groundtune.methods.baseline import Baseline
    from groundtune.methods.rag import Rag

    examples = [e for c in changes for e in c.new]
    base, _, layer = name.partition("+")

    def reindexed(part: str) -> Setup:
        from groundtune.retrieval.update import index_with_changes

        edits = [(c.old[0].passages[0], c.new[0].passages[0].text) for c in changes]
        changed = Setup(setup.workspace, setup.config)
        changed._backends = setup._backends
        changed.retriever = index_with_changes(setup.workspace, setup.config, edits, folder / f"index-{part}")
        return changed

    def retrained() -> Any:
        from groundtune import registry
        from groundtune.methods.tuned import continue_training

        made = registry.get("methods", base).backend(setup)
        target = folder / f"weights-{name.replace('+', '-')}"
        target.mkdir()
        merged = target / "start"
        made.model.save_pretrained(merged)
        made.tokenizer.save_pretrained(merged)
        continue_training(str(merged), examples, epochs=8, learning_rate=5e-4, seed=setup.config.seed, folder=target / "end")
        return setup.backend(str(target / "end"))

    if name == "baseline":
        return lambda: Baseline(reindexed(name))
    if layer == "rag" or name == "rag":  # retrieval takes the change in; the weights stay
        from groundtune import registry

        made = setup.backend() if name == "rag" else registry.get("methods", base).backend(setup)
        return lambda: Rag(name, reindexed(name.replace("+", "-")), made)
    if name in {"tuned", "scratch"} and not setup.config.model.startswith("echo:"):
        return lambda: ClosedBook(name, "", retrained(), max_tokens=setup.config.answer.max_tokens)
    return None
