"""Head and loss in one: value and gradients of the plain cross-entropy, whatever is frozen, tied or cut into chunks."""

from __future__ import annotations

import itertools

import pytest
import torch

from groundtune.nn.linear_cross_entropy import linear_cross_entropy

N, D, V = 150, 24, 90
Parts = dict[str, torch.Tensor]


def parts(*, bias: bool = True, dtype: torch.dtype = torch.float32) -> Parts:
    torch.manual_seed(0)
    made = {"hidden_ND": torch.randn(N, D, dtype=dtype), "weight_VD": torch.randn(V, D, dtype=dtype)}
    return made | ({"bias_V": torch.randn(V, dtype=dtype)} if bias else {})


def targets() -> torch.Tensor:
    return torch.randint(V, (N,), generator=torch.Generator().manual_seed(1))


def plain(hidden_ND: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor | None = None) -> torch.Tensor:
    logits = torch.nn.functional.linear(hidden_ND, weight_VD, bias_V).float()
    return torch.nn.functional.cross_entropy(logits, targets(), reduction="sum")


def fused(chunk: int = N, scale: float | torch.Tensor = 1.0, **made: torch.Tensor) -> torch.Tensor:
    hidden, weight = made.pop("hidden_ND"), made.pop("weight_VD")
    bytes_ = chunk * 4 * V
    return linear_cross_entropy(hidden, weight, targets(), scale=scale, chunk_bytes=bytes_, **made)  # type: ignore[arg-type]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [64, 70, N, 10 * N])
def test_value_and_gradients_are_those_of_the_plain_loss(bias: bool, chunk: int) -> None:
    one, two = ({k: v.requires_grad_() for k, v in parts(bias=bias).items()} for _ in range(2))
    expected, found = plain(**one) / 7, fused(chunk, 1 / 7, **two)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    found.backward()
    for name in one:
        torch.testing.assert_close(two[name].grad, one[name].grad, rtol=1e-5, atol=1e-5)
        assert two[name].grad.abs().max() > 1e-3


def test_gradcheck() -> None:
    torch.manual_seed(0)
    made = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((70, 3), (9, 3), (9,))]
    wanted = torch.randint(9, (70,))

    def loss(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        out = linear_cross_entropy(hidden, weight, wanted, bias_V=bias, scale=0.5, chunk_bytes=64 * 4 * 9)
        return out * out  # a gradient from above that is not 1

    assert torch.autograd.gradcheck(loss, made)


@pytest.mark.parametrize(
    "trained", [c for n in range(4) for c in itertools.combinations(("hidden_ND", "weight_VD", "bias_V"), n)]
)
def test_what_is_frozen_gets_no_gradient(trained: tuple[str, ...]) -> None:
    one, two = ({k: v.requires_grad_(k in trained) for k, v in parts().items()} for _ in range(2))
    expected, found = plain(**one), fused(64, **two)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.requires_grad == bool(trained)
    if trained:
        expected.backward()
        found.backward()
    for name in one:
        assert (two[name].grad is not None) == (name in trained)
        if name in trained:
            torch.testing.assert_close(two[name].grad, one[name].grad, rtol=1e-5, atol=1e-4)


def test_a_frozen_head_is_not_multiplied_for_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    import groundtune.nn.linear_cross_entropy as module

    made = parts(bias=False)
    made["hidden_ND"].requires_grad_()
    monkeypatch.setattr(module, "_with_product", lambda *_: pytest.fail("the weight's gradient was formed"))
    fused(**made).backward()


def test_a_tied_weight_gets_both_gradients() -> None:
    ids = torch.arange(N) % V

    def gradient(loss: object) -> torch.Tensor:
        weight = parts()["weight_VD"].requires_grad_()
        hidden = torch.nn.functional.embedding(ids, weight).tanh()
        loss(hidden_ND=hidden, weight_VD=weight).backward()  # type: ignore[operator]
        assert weight.grad is not None
        return weight.grad

    torch.testing.assert_close(gradient(fused), gradient(plain), rtol=1e-5, atol=1e-5)


def test_the_scale_may_be_a_tensor() -> None:
    made = {k: v.requires_grad_() for k, v in parts().items()}
    found = fused(64, torch.tensor(0.25), **made)
    found.backward()
    assert found.item() == pytest.approx(plain(**parts()).item() / 4, rel=1e-5)


def test_no_position_is_a_loss_of_zero() -> None:
    hidden = torch.zeros(0, D, requires_grad=True)
    weight = parts()["weight_VD"].requires_grad_()
    loss = linear_cross_entropy(hidden, weight, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0.0 and weight.grad is not None and not weight.grad.any()


def test_all_logits_are_never_held() -> None:
    """The largest tensor made on the way is a chunk's, not that of all positions."""
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            seen.extend(t.numel() for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, torch.Tensor))
            return out

    made = {k: v.requires_grad_() for k, v in parts().items()}
    with Sizes():
        fused(64, **made)
    assert 64 * V <= max(seen) < N * V


def test_under_autocast_products_are_taken_in_its_format() -> None:
    made = {k: v.requires_grad_() for k, v in parts().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fused(64, **made)
    found.backward()
    exact = plain(**parts())
    assert found.dtype == torch.float32
    assert 0 < abs(found.item() - exact.item()) < 0.02 * exact.item()
    assert made["weight_VD"].grad is not None and made["weight_VD"].grad.dtype == torch.float32
