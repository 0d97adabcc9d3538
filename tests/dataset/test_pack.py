"""The plan of micro-batches: complete, within budget, the same again."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from groundtune.dataset.pack import plan_batches

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=200)


@given(lengths=LENGTHS, batch_tokens=st.integers(32, 1024), epochs=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_every_row_once_an_epoch_within_the_budget_and_the_same_again(
    lengths: list[int], batch_tokens: int, epochs: int, seed: int
) -> None:
    plan = plan_batches(lengths, batch_tokens=batch_tokens, epochs=epochs, seed=seed)
    assert plan == plan_batches(lengths, batch_tokens=batch_tokens, epochs=epochs, seed=seed)
    flat = [row for batch in plan for row in batch]
    for epoch in range(epochs):
        assert sorted(flat[epoch * len(lengths) : (epoch + 1) * len(lengths)]) == list(range(len(lengths)))
    for batch in plan:
        assert batch
        assert len(batch) == 1 or len(batch) * max(lengths[r] for r in batch) <= batch_tokens


def test_seed_and_epoch_change_the_order() -> None:
    lengths = list(range(10, 110))
    plan = plan_batches(lengths, batch_tokens=256, epochs=2, seed=0)
    assert plan != plan_batches(lengths, batch_tokens=256, epochs=2, seed=1)
    flat = [row for batch in plan for row in batch]
    assert flat[:100] != flat[100:]


def test_rows_of_a_batch_are_of_similar_length() -> None:
    lengths = [10] * 50 + [100] * 50
    plan = plan_batches(lengths, batch_tokens=1000, epochs=1, seed=0)
    padding = sum(len(b) * max(lengths[r] for r in b) - sum(lengths[r] for r in b) for b in plan)
    assert padding <= 0.1 * sum(lengths)  # random batches of ten would pad about 0.8 of it


def test_batches_are_filled() -> None:
    plan = plan_batches([10] * 64, batch_tokens=80, epochs=1, seed=0)
    assert Counter(map(len, plan)) == {8: 8}
