"""A project, or a model and a number of tokens, as what :mod:`groundtune.plan` plans: for ``plan``, and for commands that stop in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup
    from groundtune.plan.limits import Limits
    from groundtune.plan.planner import Request
    from groundtune.plan.row import Row
    from groundtune.plan.work import Material

#: tokens of a row where only a number of tokens is given
ROW_TOKENS = 256


@dataclass(frozen=True)
class Subject:
    """What is planned, with what people want to read about it.

    Attributes:
        request: for the planner.
        model: its name.
        from_where: what the tokens were counted from.
    """

    request: Request
    model: str
    from_where: str

    @property
    def is_encoder(self) -> bool:
        """A model that fills masks and writes no text: BERT and its like."""
        from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

        return self.request.config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES

    def on_meta(self) -> Any:
        """The model without memory, to count it."""
        from groundtune.nn.shapes import on_meta
        from groundtune.plan.memory import Run, skeleton

        config = self.request.config
        return skeleton(Run(config, "classifier", 1, 1, 0)) if self.is_encoder else on_meta(config)


def model_config(setup: Setup, name: str) -> Any:
    """The transformers config of a named shape, of the bundled model, a folder or a Hugging Face name.

    Raises:
        InputError: none of these.
    """
    from groundtune.errors import InputError
    from groundtune.nn.checkpoints import model_path
    from groundtune.nn.shapes import SHAPES, shape_config

    if name in SHAPES:
        return shape_config(SHAPES[name])
    if name.startswith(("openai:", "echo:")):
        raise InputError(f"{name}: its weights are not on this machine", expected="a shape, a folder or a model's name")
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(model_path(setup.resolve(name)))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"model {name!r}: {str(error).strip().splitlines()[0]}",
            expected=f"pebble, a folder with config.json, a Hugging Face name, or a shape: {', '.join(SHAPES)}",
        ) from None


def subject_of(
    setup: Setup,
    limits: Limits,
    *,
    tokens: int | None = None,
    row_tokens: int | None = None,
    pretraining: bool = False,
    pretrain_tokens: int | None = None,
    budget_seconds: float = 5.0,
) -> Subject:
    """What to plan: the setup's model on its training questions, or on so many tokens.

    Args:
        setup: the project.
        limits: what a run may take.
        tokens: of the training rows once; default: counted.
        row_tokens: of a row, where ``tokens`` are given.
        pretraining: training from nothing is asked about.
        pretrain_tokens: of a pretraining run; default: 20 a parameter.
        budget_seconds: for timing each method; 0 times nothing.

    Raises:
        InputError: no such model, or nothing to count.
    """
    from groundtune.plan.attach import Sizes
    from groundtune.plan.machine import this_device
    from groundtune.plan.planner import Request
    from groundtune.plan.row import Settings

    tune, name = setup.config.tune, setup.config.model
    config = model_config(setup, name)
    context = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or 2048)
    if tokens is None:
        material, from_where = _counted(setup, context)
    else:
        material, from_where = _given(tokens, min(row_tokens or ROW_TOKENS, context)), "given"
    request = Request(
        config=config,
        material=material,
        pretraining=_pretraining(name, config, context, pretrain_tokens) if pretraining else None,
        settings=Settings(batch_tokens=tune.batch_tokens, epochs=tune.epochs),
        device=this_device(),
        limits=limits,
        usd_per_hour=setup.config.compare.usd_per_hour,
        save_every_steps=tune.save_every_steps,
        smaller=_smaller(name),
        sizes=Sizes(rank=int(tune.options.get("rank", 16))),
        attach=_attach(setup, config),
        budget_seconds=budget_seconds,
    )
    return Subject(request, name, from_where)


def check_before(setup: Setup, method: str, *, max_hours: float | None = None, max_usd: float | None = None) -> Row:
    """Plan one method on the setup's questions and stop before it begins if it would take more than allowed.

    Returns:
        The plan's row, where nothing is passed.

    Raises:
        ConfigError: names the estimate, the limit and what would fit.
    """
    from groundtune.plan.limits import Limits, check
    from groundtune.plan.planner import Planner
    from groundtune.plan.would_fit import plan_row

    limits = Limits(hours=max_hours, usd=max_usd)
    row = plan_row(Planner(subject_of(setup, limits).request), method)
    check(row, limits)
    return row


def _attach(setup: Setup, config: Any) -> dict[str, Any]:
    """Methods' own ways to hang themselves on a model, with the project's options, where a method has one."""
    from functools import partial

    from groundtune import registry
    from groundtune.plan.attach import METHODS

    out: dict[str, Any] = {}
    for name in METHODS:
        if not (registry.has("methods", name, "attach") and registry.has("methods", name, "Options")):
            continue
        module: Any = registry.get("methods", name)
        own = getattr(setup.config.tune, "options", {}) if setup.config.tune.method == name else {}
        out[name] = partial(module.attach, options=module.Options.model_validate(dict(own)), base="")
    return out


def _counted(setup: Setup, context: int) -> tuple[Material, str]:
    """The work of the project's training questions, in the order training has them."""
    from groundtune.dataset.pack import plan_batches, plan_packs
    from groundtune.errors import InputError
    from groundtune.methods._material import gather, token_rows
    from groundtune.nn.checkpoints import BUNDLED, open_tokenizer
    from groundtune.nn.shapes import SHAPES
    from groundtune.plan.work import Work, work_of_rows

    if not setup.config.tune.data and not setup.questions_path.exists():
        raise InputError(
            f"no training questions to count: {setup.questions_path} is not there",
            expected="a project folder, or the number of tokens",
            next_step="groundtune plan --tokens 100000, or --project FOLDER",
        )
    counter = BUNDLED if setup.config.model in SHAPES else setup.config.model
    tokenizer, _ = open_tokenizer(setup.resolve(counter))
    train = gather(setup, setup.config.tune).train
    rows, _ = token_rows(tokenizer, train, max_tokens=context, truncation=setup.config.tune.truncation)
    supervised = [sum(row.trained) for row in rows]
    tune, seed = setup.config.tune, setup.config.seed

    def material(batch_tokens: int, epochs: int, max_tokens: int | None) -> Work:
        lengths = [min(len(row.ids), max_tokens or len(row.ids)) for row in rows]
        if tune.packing:
            plan = plan_packs(lengths, pack_tokens=batch_tokens, epochs=epochs, seed=seed)
        else:
            plan = plan_batches(lengths, batch_tokens=batch_tokens, epochs=epochs, seed=seed)
        return work_of_rows(lengths, supervised, plan, epochs=epochs, packed=tune.packing)

    return material, f"{len(rows)} training rows, counted with the tokenizer of {counter}"


