"""One training of a causal model by a method with ``attach``: rows, the loop, the checks at the end, the figures.

Called by ``_tuning``, which decides whether anything is to be trained. Leaves out what other tasks train: they have ``tune``.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from groundtune.config import TuneConfig
from groundtune.dataset.prompts import CLOSED_INSTRUCTION
from groundtune.dataset.render import TokenRow
from groundtune.errors import InputError
from groundtune.methods._finished import (
    check_changed,
    check_reload,
    check_template,
    is_quantized,
    stop_where_turns_end,
    template_digest,
)
from groundtune.methods._material import Material, token_rows, training_conversations
from groundtune.methods._overlap import nearly_trained
from groundtune.nn.checkpoints import BUNDLED_FOLDER
from groundtune.records import Example

if TYPE_CHECKING:
    from groundtune.dataset.lengths import Lengths

#: says something before or while training, to people
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Tokenized:
    """The material in tokens of one model.

    Attributes:
        rows: trained on.
        lengths: of all training rows, those that are not trained on too.
        validation: rows validated with.
        limit: most tokens of a row.
        oddities: what a person should know about the rows before training.
    """

    rows: list[TokenRow]
    lengths: Lengths
    validation: list[TokenRow]
    limit: int
    oddities: list[str]


def train_method(
    base: str,
    module: ModuleType,
    options: Any,
    material: Material,
    config: TuneConfig,
    inputs: Mapping[str, Any],
    folder: Path,
    progress: Any,
    announce: Announce,
) -> Mapping[str, Any]:
    """Train a method's weights on a base model into ``folder``; the run's figures.

    Args:
        options: the method's own, checked.
        inputs: what tells this run from another; its ``seed`` and ``model`` are used here.
        folder: gets ``weights``, ``training.json``, ``learned.html``, and ``checkpoints`` until the end.
        progress: called after every optimizer step.

    Raises:
        InputError: no row fits. TrainingError: a guard spoke.
    """
    from groundtune.nn.checkpoints import load_model
    from groundtune.training import learned
    from groundtune.training.embedding_guards import check_embeddings
    from groundtune.training.learned_rows import shown_row
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train
    from groundtune.training.watch import WHOLE

    started, seed = time.perf_counter(), int(inputs["seed"])
    model, tokenizer, context = open_for_training(base, seed, getattr(module, "load", None))
    data = _tokenized(tokenizer, material, config, context)
    for note in (str(data.lengths), _share(data.rows), *data.oddities):
        announce(note)
    done = [int(mark.parent.name.rpartition("-")[2]) for mark in (folder / "checkpoints").glob(f"checkpoint-*/{WHOLE}")]
    if done:
        announce(f"going on behind step {max(done)}, where a run was stopped")
    batches = _batches(model, data.rows, config, seed)
    watched = learned.groups(tokenizer, material.watched, max_tokens=context, seed=seed)
    probe = sorted(data.rows, key=lambda row: len(row.ids))[:2]
    before, start = learned.losses(model, watched), learned.logits(model, probe)
    model = module.attach(model, options, base=base)
    if config.guards:
        check_embeddings(model, tokenizer, data.rows)
    if hasattr(module, "over"):
        batches = module.over(model, options, batches, folder / "checkpoints")
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    template = template_digest(tokenizer)
    warmup = min(20, len(batches) // config.accumulation // 10)
    rate = peak_rate(module, config, base)
    settings = TrainSettings.of(config, seed, learning_rate=rate, warmup_steps=warmup)
    result = train(
        model,
        batches,
        settings,
        folder / "checkpoints",
        validate=learned.validator(data.validation, config.batch_tokens) if data.validation else None,
        identity={"model": inputs["model"], "template": template, "options": options.model_dump()},
        progress=progress,
    )
    if config.guards:
        check_changed(start, learned.logits(model, probe))
        stop_where_turns_end(model, tokenizer)
    _save(module, model, tokenizer, folder / "weights")
    answering = load_model(base, adapter=str(folder / "weights"))[0] if is_quantized(model) else model
    after = learned.losses(answering, watched)
    figures: dict[str, Any] = {
        "method": config.method,
        "base": base,
        "adapter": (folder / "weights" / "adapter_config.json").exists(),
        "rows": len(data.rows),
        "rows_over_limit": data.lengths.over,
        "lengths": data.lengths.figures(),
        "asked_as": asked_as(material) if config.data else None,
        "documents": list(material.documents),
        "documents_complete": material.complete,
        "tokens": result.tokens,
        "trained_tokens": result.trained_tokens,
        "trainable_parameters": trainable,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": result.steps,
        "first_loss": round(result.first_loss, 4),
        "last_loss": round(result.last_loss, 4),
        "validations": list(result.validations),
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "precision": result.precision,
        "template": template,
        "notes": data.oddities,
        "learned": {name: {"before": before[name], "after": after[name]} for name in before},
    }
    if config.guards:
        figures["reload_difference"] = check_reload(model, tokenizer, base, folder / "weights", figures["adapter"])
        check_template(folder / "weights", template)
    discard_checkpoints(folder / "checkpoints")
    (folder / "training.json").write_text(json.dumps(result.losses), encoding="utf-8")
    fits = next((n for n, size in enumerate(data.lengths.tokens) if size <= data.limit), 0)
    at = fits if config.truncation == "drop" else 0  # the row that the first of `rows` was made from
    first = shown_row(material.train[at][0], data.rows[0], tokenizer, data.limit)
    learned.write_page(folder / "learned.html", figures, result.losses, row=first, lengths=data.lengths)
    figures["seconds"] = round(time.perf_counter() - started, 2)
    figures["disk_bytes"] = sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file())
    return figures


def asked_as(material: Material) -> dict[str, str] | None:
    """How rows of a file put their questions, so that the tuned model is asked as it was trained.

    Returns:
        ``system``: their most frequent system message, "" where most have none; None where they are put as this project
        puts questions.
    """
    openings = Counter(
        next((m.content or "" for m in c.messages if m.role in ("system", "developer")), "") for _, c in material.train
    )
    system = openings.most_common(1)[0][0]
    return None if system == CLOSED_INSTRUCTION else {"system": system}


def _tokenized(tokenizer: Any, material: Material, config: TuneConfig, context: int) -> Tokenized:
    limit = min(context, config.max_tokens or context)
    rows, lengths = token_rows(tokenizer, material.train, max_tokens=limit, truncation=config.truncation)
    if not rows:
        raise InputError(
            f"none of {len(material.train)} rows fits into {limit} tokens",
            expected="rows within the limit",
            next_step="set tune.truncation: window, or choose a model with a longer context",
        )
    validation, of_validation = token_rows(tokenizer, material.validation, max_tokens=limit, truncation="drop")
    return Tokenized(rows, lengths, validation, limit, _oddities(material, of_validation))


def _batches(model: Any, rows: Sequence[TokenRow], config: TuneConfig, seed: int) -> Any:
    from groundtune.training.data import PackedBatches, RowBatches
    from groundtune.training.packing import prepare

    if config.packing:
        prepare(model, rows)
    kind = PackedBatches if config.packing else RowBatches
    return kind(rows, batch_tokens=config.batch_tokens, epochs=config.epochs, seed=seed)


def _save(module: ModuleType, model: Any, tokenizer: Any, folder: Path) -> None:
    if hasattr(module, "save"):
        module.save(model, tokenizer, folder)
    else:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's card, which says nothing


def _share(rows: Sequence[TokenRow]) -> str:
    trained, tokens = sum(sum(r.trained) for r in rows), sum(len(r.ids) for r in rows)
    return f"the loss is on {trained / tokens:.0%} of the tokens: answers and the marks that end them"


def _oddities(material: Material, validation: Lengths) -> list[str]:
    """What a person should know about the rows before training."""
    notes = []
    if validation.over:
        notes.append(f"{validation.over} of {len(validation.tokens)} validation rows are over the limit and left out")
    near = nearly_trained(material.train, material.validation)
    if near:
        pairs = "; ".join(f"{a} like {b}" for a, b in near[:3])
        notes.append(
            f"{len(near)} of {len(material.validation)} validation rows are nearly trained ones, their loss says little: {pairs}"
        )
    if validation.over == len(validation.tokens):
        notes.append("no validation rows: the weights are those of the last step, and nothing shows when to stop")
    return notes


def peak_rate(module: ModuleType, config: TuneConfig, base: str) -> float:
    """The config's learning rate, or the method's default for that model."""
    default = module.RATE_BUNDLED if base == str(BUNDLED_FOLDER) else module.RATE
    return float(config.learning_rate or default)


def open_for_training(path: str, seed: int, load: Any = None) -> tuple[Any, Any, int]:
    """A fresh copy of a model in float32 (or as a method loads it), its tokenizer and its context in tokens."""
    import torch

    from groundtune.nn.checkpoints import open_model

    torch.manual_seed(seed)
    model, tokenizer = load(path) if load else open_model(path, torch.float32)
    return model, tokenizer, int(getattr(model.config, "max_position_embeddings", 0) or 2048)


def continue_training(
    weights: str, examples: Sequence[Example], *, folder: Path, seed: int, epochs: int = 10, learning_rate: float
) -> None:
    """Train a finished model's weights further on changed facts, into ``folder``: what an update costs."""
    from groundtune.training.data import RowBatches
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    model, tokenizer, context = open_for_training(weights, seed)
    rows, _ = token_rows(tokenizer, training_conversations(examples, with_reading=False), max_tokens=context)
    batches = RowBatches(rows, batch_tokens=512, epochs=epochs, seed=seed)
    train(model, batches, TrainSettings(learning_rate=learning_rate, warmup_steps=2, seed=seed), folder / "checkpoints")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    discard_checkpoints(folder / "checkpoints")
