"""An encoder-decoder (T5, BART, Marian ...) fine-tuned on inputs and their outputs: summaries, translations, answers.

``tune.model`` says what it starts from: a folder or a name; ``warm:minilm``, encoder and decoder both from the bundled
MiniLM with new cross-attention (Rothe, Narayan and Severyn, TACL 2020); ``new:LAYERSxWIDTH``, a T5 (Raffel et al., JMLR
2020) from zero with a tokenizer learnt from the training rows. The loss is that of the target tokens. Leaves out prompts
that train several tasks at once beyond a system message each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from groundtune import registry
from groundtune.backends.encoder_decoder import EncoderDecoderBackend, Search
from groundtune.config import TuneConfig
from groundtune.errors import ConfigError, InputError
from groundtune.methods import _pairs, _tuning
from groundtune.methods._encoder_decoders import Start, start_of
from groundtune.methods._finished import check_read_back
from groundtune.methods._material import Material, gather, read_conversations
from groundtune.methods._overlap import check_overlap
from groundtune.methods._setup import ClosedBook, Setup
from groundtune.nn.encoder_decoder import context_tokens, open_encoder_decoder
from groundtune.system import System
from groundtune.training.pairs import PairBatches, PairRow
from groundtune.workspace import digest

DESCRIPTION = "an encoder-decoder after training on the inputs and outputs"
#: continuing on changed facts is not for these weights
MERGES = False
#: rows whose loss is taken before and after
SAMPLE = 48

#: largest difference between the trained and the reloaded model's logits, in their standard deviations
RELOAD_TOLERANCE = 1e-3


class Options(BaseModel):
    """Of encoder-decoder tuning; beams, length_penalty and no_repeat are also how the finished model answers."""

    model_config = ConfigDict(extra="forbid")
    input_tokens: int | None = Field(
        None, ge=8, description="inputs are cut to their first so many tokens, and counted; default: none is cut"
    )
    beams: int = Field(1, ge=1, description="sequences kept while answering; 1: greedy")
    length_penalty: float = Field(1.0, description="of beams: above 0 favours long answers")
    no_repeat: int = Field(0, ge=0, description="no run of so many tokens is written twice; 0: any may be")
    freeze_encoder: bool = Field(False, description="train the decoder alone")
    vocabulary: int = Field(4096, ge=300, le=65535, description="of new:, entries of the tokenizer")
    dropout: float = Field(0.1, ge=0, lt=1, description="of new:")
    copying: bool = Field(False, description="of new:, start with cross-attention that goes on as the input does")


def tune(setup: Setup, config: TuneConfig, *, progress: Any = None) -> tuple[Path, bool]:
    """Train; the artifact ``runs/seq2seq`` and whether it was made now.

    Raises:
        InputError: no such model, no rows, a row over the limit, or test rows that are trained on. ConfigError: settings
            that an encoder-decoder has no place for.
    """
    options: Options = _tuning.options_of(registry.get("methods", "seq2seq"), config)
    if config.packing or config.truncation == "window":
        setting = "tune.packing: true" if config.packing else "tune.truncation: window"
        raise ConfigError(
            f"{setting}: an encoder-decoder reads one whole input at a time",
            next_step="leave it out; tune.options.input_tokens cuts long inputs",
        )
    start = start_of(setup, config, options)
    material = gather(setup, config)
    test = read_conversations(setup.workspace.root / config.test, config.fields) if config.test else []
    check_overlap(material.train, test, "test")
    inputs = {
        "version": 1,
        "model": start.identity(),
        "config": config.model_dump(exclude={"guards", "report_to", "save_every_steps"}),
        "seed": setup.config.seed,
        "answer_tokens": setup.config.answer.max_tokens if test else None,
        **{
            name: digest([[w, str(c)] for w, c in rows])
            for name, rows in (("rows", material.train), ("validation", material.validation), ("test", test))
        },
    }
    return setup.workspace.make(
        _tuning.artifact(config.method),
        inputs,
        lambda folder: _Run(start, options, material, test, config, inputs, folder).make(progress),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """One run: everything it depends on, and where it writes."""

    start: Start
    options: Options
    material: Material
    test: _pairs.Placed
    config: TuneConfig
    inputs: Mapping[str, Any]
    folder: Path

    def make(self, progress: Any) -> dict[str, Any]:
        from groundtune.training import learned
        from groundtune.training.trainer import discard_checkpoints, train

        started, seed = time.perf_counter(), int(self.inputs["seed"])
        texts = [m.content for _, c in self.material.train for m in c.messages]
        model, tokenizer = self.start.open(texts, self.options, seed)
        if self.options.freeze_encoder:
            model.get_encoder().requires_grad_(False)
        pairs, validation = self._rows(model, tokenizer)
        batches = self._batches(pairs.rows, tokenizer, epochs=self.config.epochs)
        watched = {"trained": pairs.rows[:: max(1, len(pairs.rows) // SAMPLE)][:SAMPLE], "validation": validation.rows}
        before = self._losses(model, tokenizer, watched)
        result = train(
            model,
            batches,
            self._settings(len(batches)),
            self.folder / "checkpoints",
            objective=_objective(),
            validate=self._validator(tokenizer, validation.rows) if validation.rows else None,
            identity={"model": self.inputs["model"], "options": self.options.model_dump()},
            progress=progress,
        )
        weights = self.folder / "weights"
        model.save_pretrained(weights)
        tokenizer.save_pretrained(weights)
        after = self._losses(model, tokenizer, watched)
        figures: dict[str, Any] = {
            "method": self.config.method,
            "base": self.start.name,
            "start": self.start.words,
            "adapter": False,
            "asked": "pairs" if self.config.data else "questions",
            "system_text": self._system_text(),
            "rows": len(pairs.rows),
            "rows_over_limit": pairs.over_limit,
            "inputs_cut": pairs.inputs_cut,
            "documents": list(self.material.documents),
            "documents_complete": self.material.complete,
            "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "parameters": sum(p.numel() for p in model.parameters()),
            **{k: v for k, v in asdict(result).items() if k not in ("losses", "seconds", "validations")},
            "validations": list(result.validations),
            "learned": {name: {"before": before[name], "after": after[name]} for name in before},
        }
        if self.config.guards:
            figures["reload_difference"] = check_reload(model, pairs.rows[:2], weights)
        (self.folder / "training.json").write_text(json.dumps(result.losses), encoding="utf-8")
        learned.write_page(self.folder / "learned.html", figures, result.losses)
        figures["seconds"] = round(time.perf_counter() - started, 2)
        figures["disk_bytes"] = sum(f.stat().st_size for f in weights.rglob("*") if f.is_file())
        if self.test:
            figures["test"] = self._tested(model, tokenizer)
            figures["said"] = [_in_words(figures["test"])]
        discard_checkpoints(self.folder / "checkpoints")
        return figures

    def _system_text(self) -> bool:
        return _pairs.system_text_matters(self.material.train)

    def _rows(self, model: Any, tokenizer: Any) -> tuple[_pairs.Pairs, _pairs.Pairs]:
        context = context_tokens(model, tokenizer)
        limit = min(context, self.config.max_tokens or context)
        shared: Any = {
            "system_text": self._system_text(),
            "limit": limit,
            "input_tokens": self.options.input_tokens,
        }
        train = _pairs.pair_rows(tokenizer, self.material.train, truncation=self.config.truncation, **shared)
        if not train.rows:
            raise InputError(
                f"none of {len(self.material.train)} rows fits into {limit} tokens",
                expected="rows within the limit",
                next_step="set tune.options.input_tokens, which cuts inputs",
            )
        return train, _pairs.pair_rows(tokenizer, self.material.validation, truncation="drop", **shared)

    def _batches(self, rows: Sequence[PairRow], tokenizer: Any, *, epochs: int = 1) -> PairBatches:
        seed, pad = int(self.inputs["seed"]), tokenizer.pad_token_id
        return PairBatches(rows, batch_tokens=self.config.batch_tokens, epochs=epochs, seed=seed, pad=pad)

    def _losses(self, model: Any, tokenizer: Any, watched: Mapping[str, Sequence[PairRow]]) -> dict[str, float]:
        from groundtune.training.objectives import mean_loss

        return {
            name: round(mean_loss(model, self._batches(rows, tokenizer), _objective()), 4)
            for name, rows in watched.items()
            if rows
        }

    def _validator(self, tokenizer: Any, rows: Sequence[PairRow]) -> Any:
        from groundtune.training.objectives import mean_loss

        batches = self._batches(rows, tokenizer)
        return lambda model: {"loss": mean_loss(model, batches, _objective())}

    def _settings(self, batches: int) -> Any:
        from groundtune.training.trainer import TrainSettings

        config = self.config
        return TrainSettings.of(
            config,
            int(self.inputs["seed"]),
            learning_rate=config.learning_rate or self.start.rate,
            warmup_steps=min(100, batches // config.accumulation // 10),
        )

    def _tested(self, model: Any, tokenizer: Any) -> dict[str, float]:
        made = _backend("seq2seq", model, tokenizer, self.options, system_text=self._system_text())
        tokens = int(self.inputs["answer_tokens"])
        return _pairs.run_test(
            made, _pairs.items_of(self.test), max_tokens=tokens, answers=self.folder / "answers.jsonl"
        )


def _in_words(test: Mapping[str, float]) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, value in test.items() if name not in ("n", "seconds"))
    return f"On {test['n']} test inputs: {scores}."


def _objective() -> Any:
    from groundtune.training.objectives import TARGETS

    return TARGETS


def check_reload(model: Any, rows: Sequence[PairRow], weights: Path) -> float:
    """The finished weights read back: logits must be those of the trained model.

    Returns:
        Largest difference of a logit, in standard deviations of the logits.

    Raises:
        TrainingError: they differ.
    """
    import torch

    def logits(of: Any) -> Any:
        batches = PairBatches(rows, batch_tokens=1, epochs=1, seed=0, pad=0)
        with torch.no_grad():
            found = [of.eval()(**{k: v.to(of.device) for k, v in batches[n].items()}).logits for n in range(len(rows))]
        return torch.cat([f[0].float().cpu() for f in found])

    trained, read = logits(model), logits(open_encoder_decoder(str(weights))[0])
    difference = float((trained - read).abs().max() / trained.std().clamp_min(1e-9))
    return check_read_back(difference, RELOAD_TOLERANCE, weights, "logits (in standard deviations)")


# ---------------------------------------------------------------- answering


def _backend(name: str, model: Any, tokenizer: Any, options: Options, *, system_text: bool) -> EncoderDecoderBackend:
    return EncoderDecoderBackend(
        name,
        model,
        tokenizer,
        system_text=system_text,
        input_tokens=options.input_tokens,
        search=Search(options.beams, options.length_penalty, options.no_repeat),
    )


def backend(setup: Setup) -> EncoderDecoderBackend:
    """The trained weights as a backend.

    Raises:
        MissingArtifactError: not trained yet.
    """
    figures = _tuning.figures_of(setup, "seq2seq")
    folder = setup.workspace.path(_tuning.artifact("seq2seq"))
    manifest: Any = setup.workspace.manifest(_tuning.artifact("seq2seq"))
    options = Options.model_validate(manifest["inputs"]["config"]["options"])
    model, tokenizer = open_encoder_decoder(str(folder / "weights"))
    return _backend("seq2seq", model, tokenizer, options, system_text=bool(figures["system_text"]))


def build(setup: Setup, name: str = "seq2seq") -> System:
    """The System ``seq2seq``: trained on the project's questions, it is asked as they were; on pairs, as it is told.

    Raises:
        MissingArtifactError: not trained yet.
    """
    made, tokens = backend(setup), setup.config.answer.max_tokens
    if _tuning.figures_of(setup, "seq2seq")["asked"] == "questions":
        return ClosedBook(name, DESCRIPTION, made, max_tokens=tokens)
    return _pairs.PairSystem(name, DESCRIPTION, made, max_tokens=tokens)
