"""Sequence classification: an encoder or a decoder learns to name the class of a text, or of a pair of texts.

A linear head on one vector of the text, everything trained (Devlin et al., BERT, NAACL 2019, section 4.1): AdamW, linear
warm-up and decay, the epoch that does best on validation rows. Mean pooling where the model is a sentence encoder.
Rows come from dataset files (``tune.data``, ``tune.validation``, ``tune.test``) or are the project's questions with their
answers as classes. What the rows are is `dataset.labelled`'s, what the finished run looks like `_classifier_figures`'s.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.labelled import Fields, LabelledText, check_labels, fields_of, hold_out, in_order, read_labelled
from groundtune.errors import ConfigError, InputError
from groundtune.methods._classifier_figures import finished, table
from groundtune.methods._setup import Setup
from groundtune.methods._tuning import artifact, options_of, settings_for
from groundtune.nn.checkpoints import BUNDLED, model_path
from groundtune.nn.encoder_models import MINILM
from groundtune.records import Completion, Message, Usage
from groundtune.system import System, question_of
from groundtune.workspace import digest, folder_digest

NAME = "classifier"
#: peak learning rates: of the bundled models, which are small, and of others (BERT's own grid is 2e-5 to 5e-5)
RATES = {MINILM: 1e-4, BUNDLED: 3e-4}
RATE = 3e-5


class Published(BaseModel):
    """Figures of another run, to be printed beside; they change nothing."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(description="what it is and where it is from")
    epochs: list[dict[str, float]] = Field(
        description="training_loss, loss, accuracy and f1 of each epoch, where known"
    )


