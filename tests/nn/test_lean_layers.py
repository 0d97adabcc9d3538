"""Lean layers: the same hidden states, loss and gradients as transformers' own; left alone where they would not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from groundtune.dataset.render import TokenRow
from groundtune.nn import lean_functions, lean_layers
from groundtune.nn.lean_layers import KEPT, keeps, lean
from groundtune.training.data import RowBatches, pack
from groundtune.training.objectives import supervised_loss
from groundtune.training.packing import prepare

Maker = Callable[..., Any]


def some_rows(count: int = 6) -> list[TokenRow]:
    """Rows of different lengths, trained at their ends and, the third, in the middle."""
    torch.manual_seed(3)
    rows = []
    for number in range(count):
        length = 5 + 11 * number
        ids = tuple(torch.randint(5, 400, (length,)).tolist())
        rows.append(TokenRow(ids, tuple((n > 0.7 * length) or (number == 2 and 3 < n < 8) for n in range(length))))
    return rows


def other(kind: str) -> Any:
    import transformers as hf

    torch.manual_seed(0)
    small = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    match kind:
        case "qwen2":  # biases on queries, keys and values; fewer key heads
            return hf.Qwen2ForCausalLM(hf.Qwen2Config(**small, **heads))
        case "qwen3":  # norms on queries and keys
            return hf.Qwen3ForCausalLM(hf.Qwen3Config(**small, **heads, head_dim=8))
        case "mistral":
            return hf.MistralForCausalLM(hf.MistralConfig(**small, **heads, sliding_window=None))
        case "granite":  # multiplies what it adds to the residual stream: looks like Llama and is not
            return hf.GraniteForCausalLM(hf.GraniteConfig(**small, **heads, residual_multiplier=0.5, pad_token_id=0))
        case "gpt2":
            return hf.GPT2LMHeadModel(
                hf.GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
            )
    return hf.MistralForCausalLM(hf.MistralConfig(**small, **heads, sliding_window=8))


def loss_and_gradients(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    model.train()
    loss = supervised_loss(model, batch, 50)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(model: Any, batch: dict[str, torch.Tensor], layers: int) -> None:
    loss, gradients = loss_and_gradients(model, batch)
    with lean(model) as changed:
        assert changed == layers
        assert keeps(model) == bool(layers)
        lean_loss, lean_gradients = loss_and_gradients(model, batch)
    assert not keeps(model)
    assert lean_loss == pytest.approx(loss, rel=1e-5)
    assert lean_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(lean_gradients[name], gradient, rtol=1e-3, atol=1e-6)
    assert max(float(g.abs().max()) for g in gradients.values()) > 1e-3


@pytest.mark.parametrize("packed", [True, False])
def test_loss_and_gradients_are_the_same(packed: bool, make_tiny_model: Maker) -> None:
    model, rows = make_tiny_model(), some_rows()
    if packed:
        prepare(model, rows)
    batch = pack(rows) if packed else RowBatches(rows, batch_tokens=10_000, epochs=1, seed=0)[0]
    assert_same(model, batch, 2)


@pytest.mark.parametrize(
    ("kind", "layers"), [("qwen2", 2), ("qwen3", 2), ("mistral", 2), ("granite", 0), ("gpt2", 0), ("windowed", 0)]
)
def test_other_architectures(kind: str, layers: int) -> None:
    model, rows = other(kind), some_rows()
    assert_same(model, RowBatches(rows, batch_tokens=10_000, epochs=1, seed=0)[0], layers)
    if layers:
        prepare(model, rows)
        assert_same(model, pack(rows), layers)


def test_lora_inside_the_layers_is_trained_the_same(make_tiny_model: Maker) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(make_tiny_model(), LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    assert_same(model, RowBatches(some_rows(), batch_tokens=10_000, epochs=1, seed=0)[0], 2)


def test_gradient_checkpointing_goes_through_the_lean_layers(make_tiny_model: Maker) -> None:
    model = make_tiny_model()
    model.gradient_checkpointing_enable()
    assert_same(model, RowBatches(some_rows(), batch_tokens=10_000, epochs=1, seed=0)[0], 2)


@pytest.mark.parametrize("again", [True, False])
def test_under_gradient_checkpointing_a_lean_layer_is_computed_twice(
    again: bool, make_tiny_model: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_tiny_model().train()
    if again:
        model.gradient_checkpointing_enable()
    own, gates = lean_layers.silu_gate, []
    monkeypatch.setattr(lean_layers, "silu_gate", lambda *given: gates.append(1) or own(*given))
    with lean(model) as changed:
        assert changed == 2
        gates.clear()
        supervised_loss(model, RowBatches(some_rows(), batch_tokens=10_000, epochs=1, seed=0)[0], None).backward()
    assert len(gates) == (4 if again else 2)


@pytest.mark.parametrize("where", ["mlp", "self_attn", "input_layernorm"])
def test_a_layer_with_something_hung_on_it_is_left_alone(where: str, make_tiny_model: Maker) -> None:
    """A hook on a module that lean layers pass over would be lost, even one that does nothing yet."""
    model = make_tiny_model()
    getattr(model.model.layers[0], where).register_forward_hook(lambda module, inputs, output: output)
    with lean(model) as changed:
        assert changed == 1


def test_a_module_that_stands_for_another_is_left_alone(make_tiny_model: Maker) -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self, norm: Any) -> None:
            super().__init__()
            self.weight, self.variance_epsilon, self.norm = norm.weight, norm.variance_epsilon, norm

        def forward(self, x: torch.Tensor) -> Any:
            return self.norm(x)

    model = make_tiny_model()
    model.model.layers[1].input_layernorm = Wrapped(model.model.layers[1].input_layernorm)
    with lean(model) as changed:
        assert changed == 1 and not keeps(model)


def test_a_wrong_function_is_noticed(make_tiny_model: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    import groundtune.nn.lean_layers as module

    monkeypatch.setattr(module, "silu_gate", lambda gate, up: gate * up)
    with lean(make_tiny_model()) as changed:
        assert changed == 0


def test_other_number_formats_are_left_alone(make_tiny_model: Maker) -> None:
    with lean(make_tiny_model().to(torch.bfloat16)) as changed:
        assert changed == 0


def test_calls_that_want_more_get_the_layers_own_forward(make_tiny_model: Maker) -> None:
    """Generation with a cache, and padding masks, in the middle of training."""
    model = make_tiny_model().eval()
    ids = torch.tensor([[7, 8, 9, 10, 11, 12], [13, 14, 15, 16, 17, 18]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])

    def answers() -> list[torch.Tensor]:
        with torch.no_grad():
            return [
                model.generate(ids[1:], max_new_tokens=5, do_sample=False),
                model(input_ids=ids, attention_mask=mask).logits[:, -1],
            ]

    own = answers()
    with lean(model):
        for found, expected in zip(answers(), own, strict=True):
            torch.testing.assert_close(found, expected)


def test_the_last_layer_runs_on_kept_positions_alone(make_tiny_model: Maker) -> None:
    model = make_tiny_model().eval()
    widths: list[int] = []
    model.model.layers[-1].mlp.down_proj.register_forward_hook(lambda m, i, o: widths.append(o.shape[1]))
    ids = torch.arange(20)[None]
    kept = torch.zeros(1, 20, dtype=torch.bool)
    kept[0, 15:] = True
    with lean(model), torch.no_grad():
        widths.clear()
        few = model.model(input_ids=ids, use_cache=False, **{KEPT: kept}).last_hidden_state
    with torch.no_grad():
        everything = model.model(input_ids=ids, use_cache=False).last_hidden_state
    assert widths[0] == 5
    torch.testing.assert_close(few, everything[:, 15:])


def test_the_model_is_as_it_was_after_an_error(make_tiny_model: Maker) -> None:
    model = make_tiny_model()
    with pytest.raises(KeyboardInterrupt), lean(model) as changed:
        assert changed == 2
        raise KeyboardInterrupt
    assert not any("forward" in vars(layer) for layer in model.model.layers)


# ---------------------------------------------------------------- the functions alone


@contextmanager
def double() -> Iterator[None]:
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def test_gradcheck_of_the_functions() -> None:
    with double():
        x, weight = torch.randn(2, 5, 6, requires_grad=True), torch.randn(6, requires_grad=True)
        assert torch.autograd.gradcheck(lambda a, b: lean_functions.rms_norm(a, b, 1e-6), (x, weight))
        angles = torch.randn(2, 1, 5, 3).repeat(1, 1, 1, 2)
        q = torch.randn(2, 5, 2, 6, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda a: lean_functions.rotate(a.transpose(1, 2), angles.cos(), angles.sin()), (q,)
        )
        gate, up = (torch.randn(4, 6, requires_grad=True) for _ in range(2))
        assert torch.autograd.gradcheck(lean_functions.silu_gate, (gate, up))
