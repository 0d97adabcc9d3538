"""The path every weight-changing method of a causal model shares: material, rows, training, checks, the finished run.

A method file says how its weights hang on the model (``attach``) and at which rate they learn; everything else is here.
Training material is a dataset file, or the project's questions: each with its answer, closed book, and each fact once
behind its own passage, so that the same weights still read when they are put behind retrieval (RAFT, Zhang et al. 2024,
without its chain of thought). Leaves out tasks of other models (``classifier``, ``seq2seq`` ...).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.render import VERSION as RENDER_VERSION
from groundtune.dataset.render import TokenRow, render_example
from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.methods._finished import (
    check_changed,
    check_reload,
    check_template,
    is_quantized,
    stop_where_turns_end,
    template_digest,
)
from groundtune.methods._material import Material, gather, token_rows, training_conversations
from groundtune.methods._overlap import nearly_trained
from groundtune.methods._setup import Backend, ClosedBook, Setup
from groundtune.nn.checkpoints import BUNDLED_FOLDER
from groundtune.records import Example
from groundtune.system import System
from groundtune.workspace import Workspace, digest, folder_digest

if TYPE_CHECKING:
    from groundtune.dataset.lengths import Lengths
    from groundtune.training.learned_rows import ShownRow

#: which method `groundtune tune` ran last: what the System `tuned` stands for
LAST = "tuned.json"
#: says something before or while training, to people
Announce = Callable[[str], None]


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


def answers_closed_book(name: str) -> bool:
    """Whether what a method trains is a model that answers, which ``tuned`` can stand for."""
    return hasattr(registry.get("methods", name), "attach")


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
    return read_last(setup.workspace) or setup.config.tune.method


def read_last(workspace: Workspace) -> str | None:
    """The method that ``tune`` ran last in a workspace."""
    try:
        found: Any = json.loads(workspace.path(LAST).read_text(encoding="utf-8"))
        return str(found["method"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tune(
    setup: Setup, name: str | None = None, *, progress: Any = None, announce: Announce = lambda _: None
) -> tuple[Path, bool]:
    """Train by a method; the artifact ``runs/<method>`` and whether it was made now.

    Args:
        progress: called after every optimizer step.
        announce: told, before training, what is trained on and what is odd about it.

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
    return tune_into(setup, config, artifact(name), progress=progress, announce=announce)


def tune_into(
    setup: Setup,
    config: TuneConfig,
    name: str,
    *,
    progress: Any = None,
    announce: Announce = lambda note: None,
) -> tuple[Path, bool]:
    """Train by a method of this path; the artifact of that name and whether it was made now. Raises as :func:`tune`."""
    from groundtune.nn.checkpoints import model_path

    module = check_method(config.method)
    if not hasattr(module, "attach"):
        raise ConfigError(f"{config.method} cannot be swept", expected=f"one of {', '.join(causal_methods())}")
    options = options_of(module, config)
    _check_pairs(setup, module, config)
    model = config.model or setup.config.model
    material = gather(setup, config)
    base = model_path(setup.resolve(model))
    inputs = {
        "version": [3, RENDER_VERSION],
        "model": model_identity(base),
        "config": config.model_dump(exclude={"guards", "report_to", "save_every_steps"}),
        "seed": setup.config.seed,
        "rows": digest([[w, str(c)] for w, c in material.train]),
        "validation": digest([[w, str(c)] for w, c in material.validation]),
    }
    return setup.workspace.make(
        name,
        inputs,
        lambda folder: _train(base, module, options, material, config, inputs, folder, progress, announce),
    )


def _check_pairs(setup: Setup, module: ModuleType, config: TuneConfig) -> None:
    """Refuse settings that do not go together."""
    from groundtune.nn.checkpoints import model_path
    from groundtune.nn.quantize.files import quantization_of

    model = config.model or setup.config.model
    if model.startswith(("openai:", "echo:")):
        raise InputError(
            f"{model} cannot be fine-tuned here: its weights are not on this machine",
            expected="pebble, a folder, or a Hugging Face name",
            next_step="choose systems that train nothing: --systems baseline,prompt,few_shot,rag",
        )
    if quantization_of(Path(model_path(setup.resolve(model)))):
        raise InputError(
            f"{model}: its weights are quantized, which cannot be trained",
            expected="a model in 16 or 32 bits",
            next_step="name the model it was quantized from; qlora holds it in 4 bits while training",
        )
    if config.packing and not getattr(module, "PACKS", True):
        raise ConfigError(
            f"tune.packing: rows cannot be packed with {config.method}: its learnt prompt would stand before the first row alone",
            next_step="set tune.packing: false",
        )
    if config.gradient_checkpointing and not getattr(module, "CHECKPOINTS", True):
        raise ConfigError(
            f"tune.gradient_checkpointing: not with {config.method}: the prefix stands in the cache, which a layer that is computed again would fill twice",
            next_step="set tune.gradient_checkpointing: false; a frozen model needs little memory",
        )


