"""Masked language modelling: an encoder reads on in the project's own documents before it is tuned for a task.

Continued pretraining (Gururangan et al., "Don't Stop Pretraining", ACL 2020) with BERT's objective. The result is an
encoder folder that `classifier` and others start from: ``tune.model: .groundtune/runs/masked_lm/weights``. No System:
it guesses masked words and answers nothing.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.files.rows import Broken, rows, without_blank
from groundtune.errors import InputError
from groundtune.ingest.ingest import documents_digest, read_result, read_sections
from groundtune.methods._setup import Setup
from groundtune.methods._tuning import artifact, options_of
from groundtune.nn.checkpoints import model_path
from groundtune.workspace import digest, folder_digest

NAME = "masked_lm"
RATE = 1e-4
#: masked tokens that the held-out loss is taken over, at least: with few documents each is masked several times
_JUDGED_TOKENS, _MOST_PASSES = 3000, 8
#: the epoch that numbers the masks of held-out text: no training epoch
_JUDGED_EPOCH = 1_000_000


class Options(BaseModel):
    """Of masked language modelling."""

    model_config = ConfigDict(extra="forbid")
    held_out: int | None = Field(
        None,
        ge=0,
        description="documents whose loss is taken and that are not trained on; default: tune.validation_share of them, or a tenth",
    )
    warmup: float = Field(0.06, ge=0, le=1, description="share of the steps in which the learning rate rises")


@dataclass(frozen=True, slots=True)
class Text:
    """A document: its name and what it says."""

    name: str
    text: str


def tune(setup: Setup, config: TuneConfig, *, progress: Any = None) -> tuple[Path, bool]:
    """Train the encoder on; the artifact ``runs/masked_lm`` and whether it was made now.

    Raises:
        MissingArtifactError: nothing ingested, and no ``tune.data``. InputError: too little text, no encoder.
            ConfigError: a wrong option. TrainingError: a guard spoke.
    """
    options: Options = options_of(registry.get("methods", NAME), config)
    base = model_path(setup.resolve(config.model or setup.config.model))
    texts = read_texts(setup.workspace.root / config.data) if config.data else documents(setup)
    train, held = hold_out(texts, config.validation_share or 0.1 if options.held_out is None else options.held_out)
    inputs = {
        "version": 1,
        "model": folder_digest(Path(base)) if Path(base).is_dir() else base,
        "config": config.model_dump(exclude={"guards", "report_to", "save_every_steps"}),
        "seed": setup.config.seed,
        "documents": None if config.data else documents_digest(setup.workspace),
        "texts": digest([[t.name, t.text] for t in texts]),
    }
    own = [] if config.data else [t.name for t in train]
    return setup.workspace.make(
        artifact(NAME), inputs, lambda folder: _train(base, train, held, own, config, options, inputs, folder, progress)
    )


# ---------------------------------------------------------------- material


def documents(setup: Setup) -> list[Text]:
    """The ingested documents.

    Raises:
        MissingArtifactError: nothing was ingested.
    """
    result = read_result(setup.workspace)
    return [Text(d.path, "\n\n".join(s.text for s in read_sections(result.folder, d))) for d in result.documents]


def read_texts(path: Path) -> list[Text]:
    """The texts of a file: one a line of plain text, or the column ``text``.

    Raises:
        InputError: no file, no text in it, or rows without one.
    """
    out: list[Text] = []
    faults: list[str] = []
    for line, row in without_blank(rows(path)):
        text = row.get("text") if isinstance(row, dict) else row
        if isinstance(text, str) and text.strip():
            out.append(Text(f"{path.name}:{line}", text))
        else:
            faults.append(f"{path}:{line}: {row.reason if isinstance(row, Broken) else 'no text'}")
    if faults:
        raise InputError(f"{len(faults)} rows have no text; the first: {faults[0]}", expected="one text a line, or a column called text")  # fmt: skip
    if not out:
        raise InputError(f"{path}: holds no text", expected="one text a line, or a column called text")
    return out


def hold_out(texts: Sequence[Text], size: float) -> tuple[list[Text], list[Text]]:
    """Documents to train on and documents held out, by the hash of what they say; the same ones whatever the seed.

    Raises:
        InputError: fewer than two documents, and one is to be held out.
    """
    if not size:
        return list(texts), []
    if len(texts) < 2:
        raise InputError(
            f"{len(texts)} document: none can be held out",
            expected="at least two documents",
            next_step="tune.options: {held_out: 0} trains without looking how well it goes",
        )
    wanted = min(max(1, round(size * len(texts)) if size < 1 else int(size)), len(texts) - 1)
    keys = [hashlib.sha256(t.text.encode()).hexdigest() for t in texts]
    chosen = set(sorted(set(keys))[:wanted])  # a text that comes twice is on one side
    held = [t for t, key in zip(texts, keys, strict=True) if key in chosen]
    return [t for t, key in zip(texts, keys, strict=True) if key not in chosen], held


# ---------------------------------------------------------------- training


def _train(
    base: str,
    texts: Sequence[Text],
    held: Sequence[Text],
    own: Sequence[str],
    config: TuneConfig,
    options: Options,
    inputs: Mapping[str, Any],
    folder: Path,
    progress: Any,
) -> Mapping[str, Any]:
    from groundtune.nn.encoder_models import context_of
    from groundtune.nn.masked import keep_pooling, open_masked
    from groundtune.training.masking import MaskedBatches, Masker, frequency_loss, windows_of
    from groundtune.training.objectives import MASKED
    from groundtune.training.trainer import TrainSettings, discard_checkpoints, train

    started, seed = time.perf_counter(), int(inputs["seed"])
    model, tokenizer, new_head = open_masked(base, seed=seed)
    limit = min(context_of(model.config), config.max_tokens or 10**9)
    windows, judged = (windows_of([t.text for t in part], tokenizer, max_tokens=limit) for part in (texts, held))
    if not windows or (held and not judged):
        raise InputError("the documents hold no text", expected="some sentences to read", next_step="groundtune ingest")
    pad, masker = int(tokenizer.pad_token_id), Masker(tokenizer, seed)
    batches = MaskedBatches(
        windows, masker, pad_id=pad, batch_tokens=config.batch_tokens, epochs=config.epochs, seed=seed
    )
    loss = held_out_loss(judged, tokenizer, pad)
    before = loss(model)["loss"] if judged else None
    settings = TrainSettings.of(
        config,
        seed,
        learning_rate=config.learning_rate or RATE,
        schedule="linear",
        warmup_steps=round(options.warmup * len(batches) / config.accumulation),
        betas=(0.9, 0.98),  # RoBERTa, table 9
    )
    result = train(
        model,
        batches,
        settings,
        folder / "checkpoints",
        objective=MASKED,
        validate=loss if judged else None,
        identity={"model": inputs["model"], "texts": inputs["texts"]},
        progress=progress,
    )
    model.save_pretrained(folder / "weights")
    tokenizer.save_pretrained(folder / "weights")
    keep_pooling(base, folder / "weights")
    after = loss(open_masked(str(folder / "weights"))[0])["loss"] if judged else None
    discard_checkpoints(folder / "checkpoints")
    return {
        "method": config.method,
        "base": base,
        "adapter": False,
        "documents": list(own),
        "documents_complete": bool(own),
        "texts": len(texts),
        "held_out_texts": len(held),
        "windows": len(windows),
        "tokens": sum(map(len, windows)) * config.epochs,
        "new_head": new_head,
        "before": before,
        "after": after,
        "word_frequencies": frequency_loss(windows, judged, tokenizer) if judged else None,
        "validations": list(result.validations),
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "steps": result.steps,
        "first_loss": round(result.first_loss, 4),
        "last_loss": round(result.last_loss, 4),
        "parameters": sum(p.numel() for p in model.parameters()),
        "precision": result.precision,
        "seconds": round(time.perf_counter() - started, 2),
        "disk_bytes": sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file()),
    }


def held_out_loss(windows: Sequence[tuple[int, ...]], tokenizer: Any, pad_id: int) -> Any:
    """A function of a model: its mean loss in nats on masked tokens of windows, under the same masks every time."""
    from groundtune.training.masking import SHARE, MaskedBatches, Masker
    from groundtune.training.objectives import MASKED, mean_loss

    asked = SHARE * sum(map(len, windows))
    passes = min(_MOST_PASSES, max(1, math.ceil(_JUDGED_TOKENS / max(1.0, asked))))
    batches = MaskedBatches(
        windows, Masker(tokenizer, 0), pad_id=pad_id, batch_tokens=2048, epochs=passes, first_epoch=_JUDGED_EPOCH
    )
    return lambda model: {"loss": mean_loss(model, batches, MASKED)}


def lines(setup: Setup, figures: Mapping[str, Any]) -> list[str]:
    """What `groundtune tune` says about a finished run: held-out loss and perplexity, before and after."""
    said = []
    if figures["after"] is not None:
        before, after, chance = figures["before"], figures["after"], figures["word_frequencies"]
        said.append(
            f"masked tokens of {figures['held_out_texts']} held-out documents: loss {before:.3f} -> {after:.3f}, perplexity {math.exp(before):,.1f} -> {math.exp(after):,.1f}; guessing by frequency: {chance:.3f}"
        )
        if figures["new_head"]:
            said.append(
                "The model came without a head for masked tokens, which started from its token embeddings: the loss before is that of the new head, not of the encoder."
            )
        if after >= chance:
            said.append(
                "It guesses no better than by word frequency: more text, more epochs or a higher learning rate."
            )
    said.append(f"{figures['texts']} documents, {figures['tokens']:,} tokens in all epochs.")
    said.append(f"next: tune.model: {setup.workspace.path(artifact(NAME)) / 'weights'}")
    return said
