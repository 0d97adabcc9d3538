"""Forward passes over slots, or one after the other where an architecture's cache is of another kind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.generation.engine import Engine
from groundtune.generation.runner import SingleRunner, SlotRunner, open_runner
from groundtune.generation.slots import SlotCache

sys.path.insert(0, str(Path(__file__).parent))
from tiny import begin, greedy, llama, tokenizer


def small(**more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer()), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, **more,
    }  # fmt: skip


def gemma3() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    return Gemma3ForCausalLM(Gemma3TextConfig(**small(head_dim=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"])))  # fmt: skip


def mamba() -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=len(tokenizer()), hidden_size=32, state_size=4, num_hidden_layers=2))


def qwen3() -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**small(head_dim=8)))


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer()), n_embd=32, n_layer=2, n_head=4, n_positions=128))


def made(build: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    model = build().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.generation_config.eos_token_id = None
    return model


@pytest.mark.parametrize(("build", "kind"), [(llama, SlotRunner), (qwen3, SlotRunner), (gemma3, None), (mamba, SingleRunner), (gpt2, None)])  # fmt: skip
def test_every_architecture_writes_as_it_does_alone(build: Callable[[], Any], kind: type | None) -> None:
    model = made(build)
    engine = Engine(model, tokenizer(), sequences=4)
    try:
        if kind is not None:
            assert isinstance(engine.runner, kind)
        prompts = [[n + 3, n + 4, n + 5] * (n + 1) for n in range(9)]
        answers = [begin(engine, prompt, 12) for prompt in prompts]
        for prompt, answer in zip(prompts, answers, strict=True):
            assert answer.wait().error is None and answer.writing
            assert answer.writing.written == greedy(model, prompt, 12), (build.__name__, type(engine.runner).__name__)
    finally:
        engine.close()


def test_a_window_is_no_full_cache() -> None:
    """Sliding attention forgets, which slots do not: where the difference shows, the slots are not taken."""
    model = made(gemma3)
    runner = open_runner(model)
    ids = list(range(5, 45))
    runner.room(1, 64)
    found = runner.prompt(0, ids, 0, None, every=True)
    with torch.inference_mode():
        own = model(torch.tensor([ids]), use_cache=False).logits[0]
    assert (found - own).abs().max() < 1e-3 * own.std()


def test_the_slots_keep_what_they_hold() -> None:
    cache = SlotCache(1)
    cache.room(2, 4)

    def write(low: int, high: int, places: torch.Tensor, value: float) -> torch.Tensor:
        cache.at(low, high, places, int(places.max()) + 1)
        new = torch.full((high - low, 1, places.shape[1], 2), value)
        return cache.update(new, -new, 0)[0]

    write(0, 1, torch.tensor([[0, 1, 2]]), 1.0)
    write(1, 2, torch.tensor([[0, 1]]), 2.0)
    assert cache.bytes_per_token == 2 * 2 * 4
    cache.room(4, 8)
    assert cache.slots == 4 and cache.length == 8
    assert write(0, 2, torch.tensor([[3], [2]]), 3.0)[:, 0, :, 0].tolist() == [[1, 1, 1, 3], [2, 2, 3, 0]]
    cache.swap(0, 1, 4)
    assert write(0, 2, torch.tensor([[3], [3]]), 4.0)[:, 0, :, 0].tolist() == [[2, 2, 3, 4], [1, 1, 1, 4]]
    cache.copy(0, 3, 2)
    assert write(3, 4, torch.tensor([[2]]), 5.0)[:, 0, :, 0].tolist() == [[2, 2, 5]]