class Options(BaseModel):
    """Of the classifier."""

    model_config = ConfigDict(extra="forbid")
    validation_rows: int | None = Field(
        None,
        ge=0,
        description="training rows to validate on where tune.validation names none; default: tune.validation_share of them, or a tenth",
    )
    pooling: Literal["auto", "mean", "cls", "last"] = Field(
        "auto", description="what the head reads: mean of all tokens, first token, last (decoders); auto: what fits"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="on the vector that the head reads")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the training loss (Szegedy et al. 2016, section 7)")
    head: Literal["random", "means"] = Field(
        "random", description="how the head starts; means: at the mean vector of each class's texts (mean pooling)"
    )
    head_rate: float = Field(1.0, gt=0, description="the head's learning rate, as a multiple of the others'")
    batch_rows: int = Field(0, ge=0, description="rows a batch; 0: as many as tune.batch_tokens allows")
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps in which the learning rate rises")
    swap: bool = Field(False, description="pairs come in both orders, in turns: for relations that have no direction")
    choose_by: Literal["accuracy", "f1", "loss"] = Field(
        "accuracy", description="which validation figure picks the epoch"
    )
    positive: str | None = Field(None, description="of two labels the one that F1 is about; default: the last by name")
    names: dict[str, str] = Field(
        {}, description="what labels of the files are to be called, such as {0: ham, 1: spam}"
    )
    cut: bool = Field(
        False, description="read only the first max_tokens of longer texts, whatever tune.truncation says"
    )
    published: Published | None = Field(None, description="figures of another run, to be printed beside")

    @field_validator("names", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value  # YAML reads 0 as a number


@dataclass(frozen=True, slots=True)
class Material:
    """The rows of a run.

    Attributes:
        train, validation, test: disjoint but for what `seen` counts.
        labels: names of the classes, in order.
        fields: the columns they came from; None: the project's questions.
        seen: test rows that say the same as a training row.
    """

    train: list[LabelledText]
    validation: list[LabelledText]
    test: list[LabelledText]
    labels: list[str]
    fields: Fields | None
    seen: int = 0


def tune(setup: Setup, config: TuneConfig, *, progress: Any = None) -> tuple[Path, bool]:
    """Train the classifier; the artifact ``runs/classifier`` and whether it was made now.

    Raises:
        InputError: faulty rows, a label that training does not know, a model that cannot be loaded. ConfigError: a
            wrong option. TrainingError: a guard spoke.
    """
    options: Options = options_of(registry.get("methods", NAME), config)
    name = config.model or setup.config.model
    if name.startswith(("openai:", "echo:")):
        raise InputError(f"{name} cannot be trained here: its weights are not on this machine", expected="minilm, pebble, a folder, or a Hugging Face name", next_step="set tune.model: minilm")  # fmt: skip
    material = gather(setup, config, options)
    base = model_path(setup.resolve(name))
    weighing = options.model_dump(exclude={"published"})
    inputs = {
        "version": 1,
        "model": folder_digest(Path(base)) if Path(base).is_dir() else base,
        "config": {**config.model_dump(exclude={"guards", "report_to", "save_every_steps"}), "options": weighing},
        "seed": setup.config.seed,
        "rows": [
            digest([[r.text, r.pair, r.label] for r in part])
            for part in (material.train, material.validation, material.test)
        ],
    }
    rate = config.learning_rate or RATES.get(name, RATE)
    return setup.workspace.make(
        artifact(NAME), inputs, lambda folder: _train(base, rate, material, config, options, inputs, folder, progress)
    )


# ---------------------------------------------------------------- material


def gather(setup: Setup, config: TuneConfig, options: Options) -> Material:
    """The rows of ``tune.data``, or of the project's questions.

    Raises:
        InputError: none, faulty ones, too few labels, a label that training does not know, validation rows that are
            trained on.
    """
    fields = fields_of(config.fields)
    if config.data:
        train, fields = read_labelled(setup.workspace.root / config.data, fields)
        others = [
            read_labelled(setup.workspace.root / f, fields)[0] if f else [] for f in (config.validation, config.test)
        ]
        given = bool(config.validation)
    else:
        train, others, fields = _questions(setup, "train"), [_questions(setup, "validation"), []], None
        given = bool(others[0])
    train, validation, test = ([replace(r, label=options.names.get(r.label, r.label)) for r in part] for part in (train, *others))  # fmt: skip
    labels = in_order([row.label for row in train])
    if len(labels) < 2 or len(labels) > len(train) / 2:
        raise InputError(
            f"{config.data or setup.questions_path}: {len(train)} rows with {len(labels)} different labels are nothing to classify",
            expected="at least two labels, and most of them on several rows",
            next_step="free answers are for `groundtune tune --method lora`; another column: tune.fields: {label: COLUMN}",
        )
    if options.positive is not None and options.positive not in labels:
        raise ConfigError(f"tune.options.positive: {options.positive!r} is no label", expected=f"one of {', '.join(labels)}")  # fmt: skip
    check_labels(labels, [*validation, *test])
    if not given and options.validation_rows != 0:
        train, validation = hold_out(train, options.validation_rows or config.validation_share or 0.1)
    known = {row.key for row in train}
    if twice := [row.where for row in validation if row.key in known]:
        raise InputError(f"{len(twice)} validation rows are trained on, too: {', '.join(twice[:3])}", expected="validation rows that training never sees", next_step="take them out of one of the files")  # fmt: skip
    return Material(train, validation, test, labels, fields, sum(row.key in known for row in test))


def _questions(setup: Setup, split: str) -> list[LabelledText]:
    return [
        LabelledText(e.question, e.references[0], where=f"example {e.id}")
        for e in setup.examples
        if e.split == split and e.references
    ]


def encoded(
    tokenizer: Any, rows: Sequence[LabelledText], labels: Sequence[str], limit: int, how: str
) -> tuple[list[Any], int]:
    """Rows as tokens, and how many were over the limit and cut or left out.

    Args:
        how: cut, drop, or error.

    Raises:
        InputError: one is over the limit, and that is an error.
    """
    from groundtune.training.classes import encode

    out, over = [], []
    for row in rows:
        made, cut = encode(tokenizer, row.text, row.pair, labels.index(row.label), max_tokens=limit)
        if cut:
            over.append(row.where)
        if not cut or how == "cut":
            out.append(made)
    if over and how != "cut" and how != "drop":
        raise InputError(
            f"{over[0]}: over {limit} tokens ({len(over)} such rows)",
            expected=f"texts of at most {limit} tokens",
            next_step="tune.options: {cut: true} reads their first tokens; tune.truncation: drop leaves them out",
        )
    return out, len(over)


# ---------------------------------------------------------------- training


def _train(
    base: str,
    rate: float,
    material: Material,
    config: TuneConfig,
    options: Options,
    inputs: Mapping[str, Any],
    folder: Path,
    progress: Any,
) -> Mapping[str, Any]:
    from groundtune.nn.classifiers import new_classifier
    from groundtune.nn.encoder_models import context_of
    from groundtune.training.classes import LabelledBatches, figures_of, logits_of
    from groundtune.training.objectives import CLASSES
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    started, seed, labels = time.perf_counter(), int(inputs["seed"]), material.labels
    model, tokenizer = new_classifier(base, labels, pooling=options.pooling, dropout=options.dropout, seed=seed)
    limit = min(context_of(model.config), config.max_tokens or 10**9)
    tokenizer.model_max_length = limit  # answering cuts there, too
    model.config.groundtune_pairs = any(row.pair for row in material.train)
    model.config.label_smoothing = options.label_smoothing
    how = "cut" if options.cut else config.truncation
    parts = [
        encoded(tokenizer, rows, labels, limit, how) for rows in (material.train, material.validation, material.test)
    ]
    (rows, cut), (validation, _), (test, _) = parts
    swapped = [replace(r, text=r.pair, pair=r.text) for r in material.train] if options.swap else []
    pad = int(tokenizer.pad_token_id)
    batches = LabelledBatches(
        rows,
        pad_id=pad,
        batch_tokens=config.batch_tokens,
        batch_rows=options.batch_rows,
        epochs=config.epochs,
        seed=seed,
        swapped=encoded(tokenizer, swapped, labels, limit, how)[0],
    )
    if options.head == "means":
        _start_at_means(model, rows, pad)
    settings = TrainSettings.of(
        config,
        seed,
        learning_rate=rate,
        schedule="linear",
        warmup_steps=round(options.warmup * len(batches) / config.accumulation),
        rates=tuple((start, options.head_rate) for start in ("classifier.", "score.")),
        betas=(0.9, 0.999),
        metric=options.choose_by,
        higher=options.choose_by != "loss",
    )
    positive = labels.index(options.positive) if options.positive else len(labels) - 1

    def judge(judged: Any, part: Sequence[Any] = validation) -> dict[str, float]:
        return figures_of(logits_of(judged, part, pad), [row.label for row in part], positive)

    result = train(
        model,
        batches,
        settings,
        folder / "checkpoints",
        objective=CLASSES,
        validate=judge if validation else None,
        identity={"model": inputs["model"], "options": inputs["config"]["options"], "labels": labels},
        progress=progress,
    )
    model.save_pretrained(folder / "weights")
    tokenizer.save_pretrained(folder / "weights")
    figures = {
        "method": config.method,
        "base": base,
        "adapter": False,
        "documents": [],
        "documents_complete": False,
        "seed": seed,
        "fields": None if material.fields is None else [material.fields.text, material.fields.pair, material.fields.label],
        "test_rows_seen_in_training": material.seen,
        "rows_over_limit": cut,
        **finished(model, pad, folder / "weights", rows, validation, test, labels, positive, result, len(batches) / config.epochs / config.accumulation),
    }  # fmt: skip
    figures["milliseconds_per_query"] = milliseconds(folder / "weights", [*material.validation, *material.test, *material.train][:50])  # fmt: skip
    discard_checkpoints(folder / "checkpoints")
    figures["seconds"] = round(time.perf_counter() - started, 2)
    figures["disk_bytes"] = sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file())
    return figures


