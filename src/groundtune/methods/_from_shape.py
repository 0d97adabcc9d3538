"""A language model from nothing by the name of its size: tokenizer, corpora mixed by weight, next-token training.

The shapes are `nn.shapes`: GPT-1, GPT-2, the eight of GPT-3, Llama. Corpora are mixed by weight, not by size (GPT-3,
table 2.2): a small good corpus is read several times while a large one is not read through. Leaves out the lessons that
make the bundled model answer from a passage (`pretraining`).
"""

from __future__ import annotations

import gzip
import json
import lzma
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.errors import ConfigError, InputError

_TEXT, _ROWS = (".txt", ".md"), (".jsonl",)
#: one document in so many is held out, by the hash of its beginning
_HELD_OUT = 50
#: characters a source that the tokenizer is trained on, and of held-out text that is measured
_SAMPLE, _MEASURED = 20_000_000, 60_000


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text to train on.

    Attributes:
        path: .txt, .md, .jsonl (rows with ``text``; also .gz and .xz), or a folder of these.
        weight: share of the training tokens, in proportion to the others'.
    """

    path: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class NewModel:
    """What to train.

    Attributes:
        shape: name of :data:`groundtune.nn.shapes.SHAPES`.
        tokens: to train on in all.
        vocabulary: tokenizer entries; None: the shape's.
        context_tokens: longest input and length of a training window; None: the shape's.
        batch_tokens: tokens an optimizer step; None: the shape's, or 1/100 of all tokens where that is less.
        learning_rate: peak; None: the shape's, else 6e-4.
        seed: of everything random.
    """

    shape: str
    tokens: int
    vocabulary: int | None = None
    context_tokens: int | None = None
    batch_tokens: int | None = None
    learning_rate: float | None = None
    seed: int = 0


def parse_corpus(text: str) -> Corpus:
    """``PATH`` or ``PATH=WEIGHT``.

    Raises:
        ConfigError: a weight that is no number above 0. InputError: no such path.
    """
    name, equals, weight = text.rpartition("=")
    path = Path(name if equals else text)
    try:
        share = float(weight) if equals else 1.0
    except ValueError:
        share = 0.0
    if share <= 0 or not math.isfinite(share):
        raise ConfigError(f"--data {text}: weight {weight!r}", expected="PATH=WEIGHT with a number above 0")
    if not path.exists():
        raise InputError(f"no file or folder {path}", expected=".txt, .md or .jsonl files, or a folder of them")
    return Corpus(path, share)


def documents(path: Path) -> Iterator[str]:
    """The documents of a corpus, in a fixed order.

    Raises:
        InputError: no readable file, not UTF-8, or a row without text.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    found = [f for f in files if _kind(f)]
    if not found:
        raise InputError(f"{path}: no text", expected=".txt, .md or .jsonl files (also .jsonl.gz, .jsonl.xz)")
    for file in found:
        try:
            yield from _rows(file) if _kind(file) == "rows" else [file.read_text(encoding="utf-8")]
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: not UTF-8 (byte {error.start})", next_step="save it as UTF-8") from None


def _kind(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    if last in _TEXT:
        return "text"
    packed = last in (".gz", ".xz") and len(suffixes) > 1
    return "rows" if (suffixes[-2] if packed else last) in _ROWS else ""


def _rows(path: Path) -> Iterator[str]:
    opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix.lower(), open)
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path}:{number}: no text", expected='one {"text": ...} a line') from None
            yield str(text)


def held_out(text: str) -> bool:
    """Whether a document is measured on instead of trained on."""
    return zlib.crc32(text[:2000].encode()) % _HELD_OUT == 0


def pretrain_shape(
    wanted: NewModel,
    corpora: Sequence[Corpus],
    folder: Path,
    *,
    announce: Callable[[str], None] = lambda _: None,
    progress: Any = None,
) -> Path:
    """Train a new model of a named shape; stages that are done are not run again.

    Returns:
        The folder of the model, with ``figures.json``.

    Raises:
        UnknownNameError: no such shape. ConfigError: the folder holds another model's stages. InputError: no text.
    """
    from groundtune.methods.pretraining import check_recipe, run_stage
    from groundtune.nn.shapes import named_shape

    shape = named_shape(wanted.shape)
    folder.mkdir(parents=True, exist_ok=True)
    made_of = {**asdict(wanted), "corpora": [[str(c.path.resolve()), c.weight] for c in corpora]}
    check_recipe(folder, json.dumps(made_of, indent=1))
    context = wanted.context_tokens or shape.context_tokens
    announce("tokenizer")
    tokenizer = _tokenizer(corpora, wanted.vocabulary or shape.vocabulary, context, folder / "tokenizer", run_stage)
    announce("tokens")
    tokens = run_stage(folder / "tokens", lambda half: _tokens(tokenizer, corpora, wanted.tokens, half))
    announce(f"training {wanted.shape}")
    return run_stage(folder / "model", lambda half: _train(wanted, context, tokenizer, corpora, tokens, half, progress))


