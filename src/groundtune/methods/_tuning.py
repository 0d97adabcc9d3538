"""The path every weight-changing method of a causal model shares: material, rows, training, checks, the finished run.

A method file says how its weights hang on the model (``attach``) and at which rate they learn; everything else is here.
Training material is a dataset file, or the project's questions: each with its answer, closed book, and each fact once
behind its own passage, so that the same weights still read when they are put behind retrieval (RAFT, Zhang et al. 2024,
without its chain of thought). Leaves out tasks of other models (``classifier``, ``seq2seq`` ...).
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.prompts import closed_book, numbered, with_passages
from groundtune.dataset.render import TokenRow, Truncation, render_example, windows
from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.methods._setup import Backend, ClosedBook, Setup
from groundtune.nn.checkpoints import BUNDLED_FOLDER
from groundtune.records import Conversation, Example, Message
from groundtune.system import System
from groundtune.workspace import digest, folder_digest

#: which method `groundtune tune` ran last: what the System `tuned` stands for
LAST = "tuned.json"


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


def causal_methods() -> list[str]:
    """Names of the methods that go this path: those with ``attach``."""
    return [name for name in registry.names("methods") if hasattr(registry.get("methods", name), "attach")]


def training_methods() -> list[str]:
    """Names of every method that changes weights or prompts by training: those above and those with ``tune``."""
    return [
        name
        for name in registry.names("methods")
        if any(hasattr(registry.get("methods", name), what) for what in ("attach", "tune"))
    ]


def artifact(name: str) -> str:
    """Where a method's run is in the workspace."""
    return f"runs/{name}"


def settings_for(setup: Setup, name: str) -> TuneConfig:
    """The config's ``tune`` section for a method; what was written for another method does not hold for this one.

    So ``tune.model`` of a classifier is not what LoRA trains; other tasks (``tune`` of their own) take it all the same.
    """
    config = setup.config.tune
    if name == config.method:
        return config
    other: dict[str, Any] = {"method": name, "options": {}, "learning_rate": None}
    return config.model_copy(update=other | ({"model": None} if name in causal_methods() else {}))


