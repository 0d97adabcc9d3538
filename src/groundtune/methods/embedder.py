"""Embedder: contrastive fine-tuning of the embedding model, so that retrieval learns one's own domain.

In-batch negatives with a mined hard negative a pair (:mod:`groundtune.training.contrastive`), on the training questions
with their passages and on pairs made from the documents without any label (:mod:`groundtune.methods._passages`). The
weights are those that rank best for a part of the training questions, by fact, that is not trained on; the untuned ones
are among the candidates. What comes of it is measured on held-out questions over all chunks. The result is a folder that
sentence-transformers loads; ``index.embedder: tuned`` puts it to use. Makes no System.
"""

from __future__ import annotations

import json
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.build.templates import normalised
from groundtune.dataset.item_text import answer_of, question_of
from groundtune.errors import ConfigError, InputError
from groundtune.methods import _passages
from groundtune.methods._finished import check_read_back
from groundtune.methods._material import read_conversations
from groundtune.methods._passages import Corpus, Form, Pair
from groundtune.methods._recall import Judge, said
from groundtune.methods._setup import Setup
from groundtune.methods._tuning import options_of
from groundtune.nn.encoders import Encoder, Vectors, encode, open_encoder, save_encoder
from groundtune.records import Example, Passage
from groundtune.retrieval.bm25 import Bm25
from groundtune.retrieval.embedding import ARTIFACT, TUNED, encoder_folder
from groundtune.workspace import digest, folder_digest

#: peak learning rate and passes over the pairs; few, since questions are few
RATE, EPOCHS = 2e-5, 3
#: a hard negative is sought among so many of the nearest chunks
NEAR = 20
#: largest difference of a vector's element after the weights are read back
RELOAD_TOLERANCE = 1e-5
#: settings of ``tune`` that do not change the weights, or that pairs have no use for
_OTHER = {"guards", "report_to", "save_every_steps", "batch_tokens", "packing", "truncation", "options", "epochs"}


class Options(BaseModel):
    """Of the embedder's fine-tuning."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field("minilm", description="what is tuned: minilm, a BERT-like folder, or a Hugging Face name")
    batch_pairs: int = Field(32, ge=2, description="pairs a micro-batch: each sees the passages of the others")
    scale: float = Field(20.0, gt=0, description="of the cosines; 1 / temperature")
    negatives: Literal["bm25", "vectors", "none"] = Field(
        "bm25", description="where a pair's hard negative comes from: shared words, the untuned vectors, or nowhere"
    )
    passages: Literal["chunk", "sentence", "both"] = Field(
        "both", description="what a question is paired with: its chunk, the sentence behind its headings, or each"
    )
    unlabelled: tuple[Literal["template", "title", "cloze"], ...] = Field(
        ("template", "title", "cloze"), description="what pairs are made of without labels"
    )
    unlabelled_pairs: int = Field(200, ge=0, description="most pairs made from the documents without labels")
    validation_share: float = Field(0.15, ge=0, lt=1, description="of the training facts, to choose the weights by")


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions with passages: to train on, to choose the weights by, to judge them by."""

    train: list[Example]
    validation: list[Example]
    held_out: list[Example]


def tune(setup: Setup, config: TuneConfig, *, progress: Any = None) -> tuple[Path, bool]:
    """The artifact ``runs/embedder`` and whether it was made now.

    Raises:
        MissingArtifactError: nothing is ingested. InputError: nothing to train on, or no such model. ConfigError: a wrong
            option.
    """
    options: Options = options_of(registry.get("methods", config.method), config)
    if not config.data:
        setup.workspace.need("documents", next_step="groundtune ingest")
    if options.model == TUNED:
        raise ConfigError("tune.options.model: tuned would replace itself", expected="the model to begin with: minilm")
    base = encoder_folder(setup.workspace, options.model) or registry.get("embedders", options.model).model_folder()
    questions = gather(setup, config, options.validation_share)
    documents = setup.workspace.manifest("documents")
    inputs = {
        "version": 1,
        "model": folder_digest(base),
        "config": {**config.model_dump(exclude=_OTHER), "options": options.model_dump(), "epochs": epochs_of(config)},
        "index": [setup.config.index.chunk_tokens, setup.config.index.overlap_tokens],
        "seed": setup.config.seed,
        "documents": documents["key"] if documents else None,
        "questions": digest(asdict(questions)),
    }
    run = _Run(setup, config, options, questions, base, inputs, progress)
    return setup.workspace.make(ARTIFACT, inputs, run.work)


