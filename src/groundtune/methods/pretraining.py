"""A model from nothing: tokenizer, pretraining on prose and reading exercises, reading lessons, held-out figures.

Driven by a recipe file (``recipes/pebble.yaml`` made the bundled model). Each stage writes its artifact whole and is not
run again while it is there; training stages resume from their checkpoints. Leaves out evaluation on a user's own
questions: that is ``groundtune compare``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from groundtune.dataset import corpus, reading
from groundtune.dataset.invented import invented_items
from groundtune.dataset.prompts import ABSTENTION
from groundtune.dataset.render import TokenRow, render_example
from groundtune.errors import ConfigError, InputError
from groundtune.nn.architectures import Shape, new_model
from groundtune.nn.initialization import copying_circuits, embeddings_from_words
from groundtune.nn.perplexity import score_windows
from groundtune.nn.tokenizer import train_tokenizer
from groundtune.training.data import CompactRows, RowBatches, StreamBatches
from groundtune.training.trainer import TrainResult, TrainSettings, discard_checkpoints, train
from groundtune.training.watch import Progress

#: says which stage runs now
Announce = Callable[[str], None]


class PretrainStage(BaseModel):
    """The stage in which every token counts in the loss."""

    model_config = ConfigDict(extra="forbid")
    prose_tokens: int = Field(gt=0, description="tokens of prose, mixed by family weight")
    reading_tokens: int = Field(gt=0, description="tokens of reading exercises, as the first lesson has them")
    sequence_tokens: int = Field(256, gt=0, description="window length")
    rows_per_batch: int = Field(16, gt=0, description="windows a step")
    epochs: float = Field(1.0, gt=0, description="passes over the tokens")
    learning_rate: float = Field(3e-4, gt=0, description="peak")
    warmup_steps: int = Field(300, ge=0, description="optimizer steps")


class Lesson(BaseModel):
    """A stage of reading exercises in which only the answers count in the loss, and the copy of the question before them."""

    model_config = ConfigDict(extra="forbid")
    exercises: int = Field(gt=0, description="one question each")
    lines: tuple[int, int] = Field(description="fewest and most sentences before the question")
    prose: float = Field(0.4, ge=0, le=1, description="share made from prose; the others are of invented facts")
    unanswerable: float = Field(0.15, ge=0, le=1, description="how many of the questions without an answer stay in")
    batch_tokens: int = Field(4096, gt=0, description="token budget a step")
    learning_rate: float = Field(3e-4, gt=0, description="peak")
    warmup_steps: int = Field(100, ge=0, description="optimizer steps")


class Recipe(BaseModel):
    """A pretraining recipe; paths are relative to its file."""

    model_config = ConfigDict(extra="forbid")
    name: str
    corpus: Path = Field(description="folder of JSONL shards")
    output: Path = Field(description="where the artifacts go")
    seed: int = 0
    vocabulary: int = Field(8192, ge=300, le=65535, description="tokenizer entries; fits uint16")
    word_embeddings: str = Field("", description="embedder whose word table starts the token embeddings, or nothing")
    synonyms: str = Field(
        "", description="family whose rows list synonyms under `members`, to reword questions; or nothing"
    )
    copying_circuits: bool = Field(
        False, description="start with attention that copies; needs `tied: false` in the shape"
    )
    shape: Shape
    mixture: dict[str, float] = Field(description="family -> share of prose tokens")
    pretrain: PretrainStage
    lessons: list[Lesson] = Field(min_length=1)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        InputError: no such file or not YAML. ConfigError: a wrong key or value.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe = Recipe.model_validate(values)
    except FileNotFoundError:
        raise InputError(f"no recipe {path}", expected="a YAML file like recipes/pebble.yaml") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {faults}") from None
    base = path.resolve().parent
    return recipe.model_copy(
        update={"corpus": (base / recipe.corpus).resolve(), "output": (base / recipe.output).resolve()}
    )


def pretrain(recipe: Recipe, *, announce: Announce = lambda _: None, progress: Progress | None = None) -> Path:
    """Run every stage of a recipe that has not been run; return the folder of the finished model.

    Raises:
        ConfigError: the output folder holds the stages of another recipe.
    """
    recipe.output.mkdir(parents=True, exist_ok=True)
    check_recipe(recipe.output, recipe.model_dump_json(indent=1))
    announce("tokenizer")
    tokenizer = _tokenizer(recipe)
    announce("tokens")
    stream = _token_stream(recipe, tokenizer)
    announce("pretrain")
    base = run_stage(recipe.output / "base", lambda folder: _pretrain(recipe, tokenizer, stream, folder, progress))
    model = base
    for number in range(1, len(recipe.lessons) + 1):
        announce(f"lesson {number}")
        lesson = partial(_lesson, recipe, number, tokenizer, model, progress=progress)
        model = run_stage(recipe.output / f"lesson-{number}", lesson)
    announce("figures")
    figures = {
        "held_out_bits_per_byte": {"base": bits_per_byte(recipe, base), "model": bits_per_byte(recipe, model)},
        "reading": reading_figures(recipe, model),
    }
    (model / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return model


def check_recipe(folder: Path, mine: str) -> None:
    """See that a folder's stages are of this recipe; write it down.

    Raises:
        ConfigError: they are of another.
    """
    mark = folder / "recipe.json"
    if mark.exists() and mark.read_text(encoding="utf-8") != mine:
        raise ConfigError(
            f"{folder}: made by another recipe or before this one was changed",
            expected="an output folder of its own",
            next_step=f"choose another folder, or delete {folder}",
        )
    mark.write_text(mine, encoding="utf-8")


def run_stage(final: Path, make: Callable[[Path], None]) -> Path:
    """A stage's folder, made unless it is there: under another name until it is whole."""
    if not final.exists():
        half = final.with_name(final.name + ".part")
        half.mkdir(exist_ok=True)
        make(half)
        discard_checkpoints(half / "checkpoints")
        half.rename(final)
    return final


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    def sample() -> Iterator[str]:
        for family, share in recipe.mixture.items():
            yield from _until(corpus.texts(recipe.corpus, family, want_held_out=False), int(share * 24e6))
        for item in islice(invented_items(recipe.seed + 900), 3000):
            yield item.passage + "\n" + "\n".join(q for q, _ in item.questions)

    def make(folder: Path) -> None:
        train_tokenizer(
            sample(), vocabulary=recipe.vocabulary, context_tokens=recipe.shape.context_tokens
        ).save_pretrained(folder)

    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(run_stage(recipe.output / "tokenizer", make))
    return loaded


