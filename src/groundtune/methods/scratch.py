"""A model trained from zero on the documents and the training questions, in the same minutes as ``tuned``.

The third of the three ways to get data into a model, at the price the other way had: its own tokenizer, its own small
Llama, every token of the documents and every answer trained on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import TokenRow, render_example
from groundtune.ingest.ingest import documents_digest, read_result, read_sections
from groundtune.methods._setup import Backend, ClosedBook, Setup
from groundtune.methods._tuning import artifact, figures_of, last_method
from groundtune.records import Example, Message
from groundtune.system import System
from groundtune.workspace import digest, write_json

ARTIFACT = "runs/scratch"
#: peak learning rate
RATE = 2e-3
CONTEXT = 256


def train_from_scratch(setup: Setup, *, progress: Any = None) -> tuple[Path, bool]:
    """The artifact ``runs/scratch`` and whether it was made now.

    Raises:
        MissingArtifactError: nothing ingested, or no ``tuned`` run to take the time from.
    """
    config, examples = setup.config.scratch, setup.training_examples()
    seconds = config.seconds
    if seconds is None:
        seconds = float(figures_of(setup, last_method(setup))["seconds"])
    inputs = {
        "version": 1,
        "documents": documents_digest(setup.workspace),
        "config": config.model_dump(),
        "tuned": None if config.seconds else (setup.workspace.manifest(artifact(last_method(setup))) or {})["key"],
        "seed": setup.config.seed,
        "examples": digest([[e.id, e.question, e.references[0]] for e in examples]),
    }
    return setup.workspace.make(ARTIFACT, inputs, lambda folder: _train(setup, examples, seconds, folder, progress))


def _train(setup: Setup, examples: Sequence[Example], seconds: float, folder: Path, progress: Any) -> Mapping[str, Any]:
    from groundtune.nn.architectures import Shape, new_model
    from groundtune.nn.tokenizer import train_tokenizer
    from groundtune.training.data import RowBatches
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    started = time.perf_counter()
    config, seed = setup.config.scratch, setup.config.seed
    sections = [
        s.text
        for d in read_result(setup.workspace).documents
        for s in read_sections(setup.workspace.path("documents"), d)
    ]
    texts = [*sections, *(f"{e.question} {e.references[0]}" for e in examples)]
    tokenizer = train_tokenizer(iter(texts), vocabulary=config.vocabulary, context_tokens=CONTEXT)
    heads = max(1, config.width // 48)
    shape = Shape(layers=config.layers, width=heads * 48, heads=heads, feed_forward=heads * 128, context_tokens=CONTEXT)
    model = new_model(shape, tokenizer, seed=seed)
    rows = _rows(tokenizer, sections, examples)
    plan = folder / "plan.json"  # the steps that fit, measured once, so that a resumed run ends where this one would
    if not plan.exists():
        write_json(plan, {"steps": _steps_that_fit(model, rows, seconds, seed)})
        model = new_model(shape, tokenizer, seed=seed)
    steps = int(json.loads(plan.read_text(encoding="utf-8"))["steps"])
    per_epoch = len(RowBatches(rows, batch_tokens=1024, epochs=1, seed=seed))
    batches = RowBatches(rows, batch_tokens=1024, epochs=math.ceil(steps / per_epoch), seed=seed)
    batches.plan = batches.plan[:steps]
    settings = TrainSettings(learning_rate=RATE, warmup_steps=min(30, steps // 10), save_every_steps=100, seed=seed)
    result = train(model, batches, settings, folder / "checkpoints", progress=progress)
    model.save_pretrained(folder / "weights")
    tokenizer.save_pretrained(folder / "weights")
    discard_checkpoints(folder / "checkpoints")
    return {
        "documents": sorted(d.path for d in read_result(setup.workspace).documents),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": result.steps,
        "first_loss": round(result.first_loss, 4),
        "last_loss": round(result.last_loss, 4),
        "seconds": round(time.perf_counter() - started, 2),
        "disk_bytes": sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file()),
    }


def _rows(tokenizer: Any, sections: Sequence[str], examples: Sequence[Example]) -> list[TokenRow]:
    rows: list[TokenRow] = []
    stream = [i for text in sections for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    for start in range(0, len(stream), CONTEXT):
        piece = tuple(stream[start : start + CONTEXT])
        rows.append(TokenRow(piece, (True,) * len(piece)))
    for example in examples:
        messages = [*closed_book(example.question), Message("assistant", example.references[0])]
        rows.append(render_example(tokenizer, messages, max_tokens=CONTEXT, where=f"example {example.id}"))
    return rows


def _steps_that_fit(model: Any, rows: Sequence[TokenRow], seconds: float, seed: int) -> int:
    from groundtune.training.data import RowBatches
    from groundtune.training.objectives import supervised_loss

    batches = RowBatches(rows, batch_tokens=1024, epochs=1, seed=seed)
    trial = range(min(8, len(batches)))
    supervised_loss(model, batches[0], None).backward()
    begun = time.perf_counter()
    for step in trial:
        supervised_loss(model, batches[step], None).backward()
    return max(20, int(seconds / ((time.perf_counter() - begun) / len(trial) * 1.15)))


def backend(setup: Setup) -> Backend:
    """The weights as a backend.

    Raises:
        MissingArtifactError: not trained yet.
    """
    return setup.backend(str(setup.workspace.need(ARTIFACT, next_step="groundtune compare") / "weights"))


def build(setup: Setup) -> System:
    """The System ``scratch``."""
    return ClosedBook(
        "scratch",
        "a small model trained from zero on the documents and questions",
        backend(setup),
        max_tokens=setup.config.answer.max_tokens,
    )
