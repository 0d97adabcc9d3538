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
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.lengths import Lengths
from groundtune.dataset.prompts import closed_book, numbered, with_passages
from groundtune.dataset.render import VERSION as RENDER_VERSION
from groundtune.dataset.render import TokenRow, Truncation, render_example, render_prompt, turn_end, windows
from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.methods._overlap import check_overlap, nearly_trained
from groundtune.methods._setup import Backend, ClosedBook, Setup
from groundtune.nn.checkpoints import BUNDLED_FOLDER
from groundtune.records import Conversation, Example, Message
from groundtune.system import System
from groundtune.workspace import digest, folder_digest

if TYPE_CHECKING:
    from groundtune.training.learned_rows import ShownRow

#: which method `groundtune tune` ran last: what the System `tuned` stands for
LAST = "tuned.json"
#: says something before or while training, to people
Announce = Callable[[str], None]
#: chats whose token ids belong to what a template is told apart by
_PROBES = (
    (Message("user", "How tall is the 2nd tower?"),),
    (Message("system", "Be brief."), Message("user", "Why?")),
    (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", " Who are you? ")),
)
#: largest difference between the trained and the reloaded model's logits, in their standard deviations
RELOAD_TOLERANCE = 1e-3


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
    """The config's ``tune`` section for a method; what was written for another method does not hold for this one."""
    config = setup.config.tune
    if name == config.method:
        return config
    return config.model_copy(update={"method": name, "options": {}, "learning_rate": None})


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
    return _tune(setup, module, config, progress, announce)


def _tune(setup: Setup, module: ModuleType, config: TuneConfig, progress: Any, announce: Announce) -> tuple[Path, bool]:
    from groundtune.nn.checkpoints import model_path

    options = options_of(module, config)
    _check_pairs(setup, module, config)
    material = gather(setup, config)
    base = model_path(setup.resolve(setup.config.model))
    inputs = {
        "version": [3, RENDER_VERSION],
        "model": model_identity(base),
        "config": config.model_dump(exclude={"guards", "report_to", "save_every_steps"}),
        "seed": setup.config.seed,
        "rows": digest([[w, str(c)] for w, c in material.train]),
        "validation": digest([[w, str(c)] for w, c in material.validation]),
    }
    return setup.workspace.make(
        artifact(config.method),
        inputs,
        lambda folder: _train(base, module, options, material, config, inputs, folder, progress, announce),
    )


def _check_pairs(setup: Setup, module: ModuleType, config: TuneConfig) -> None:
    """Refuse settings that do not go together."""
    if setup.config.model.startswith(("openai:", "echo:")):
        raise InputError(
            f"{setup.config.model} cannot be fine-tuned here: its weights are not on this machine",
            expected="pebble, a folder, or a Hugging Face name",
            next_step="choose systems that train nothing: --systems baseline,prompt,few_shot,rag",
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


# ---------------------------------------------------------------- material


def gather(setup: Setup, config: TuneConfig) -> Material:
    """The rows of ``tune.data``, or of the project's questions.

    Raises:
        InputError: none, faulty ones, or validation rows that are also trained on.
    """
    material = _of_files(setup, config) if config.data else _of_questions(setup)
    check_overlap(material.train, material.validation)
    return material


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
    batches = kind(rows, batch_tokens=config.batch_tokens, epochs=config.epochs, seed=seed)
    if config.packing:
        prepare(model, rows)
    watched = learned.groups(tokenizer, material.watched, max_tokens=context, seed=seed)
    probe = sorted(rows, key=lambda row: len(row.ids))[:2]
    before, start = learned.losses(model, watched), learned.logits(model, probe)
    model = module.attach(model, options, base=base)
    if config.guards:
        check_embeddings(model, tokenizer, rows)
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
        figures["reload_difference"] = check_reload(model, rows[:2], base, folder / "weights", figures["adapter"])
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


def template_digest(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's chat template and of the ids that come of three chats.

    What is trained with one is not served with another, nor with another vocabulary.
    """
    from jinja2.exceptions import TemplateError

    chats: list[Any] = []
    for chat in _PROBES:
        try:
            chats.append(render_prompt(tokenizer, chat))
        except TemplateError as error:  # some take no system message
            chats.append(str(error))
    return digest([tokenizer.chat_template, chats])


def check_template(weights: Path, template: str) -> None:
    """See that the saved tokenizer renders chats as the one in training did.

    Raises:
        TrainingError: the template was not saved, or is another one.
    """
    from transformers import AutoTokenizer

    from groundtune.training.guards import TrainingError

    if template_digest(AutoTokenizer.from_pretrained(weights)) != template:
        raise TrainingError(
            f"{weights}: the saved tokenizer renders chats otherwise than the one in training",
            expected="the chat template and vocabulary of training",
            next_step="please report this; the checkpoints are still there",
        )


def check_changed(before: Any, after: Any) -> None:
    """See that training changed what the model says: logits (T, V) of the same rows, before and after.

    Raises:
        TrainingError: they are equal, bit for bit.
    """
    import torch

    from groundtune.training.guards import TrainingError

    if torch.equal(before, after):
        raise TrainingError(
            "training changed nothing: the model's logits are those of before",
            expected="a model that has learnt something",
            next_step="raise tune.learning_rate, or check what tune.options adapt",
        )


def stop_where_turns_end(model: Any, tokenizer: Any) -> None:
    """Let the model's generation stop where trained answers end, beside where it stopped before."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    end, settings = turn_end(tokenizer), base.generation_config
    if settings is None or end is None:
        return
    known = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    if end not in known:
        settings.eos_token_id = [*(i for i in known if i is not None), end]


def check_reload(model: Any, rows: Sequence[TokenRow], base: str, weights: Path, adapter: bool) -> float:
    """The finished weights read back as an answering process reads them: logits must be those of the trained model.

    An adapter that was trained over a 4-bit base answers over the 16- or 32-bit one: there the difference is only told.

    Returns:
        Largest difference of a logit, in standard deviations of the logits.

    Raises:
        TrainingError: they differ: an adapter not applied, a merge gone wrong, a head untied.
    """
    import torch

    from groundtune.nn.checkpoints import load_model
    from groundtune.training.guards import TrainingError
    from groundtune.training.learned import logits

    loaded, _ = load_model(base, adapter=str(weights)) if adapter else load_model(str(weights))
    trained, found = logits(model, rows), logits(loaded, rows)
    difference = float((trained - found.to(trained)).abs().max() / trained.std().clamp_min(1e-9))
    exact = not is_quantized(model) and loaded.dtype == torch.float32
    if not difference <= (RELOAD_TOLERANCE if exact else float("inf")):
        raise TrainingError(
            f"{weights}: the weights read back give other logits than the trained model: {difference:.2g} standard deviations",
            expected=f"at most {RELOAD_TOLERANCE}",
            next_step="please report this; the checkpoints are still there",
        )
    return difference


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