def _until(texts: Iterator[str], characters: int) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        yield text[:characters]
        characters -= len(text)


def synonyms(recipe: Recipe) -> dict[str, list[str]]:
    """Single words and their single-word synonyms, from the rows of the family that the recipe names."""
    found: dict[str, set[str]] = {}
    for row in corpus.read_rows(recipe.corpus, recipe.synonyms) if recipe.synonyms else ():
        members = [m.lower() for m in row.get("members", ()) if m.isalpha() and len(m) > 3]
        for word in members:
            found.setdefault(word, set()).update(m for m in members if m != word)
    return {word: sorted(others) for word, others in found.items() if 0 < len(others) <= 8}


def _prose(recipe: Recipe, *, skip: int = 0) -> Iterator[str]:
    """Training-side documents of all families, interleaved by weight, endlessly."""
    rng = random.Random(recipe.seed)

    def endless(family: str) -> Iterator[str]:
        while True:
            yield from corpus.texts(recipe.corpus, family, want_held_out=False)

    streams = {family: islice(endless(family), skip, None) for family in recipe.mixture}
    spent = dict.fromkeys(recipe.mixture, 0.0)
    while True:  # the family furthest behind its share goes next, in pieces so that long books do not fill the batch
        family = min(spent, key=lambda f: spent[f] / recipe.mixture[f])
        text = next(streams[family])
        start = rng.randrange(max(1, len(text) - 12000)) if len(text) > 12000 else 0
        piece = text[start : start + 12000]
        spent[family] += len(piece)
        yield piece