def _given(tokens: int, row_tokens: int) -> Material:
    from groundtune.plan.work import Work, work_of_tokens

    def material(batch_tokens: int, epochs: int, max_tokens: int | None) -> Work:
        width = min(row_tokens, max_tokens or row_tokens)
        return work_of_tokens(tokens, row_tokens=width, batch_tokens=batch_tokens, epochs=epochs)

    return material


def _pretraining(name: str, config: Any, context: int, tokens: int | None) -> Any:
    from groundtune.nn.shapes import SHAPES, on_meta
    from groundtune.plan.pretraining import OPTIMAL_TOKENS
    from groundtune.plan.work import pretraining_work

    if tokens is None:
        tokens = OPTIMAL_TOKENS * sum(p.numel() for p in on_meta(config).parameters())
    batch = SHAPES[name].batch_tokens if name in SHAPES else None
    return pretraining_work(tokens, context_tokens=context, batch_tokens=batch)


def _smaller(name: str) -> tuple[tuple[str, Any], ...]:
    """Named shapes of the same architecture with fewer parameters, the largest first."""
    from groundtune.nn.shapes import SHAPES, count_parameters, shape_config

    if name not in SHAPES:
        return ()
    own = count_parameters(SHAPES[name])
    sizes = {s.name: count_parameters(s) for s in SHAPES.values() if s.architecture == SHAPES[name].architecture}
    below = sorted((other for other, size in sizes.items() if size < own), key=lambda other: -sizes[other])
    return tuple((other, shape_config(SHAPES[other])) for other in below)
