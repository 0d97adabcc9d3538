"""What must never go wrong in silence while weights change, checked in every run (``docs/guards.md`` lists all).

Cheap by design: a look at the gradients of the first three steps, at each step's loss, and at what a checkpoint was made
from. Leaves out embeddings (``embedding_guards``), packing (``packing``), the rows' own faults (``dataset.render``) and the
finished weights (``methods._tuning``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from groundtune.errors import ConfigError, GroundtuneError
from groundtune.workspace import write_json

IDENTITY = "identity.json"
#: steps after which every trainable tensor must have had a gradient: with a warm-up from 0 a LoRA's second step is the
#: first that moves B, the third the first in which A has a gradient
GRADIENT_STEPS = 3


class TrainingError(GroundtuneError):
    """A run that would end in weights that are not what was meant."""


class LossError(TrainingError, FloatingPointError):
    """A loss that is no number."""


class GradientWatch:
    """Sees that every trainable tensor gets a gradient within the first three steps.

    A frozen base with an adapter that hangs in the air trains "successfully" and changes nothing (peft #137).
    """

    def __init__(self) -> None:
        self.reached: set[str] = set()
        self.steps = 0

    def look(self, model: Any, *, last: bool) -> None:
        """Look at the gradients before an optimizer step.

        Raises:
            TrainingError: a trainable tensor is outside the graph, or all of its gradients were zero.
        """
        if self.steps >= GRADIENT_STEPS:
            return
        self.steps += 1
        trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not trainable:
            raise TrainingError("nothing to train: every weight is frozen", next_step="choose another method")
        outside = [name for name, p in trainable if p.grad is None]
        self.reached.update(name for name, p in trainable if p.grad is not None and bool(p.grad.any()))
        still = [name for name, _ in trainable if name not in self.reached]
        if outside and self.steps == 1:
            raise self._fault(outside, "have no gradient: the loss does not depend on them")
        if still and self.steps == GRADIENT_STEPS:
            raise self._fault(still, f"had a gradient of zero in the first {GRADIENT_STEPS} steps")

    def _fault(self, names: list[str], what: str) -> TrainingError:
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        return TrainingError(
            f"{len(names)} trainable tensors {what}: {shown}",
            expected="a gradient for every weight that is to be trained",
            next_step="name the modules to adapt in tune.options, or set tune.guards: false if this is meant",
        )


def nothing_supervised(step: int) -> TrainingError:
    """The fault of an optimizer step whose loss would be over nothing: 0, or no number, and no gradient."""
    return TrainingError(
        f"optimizer step {step} has no token to train on: every label of its rows is masked out",
        expected="a trained token in every step",
        next_step="groundtune dataset check names the rows; groundtune tune --show-row 1 shows what is trained",
    )


def check_loss(loss: float, step: int) -> None:
    """Stop at the first loss that is no number.

    Raises:
        LossError: it is not finite.
    """
    if not math.isfinite(loss):
        raise LossError(
            f"the loss of step {step} is not a number", next_step="lower the learning rate (tune.learning_rate)"
        )


def versions() -> dict[str, str]:
    """Versions that the course of training depends on."""
    return {name: metadata.version(name) for name in ("torch", "transformers", "peft", "accelerate")}


def check_identity(folder: Path, identity: Mapping[str, Any], *, resuming: bool) -> None:
    """See that checkpoints are continued only by the run that wrote them; write down who this run is.

    Args:
        folder: of the checkpoints.
        identity: data, order, template, model, settings, versions: whatever would change the weights.
        resuming: a checkpoint is there.

    Raises:
        ConfigError: the checkpoints were made from something else; names what differs.
    """
    mine = json.loads(json.dumps(identity, sort_keys=True, default=str))
    mark = folder / IDENTITY
    if resuming:
        try:
            theirs = json.loads(mark.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            theirs = {}
        differ = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
        if differ:
            pairs = "; ".join(f"{k}: {_short(theirs.get(k))} then, {_short(mine.get(k))} now" for k in differ[:4])
            raise ConfigError(
                f"{folder}: its checkpoint was made otherwise: {pairs}",
                expected="the same data, template, settings and versions, so that the run ends in the same weights",
                next_step=f"delete {folder} to start over, or go back to what it was made with",
            )
    write_json(mark, mine)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else value
    return text if len(text) <= 60 else text[:28] + "..." + text[-28:]