def options_of(module: ModuleType, config: TuneConfig) -> Any:
    """A method's options from ``tune.options``.

    Raises:
        ConfigError: every option it does not have, and every wrong value.
    """
    try:
        return module.Options.model_validate(dict(config.options))
    except ValidationError as error:
        faults = "; ".join(f"tune.options.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        known = ", ".join(module.Options.model_fields) or "none"
        raise ConfigError(f"{faults}", expected=f"options of {config.method}: {known}") from None


def answers(name: str) -> bool:
    """Whether a trained method is a System: a model of masked words is none."""
    return any(hasattr(registry.get("methods", name), what) for what in ("attach", "build"))


def check_method(name: str) -> ModuleType:
    """The module of a training method.

    Raises:
        UnknownNameError: no such method.
    """
    known = training_methods()
    if name not in known:
        raise UnknownNameError("tuning method", name, known)
    return registry.get("methods", name)


def last_method(setup: Setup) -> str:
    """The method that ``tune`` ran last, else the config's."""
    try:
        found: Any = json.loads(setup.workspace.path(LAST).read_text(encoding="utf-8"))
        return str(found["method"])
    except (OSError, ValueError, KeyError, TypeError):
        return setup.config.tune.method


def tune(setup: Setup, name: str | None = None, *, progress: Any = None) -> tuple[Path, bool]:
    """Train by a method; the artifact ``runs/<method>`` and whether it was made now.

    Raises:
        InputError: no training rows, or one that does not fit the model's context. ConfigError: a wrong option, or a
            pair of settings that cannot be. TrainingError: a guard spoke.
    """
    name = name or setup.config.tune.method
    module = check_method(name)
    config = settings_for(setup, name)
    if hasattr(module, "tune"):
        made: tuple[Path, bool] = module.tune(setup, config, progress=progress)
        return made
    return tune_into(setup, config, artifact(name), progress=progress)


def tune_into(setup: Setup, config: TuneConfig, name: str, *, progress: Any = None) -> tuple[Path, bool]:
    """Train by a method of this path; the artifact of that name and whether it was made now. Raises as :func:`tune`."""
    from groundtune.nn.checkpoints import model_path

    module = check_method(config.method)
    if not hasattr(module, "attach"):
        raise ConfigError(f"{config.method} cannot be swept", expected=f"one of {', '.join(causal_methods())}")
    options = options_of(module, config)
    model = config.model or setup.config.model
    if model.startswith(("openai:", "echo:")):
        raise InputError(
            f"{model} cannot be fine-tuned here: its weights are not on this machine",
            expected="pebble, a folder, or a Hugging Face name",
            next_step="choose systems that train nothing: --systems baseline,prompt,few_shot,rag",
        )
    if config.packing and not getattr(module, "PACKS", True):
        raise ConfigError(
            f"tune.packing: rows cannot be packed with {config.method}: its learnt prompt would stand before the first row alone",
            next_step="set tune.packing: false",
        )
    material = gather(setup, config)
    base = model_path(setup.resolve(model))
    inputs = {
        "version": 2,
        "model": folder_digest(Path(base)) if Path(base).is_dir() else base,
        "config": config.model_dump(exclude={"guards", "report_to", "save_every_steps"}),
        "seed": setup.config.seed,
        "rows": digest([[w, str(c)] for w, c in material.train]),
        "validation": digest([[w, str(c)] for w, c in material.validation]),
    }
    return setup.workspace.make(
        name,
        inputs,
        lambda folder: _train(base, module, options, material, config, inputs, folder, progress),
    )


# ---------------------------------------------------------------- material


def gather(setup: Setup, config: TuneConfig) -> Material:
    """The rows of ``tune.data``, or of the project's questions.

    Raises:
        InputError: none, faulty ones, or validation rows that are also trained on.
    """
    material = _of_files(setup, config) if config.data else _of_questions(setup)
    if config.validation_share and not material.validation:
        material = _held_back(material, config.validation_share)
    known = {_key(c) for _, c in material.train}
    seen = [where for where, c in material.validation if _key(c) in known]
    if seen:
        raise InputError(
            f"{len(seen)} validation rows are trained on, too: {', '.join(seen[:3])}",
            expected="validation rows that training never sees",
            next_step="groundtune dataset split makes parts that share nothing",
        )
    return material


def _held_back(material: Material, share: float) -> Material:
    """A share of the training rows as validation rows, chosen by their prompts' hashes, so that equal prompts stay together."""
    limit = int(share * 2**32)
    asked = {_key(c) for _, c in material.watched["trained"]}  # of questions: without those behind their passage
    keys = [_key(c) for _, c in material.train]
    chosen = [key in asked and zlib.crc32(str(key).encode()) < limit for key in keys]
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
    train = read_conversations(setup.workspace.root / config.data)
    validation = read_conversations(setup.workspace.root / config.validation) if config.validation else []
    documents = tuple(sorted({c.source for _, c in train if c.source}))
    watched = {"trained": train, **({"validation": validation} if validation else {})}
    return Material(train, validation, documents, all(c.source for _, c in train), watched)


def read_conversations(path: Path) -> list[tuple[str, Conversation]]:
    """Every conversation of a dataset file in any format, with its place.

    Raises:
        InputError: no file, no rows, or faulty ones: nothing is left out in silence.
    """
    from groundtune.dataset.files.items import read_items

    out: list[tuple[str, Conversation]] = []
    faults: list[str] = []
    for item in read_items(path):
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
) -> tuple[list[TokenRow], int]:
    """Conversations as rows to train on, and how many were over the limit and left out or cut into windows."""
    rows: list[TokenRow] = []
    over = 0
    for where, c in conversations:
        row = render_example(
            tokenizer, c.messages, max_tokens=max_tokens, where=where, tools=c.tools, truncation=truncation
        )
        if len(row.ids) <= max_tokens:
            rows.append(row)
            continue
        over += 1
        if truncation == "window":
            rows.extend(windows(row, max_tokens))
    return rows, over


# ---------------------------------------------------------------- training


