"""Packed rows: no token lost, none seen by another row, the same logits, loss and gradient as one by one."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from groundtune.dataset.pack import plan_packs
from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.data import IGNORED, PackedBatches, RowBatches, pack
from groundtune.training.objectives import supervised_loss
from groundtune.training.packing import logits_apart, logits_packed, prepare


def some_rows(count: int, seed: int = 0) -> list[TokenRow]:
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        length = rng.randint(2, 60)
        asked = rng.randint(1, length - 1)
        ids = tuple(rng.randrange(5, 400) for _ in range(length))
        rows.append(TokenRow(ids, tuple(n >= asked for n in range(length))))
    return rows


def test_every_row_once_an_epoch_and_no_pack_too_long() -> None:
    lengths = [(7 * n) % 90 + 1 for n in range(1500)] + [300]
    plan = plan_packs(lengths, pack_tokens=128, epochs=2, seed=3)
    assert sorted(row for pack in plan for row in pack) == sorted([*range(1501)] * 2)
    sizes = [sum(lengths[r] for r in pack) for pack in plan]
    assert all(size <= 128 or pack == [1500] for size, pack in zip(sizes, plan, strict=True))
    assert sum(sizes) / (128 * len(plan)) > 0.95  # hardly any room is left empty
    assert (
        plan
        == plan_packs(lengths, pack_tokens=128, epochs=2, seed=3)
        != plan_packs(lengths, pack_tokens=128, epochs=2, seed=4)
    )


def test_packed_logits_are_the_separate_ones(make_tiny_model: Callable[..., Any]) -> None:
    model, rows = make_tiny_model(), some_rows(5)
    apart = logits_apart(model, rows)
    prepare(model, rows)
    together = logits_packed(model, rows)
    assert (together - apart).abs().max() < 1e-4 * apart.std()


def test_the_check_sees_rows_that_see_each_other(
    make_tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import groundtune.training.packing as packing

    honest = packing.pack

    def leaking(rows: Any) -> Any:
        batch = honest(rows)
        batch["cu_seq_lens_q"] = batch["cu_seq_lens_q"][[0, -1]]
        return batch

    monkeypatch.setattr(packing, "pack", leaking)
    with pytest.raises(ConfigError, match=r"packed and separate logits differ by"):
        prepare(make_tiny_model(), some_rows(3))


def test_an_architecture_without_exchangeable_attention_is_refused(tiny_tokenizer: Any) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    model = BloomForCausalLM(BloomConfig(vocab_size=400, hidden_size=32, n_layer=1, n_head=2))
    with pytest.raises(ConfigError, match=r"tune\.packing: BloomForCausalLM"):
        prepare(model, some_rows(3))


def test_loss_and_gradient_are_those_of_padded_batches(make_tiny_model: Callable[..., Any]) -> None:
    rows = some_rows(12)
    padded = RowBatches(rows, batch_tokens=10_000, epochs=1, seed=0)[0]
    model, other = make_tiny_model(), make_tiny_model()
    prepare(model, rows)
    count = int((padded["labels"][:, 1:] != IGNORED).sum())
    one = supervised_loss(model, pack(rows), count)
    two = supervised_loss(other, padded, count)
    assert one.item() == pytest.approx(two.item(), rel=1e-5)
    one.backward()
    two.backward()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_packed_batches_hold_every_row() -> None:
    rows = some_rows(40)
    batches = PackedBatches(rows, batch_tokens=128, epochs=1, seed=0)
    seen = []
    for n in range(len(batches)):
        item = batches[n]
        bounds = item["cu_seq_lens_q"].tolist()
        seen += [tuple(item["input_ids"][0, a:b].tolist()) for a, b in pairwise(bounds)]
        assert [int(item["position_ids"][0, a]) for a in bounds[:-1]] == [0] * (len(bounds) - 1)
    assert sorted(seen) == sorted(row.ids for row in rows)


def test_padding_never_masks_an_end_of_turn() -> None:
    """pad == eos: the last token of a shorter row stays in the loss beside the padding of the longer one."""
    eos = 0  # RowBatches pads with 0
    rows = [TokenRow((7, 8, eos), (False, True, True)), TokenRow((7, 8, 9, 9, 9, eos), (False, *[True] * 5))]
    labels = RowBatches(rows, batch_tokens=100, epochs=1, seed=0)[0]["labels"].tolist()
    assert sorted(sum(label != IGNORED for label in row) for row in labels) == [2, 5]
    assert all(row[max(n for n, label in enumerate(row) if label != IGNORED)] == eos for row in labels)


def test_a_sliding_window_is_refused(tiny_tokenizer: Any) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    shape = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    model = MistralForCausalLM(MistralConfig(**shape, num_attention_heads=2, num_key_value_heads=2, sliding_window=16))
    with pytest.raises(ConfigError, match="sliding window"):
        prepare(model, some_rows(3))
