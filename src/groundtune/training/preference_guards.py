"""Guards of preference and reinforcement learning: a reference that follows the policy, a reward that says nothing.

A callback for any transformers or TRL trainer; it reads the figures those log (TRL 1.16: ``rewards/margins`` of DPO and KTO,
``reward_std`` and ``completions/clipped_ratio`` of GRPO and RLOO). Leaves out training itself.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from groundtune.training.guards import TrainingError

#: optimizer steps after which a margin, or a reward's spread, must have been seen
STEPS = 5
#: share of completions cut off at their longest from which a reward for ending well can never be earned
CLIPPED = 0.95


class PreferenceWatch(TrainerCallback):
    """Stops a run whose loss cannot teach anything, after five steps of it.

    The margin of DPO is beta times how much further policy and reference differ on the chosen answer than on the rejected
    one (Rafailov et al., NeurIPS 2023, equation 7): exactly 0, with a loss of ln 2, as long as the reference is the policy. In
    RLOO and GRPO an answer's advantage is its reward less that of the others to the same prompt: all equal, all zero.
    """

    def __init__(self) -> None:
        self.silent = dict.fromkeys(("margin", "reward", "clipped"), 0)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Look at what was logged.

        Raises:
            TrainingError: five logs after each other without a margin, without a spread of rewards, or with hardly any
                completion that ends.
        """
        logs = logs or {}
        if self._five("margin", logs.get("rewards/margins"), lambda margin: margin == 0.0):
            raise TrainingError(
                f"after {state.global_step} steps policy and reference still answer alike: the margin is 0 and the loss ln 2",
                expected="a reference that stays as the model was before training, while the policy moves away from it",
                next_step="give the reference a copy of its own, an adapter to switch off, or precomputed log-probabilities",
            )
        if self._five("reward", logs.get("reward_std"), lambda spread: spread == 0.0):
            raise TrainingError(
                f"the last {STEPS} steps' completions all had the same reward: no advantage, no gradient",
                expected="rewards that tell completions of one prompt apart",
                next_step="look at some completions and their rewards; sample hotter, or reward steps on the way",
            )
        if self._five("clipped", logs.get("completions/clipped_ratio"), lambda share: share >= CLIPPED):
            raise TrainingError(
                f"in the last {STEPS} steps {CLIPPED:.0%} of the completions were cut off before they ended",
                expected="completions that end by themselves",
                next_step="allow longer completions, or fine-tune the model first, so that it learns to stop",
            )

    def _five(self, what: str, value: float | None, silent: Any) -> bool:
        if value is not None:
            self.silent[what] = self.silent[what] + 1 if silent(float(value)) else 0
        return self.silent[what] >= STEPS