def _tokenizer(corpora: Sequence[Corpus], vocabulary: int, context: int, final: Path, run_stage: Any) -> Any:
    from transformers import AutoTokenizer

    from groundtune.nn.tokenizer import train_tokenizer

    def sample() -> Iterator[str]:
        whole = sum(c.weight for c in corpora)
        for corpus in corpora:
            left = int(_SAMPLE * corpus.weight / whole)
            for text in documents(corpus.path):
                if left <= 0:
                    break
                if not held_out(text):
                    yield text[:left]
                    left -= len(text)

    def make(half: Path) -> None:
        trained = train_tokenizer(sample(), vocabulary=vocabulary, context_tokens=context)
        trained.save_pretrained(half)

    return AutoTokenizer.from_pretrained(run_stage(final, make))


def _tokens(tokenizer: Any, corpora: Sequence[Corpus], count: int, half: Path) -> None:
    """The training stream: pieces of the corpora in turn, whichever is furthest behind its weight next."""
    kind = np.uint16 if len(tokenizer) <= 65_536 else np.uint32
    whole = sum(c.weight for c in corpora)
    spent = [0] * len(corpora)
    passes = [0] * len(corpora)
    size = max(16, min(4096, count // 200))
    streams = [_endless(tokenizer, c.path, size, passes, n) for n, c in enumerate(corpora)]
    with (half / "train.bin").open("wb") as out:
        while (left := count - sum(spent)) > 0:
            n = min(range(len(corpora)), key=lambda k: spent[k] / corpora[k].weight)
            piece = np.asarray(next(streams[n])[:left], dtype=kind)
            piece.tofile(out)
            spent[n] += len(piece)
    mixed = [
        {"path": str(c.path), "weight": c.weight / whole, "tokens": s, "share": s / sum(spent), "passes_begun": p}
        for c, s, p in zip(corpora, spent, passes, strict=True)
    ]
    (half / "mixture.json").write_text(json.dumps(mixed, indent=1), encoding="utf-8")


def _endless(tokenizer: Any, path: Path, size: int, passes: list[int], number: int) -> Iterator[list[int]]:
    while True:
        passes[number] += 1
        any_text = False
        for text in documents(path):
            if held_out(text):
                continue
            any_text = any_text or bool(text.strip())
            ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
            for start in range(0, len(ids), size):  # long books do not fill the stream at one place
                yield ids[start : start + size]
        if not any_text:
            raise InputError(f"{path}: holds no text to train on", expected="documents that are not empty")


def _train(
    wanted: NewModel, context: int, tokenizer: Any, corpora: Sequence[Corpus], tokens: Path, half: Path, progress: Any
) -> None:
    from groundtune.nn.architectures import new_named_model
    from groundtune.nn.shapes import named_shape
    from groundtune.training.data import StreamBatches
    from groundtune.training.trainer import TrainSettings, train

    shape = named_shape(wanted.shape)
    kind = np.uint16 if len(tokenizer) <= 65_536 else np.uint32
    stream = np.memmap(tokens / "train.bin", dtype=kind, mode="r")
    model = new_named_model(wanted.shape, tokenizer, seed=wanted.seed, context_tokens=context)
    batch_tokens = wanted.batch_tokens or min(shape.batch_tokens or 500_000, max(context, wanted.tokens // 100))
    rows = max(1, batch_tokens // context)
    micro = max(1, min(rows, 4096 // context))
    accumulation = max(1, rows // micro)
    steps = max(1, len(stream) // (context * micro * accumulation))
    batches = StreamBatches(
        stream, sequence_tokens=context, rows_per_batch=micro, steps=steps * accumulation, seed=wanted.seed
    )
    before = _held_out_bits(model, tokenizer, corpora, context)
    settings = TrainSettings(
        learning_rate=wanted.learning_rate or shape.learning_rate or 6e-4,
        warmup_steps=max(1, min(2000, steps // 20)),
        weight_decay=0.1,
        accumulation=accumulation,
        save_every_steps=max(10, steps // 20),
        seed=wanted.seed,
    )
    result = train(model, batches, settings, half / "checkpoints", progress=progress)
    model.save_pretrained(half)
    tokenizer.save_pretrained(half)
    figures: Mapping[str, Any] = {
        "shape": wanted.shape,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": steps * accumulation * micro * context,
        "batch_tokens": micro * accumulation * context,
        "learning_rate": settings.learning_rate,
        "steps": result.steps,
        "first_loss": round(result.first_loss, 4),
        "last_loss": round(result.last_loss, 4),
        "seconds": round(result.seconds, 2),
        "mixture": json.loads((tokens / "mixture.json").read_text(encoding="utf-8")),
        "held_out_bits_per_byte": {"before": before, "after": _held_out_bits(model, tokenizer, corpora, context)},
    }
    (half / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _held_out_bits(model: Any, tokenizer: Any, corpora: Sequence[Corpus], context: int) -> dict[str, float]:
    """Bits per byte on each corpus' held-out documents; corpora without any are left out."""
    from groundtune.nn.perplexity import perplexity

    model.eval()
    out = {}
    for corpus in corpora:
        text, left = [], _MEASURED
        for document in documents(corpus.path):
            if held_out(document) and left > 0:
                text.append(document[:left])
                left -= len(document)
        if any(t.strip() for t in text):
            scored = perplexity(model, tokenizer, "\n\n".join(text), window_tokens=min(context, 1024))
            out[str(corpus.path)] = round(scored.bits_per_byte, 4)
    return out