def model_identity(base: str) -> str:
    """What tells a base model with its tokenizer and template from another: its files, or its commit on the hub."""
    if Path(base).is_dir():
        return folder_digest(Path(base))
    from transformers.utils.hub import cached_file

    try:
        return f"{base}@{Path(str(cached_file(base, 'config.json'))).parent.name}"
    except OSError:  # not here and not to be had: loading it says so better
        return base


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
    announce: Announce,
) -> Mapping[str, Any]:
    from groundtune.nn.checkpoints import load_model
    from groundtune.training import learned
    from groundtune.training.data import PackedBatches, RowBatches
    from groundtune.training.embedding_guards import check_embeddings
    from groundtune.training.learned_rows import shown_row
    from groundtune.training.packing import prepare
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    started, seed = time.perf_counter(), int(inputs["seed"])
    model, tokenizer, context = open_for_training(base, seed, getattr(module, "load", None))
    limit = min(context, config.max_tokens or context)
    rows, lengths = token_rows(tokenizer, material.train, max_tokens=limit, truncation=config.truncation)
    if not rows:
        raise InputError(
            f"none of {len(material.train)} rows fits into {limit} tokens",
            expected="rows within the limit",
            next_step="set tune.truncation: window, or choose a model with a longer context",
        )
    validation, of_validation = token_rows(tokenizer, material.validation, max_tokens=limit, truncation="drop")
    oddities = _oddities(material, of_validation)
    for note in (str(lengths), _share(rows), *oddities):
        announce(note)
    kind = PackedBatches if config.packing else RowBatches
    batches: Any = kind(rows, batch_tokens=config.batch_tokens, epochs=config.epochs, seed=seed)
    if config.packing:
        prepare(model, rows)
    watched = learned.groups(tokenizer, material.watched, max_tokens=context, seed=seed)
    probe = sorted(rows, key=lambda row: len(row.ids))[:2]
    before, start = learned.losses(model, watched), learned.logits(model, probe)
    model = module.attach(model, options, base=base)
    if config.guards:
        check_embeddings(model, tokenizer, rows)
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
    if config.guards:
        check_changed(start, learned.logits(model, probe))
        stop_where_turns_end(model, tokenizer)
    if hasattr(module, "save"):
        module.save(model, tokenizer, folder / "weights")
    else:
        model.save_pretrained(folder / "weights")
        tokenizer.save_pretrained(folder / "weights")
    answering = load_model(base, adapter=str(folder / "weights"))[0] if is_quantized(model) else model
    after = learned.losses(answering, watched)
    figures: dict[str, Any] = {
        "method": config.method,
        "base": base,
        "adapter": (folder / "weights" / "adapter_config.json").exists(),
        "rows": len(rows),
        "rows_over_limit": lengths.over,
        "lengths": lengths.figures(),
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
        "notes": oddities,
        "learned": {name: {"before": before[name], "after": after[name]} for name in before},
    }
    if config.guards:
        figures["reload_difference"] = check_reload(model, tokenizer, base, folder / "weights", figures["adapter"])
        check_template(folder / "weights", template)
    discard_checkpoints(folder / "checkpoints")
    (folder / "training.json").write_text(json.dumps(result.losses), encoding="utf-8")
    fits = next((n for n, size in enumerate(lengths.tokens) if size <= limit), 0)
    at = fits if config.truncation == "drop" else 0  # the row that the first of `rows` was made from
    first = shown_row(material.train[at][0], rows[0], tokenizer, limit)
    learned.write_page(folder / "learned.html", figures, result.losses, row=first, lengths=lengths)
    figures["seconds"] = round(time.perf_counter() - started, 2)
    figures["disk_bytes"] = sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file())
    return figures


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


def training_row(setup: Setup, name: str, number: int) -> ShownRow:
    """A row as a method trains on it, by its number from 1, to be looked at; nothing is trained.

    Raises:
        ConfigError: a method whose rows are no chats. InputError: no such row, or one that cannot be trained on.
    """
    from groundtune.nn.checkpoints import open_tokenizer
    from groundtune.training.learned_rows import shown_row

    if hasattr(check_method(name), "tune"):
        raise ConfigError(f"the rows of {name} are no chats", expected=f"one of {', '.join(causal_methods())}")
    config = settings_for(setup, name)
    train = gather(setup, config).train
    if not 1 <= number <= len(train):
        raise InputError(f"no row {number}", expected=f"1 to {len(train)}")
    tokenizer, context = open_tokenizer(setup.resolve(setup.config.model))
    limit = min(context, config.max_tokens or context)
    where, c = train[number - 1]
    row = render_example(tokenizer, c.messages, max_tokens=limit, where=where, tools=c.tools, truncation="drop")
    return shown_row(where, row, tokenizer, limit)


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
        MissingArtifactError: not trained yet. ConfigError: the base has another chat template now, or the method makes
            no model that answers.
    """
    if not answers_closed_book(name):
        raise ConfigError(
            f"tune.method: {name} makes no model that answers by itself",
            expected="a method of the System `tuned`, such as full or lora",
            next_step=f"set tune.method: full; groundtune tune --method {name} works beside it",
        )
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
