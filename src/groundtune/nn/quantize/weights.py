"""A matrix as small integers and scales, and back; two 4-bit values a byte.

Symmetric round-to-nearest: ``value = round(weight / scale)``, ``weight ~ scale * value``, with one float16 scale for each
group of neighbouring inputs of an output channel, or for the whole channel (Jacob et al., CVPR 2018, section 2.1, with the
zero point at 0; groups as in GPTQ and AWQ). int4 runs from -8 to 7, int8 from -128 to 127. Leaves out calibration on data:
nothing here looks at activations.

Legend: O outputs, I inputs, G groups of a row, S inputs of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad

from groundtune.errors import ConfigError, InputError

#: what is left of a group's largest weight in the search for the clip of least squared error
_CLIPS = tuple(round(1.0 - 0.02 * step, 2) for step in range(26))


@dataclass(frozen=True, slots=True)
class Scheme:
    """How weights are quantized.

    Attributes:
        bits: 4 or 8.
        group_size: inputs that share a scale; None: the whole output channel.
        clip: ``max``: the largest weight of a group is the end of the range; ``mse``: the range is cut where the group's
            squared error is least (26 cuts from 100 % to 50 % are tried), which takes 26 times as long.
    """

    bits: int
    group_size: int | None = None
    clip: str = "max"

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise ConfigError(f"bits is {self.bits!r}", expected="4 or 8")
        if self.group_size is not None and self.group_size < 2:
            raise ConfigError(f"group_size is {self.group_size!r}", expected="2 or more inputs, such as 64 or 128")
        if self.clip not in ("max", "mse"):
            raise ConfigError(f"clip is {self.clip!r}", expected="max or mse")

    @classmethod
    def of(cls, bits: int, group_size: int | None = None, clip: str = "max") -> Scheme:
        """The scheme with the usual group where none is said: 64 for int4, the whole channel for int8."""
        return cls(bits, 64 if group_size is None and bits == 4 else group_size, clip)

    def groups(self, inputs: int) -> tuple[int, int]:
        """Groups of a row of so many inputs, and inputs of a group; the last group may be shorter."""
        size = min(self.group_size or inputs, inputs)
        return -(-inputs // size), size


def quantize_weight(weight_OI: torch.Tensor, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix's integers (O, I), int8 in memory whatever their bits, and its scales (O, G), float16.

    Raises:
        InputError: a weight is not a number, or too large for a float16 scale.
    """
    outputs, inputs = weight_OI.shape
    groups, size = scheme.groups(inputs)
    weight_OGS = pad(weight_OI.detach().float(), (0, groups * size - inputs)).view(outputs, groups, size)
    top = 2 ** (scheme.bits - 1) - 1
    scales_OG1 = (weight_OGS.abs().amax(-1, keepdim=True) / top).half()
    if not torch.isfinite(scales_OG1).all():
        raise InputError(
            f"weights up to {float(weight_OI.abs().max()):g} cannot be quantized",
            expected="finite weights whose scales fit float16",
            next_step="check that the training run did not diverge",
        )
    if scheme.clip == "mse":
        scales_OG1 = _least_error(weight_OGS, scales_OG1, top)
    values_OI = _round(weight_OGS, scales_OG1, top).to(torch.int8).view(outputs, -1)[:, :inputs]
    return values_OI.contiguous(), scales_OG1.squeeze(-1)


def _round(weight_OGS: torch.Tensor, scales_OG1: torch.Tensor, top: int) -> torch.Tensor:
    """By the scale as it is stored, so that rounding it costs nothing; a group of zeros has scale 0."""
    scales = scales_OG1.float()
    return torch.round(weight_OGS / torch.where(scales == 0, 1.0, scales)).clamp_(-top - 1, top)


def _least_error(weight_OGS: torch.Tensor, widest_OG1: torch.Tensor, top: int) -> torch.Tensor:
    best_OG1, least_OG1 = widest_OG1, torch.full_like(widest_OG1, torch.inf, dtype=torch.float32)
    for clip in _CLIPS:
        scales_OG1 = (widest_OG1.float() * clip).half()
        error_OG1 = (
            (_round(weight_OGS, scales_OG1, top) * scales_OG1.float() - weight_OGS).square().sum(-1, keepdim=True)
        )
        better = error_OG1 < least_OG1
        best_OG1, least_OG1 = torch.where(better, scales_OG1, best_OG1), torch.where(better, error_OG1, least_OG1)
    return best_OG1


def dequantize_weight(
    values_OI: torch.Tensor, scales_OG: torch.Tensor, scheme: Scheme, dtype: torch.dtype
) -> torch.Tensor:
    """The matrix (O, I) that integers and scales stand for."""
    outputs, inputs = values_OI.shape
    groups, size = scheme.groups(inputs)
    values_OGS = pad(values_OI, (0, groups * size - inputs)).view(outputs, groups, size).to(dtype)
    weight_OI: torch.Tensor = (values_OGS * scales_OG.unsqueeze(-1).to(dtype)).view(outputs, -1)[:, :inputs]
    return weight_OI


def pack(values_OI: torch.Tensor) -> torch.Tensor:
    """4-bit integers -8..7 (O, I), int8, as bytes (O, ceil(I / 2)), uint8: plus 8, the even column in the low half."""
    raised = pad(values_OI, (0, values_OI.shape[1] % 2)).add(8).to(torch.uint8)
    return raised[:, 0::2] | raised[:, 1::2] << 4


def unpack(packed_OB: torch.Tensor, inputs: int) -> torch.Tensor:
    """:func:`pack` undone."""
    both_OB2 = torch.stack((packed_OB & 15, packed_OB >> 4), dim=-1)
    return both_OB2.view(packed_OB.shape[0], -1)[:, :inputs].to(torch.int8).sub_(8)


def as_config(scheme: Scheme) -> dict[str, Any]:
    """The scheme's part of ``quantization_config`` in ``config.json``."""
    return {"bits": scheme.bits, "group_size": scheme.group_size, "clip": scheme.clip, "sym": True}