def _start_at_means(model: Any, rows: Sequence[Any], pad_id: int) -> None:
    import torch

    from groundtune.training.classes import vectors_of

    if not hasattr(model, "start_at_means"):
        raise ConfigError("tune.options.head: means needs mean pooling", expected="a sentence encoder such as minilm", next_step="set tune.options.pooling: mean, or tune.options.head: random")  # fmt: skip
    model.start_at_means(vectors_of(model, rows, pad_id), torch.tensor([row.label for row in rows]))


def milliseconds(weights: Path, rows: Sequence[LabelledText]) -> float:
    """Median wall-clock milliseconds of one answer, texts one by one, after two that do not count."""
    system = Classifier(weights)
    seconds = []
    for row in [*rows[:2], *rows]:
        question = [Message("user", f"{row.text}\t{row.pair}" if row.pair else row.text)]
        began = time.perf_counter()
        system.answer(question)
        seconds.append(time.perf_counter() - began)
    measured = sorted(seconds[2:])
    return round(measured[len(measured) // 2] * 1000, 2)


# ---------------------------------------------------------------- answering


class Classifier:
    """A System that answers a text with the name of its class, and with the log-probability of that.

    Args:
        weights: folder of the finished classifier.
        name: as in every table.
    """

    description = "the class that a tuned classifier gives the text"

    def __init__(self, weights: Path, name: str = NAME) -> None:
        from groundtune.nn.classifiers import label_names, load_classifier

        self.name = name
        self.model, self.tokenizer = load_classifier(weights)
        self.labels = label_names(self.model)

    def answer(self, messages: Sequence[Message]) -> Completion:
        """The class of the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """The classes of many.

        Raises:
            InputError: one text where the classifier compares two.
        """
        import torch

        from groundtune.training.classes import encode, logits_of

        if not conversations:
            return []
        limit, rows = int(self.tokenizer.model_max_length), []
        for conversation in conversations:
            text, pair = self.texts(question_of(conversation))
            rows.append(encode(self.tokenizer, text, pair, 0, max_tokens=limit)[0])
        chances_NK = torch.log_softmax(logits_of(self.model, rows, int(self.tokenizer.pad_token_id)), -1)
        best = chances_NK.max(-1)
        return [
            Completion(self.labels[label], logprobs=(chance,), usage=Usage(len(row.ids), 1))
            for row, chance, label in zip(rows, best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def texts(self, question: str) -> tuple[str, str]:
        """The text, or the two texts, of a question; two have a tab or a line break between them."""
        if not getattr(self.model.config, "groundtune_pairs", False):
            return question, ""
        first, *second = re.split(r"\t|\r?\n", question.strip(), maxsplit=1)
        if not second:
            raise InputError(
                "this classifier compares two texts, and there is one",
                expected="both texts, with a tab or a line break between them",
                next_step="groundtune ask --system classifier \"$(printf 'first text\\tsecond text')\"",
            )
        return first, second[0]


def build(setup: Setup, name: str = NAME) -> System:
    """The System ``classifier``.

    Raises:
        MissingArtifactError: not trained yet.
    """
    folder = setup.workspace.need(artifact(NAME), next_step=f"groundtune tune --method {NAME}")
    return Classifier(folder / "weights", name)


def lines(setup: Setup, figures: Mapping[str, Any]) -> list[str]:
    """What `groundtune tune` says about a finished run: classes, the table of epochs, the test, the verdict."""
    options: Options = options_of(registry.get("methods", NAME), settings_for(setup, NAME))
    return table(figures, options.published.model_dump() if options.published else None)
