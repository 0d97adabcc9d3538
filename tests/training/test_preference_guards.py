"""Guards of preference learning (``docs/guards.md``, rows 24 and 25): DPO and RLOO in a few lines, with the fault and without."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from groundtune.training.guards import TrainingError
from groundtune.training.preference_guards import CLIPPED, STEPS, PreferenceWatch

Maker = Callable[..., Any]
PROMPT, CHOSEN, REJECTED = [6, 40, 50, 8], [70, 71, 0], [90, 91, 0]


def log_probability(model: Any, answer: list[int]) -> torch.Tensor:
    ids = torch.tensor([[*PROMPT, *answer]])
    logs = torch.log_softmax(model(ids).logits[0, len(PROMPT) - 1 : -1], -1)
    return logs.gather(-1, torch.tensor(answer)[:, None]).sum()


def dpo(policy: Any, reference: Any, watch: PreferenceWatch | None, steps: int = 12) -> list[float]:
    """Losses of DPO with beta 0.1, told to a watch as TRL's trainer logs them."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    losses = []
    for step in range(1, steps + 1):
        with torch.no_grad():
            anchors = [log_probability(reference, answer) for answer in (CHOSEN, REJECTED)]
        rewards = [0.1 * (log_probability(policy, a) - r) for a, r in zip((CHOSEN, REJECTED), anchors, strict=True)]
        margin = rewards[0] - rewards[1]
        loss = -torch.nn.functional.logsigmoid(margin)
        losses.append(float(loss.detach()))
        if watch:
            tell(watch, step, {"rewards/margins": float(margin.detach()), "loss": losses[-1]})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def tell(watch: PreferenceWatch, step: int, logs: dict[str, float]) -> None:
    state = TrainerState()
    state.global_step = step
    watch.on_log(TrainingArguments(report_to=[], use_cpu=True), state, TrainerControl(), logs)


def test_row_24_a_reference_that_follows_the_policy_is_seen(make_tiny_model: Maker) -> None:
    policy = make_tiny_model()
    assert dpo(policy, copy.deepcopy(policy), PreferenceWatch())[-1] < 0.6  # a copy of its own: it learns

    same = make_tiny_model()
    with pytest.raises(TrainingError, match=f"after {STEPS} steps policy and reference still answer alike"):
        dpo(same, same, PreferenceWatch())
    other = make_tiny_model()
    assert dpo(other, other, None) == pytest.approx([math.log(2)] * 12, abs=1e-6)  # 0.693 for ever


def test_row_25_a_reward_that_is_the_same_for_all_is_seen(make_tiny_model: Maker) -> None:
    def rloo(reward: Callable[[list[int]], float], watch: PreferenceWatch | None) -> float:
        """REINFORCE leave-one-out over two fixed completions; how far the policy moved towards the first."""
        policy = make_tiny_model()
        optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=0.0)
        before = float((log_probability(policy, CHOSEN) - log_probability(policy, REJECTED)).detach())
        for step in range(1, 9):
            rewards = torch.tensor([reward(CHOSEN), reward(REJECTED)])
            if watch:
                tell(watch, step, {"reward": float(rewards.mean()), "reward_std": float(rewards.std())})
            advantage = rewards - rewards.flip(0)
            logs = torch.stack([log_probability(policy, CHOSEN), log_probability(policy, REJECTED)])
            optimizer.zero_grad()
            (-(advantage * logs).mean()).backward()
            optimizer.step()
        return float((log_probability(policy, CHOSEN) - log_probability(policy, REJECTED)).detach()) - before

    assert rloo(lambda answer: float(answer == CHOSEN), PreferenceWatch()) > 1
    with pytest.raises(TrainingError, match="all had the same reward"):
        rloo(lambda answer: 0.0, PreferenceWatch())
    assert rloo(lambda answer: 0.0, None) == 0.0  # eight steps, nothing learnt


def test_row_25_completions_that_never_end_are_seen() -> None:
    watch = PreferenceWatch()
    for step in range(1, STEPS):
        tell(watch, step, {"completions/clipped_ratio": 1.0, "reward_std": 0.1})
    tell(watch, STEPS, {"completions/clipped_ratio": CLIPPED - 0.1, "reward_std": 0.1})  # begins anew
    for step in range(1, STEPS):
        tell(watch, STEPS + step, {"completions/clipped_ratio": 1.0, "reward_std": 0.1})
    with pytest.raises(TrainingError, match="were cut off before they ended"):
        tell(watch, 2 * STEPS, {"completions/clipped_ratio": 1.0, "reward_std": 0.1})
