"""Sizes on disk: the lesson's rows by one named format, llama.cpp's and GPTQ's published files, block sizes, real tensors."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from groundtune.errors import UnknownNameError
from groundtune.nn.shapes import SHAPES, on_meta, shape_config
from groundtune.plan.sizes import _BLOCKS, FORMATS, LESSON, Tensor, _packed, disk_bytes, tensors

LESSON_FP16 = {name: sizes["fp16"] for name, sizes in LESSON.items()}
LESSON_INT4 = {name: sizes["q4_0"] for name, sizes in LESSON.items()}


@cache
def model(name: str) -> Any:
    return on_meta(shape_config(SHAPES[name]))


def gigabytes(name: str, format: str) -> float:
    return disk_bytes(model(name), format) / 1e9


@pytest.mark.parametrize("name", LESSON_FP16)
def test_the_lessons_fp16(name: str) -> None:
    assert gigabytes(name, "fp16") == pytest.approx(LESSON_FP16[name], rel=0.003)


def test_one_format_fits_the_lessons_int4_within_5_percent() -> None:
    fits = {f for f in FORMATS if all(abs(gigabytes(n, f) / gb - 1) <= 0.05 for n, gb in LESSON_INT4.items())}
    assert fits == {"q4_0"}


def test_the_lessons_int4_are_gptq_at_two_group_sizes() -> None:
    for name, group in {"llama2-7b": 128, "llama2-13b": 128, "llama2-70b": 32}.items():
        assert gigabytes(name, f"gptq_g{group}") == pytest.approx(LESSON_INT4[name], rel=0.007)


@pytest.mark.parametrize(
    ("name", "format", "published_gb"),
    [  # sizes listed with the first public conversions of Llama 2 chat, 2023
        ("llama2-7b", "q4_0", 3.83),
        ("llama2-13b", "q4_0", 7.37),
        ("llama2-70b", "q4_0", 38.87),
        ("llama2-7b", "q4_k_m", 4.08),
        ("llama2-13b", "q4_k_m", 7.87),
        ("llama2-70b", "q4_k_m", 41.42),
        ("llama2-7b", "q8_0", 7.16),
        ("llama2-13b", "q8_0", 13.83),
        ("llama2-7b", "gptq_g128", 3.90),
        ("llama2-70b", "gptq_g32", 40.66),
    ],
)
def test_published_files(name: str, format: str, published_gb: float) -> None:
    assert gigabytes(name, format) == pytest.approx(published_gb, rel=0.003)


def test_block_sizes_are_those_of_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    for name, size in _BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name.upper()]] == size


def test_nf4_is_what_bitsandbytes_keeps() -> None:
    functional = pytest.importorskip("bitsandbytes.functional", reason="bitsandbytes is not installed")
    weight_OI = torch.randn(96, 256)
    packed, state = functional.quantize_4bit(weight_OI, quant_type="nf4", compress_statistics=True)
    kept = [packed, state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]
    assert sum(t.numel() * t.element_size() for t in kept) == _packed(Tensor("linear", 96, 256), "nf4")


def test_every_weight_is_counted_once_and_in_its_place() -> None:
    for name in ("gpt2", "llama3.2-1b", "llama2-7b"):
        found = list(tensors(model(name)))
        assert sum(t.count for t in found) == sum(p.numel() for p in model(name).parameters())
        layers = SHAPES[name].layers
        assert sum(t.role == "value" for t in found) == sum(t.role == "down" for t in found) == layers
        assert sum(t.role == "embedding" for t in found) == 1
        assert sum(t.role == "output" for t in found) == (0 if SHAPES[name].tied else 1)
        assert sum(t.role == "position" for t in found) == (1 if name == "gpt2" else 0)


def test_gpt2s_turned_matrices_have_their_inputs_on_the_right_side() -> None:
    values = [t for t in tensors(model("gpt2")) if t.role == "value"]
    assert {(t.outputs, t.inputs) for t in values} == {(3 * 768, 768)}


def test_rows_that_no_block_fits_stay_wider() -> None:
    """Width 384 is no multiple of 256: Q4_K becomes Q5_0 and Q6_K becomes Q8_0, as in llama.cpp."""
    blocks = SHAPES["pebble-24m"]
    linear, down = 4 * 384**2 + 2 * 384 * 1024, 384 * 1024
    finer = [n for n in range(10) if n < 1 or n >= 8 or (n - 1) % 3 == 2]
    value = 384 * 384
    expected = 0.0
    for layer in range(blocks.layers):
        expected += (linear - value) * 22 / 32 + value * (34 / 32 if layer in finer else 22 / 32)
        expected += down * (210 / 256 if layer in finer else 144 / 256)
    expected += 16_384 * 384 * 34 / 32 + 4 * (21 * 384)
    assert disk_bytes(model("pebble-24m"), "q4_k_m") == expected


def test_an_unknown_format() -> None:
    with pytest.raises(UnknownNameError, match="q4_k_m"):
        disk_bytes(model("gpt2"), "q4_k_s")