def exercises(
    recipe: Recipe, lesson: Lesson, *, seed: int, prose: Iterator[str] | None = None
) -> Iterator[reading.Exercise]:
    """Endless exercises for a lesson, of the training side's prose or another; the same ones for the same seed."""
    texts = prose or _prose(recipe, skip=seed % 50)
    rng = random.Random(seed)
    pools = {
        True: reading.reading_items(texts, synonyms=synonyms(recipe), seed=seed),
        False: invented_items(seed),
    }
    before = {kind: next(pool) for kind, pool in pools.items()}
    while True:
        kind = rng.random() < lesson.prose
        item, other = next(pools[kind]), before[kind]
        before[kind] = item
        for pair in item.questions:
            if pair[1] is None and rng.random() >= lesson.unanswerable:
                continue
            exercise = reading.excerpt(item, other, pair, rng, lines=lesson.lines)
            if exercise:
                yield exercise


def _rows(recipe: Recipe, lesson: Lesson, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Iterator[TokenRow]:
    """Exercises as rows; one over the context is left out, there are endless others."""
    for exercise in exercises(recipe, lesson, seed=seed):
        with suppress(InputError):
            yield _row(tokenizer, exercise, recipe.shape.context_tokens)


def _row(tokenizer: PreTrainedTokenizerBase, exercise: reading.Exercise, limit: int) -> TokenRow:
    """The loss is on the answer and on the second copy of the question, which keeps copying in practice."""
    row = render_example(tokenizer, exercise.conversation(), max_tokens=limit, where="exercise")
    again = len(tokenizer(f" {exercise.question}")["input_ids"])
    start = (
        row.trained.index(True) - 2 - again
    )  # the end of the user's turn and the marker of the assistant's stand between
    trained = (*row.trained[:start], *[True] * again, *row.trained[start + again :])
    return TokenRow(row.ids, trained)


def _token_stream(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> np.ndarray[Any, Any]:
    def make(folder: Path) -> None:
        stage, end = recipe.pretrain, tokenizer.eos_token_id
        documents: list[list[int]] = []
        count = 0
        for text in _prose(recipe):
            ids = tokenizer(text)["input_ids"]
            documents.append([*ids, end])
            count += len(ids) + 1
            if count >= stage.prose_tokens:
                break
        count = 0
        for row in _rows(recipe, recipe.lessons[0], tokenizer, seed=recipe.seed + 1):
            documents.append(list(row.ids))
            count += len(row.ids)
            if count >= stage.reading_tokens:
                break
        random.Random(recipe.seed).shuffle(documents)
        np.fromiter((i for d in documents for i in d), dtype=np.uint16).tofile(folder / "train.bin")

    return np.memmap(run_stage(recipe.output / "tokens", make) / "train.bin", dtype=np.uint16, mode="r")


def _pretrain(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    stream: np.ndarray[Any, Any],
    folder: Path,
    progress: Progress | None,
) -> None:
    stage = recipe.pretrain
    model = new_model(recipe.shape, tokenizer, seed=recipe.seed)
    if recipe.word_embeddings:
        from groundtune.retrieval.embedders import minilm

        embeddings_from_words(model, tokenizer, *minilm.word_table())
    if recipe.copying_circuits:
        copying_circuits(model, seed=recipe.seed)
    steps = int(len(stream) * stage.epochs / (stage.sequence_tokens * stage.rows_per_batch))
    batches = StreamBatches(
        stream,
        sequence_tokens=stage.sequence_tokens,
        rows_per_batch=stage.rows_per_batch,
        steps=steps,
        seed=recipe.seed,
    )
    settings = TrainSettings(
        learning_rate=stage.learning_rate,
        warmup_steps=stage.warmup_steps,
        weight_decay=0.05,
        save_every_steps=100,
        seed=recipe.seed,
    )
    result = train(model, batches, settings, folder / "checkpoints", progress=progress)
    _save(model, tokenizer, folder, result, tokens=steps * stage.sequence_tokens * stage.rows_per_batch)


def _lesson(
    recipe: Recipe,
    number: int,
    tokenizer: PreTrainedTokenizerBase,
    before: Path,
    folder: Path,
    *,
    progress: Progress | None,
) -> None:
    lesson = recipe.lessons[number - 1]
    rows = CompactRows(islice(_rows(recipe, lesson, tokenizer, seed=recipe.seed + 10 * number), lesson.exercises))
    model = AutoModelForCausalLM.from_pretrained(before, dtype=torch.float32)
    settings = TrainSettings(
        learning_rate=lesson.learning_rate,
        warmup_steps=lesson.warmup_steps,
        weight_decay=0.05,
        save_every_steps=100,
        seed=recipe.seed,
    )
    batches = RowBatches(rows, batch_tokens=lesson.batch_tokens, epochs=1, seed=recipe.seed)
    result = train(model, batches, settings, folder / "checkpoints", progress=progress)
    _save(model, tokenizer, folder, result, tokens=rows.tokens)


def _save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, result: TrainResult, *, tokens: int) -> None:
    """bf16 weights, tokenizer and the training log; fp32 stays out: the weights were trained to be shipped in 16 bits."""
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    log = {
        "tokens": tokens,
        "steps": result.steps,
        "seconds_of_the_last_process": round(result.seconds, 1),
        "first_loss_nats": round(result.first_loss, 4),
        "last_loss_nats": round(result.last_loss, 4),
        "losses": [(s, round(loss, 4)) for s, loss in result.losses[:: max(1, len(result.losses) // 100)]],
    }
    (folder / "training.json").write_text(json.dumps(log), encoding="utf-8")


def bits_per_byte(recipe: Recipe, model_path: Path, *, characters: int = 60_000) -> dict[str, float]:
    """Cross-entropy on held-out documents in bits per UTF-8 byte, by family: comparable across vocabularies.

    See :mod:`groundtune.nn.perplexity`; windows of the model's whole context.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
    window, figures = recipe.shape.context_tokens, {}
    for family in recipe.mixture:
        text = "\n\n".join(_until(corpus.texts(recipe.corpus, family, want_held_out=True), characters))
        ids = tokenizer(text)["input_ids"]
        whole = (ids[start : start + window] for start in range(0, len(ids) - window, window))
        scored = score_windows(model, tokenizer, whole)
        if scored.bytes:
            figures[family] = round(scored.bits_per_byte, 4)
    return figures


def reading_figures(recipe: Recipe, model_path: Path, *, questions: int = 400) -> dict[str, Any]:
    """Exact match on the last lesson's kind of exercise from held-out prose and from unseen invented facts, by kind of question."""
    from groundtune.backends.local import LocalBackend

    backend = LocalBackend(str(model_path))
    held_out = [t for f in recipe.mixture for t in _until(corpus.texts(recipe.corpus, f, want_held_out=True), 120_000)]
    random.Random(recipe.seed).shuffle(held_out)
    figures: dict[str, Any] = {"samples": []}
    for name, prose in (("prose", 1.0), ("invented", 0.0)):
        lesson = recipe.lessons[-1].model_copy(update={"prose": prose})
        asked = list(islice(exercises(recipe, lesson, seed=recipe.seed + 5000, prose=cycle(held_out)), questions))
        written = backend.generate_batch([e.conversation()[:-1] for e in asked], max_tokens=32)
        right: dict[str, list[bool]] = {"answerable": [], "unanswerable": []}
        for exercise, generation in zip(asked, written, strict=True):
            key = "answerable" if exercise.answer else "unanswerable"
            right[key].append(generation.text.strip().lower() == (exercise.answer or ABSTENTION).lower())
            if len(right[key]) <= 6:
                figures["samples"].append({**asdict(exercise), "written": generation.text})
        figures[name] = {k: {"exact_match": round(float(np.mean(v)), 4), "n": len(v)} for k, v in right.items() if v}
    return figures
