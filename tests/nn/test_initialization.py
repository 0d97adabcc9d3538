"""Better starts: related words lie close together, and a new model copies what it has seen before."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from groundtune.nn.architectures import Shape, new_model
from groundtune.nn.initialization import copying_circuits, embeddings_from_words

SHAPE = Shape(layers=4, width=128, heads=4, feed_forward=256, context_tokens=128, rope_theta=500_000, tied=False)


def share_copied(model: Any, vocabulary: int) -> float:
    """How often the model's first choice is right in the second half of a sequence that repeats itself."""
    generator = torch.Generator().manual_seed(1)
    half_BT = torch.stack([torch.randperm(vocabulary, generator=generator)[:24] for _ in range(8)])
    with torch.no_grad():
        logits_BTV = model.eval()(torch.cat([half_BT, half_BT], 1), use_cache=False).logits
    return float((logits_BTV[:, 24:-1].argmax(-1) == half_BT[:, 1:]).float().mean())


def test_a_new_model_copies_before_any_training(tiny_tokenizer: Any) -> None:
    plain = new_model(SHAPE, tiny_tokenizer, seed=3)
    assert share_copied(plain, len(tiny_tokenizer)) < 0.05
    copying_circuits(plain, seed=3)
    assert share_copied(plain, len(tiny_tokenizer)) > 0.5


def test_the_same_seed_gives_the_same_circuits(tiny_tokenizer: Any) -> None:
    one, two = (new_model(SHAPE, tiny_tokenizer, seed=3) for _ in range(2))
    copying_circuits(one, seed=4)
    copying_circuits(two, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("change", [{"tied": True}, {"layers": 3}, {"heads": 2}])
def test_a_shape_without_room_for_circuits_is_refused(tiny_tokenizer: Any, change: dict[str, Any]) -> None:
    model = new_model(SHAPE.model_copy(update=change), tiny_tokenizer, seed=0)
    with pytest.raises(ValueError, match="at least 4 heads"):
        copying_circuits(model, seed=0)


def test_tokens_that_are_words_start_as_neighbours(tiny_tokenizer: Any) -> None:
    vocabulary = sorted(
        t[1:] for t in tiny_tokenizer.get_vocab() if t.startswith("Ġ") and t[1:].isalpha() and t[1:].islower()
    )
    generator = torch.Generator().manual_seed(0)
    table_WD = torch.randn(400, 256, generator=generator)
    table_WD[1] = table_WD[0] + 0.1 * torch.randn(256, generator=generator)
    model = new_model(SHAPE, tiny_tokenizer, seed=0)
    given = embeddings_from_words(model, tiny_tokenizer, table_WD, {w: n for n, w in enumerate(vocabulary)})
    assert given >= len(vocabulary)
    first, second, third = (
        model.model.embed_tokens.weight[tiny_tokenizer.convert_tokens_to_ids(f"Ġ{w}")] for w in vocabulary[:3]
    )
    near, far = (float(torch.cosine_similarity(first, other, dim=0).detach()) for other in (second, third))
    assert near > 0.9
    assert abs(far) < 0.5
