"""What every method that changes the weights of a causal model shares: settings, material, its run, and what answers from it.

The training itself is in ``_causal_training``. A method file says how its weights hang on the model (``attach``) and at
which rate they learn; everything else is here and there.
Training material is a dataset file, or the project's questions: each with its answer, closed book, and each fact once
behind its own passage, so that the same weights still read when they are put behind retrieval (RAFT, Zhang et al. 2024,
without its chain of thought). Leaves out tasks of other models (``classifier``, ``seq2seq`` ...).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.render import VERSION as RENDER_VERSION
from groundtune.dataset.render import render_example
from groundtune.errors import ConfigError, InputError, UnknownNameError, did_you_mean
from groundtune.methods._causal_training import Announce, train_method
from groundtune.methods._finished import template_digest
from groundtune.methods._material import gather
from groundtune.methods._setup import Backend, ClosedBook, Setup
from groundtune.records import Message
from groundtune.system import System
from groundtune.training.trackers import told
from groundtune.workspace import Workspace, digest, folder_digest

if TYPE_CHECKING:
    from groundtune.training.learned_rows import ShownRow

#: which method `groundtune tune` ran last: what the System `tuned` stands for
LAST = "tuned.json"
#: where trackers write in the workspace
TRACKING = "tracking"


def causal_methods() -> list[str]:
    """Names of the methods that go this path: those with ``attach``."""
    return [name for name in registry.names("methods") if registry.has("methods", name, "attach")]


def training_methods() -> list[str]:
    """Names of every method that changes weights or prompts by training: those above and those with ``tune``."""
    return [name for name in registry.names("methods") if registry.has("methods", name, "attach", "tune")]


def answers_closed_book(name: str) -> bool:
    """Whether what a method trains is a model that answers, which ``tuned`` can stand for."""
    return registry.has("methods", name, "attach")


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
        fields = list(module.Options.model_fields)
        unknown = [str(e["loc"][0]) for e in error.errors() if e["type"] == "extra_forbidden"]
        near = did_you_mean(unknown[0], fields, cutoff=0.6) if unknown else ""
        raise ConfigError(
            faults,
            expected=f"options of {config.method}: {', '.join(fields) or 'none'}",
            next_step=near or f"groundtune tune --help-method {config.method}",
        ) from None


def answers(name: str) -> bool:
    """Whether a trained method is a System: a model of masked words is none."""
    return registry.has("methods", name, "attach", "build")


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
        with told(config.report_to, setup.workspace.path(TRACKING), name):
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
    with told(config.report_to, setup.workspace.path(TRACKING), name.removeprefix("runs/").replace("/", "-")):
        return setup.workspace.make(
            name,
            inputs,
            lambda folder: train_method(base, module, options, material, config, inputs, folder, progress, announce),
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
    form = figures_of(setup, method).get("asked_as")
    return ClosedBook(
        name,
        f"the model after {words if words.isupper() else words[:1].lower() + words[1:]} on the training rows",
        tuned_backend(setup, method),
        max_tokens=setup.config.answer.max_tokens,
        ask=None if form is None else partial(_ask_as_trained, form["system"]),
    )


def _ask_as_trained(system: str, question: str) -> list[Message]:
    return [*([Message("system", system)] if system else []), Message("user", question)]