def epochs_of(config: TuneConfig) -> int:
    """Passes over the pairs: what the user set, else the method's own few."""
    return config.epochs if "epochs" in config.model_fields_set else EPOCHS


def gather(setup: Setup, config: TuneConfig, share: float) -> Questions:
    """The questions of ``tune.data`` (answer: the passage), or of the project, with a part of the facts to validate on.

    Raises:
        InputError: a question of ``tune.data`` is a held-out one, or a row is faulty.
    """
    asked = setup.examples if not config.data or setup.questions_path.exists() else []
    held_out = [e for e in asked if e.passages and e.split not in ("train", "validation")]
    if config.data:
        train = _of_file(setup.workspace.root / config.data)
        validation = _of_file(setup.workspace.root / config.validation) if config.validation else []
        known = {normalised(e.question) for e in held_out}
        if seen := [e.id for e in train if normalised(e.question) in known]:
            raise InputError(
                f"{len(seen)} questions of {config.data} are held-out ones of {setup.questions_path.name}: {seen[0]}",
                expected="held-out questions that training never sees",
                next_step="take them out of the file",
            )
    else:
        train = [e for e in asked if e.passages and e.split == "train"]
        validation = [e for e in asked if e.passages and e.split == "validation"]
    if not validation:
        facts = sorted({e.fact for e in train}, key=lambda fact: zlib.crc32(fact.encode()))
        chosen = set(facts[: round(share * len(facts))])
        validation = [e for e in train if e.fact in chosen]
        train = [e for e in train if e.fact not in chosen]
    return Questions(train, validation, held_out)


def _of_file(path: Path) -> list[Example]:
    return [
        Example(where, c.fact or where, "train", question_of(c), (), (Passage("", answer_of(c)),))
        for where, c in read_conversations(path)
    ]


