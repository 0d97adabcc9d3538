"""DPO: the loss and gradients of TRL, a reference taken once, steps of pairs, and a model that learns to prefer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.render import TokenRow
from groundtune.training.dpo import PairFigures, PairRow, PairSteps, dpo, pairs, row_logprobs, take_reference
from groundtune.training.guards import LossError
from groundtune.training.trainer import TrainSettings, train

Maker = Callable[..., Any]


def side(prompt: list[int], answer: list[int]) -> TokenRow:
    return TokenRow((*prompt, *answer), (*(False for _ in prompt), *(True for _ in answer)))


def some_pairs(count: int = 6) -> list[PairRow]:
    out = []
    for n in range(count):
        prompt = [(7 * n + i) % 300 + 20 for i in range(4 + n % 3)]
        better, worse = [50 + n, 60, 70, 0][: 2 + n % 3], [90, 91 + n, 0]
        out.append(PairRow(side(prompt, better), side(prompt, worse)))
    return out


def steps_of(rows: list[PairRow], *, size: int = 2, tokens: int = 4096, epochs: int = 1) -> PairSteps:
    return PairSteps(rows, rows_per_step=size, batch_tokens=tokens, epochs=epochs, seed=0)


def test_loss_and_gradients_are_those_of_trl(make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path) -> None:
    """TRL 1.16's DPOTrainer, its own tokens and its own reference model, against ours on the same tokens."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    policy, reference = make_tiny_model(seed=1), make_tiny_model(seed=2)
    ours, anchor = copy.deepcopy(policy), copy.deepcopy(reference)
    texts = [("How tall is it?", " Nine metres.", " No idea at all."), ("Who?", " Ann did it, twice.", " Bob.")]
    data = Dataset.from_list([{"prompt": p, "chosen": c, "rejected": r} for p, c, r in texts])
    arguments = DPOConfig(
        output_dir=str(tmp_path), beta=0.3, per_device_train_batch_size=2, report_to=[], use_cpu=True, bf16=False
    )
    trainer = DPOTrainer(policy, reference, args=arguments, train_dataset=data, processing_class=tiny_tokenizer)
    trainer.model.eval()
    inputs = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model, inputs)
    theirs.backward()

    labels_RT = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    batch = {"input_ids": inputs["input_ids"], "labels": labels_RT}
    with torch.no_grad():
        batch["reference"] = row_logprobs(anchor, batch)
    loss = dpo(0.3).loss(ours, batch, None)
    loss.backward()
    assert float(loss) == pytest.approx(float(theirs), rel=1e-5)
    assert abs(float(loss) - math.log(2)) > 1e-3  # policy and reference differ
    wanted = {name: p.grad for name, p in policy.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-3, atol=1e-7, msg=name)


def test_loss_by_hand(make_tiny_model: Maker) -> None:
    """Equation 7 with numbers: log-probabilities summed over answers, token by token."""
    model, batches = make_tiny_model(seed=3), steps_of(some_pairs(2), size=2)
    batch = batches[0]

    def summed(row: TokenRow) -> float:
        logs = torch.log_softmax(model(torch.tensor([row.ids])).logits[0], -1)
        return sum(float(logs[t - 1, row.ids[t]]) for t in range(1, len(row.ids)) if row.trained[t])

    order = [batches.pairs[n] for n in batches.plan[0]]
    batch["reference"] = torch.tensor([-3.0, -4.0, -5.0, -6.5])
    margins = [0.2 * ((summed(p.chosen) - c) - (summed(p.rejected) - r)) for p, c, r in zip(order, (-3.0, -4.0), (-5.0, -6.5), strict=True)]  # fmt: skip
    expected = sum(math.log1p(math.exp(-m)) for m in margins) / 2
    figures = PairFigures()
    assert float(dpo(0.2, figures).loss(model, batch, None)) == pytest.approx(expected, rel=1e-5)
    said = figures.take()
    assert said["reward_margin"] == pytest.approx(sum(margins) / 2, rel=1e-4)
    assert said["reward_accuracy"] == sum(m > 0 for m in margins) / 2
    assert figures.take() == {}


def test_micro_batches_of_a_step_do_not_change_it(make_tiny_model: Maker) -> None:
    rows, found = some_pairs(5), []
    for tokens in (4096, 20):
        batches = steps_of(rows, size=3, tokens=tokens)
        model = make_tiny_model()
        take_reference(make_tiny_model(seed=9), batches, batch_tokens=64)
        each = batches.batches_per_step
        assert len(batches) == 2 * each
        for step in range(2):
            micro = [batches[n] for n in range(step * each, (step + 1) * each)]
            count = sum(pairs(batch) for batch in micro)
            assert count == (3, 2)[step]
            total = sum(dpo(0.1).loss(model, batch, count) for batch in micro)
            total.backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    assert batches.batches_per_step > 1 and [] in batches.plan  # the smaller step has a blank one
    for name, grad in found[0].items():
        torch.testing.assert_close(grad, found[1][name], rtol=1e-3, atol=1e-6)


def test_many_positions_go_in_pieces(make_tiny_model: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    from groundtune.training import dpo as module

    batches, grads = steps_of(some_pairs(4), size=4), []
    take_reference(make_tiny_model(seed=5), batches, batch_tokens=4096)
    for size in (1024, 3):
        monkeypatch.setattr(module, "_CHUNK", size)
        model = make_tiny_model()
        loss = dpo(0.1).loss(model, batches[0], None)
        loss.backward()
        grads.append((float(loss), model.get_output_embeddings().weight.grad))
    assert grads[0][0] == pytest.approx(grads[1][0], rel=1e-6)
    torch.testing.assert_close(grads[0][1], grads[1][1])


def test_the_reference_is_what_the_model_said_before(make_tiny_model: Maker) -> None:
    model, batches = make_tiny_model(), steps_of(some_pairs(5))
    assert batches.reference_PS.isnan().all()
    before = batches.fingerprint()
    take_reference(model, batches, batch_tokens=30)
    assert batches.fingerprint() != before
    for n, pair in enumerate(batches.pairs):
        for at, row in enumerate((pair.chosen, pair.rejected)):
            logs = torch.log_softmax(model(torch.tensor([row.ids])).logits[0], -1)
            own = sum(float(logs[t - 1, row.ids[t]]) for t in range(1, len(row.ids)) if row.trained[t])
            assert float(batches.reference_PS[n, at]) == pytest.approx(own, abs=1e-4)
    loss = dpo(0.1).loss(model, batches[0], None)
    assert float(loss) == pytest.approx(math.log(2), abs=1e-5)


def test_without_a_reference_nothing_is_trained(make_tiny_model: Maker, tmp_path: Path) -> None:
    with pytest.raises(LossError):
        train(make_tiny_model(), steps_of(some_pairs()), TrainSettings(), tmp_path, objective=dpo(0.1))


def test_a_model_learns_to_prefer(make_tiny_model: Maker, tmp_path: Path) -> None:
    model, batches = make_tiny_model(), steps_of(some_pairs(8), size=2, epochs=5)
    take_reference(model, batches, batch_tokens=4096)
    settings = TrainSettings(learning_rate=1e-3, warmup_steps=1, accumulation=batches.batches_per_step)
    result = train(model, batches, settings, tmp_path, objective=dpo(0.5))
    assert result.losses[0][1] == pytest.approx(math.log(2), abs=1e-4)
    assert result.last_loss < 0.25
    figures = PairFigures()
    for n in range(4):
        dpo(0.5, figures).loss(model, batches[n], None)
    assert figures.take()["reward_accuracy"] == 1.0