def _train(
    base: str,
    module: ModuleType,
    options: Any,
    material: Material,
    config: TuneConfig,
    inputs: Mapping[str, Any],
    folder: Path,
    progress: Any,
) -> Mapping[str, Any]:
    from groundtune.nn.checkpoints import load_model
    from groundtune.training import learned
    from groundtune.training.data import PackedBatches, RowBatches
    from groundtune.training.packing import prepare
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    started, seed = time.perf_counter(), int(inputs["seed"])
    model, tokenizer, context = open_for_training(base, seed, getattr(module, "load", None))
    limit = min(context, config.max_tokens or context)
    rows, over = token_rows(tokenizer, material.train, max_tokens=limit, truncation=config.truncation)
    if not rows:
        raise InputError(
            f"none of {len(material.train)} rows fits into {limit} tokens",
            expected="rows within the limit",
            next_step="set tune.truncation: window, or choose a model with a longer context",
        )
    validation, _ = token_rows(tokenizer, material.validation, max_tokens=limit, truncation="drop")
    kind = PackedBatches if config.packing else RowBatches
    batches: Any = kind(rows, batch_tokens=config.batch_tokens, epochs=config.epochs, seed=seed)
    if config.packing:
        prepare(model, rows)
    watched = learned.groups(tokenizer, material.watched, max_tokens=context, seed=seed)
    before = learned.losses(model, watched)
    model = module.attach(model, options, base=base)
    if hasattr(module, "over"):
        batches = module.over(model, options, batches, folder / "checkpoints")
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    accumulation = config.accumulation
    settings = TrainSettings(
        learning_rate=peak_rate(module, config, base),
        warmup_steps=min(20, len(batches) // accumulation // 10),
        accumulation=accumulation,
        save_every_steps=config.save_every_steps,
        seed=seed,
        validate_every_steps=config.validate_every_steps,
        patience=config.patience,
        gradient_checkpointing=config.gradient_checkpointing,
        guards=config.guards,
        report_to=config.report_to,
        run_name=config.method,
    )
    template = template_digest(tokenizer)
    result = train(
        model,
        batches,
        settings,
        folder / "checkpoints",
        validate=learned.validator(validation, config.batch_tokens) if validation else None,
        identity={"model": inputs["model"], "template": template, "options": options.model_dump()},
        progress=progress,
    )
    save: Any = getattr(module, "save", None) or (lambda model, folder: model.save_pretrained(folder))
    save(model, folder / "weights")
    tokenizer.save_pretrained(folder / "weights")
    answering = load_model(base, adapter=str(folder / "weights"))[0] if is_quantized(model) else model
    after = learned.losses(answering, watched)
    figures: dict[str, Any] = {
        "method": config.method,
        "base": base,
        "adapter": (folder / "weights" / "adapter_config.json").exists(),
        "rows": len(rows),
        "rows_over_limit": over,
        "documents": list(material.documents),
        "documents_complete": material.complete,
        "tokens": sum(len(r.ids) for r in rows) * config.epochs,
        "trained_tokens": sum(sum(r.trained) for r in rows) * config.epochs,
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
        "learned": {name: {"before": before[name], "after": after[name]} for name in before},
    }
    if config.guards:
        figures["reload_difference"] = check_reload(model, tokenizer, base, folder / "weights", figures["adapter"])
    discard_checkpoints(folder / "checkpoints")
    (folder / "training.json").write_text(json.dumps(result.losses), encoding="utf-8")
    learned.write_page(folder / "learned.html", figures, result.losses)
    figures["seconds"] = round(time.perf_counter() - started, 2)
    figures["disk_bytes"] = sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file())
    return figures


def template_digest(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's chat template; what is trained with one is not served with another."""
    return digest(tokenizer.chat_template)


def check_reload(model: Any, tokenizer: Any, base: str, weights: Path, adapter: bool) -> float:
    """The finished weights read back as an answering process reads them: logits must be those of the trained model.

    A probe of the logits stays beside the weights, and whoever loads them looks at it again. An adapter that was trained
    over a 4-bit base answers over the 16- or 32-bit one: its probe is of that.

    Returns:
        Largest difference of a logit, in standard deviations of the logits.

    Raises:
        TrainingError: they differ: an adapter not applied, a merge gone wrong, a head untied.
    """
    from groundtune.nn.checkpoints import load_model
    from groundtune.nn.probe import check_probe, save_probe
    from groundtune.training.guards import TrainingError

    quantized = is_quantized(model)
    if not quantized:
        save_probe(weights, model, tokenizer)
    try:
        loaded, _ = load_model(base, adapter=str(weights)) if adapter else load_model(str(weights))
        if quantized:
            save_probe(weights, loaded, tokenizer)
        return check_probe(loaded, weights)
    except InputError as error:
        raise TrainingError(
            f"{weights}: the weights read back are not those that were trained: {error.problem}",
            next_step="please report this; the checkpoints are still there",
        ) from None


def is_quantized(model: Any) -> bool:
    """Whether a model's base is held in 4 bits."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return bool(getattr(base, "is_loaded_in_4bit", False))


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


# ---------------------------------------------------------------- answering


def figures_of(setup: Setup, name: str) -> dict[str, Any]:
    """The figures of a method's finished run.

    Raises:
        MissingArtifactError: not trained yet.
    """
    setup.workspace.need(artifact(name), next_step=f"groundtune tune --method {name}")
    figures: dict[str, Any] = (setup.workspace.manifest(artifact(name)) or {})["figures"]
    return figures


def tuned_backend(setup: Setup, name: str) -> Backend:
    """A method's trained weights as a backend.

    Raises:
        MissingArtifactError: not trained yet. ConfigError: the base has another chat template now.
    """
    figures = figures_of(setup, name)
    weights = str(setup.workspace.path(artifact(name)) / "weights")
    made = setup.backend(figures["base"], weights) if figures["adapter"] else setup.backend(weights)
    tokenizer = getattr(made, "tokenizer", None)
    if tokenizer is not None and template_digest(tokenizer) != figures["template"]:
        raise ConfigError(
            f"{figures['base']}: its chat template is not the one that runs/{name} was trained with",
            expected="the same template to train and to answer",
            next_step=f"groundtune tune --method {name} trains anew",
        )
    return made


def tuned_system(setup: Setup, name: str, method: str) -> System:
    """The System of a trained method."""
    words = registry.summary("methods", method).partition(":")[0].partition(" (")[0].rstrip(".")
    return ClosedBook(
        name,
        f"the model after {words if words.isupper() else words[:1].lower() + words[1:]} on the training rows",
        tuned_backend(setup, method),
        max_tokens=setup.config.answer.max_tokens,
    )
