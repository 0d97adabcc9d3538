"""Whether a model may be trained on packed rows: its packed logits are compared with its unpacked ones, every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.data import pack

#: largest difference of a logit, in standard deviations of the logits, that is rounding and not a leak
TOLERANCE = 1e-3


def prepare(model: Any, rows: Sequence[TokenRow]) -> None:
    """Switch a model to attention within each document, and see on real rows that packing changes nothing.

    Args:
        model: a transformers model; its attention is replaced.
        rows: the rows to train on; the longest two and the first are tried.

    Raises:
        ConfigError: the architecture has no such attention, or packed rows see each other.
    """
    from groundtune.nn.packed_attention import NAME

    if getattr(model.config.get_text_config(), "sliding_window", None):
        raise _refused(model, "it attends in a sliding window")
    tried = sorted(rows, key=lambda row: -len(row.ids))[:2] + list(rows[:1])
    try:
        apart = logits_apart(model, tried)
        model.set_attn_implementation(NAME)
        difference = float((logits_packed(model, tried) - apart).abs().max() / apart.std())
    except (ValueError, TypeError, NotImplementedError) as error:  # how architectures say that they cannot
        raise _refused(model, str(error).splitlines()[0]) from None
    if not difference <= TOLERANCE:
        raise _refused(model, f"packed and separate logits differ by {difference:.2g} standard deviations")


def _refused(model: Any, why: str) -> ConfigError:
    return ConfigError(
        f"tune.packing: {type(model).__name__} cannot be trained on packed rows: {why}",
        expected="an architecture that keeps packed rows apart",
        next_step="set tune.packing: false",
    )


@torch.no_grad()
def logits_apart(model: Any, rows: Sequence[TokenRow]) -> torch.Tensor:
    """Logits (T, V) of rows that go through the model one by one, put one behind the other."""
    return torch.cat([model.eval()(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0] for row in rows])


@torch.no_grad()
def logits_packed(model: Any, rows: Sequence[TokenRow]) -> torch.Tensor:
    """Logits (T, V) of rows that go through the model as one packed sequence."""
    packed = pack(rows)
    logits: torch.Tensor = model.eval()(**{k: v for k, v in packed.items() if k != "labels"}, use_cache=False).logits[0]
    return logits