@dataclass
class _Run:
    """One run, in the folder of its artifact."""

    setup: Setup
    config: TuneConfig
    options: Options
    questions: Questions
    base: Path
    inputs: Mapping[str, Any]
    progress: Any

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Train, choose, measure, save; returns the figures."""
        import torch

        from groundtune.training.contrastive import contrastive
        from groundtune.training.trainer import discard_checkpoints, train

        started = time.perf_counter()
        torch.manual_seed(self.setup.config.seed)
        encoder = open_encoder(self.base, max_tokens=self.config.max_tokens)
        corpus = Corpus(_passages.project_chunks(self.setup.workspace, self.setup.config.index, encoder.count_tokens))
        learnt, chosen_by = (corpus.placed(part) for part in (self.questions.train, self.questions.validation))
        judge, texts = Judge(corpus, self.questions.held_out), corpus.texts
        self._tell("embedding the chunks")
        vectors = encode(encoder, texts)
        before = judge.scores(encoder, vectors)
        pairs = self._pairs(folder, encoder, corpus, learnt, vectors)
        batches = self._batches(encoder, pairs)
        chooser = Judge(corpus, chosen_by).sample(encoder) if chosen_by else None
        untuned = chooser(encoder.model) if chooser else {}
        result = train(
            encoder.model,
            batches,
            self._settings(len(batches)),
            folder / "checkpoints",
            objective=contrastive(encoder.pooling, self.options.scale),
            validate=chooser,
            identity={"inputs": digest(self.inputs)},
            progress=self.progress,
        )
        best = result.best_step
        if chooser and max(v["mrr"] for v in result.validations) <= untuned["mrr"]:
            best, encoder = 0, open_encoder(self.base, max_tokens=self.config.max_tokens)
        self._tell("embedding the chunks again")
        after = judge.scores(encoder, encode(encoder, texts))
        save_encoder(encoder, folder / "weights")
        check_reload(encoder, folder / "weights", texts[:8])
        discard_checkpoints(folder / "checkpoints")
        (folder / "training.json").write_text(json.dumps(result.losses), encoding="utf-8")
        figures = {
            **_of_pairs(corpus, pairs),
            "passages_in_no_chunk": judge.missing + Judge(corpus, learnt).missing,
            **_of_training(result, encoder.model),
            "validation_questions": len(chosen_by),
            "validations": [{"step": 0, **untuned}, *result.validations] if chooser else [],
            "best_step": best,
            **judge.compared(before, after),
            "disk_bytes": sum(f.stat().st_size for f in (folder / "weights").rglob("*") if f.is_file()),
        }
        names = {"method": self.config.method, "base": self.options.model}
        seconds = round(time.perf_counter() - started, 2)
        return {**names, **figures, "said": said(figures), "next": _advice(figures["better"]), "seconds": seconds}

    def _pairs(
        self, folder: Path, encoder: Encoder, corpus: Corpus, examples: Sequence[Example], vectors: Vectors
    ) -> list[Pair]:
        """The pairs with their hard negatives; those of a killed run, where there was one.

        Raises:
            InputError: none could be made.
        """
        kept = folder / "pairs.jsonl"
        if kept.exists():
            return _passages.read_pairs(kept)
        options, seed = self.options, self.setup.config.seed
        forms: tuple[Form, ...] = ("chunk", "sentence") if options.passages == "both" else (options.passages,)
        pairs = list(_passages.question_pairs(corpus, examples, forms))
        if options.unlabelled_pairs and options.unlabelled:
            pairs += _passages.unlabelled_pairs(
                self.setup.workspace, corpus, options.unlabelled, most=options.unlabelled_pairs,
                held_out=[*self.questions.held_out, *self.questions.validation], seed=seed,
            )  # fmt: skip
        if len(pairs) < 2:
            raise InputError(
                f"{len(pairs)} pairs of a question and a passage: {len(corpus.chunks)} chunks, {len(examples)} training questions",
                expected="training questions with their passages, or documents of several paragraphs",
                next_step="groundtune dataset build makes questions from documents",
            )
        anchors = [p.anchor for p in pairs]
        if options.negatives == "bm25":
            pairs = _passages.with_negatives(corpus, pairs, Bm25(corpus.texts).best(anchors, NEAR), seed=seed)
        elif options.negatives == "vectors":
            near = (np.argsort(-(vectors @ v), kind="stable")[:NEAR].tolist() for v in encode(encoder, anchors))
            pairs = _passages.with_negatives(corpus, pairs, near, seed=seed)
        _passages.write_pairs(kept, pairs)
        return pairs

    def _batches(self, encoder: Encoder, pairs: Sequence[Pair]) -> Any:
        from groundtune.training.contrastive import PairBatches, PairRow

        texts = list(dict.fromkeys(t for p in pairs for t in (p.anchor, p.passage, p.negative)))
        ids = dict(zip(texts, encoder.ids(texts), strict=True))
        rows = [
            PairRow(
                ids[p.anchor], ids[p.passage], p.group, frozenset(p.answers),
                ids[p.negative] if p.negative else (), p.negative_group,
            )
            for p in pairs
        ]  # fmt: skip
        return PairBatches(
            rows,
            batch_pairs=self.options.batch_pairs,
            epochs=epochs_of(self.config),
            seed=self.setup.config.seed,
            pad=int(encoder.model.config.pad_token_id or 0),
        )

    def _settings(self, batches: int) -> Any:
        from groundtune.training.trainer import TrainSettings

        config = self.config
        return TrainSettings.of(
            config,
            self.setup.config.seed,
            learning_rate=config.learning_rate or RATE,
            warmup_steps=batches // config.accumulation // 10,
            metric="mrr",
            higher=True,
        )

    def _tell(self, what: str) -> None:
        if self.progress:
            self.progress(0, 1, what)


def _of_pairs(corpus: Corpus, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Figures of the pairs, and which documents are in them."""
    shown = {corpus.chunks[n] for p in pairs for n in (p.group, p.negative_group) if n >= 0}
    return {
        "documents": sorted({c.document for c in shown}),
        "documents_complete": not any(c.document == c.id for c in shown),
        "chunks": len(corpus.chunks),
        "pairs": dict(Counter(p.kind for p in pairs)),
        "hard_negatives": sum(bool(p.negative) for p in pairs),
    }


def _of_training(result: Any, model: Any) -> dict[str, Any]:
    parameters = list(model.parameters())
    return {
        "steps": result.steps,
        "first_loss": round(result.first_loss, 4),
        "last_loss": round(result.last_loss, 4),
        "stopped_early": result.stopped_early,
        "precision": result.precision,
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
    }


def _advice(better: bool | None) -> str:
    if better is False:
        return "leave index.embedder as it is; more training questions help most"
    return "set index.embedder: tuned in groundtune.yaml, then groundtune index"


def check_reload(encoder: Encoder, folder: Path, texts: Sequence[str]) -> None:
    """The finished weights read back: they must give the same vectors.

    Raises:
        TrainingError: they do not.
    """
    found = encode(open_encoder(folder), texts) - encode(encoder, texts)
    difference = float(np.abs(found).max()) if len(texts) else 0.0
    check_read_back(difference, RELOAD_TOLERANCE, folder, "vectors")
