"""What encoder-decoder tuning starts from: ``tune.model`` of ``seq2seq``, checked before anything is read, opened later."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from groundtune.config import TuneConfig
from groundtune.errors import ConfigError
from groundtune.methods._setup import Setup
from groundtune.nn.encoder_decoder import HEAD
from groundtune.workspace import folder_digest

#: peak learning rates: of a trained encoder-decoder, of a warm start, of a new model
RATE, RATE_WARM, RATE_NEW = 1e-4, 3e-4, 1e-3
WARM = "warm:minilm"
_NEW = re.compile(r"new:(\d+)x(\d+)")


class NewOptions(Protocol):
    """What a new model is made by; the fields of ``seq2seq.Options``."""

    vocabulary: int
    dropout: float
    copying: bool


@dataclass(frozen=True, slots=True)
class Start:
    """What training starts from.

    Attributes:
        name: warm:minilm, new:LAYERSxWIDTH, a folder, or a Hugging Face name.
        words: for the figures.
        rate: peak learning rate where the config has none.
        shape: layers and width of a new model.
    """

    name: str
    words: str
    rate: float
    shape: tuple[int, int] | None = None

    def identity(self) -> str:
        """What the run depends on: the digest of weights on this machine, else the name."""
        if self.name == WARM:
            from groundtune.nn.encoder_models import minilm_folder

            return folder_digest(minilm_folder())
        return folder_digest(Path(self.name)) if Path(self.name).is_dir() else self.name

    def open(self, texts: Sequence[str], options: NewOptions, seed: int) -> tuple[Any, Any]:
        """A fresh model in float32 and its tokenizer.

        Args:
            texts: a new model's tokenizer is learnt from them.
            options: a new model's.
            seed: of every new weight, and of dropout where the weights are given.

        Raises:
            InputError: it cannot be loaded, or is no encoder-decoder.
        """
        import torch

        from groundtune.nn.encoder_decoder import open_encoder_decoder, warm_start

        if self.name == WARM:
            from groundtune.nn.encoder_models import minilm_folder

            return warm_start(minilm_folder(), seed=seed)
        if self.shape:
            return _new(self.shape, texts, options, seed)
        torch.manual_seed(seed)
        return open_encoder_decoder(self.name)


def _new(shape: tuple[int, int], texts: Sequence[str], options: NewOptions, seed: int) -> tuple[Any, Any]:
    from groundtune.nn.copying_start import copying_start
    from groundtune.nn.encoder_decoder import NEW_CONTEXT, new_encoder_decoder
    from groundtune.nn.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(iter(texts), vocabulary=options.vocabulary, context_tokens=NEW_CONTEXT)
    tokenizer.chat_template = None
    model = new_encoder_decoder(*shape, tokenizer, seed=seed, dropout=options.dropout)
    if options.copying:
        copying_start(model, seed=seed)
    return model, tokenizer


def start_of(setup: Setup, config: TuneConfig, options: NewOptions) -> Start:
    """What ``tune.model`` names; warm:minilm where it names nothing.

    Raises:
        ConfigError: it is none of what it may be, or cannot start as the options say.
    """
    name = config.model or WARM
    match = _NEW.fullmatch(name)
    if options.copying and not (match and int(match[1]) >= 2 and int(match[2]) >= 4 * HEAD):
        raise ConfigError(
            f"tune.options.copying: {name!r} cannot start so", expected=f"tune.model: new:2x{4 * HEAD} or larger"
        )
    if name == WARM:
        return Start(name, "encoder and decoder warm-started from MiniLM, cross-attention new", RATE_WARM)
    if match:
        layers, width = int(match[1]), int(match[2])
        if layers < 1 or width < HEAD or width % HEAD:
            raise ConfigError(f"tune.model: {name!r}", expected=f"at least 1 layer and a width that {HEAD} divides")
        words = f"T5-shaped from zero, {layers} + {layers} layers of width {width}"
        return Start(name, words + (", copying from the start" if options.copying else ""), RATE_NEW, (layers, width))
    if name.startswith(("warm:", "new:")):
        raise ConfigError(
            f"tune.model: {name!r}", expected="warm:minilm, new:LAYERSxWIDTH such as new:3x256, a folder or a name"
        )
    return Start(setup.resolve(name), f"{name} as it is", RATE)
