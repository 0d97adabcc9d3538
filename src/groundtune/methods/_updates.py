"""How a System takes changed facts in: its index embedded anew where they stand, or its weights trained further."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.methods import scratch
from groundtune.methods._causal_training import continue_training, peak_rate
from groundtune.methods._setup import ClosedBook, Setup
from groundtune.methods._systems import backend_of, build_system, searches
from groundtune.methods._tuning import last_method, settings_for
from groundtune.nn.checkpoints import model_path
from groundtune.records import Example
from groundtune.retrieval.update import index_with_changes
from groundtune.system import System


def updates(names: Sequence[str], setup: Setup) -> dict[str, Any]:
    """How each named System takes changed facts in: (edits, examples with new answers, folder) -> the updated System.

    Retrieval embeds the changed chunks anew, weights are trained further on the examples; a System that is missing
    cannot be updated, or (learnt prompts) not by training its weights further.
    """
    out: dict[str, Any] = {}
    for name in names:
        base = name.partition("+")[0]
        if searches(name):
            out[name] = partial(_reindexed, setup, name)
        elif _merges(setup, base):
            out[name] = partial(_retrained, setup, name)
    return out


def _merges(setup: Setup, name: str) -> bool:
    module = registry.get("methods", last_method(setup) if name == "tuned" else name)
    trains = name == "tuned" or any(hasattr(module, part) for part in ("backend", "attach"))
    return trains and bool(getattr(module, "MERGES", True))


def _reindexed(setup: Setup, name: str, edits: Any, examples: Sequence[Example], folder: Path) -> System:
    changed = Setup(setup.workspace, setup.config, passage_filter=setup.passage_filter, _backends=setup._backends)
    changed.retriever = index_with_changes(setup.workspace, setup.config, edits, folder)
    own: Any = getattr(setup.retriever, "unguarded", setup.retriever)
    changed.retriever.reranker, changed.retriever.calibration = own.reranker, own.calibration  # build_system guards it
    return build_system(name, changed)


def _retrained(setup: Setup, name: str, edits: Any, examples: Sequence[Example], folder: Path) -> System:
    made: Any = backend_of(setup, name)
    made.model.save_pretrained(folder / "start")
    made.tokenizer.save_pretrained(folder / "start")
    # merged weights are all trained on, whatever the method trained: at the rate of full fine-tuning
    full = peak_rate(registry.get("methods", "full"), settings_for(setup, "full"), model_path(setup.config.model))
    rate = scratch.RATE if name == "scratch" else full
    continue_training(
        str(folder / "start"), examples, folder=folder / "end", seed=setup.config.seed, learning_rate=rate / 4
    )
    return ClosedBook(name, "", setup.backend(str(folder / "end")), max_tokens=setup.config.answer.max_tokens)
