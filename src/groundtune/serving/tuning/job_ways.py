"""What the two ways to train a job differ in: batches, objective, figures, a reference. Leaves out the loop and its results (``job_run``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from groundtune.training.dpo import PairFigures, PairSteps, dpo, take_reference
from groundtune.training.objectives import Objective, TokenHits, causal_with, mean_loss
from groundtune.training.steps import ExampleSteps

#: padded tokens of a micro-batch
BATCH_TOKENS = 4096
REFERENCE = "reference.safetensors"


class Imitation:
    """Supervised fine-tuning: every assistant turn of weight 1 is learnt."""

    def __init__(self) -> None:
        self.hits = TokenHits()
        self.objective: Objective = causal_with(self.hits)

    def batches(self, rows: Sequence[Any], size: int, epochs: int, seed: int) -> Any:
        """Token rows as steps of ``size`` examples."""
        return ExampleSteps(rows, rows_per_step=size, batch_tokens=BATCH_TOKENS, epochs=epochs, seed=seed)

    def refer(self, *batches: Any) -> None:
        """There is no reference."""

    def figures(self) -> dict[str, float]:
        """Of the batches since the last call."""
        share = self.hits.take()
        return {} if share is None else {"mean_token_accuracy": share}

    def measure(self, model: Any, held_out: Any, numbers: Sequence[int] | None) -> dict[str, float]:
        """Loss and figures on held-out examples: some, or all."""
        hits = TokenHits()
        rows = held_out.rows if numbers is None else [held_out.rows[n] for n in numbers]
        chosen = ExampleSteps(rows, rows_per_step=len(rows), batch_tokens=BATCH_TOKENS, epochs=1, seed=0)
        return {"loss": mean_loss(model, chosen, causal_with(hits)), "mean_token_accuracy": hits.take() or 0.0}


class Preference:
    """DPO over pairs, against the model as it was."""

    def __init__(self, model: Any, beta: float, folder: Path) -> None:
        self.model, self.beta, self.folder = model, beta, folder
        self.seen = PairFigures()
        self.objective: Objective = dpo(self.beta, self.seen)

    def batches(self, rows: Sequence[Any], size: int, epochs: int, seed: int) -> Any:
        """Pairs as steps of ``size`` pairs."""
        return PairSteps(rows, rows_per_step=size, batch_tokens=BATCH_TOKENS, epochs=epochs, seed=seed)

    def refer(self, *batches: Any) -> None:
        """Take the reference once, and keep it: a job that goes on must have the same numbers to the last bit."""
        kept = self.folder / REFERENCE
        own = [b for b in batches if b is not None]
        if not kept.exists():
            for one in own:
                take_reference(self.model, one, batch_tokens=BATCH_TOKENS)
            kept.parent.mkdir(parents=True, exist_ok=True)
            half = kept.with_name(f"{kept.name}.part")
            save_file({str(n): one.reference_PS for n, one in enumerate(own)}, half)
            half.replace(kept)
        found = load_file(kept)
        for n, one in enumerate(own):
            one.reference_PS = found[str(n)]

    def figures(self) -> dict[str, float]:
        """Of the batches since the last call."""
        return self.seen.take()

    def measure(self, model: Any, held_out: Any, numbers: Sequence[int] | None) -> dict[str, float]:
        """Loss and figures on held-out examples: some, or all."""
        seen = PairFigures()
        chosen: Any = held_out if numbers is None else [held_out.batch(list(numbers))]
        return {"loss": mean_loss(model, chosen, dpo(self.beta, seen)), **seen.take()}
