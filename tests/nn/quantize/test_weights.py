"""Integers and scales: error within half a step, two values a byte, the clip of least error."""

from __future__ import annotations

import pytest
import torch

from groundtune.errors import ConfigError, InputError
from groundtune.nn.quantize.weights import Scheme, dequantize_weight, pack, quantize_weight, unpack


def weights(outputs: int = 24, inputs: int = 96, seed: int = 0) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)) * 0.05


def restored(weight: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    return dequantize_weight(*quantize_weight(weight, scheme), scheme, torch.float32)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("group_size", [None, 32, 40, 96, 1000])  # 40: the last group of 96 inputs has 16
def test_the_error_is_at_most_half_a_step(bits: int, group_size: int | None) -> None:
    weight, scheme = weights(), Scheme(bits, group_size)
    values, scales = quantize_weight(weight, scheme)
    groups, size = scheme.groups(96)
    assert scales.shape == (24, groups)
    assert scales.dtype == torch.float16
    assert values.dtype == torch.int8
    top = 2 ** (bits - 1) - 1
    assert int(values.min()) >= -top - 1
    assert int(values.max()) <= top
    for group in range(groups):
        part = slice(group * size, (group + 1) * size)
        step = weight[:, part].abs().amax(1, keepdim=True) / top
        error = (restored(weight, scheme)[:, part] - weight[:, part]).abs()
        assert bool((error <= step * 0.501 + 2**-10 * weight[:, part].abs()).all())  # float16 rounds the scale


def test_a_known_row() -> None:
    """Largest weight 0.7, so int4's step is 0.1, as near as float16 has it."""
    row = torch.tensor([[0.7, -0.24, 0.26, 0.04, -0.7, 0.0]])
    values, scales = quantize_weight(row, Scheme(4))
    assert values.tolist() == [[7, -2, 3, 0, -7, 0]]
    assert float(scales) == pytest.approx(0.1, rel=1e-3)


def test_smaller_groups_have_less_error_and_so_has_int8() -> None:
    weight = weights()
    weight[:, 5] *= 20  # an outlier stretches the scale of its whole group
    errors = [float((restored(weight, s) - weight).square().mean()) for s in (Scheme(4), Scheme(4, 32), Scheme(8))]
    assert errors[0] > 1.2 * errors[1] > 3 * errors[2]


def test_the_best_clip_has_less_squared_error_in_every_group() -> None:
    weight = weights(16, 128, seed=3)
    plain, clipped = (restored(weight, Scheme(4, 64, clip)) for clip in ("max", "mse"))
    errors = [(r - weight).square().view(16, 2, 64).sum(-1) for r in (plain, clipped)]
    assert bool((errors[1] <= errors[0]).all())
    assert float(errors[1].sum()) < 0.95 * float(errors[0].sum())


def test_zeros_stay_zeros() -> None:
    weight = weights()
    weight[3] = 0
    assert bool((restored(weight, Scheme(4, 32))[3] == 0).all())


@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_two_values_a_byte_and_back(width: int) -> None:
    values = torch.randint(-8, 8, (5, width), dtype=torch.int8, generator=torch.Generator().manual_seed(width))
    packed = pack(values)
    assert packed.dtype == torch.uint8
    assert packed.shape == (5, (width + 1) // 2)
    assert torch.equal(unpack(packed, width), values)


def test_the_even_column_is_in_the_low_half() -> None:
    assert pack(torch.tensor([[-8, 7, 0]], dtype=torch.int8)).tolist() == [[0xF0, 0x88]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e8])
def test_what_cannot_be_quantized_is_refused(bad: float) -> None:
    weight = weights()
    weight[1, 1] = bad
    with pytest.raises(InputError, match="cannot be quantized"):
        quantize_weight(weight, Scheme(8))


@pytest.mark.parametrize(
    ("arguments", "said"), [((3,), "bits is 3"), ((4, 1), "group_size is 1"), ((4, 64, "best"), "clip is 'best'")]
)
def test_a_scheme_that_cannot_be_is_refused(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Scheme(*arguments)  # type: ignore[arg-type]


def test_the_usual_groups() -> None:
    assert Scheme.of(4).group_size == 64
    assert Scheme.of(8).group_size is None
    assert Scheme.of(4, 128).group_size == 128
