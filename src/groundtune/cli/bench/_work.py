"""What all contestants of ``groundtune bench tune`` are given: a model's weights and token rows in the order of training."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundtune.cli._common import warn
from groundtune.errors import ConfigError, InputError, UnknownNameError

if TYPE_CHECKING:
    from groundtune.dataset.render import TokenRow

#: shapes of models with random weights
SHAPES: dict[str, dict[str, Any]] = {
    "20m": {"layers": 8, "width": 384, "heads": 6, "feed_forward": 1024, "context_tokens": 512, "vocabulary": 16_384}
}
#: rows that are held out, at most
_HELD_OUT = 64


@dataclass(frozen=True, slots=True)
class Work:
    """What every contestant does.

    Attributes:
        model: folder of the weights to start from.
        rows: file of the rows in the order in which they are trained on, all epochs.
        held_out: file of rows that are not.
        steps, rows_per_step, warm_up_steps: optimizer steps, the rows of each, and how many are not timed.
        tokens, trained_tokens: of all rows; ``timed_tokens`` of those after the warm-up.
    """

    model: str
    parameters: int
    rows: str
    held_out: str
    context_tokens: int
    steps: int
    rows_per_step: int
    warm_up_steps: int
    tokens: int
    trained_tokens: int
    timed_tokens: int
    threads: int
    learning_rate: float
    seed: int


def prepare(
    folder: Path,
    *,
    model: str,
    shape: str | None,
    data: Path | None,
    rows: int,
    epochs: int,
    rows_per_step: int,
    warm_up_steps: int,
    threads: int,
    learning_rate: float,
    seed: int,
) -> Work:
    """Write the model's weights and the rows, in training order, to a folder; the arguments are the command's.

    Raises:
        ConfigError: no steps to time. InputError: no such model, or rows that cannot be trained on.
    """
    parameters, tokenizer, context = _save_model(folder / "model", model, shape, seed)
    train, held_out = _token_rows(tokenizer, context, data, rows, seed)
    plan: list[TokenRow] = []
    for epoch in range(epochs):
        shuffled = list(train)
        random.Random(f"{seed} {epoch}").shuffle(shuffled)
        plan += shuffled
    steps = len(plan) // rows_per_step
    if steps <= warm_up_steps:
        raise ConfigError(
            f"{len(plan)} rows are {steps} steps, {warm_up_steps} of them for warming up",
            expected="some steps to time",
            next_step="raise --rows or --epochs, or lower --rows-per-step",
        )
    plan = plan[: steps * rows_per_step]
    _write_rows(folder / "rows.jsonl", plan)
    _write_rows(folder / "held-out.jsonl", held_out)
    timed = plan[warm_up_steps * rows_per_step :]
    return Work(
        model=str(folder / "model"),
        parameters=parameters,
        rows=str(folder / "rows.jsonl"),
        held_out=str(folder / "held-out.jsonl"),
        context_tokens=context,
        steps=steps,
        rows_per_step=rows_per_step,
        warm_up_steps=warm_up_steps,
        tokens=sum(len(r.ids) for r in plan),
        trained_tokens=sum(sum(r.trained) for r in plan),
        timed_tokens=sum(len(r.ids) for r in timed),
        threads=threads,
        learning_rate=learning_rate,
        seed=seed,
    )


def _save_model(folder: Path, name: str, shape: str | None, seed: int) -> tuple[int, Any, int]:
    """Put a model in float32 and its tokenizer into a folder; parameters, tokenizer, context in tokens."""
    import torch

    from groundtune.nn.architectures import Shape, new_model
    from groundtune.nn.checkpoints import model_path, open_model, open_tokenizer

    if shape is None:
        made, tokenizer = open_model(model_path(name), torch.float32)
    else:
        if shape not in SHAPES:
            raise UnknownNameError("shape", shape, SHAPES)
        settings = dict(SHAPES[shape])
        vocabulary = settings.pop("vocabulary")
        tokenizer, _ = open_tokenizer("pebble")
        made = new_model(Shape(**settings), tokenizer, seed=seed)
        made.resize_token_embeddings(vocabulary, mean_resizing=False)  # ids beyond the tokenizer's own cost as much
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    context = int(getattr(made.config.get_text_config(), "max_position_embeddings", 0) or 2048)
    return sum(p.numel() for p in made.parameters()), tokenizer, context


def _token_rows(
    tokenizer: Any, context: int, data: Path | None, rows: int, seed: int
) -> tuple[list[TokenRow], list[TokenRow]]:
    """Rows to train on, and every tenth held out; those over the context are left out, and counted for the user."""
    from groundtune.cli.bench._chats import question_chats
    from groundtune.dataset.render import render_example

    if data is None:
        chats = islice(question_chats(seed), rows + rows // 9 + 1)
        pairs: list[tuple[str, Any, Any]] = [("made-up chat", messages, ()) for messages in chats]
    else:
        from groundtune.methods._material import read_conversations

        pairs = [(where, c.messages, c.tools) for where, c in read_conversations(data)]
    made = [
        render_example(tokenizer, m, max_tokens=context, where=where, tools=tools, truncation="drop")
        for where, m, tools in pairs
    ]
    fitting = [row for row in made if len(row.ids) <= context]
    if len(fitting) < len(made):
        warn(f"{len(made) - len(fitting)} of {len(made)} rows are longer than {context} tokens and take no part")
    if len(fitting) < 10:
        raise InputError(f"{data or 'made-up chats'}: {len(fitting)} rows to train on", expected="at least 10")
    held_out = range(0, len(fitting), 10)[:_HELD_OUT]
    return [row for n, row in enumerate(fitting) if n not in held_out][:rows], [fitting[n] for n in held_out]


def _write_rows(path: Path, rows: Sequence[TokenRow]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            labels = [i if trained else -100 for i, trained in zip(row.ids, row.trained, strict=True)]
            file.write(json.dumps({"input_ids": list(row.ids), "labels": labels}) + "\n")
