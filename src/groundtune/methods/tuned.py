"""Fine-tuning on the training questions: LoRA (Hu et al., ICLR 2022) or every weight, answered closed book.

Training material is each question with its answer, closed book, and each fact once behind its own passage, so that the
same weights still read when they are put behind retrieval (RAFT, Zhang et al. 2024, without its chain of thought).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune.config import TuneConfig
from groundtune.dataset.prompts import closed_book, numbered, with_passages
from groundtune.dataset.render import TokenRow, render_example
from groundtune.errors import InputError
from groundtune.methods._setup import Backend, ClosedBook, Setup
from groundtune.nn.checkpoints import BUNDLED_FOLDER
from groundtune.records import Example, Message
from groundtune.system import System
from groundtune.workspace import digest, folder_digest

ARTIFACT = "runs/tuned"
#: peak learning rates; the small bundled model takes, and needs, far larger ones than models of a billion parameters
_RATES = {"lora": 2e-4, "full": 2e-5}
_RATES_BUNDLED = {"lora": 4e-3, "full": 1e-3}


def training_rows(
    tokenizer: Any, examples: Sequence[Example], *, max_tokens: int, with_reading: bool = True
) -> list[TokenRow]:
    """The rows trained on; see the module's head."""
    conversations: list[tuple[str, list[Message]]] = []
    read: set[str] = set()
    for example in examples:
        answer = Message("assistant", example.references[0])
        conversations.append((example.id, [*closed_book(example.question), answer]))
        if with_reading and example.passages and example.fact not in read:
            read.add(example.fact)
            places = [numbered(n, p.document, p.page, p.text) for n, p in enumerate(example.passages, 1)]
            conversations.append((example.id, [*with_passages(places, example.question), answer]))
    return [render_example(tokenizer, c, max_tokens=max_tokens, where=f"example {i}") for i, c in conversations]


def tune(setup: Setup, *, progress: Any = None) -> tuple[Path, bool]:
    """Fine-tune the config's model on the training split; the artifact ``runs/tuned`` and whether it was made now.

    Raises:
        InputError: no training questions, or one that does not fit the model's context.
    """
    from groundtune.nn.checkpoints import model_path

    config, examples = setup.config.tune, setup.training_examples()
    if not examples:
        raise InputError(
            f"{setup.questions_path}: no question in the split 'train' has an answer",
            expected="questions to train on",
            next_step='add rows with "split": "train"',
        )
    if setup.config.model.startswith(("openai:", "echo:")):
        raise InputError(
            f"{setup.config.model} cannot be fine-tuned here: its weights are not on this machine",
            expected="pebble, a folder, or a Hugging Face name",
            next_step="choose systems that train nothing: --systems baseline,prompt,few_shot,rag",
        )
    base = model_path(setup.resolve(setup.config.model))
    inputs = {
        "version": 1,
        "model": folder_digest(Path(base)) if Path(base).is_dir() else base,
        "config": config.model_dump(),
        "seed": setup.config.seed,
        "examples": digest([[e.id, e.question, e.references[0], [p.text for p in e.passages]] for e in examples]),
    }
    return setup.workspace.make(
        ARTIFACT, inputs, lambda folder: _train(base, examples, config, setup.config.seed, folder, progress)
    )


def _train(
    base: str, examples: Sequence[Example], config: TuneConfig, seed: int, folder: Path, progress: Any
) -> Mapping[str, Any]:
    import time

    from groundtune.training.data import PackedBatches, RowBatches
    from groundtune.training.packing import prepare
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    started = time.perf_counter()
    model, tokenizer, context = open_for_training(base, seed)
    rows = training_rows(tokenizer, examples, max_tokens=context)
    kind = PackedBatches if config.packing else RowBatches
    batches = kind(rows, batch_tokens=config.batch_tokens, epochs=config.epochs, seed=seed)
    if config.packing:
        prepare(model, rows)
    if config.method == "lora":
        model = _with_lora(model, config)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    settings = TrainSettings(
        learning_rate=peak_rate(config, base),
        warmup_steps=min(20, len(batches) // 10),
        save_every_steps=config.save_every_steps,
        seed=seed,
    )
    result = train(model, batches, settings, folder / "checkpoints", progress=progress)
    model.save_pretrained(folder / "weights")
    tokenizer.save_pretrained(folder / "weights")
    discard_checkpoints(folder / "checkpoints")
    (folder / "training.json").write_text(json.dumps(result.losses), encoding="utf-8")
    return {
        "method": config.method,
        "base": base,
        "rows": len(rows),
        "documents": sorted({p.document for e in examples for p in e.passages}),
        "documents_complete": all(e.passages for e in examples),
        "tokens": sum(len(r.ids) for r in rows) * config.epochs,
        "trained_tokens": sum(sum(r.trained) for r in rows) * config.epochs,
        "trainable_parameters": trainable,
        "steps": result.steps,
        "first_loss": round(result.first_loss, 4),
        "last_loss": round(result.last_loss, 4),
        "seconds": round(time.perf_counter() - started, 2),
        "disk_bytes": sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file()),
    }


def peak_rate(config: TuneConfig, base: str) -> float:
    """The config's learning rate, or the default for that model."""
    rates = _RATES_BUNDLED if base == str(BUNDLED_FOLDER) else _RATES
    return config.learning_rate or rates[config.method]


def open_for_training(path: str, seed: int) -> tuple[Any, Any, int]:
    """A fresh copy of a model in float32 with its tokenizer and its context in tokens."""
    import torch

    from groundtune.nn.checkpoints import open_model

    torch.manual_seed(seed)
    model, tokenizer = open_model(path, torch.float32)
    return model, tokenizer, int(getattr(model.config, "max_position_embeddings", 0) or 2048)


def _with_lora(model: Any, config: TuneConfig) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",  # every one but the output head, whatever the architecture calls them,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def continue_training(
    weights: str, examples: Sequence[Example], *, folder: Path, seed: int, epochs: int = 10, learning_rate: float
) -> None:
    """Train a finished model's weights further on changed facts, into ``folder``: what an update costs."""
    from groundtune.training.data import RowBatches
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    model, tokenizer, context = open_for_training(weights, seed)
    rows = training_rows(tokenizer, examples, max_tokens=context, with_reading=False)
    batches = RowBatches(rows, batch_tokens=512, epochs=epochs, seed=seed)
    train(model, batches, TrainSettings(learning_rate=learning_rate, warmup_steps=2, seed=seed), folder / "checkpoints")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    discard_checkpoints(folder / "checkpoints")


def backend(setup: Setup) -> Backend:
    """The tuned weights as a backend.

    Raises:
        MissingArtifactError: not tuned yet.
    """
    folder = setup.workspace.need(ARTIFACT, next_step="groundtune tune")
    figures = (setup.workspace.manifest(ARTIFACT) or {})["figures"]
    if figures["method"] == "lora":
        return setup.backend(figures["base"], str(folder / "weights"))
    return setup.backend(str(folder / "weights"))


def build(setup: Setup) -> System:
    """The System ``tuned``."""
    made = backend(setup)
    method = (setup.workspace.manifest(ARTIFACT) or {})["figures"]["method"]
    words = "LoRA" if method == "lora" else "full fine-tuning"
    return ClosedBook(
        "tuned", f"the model after {words} on the training questions", made, max_tokens=setup.config.answer.max_tokens
    )
