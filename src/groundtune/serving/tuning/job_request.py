"""What a client may ask of a fine-tuning job, with OpenAI's bounds, and "auto" resolved as OpenAI resolves it.

Names and bounds are the public description's ``CreateFineTuningJobRequest``; unknown names are refused, none is ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
Epochs = Auto | Annotated[int, Field(ge=1, le=50)]
BatchSize = Auto | Annotated[int, Field(ge=1, le=256)]
Multiplier = Auto | Annotated[float, Field(gt=0)]
Beta = Auto | Annotated[float, Field(gt=0, le=2)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
#: passes over the examples that "auto" aims at, and the examples in all that it keeps them between
TARGET_EPOCHS, FEWEST, MOST, MOST_EPOCHS = 3, 100, 25_000, 25
#: of DPO, where it is "auto"
BETA = 0.1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hyperparameters(_Part):
    """Of supervised fine-tuning."""

    n_epochs: Epochs = "auto"
    batch_size: BatchSize = "auto"
    learning_rate_multiplier: Multiplier = "auto"


class DpoHyperparameters(Hyperparameters):
    """Of direct preference optimization."""

    beta: Beta = "auto"


class Supervised(_Part):
    """The method's own settings."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Dpo(_Part):
    """The method's own settings."""

    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class Method(_Part):
    """Which way to train, with its settings; settings of the other ways may stand beside and do nothing, as in OpenAI's."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: dict[str, Any] | None = None


class Wandb(_Part):
    """Where Weights and Biases is told."""

    project: str
    name: str | None = None
    entity: str | None = None
    tags: list[str] = []


class Integration(_Part):
    """A tracker."""

    type: Literal["wandb"]
    wandb: Wandb


class CreateJob(_Part):
    """The body of ``POST /fine_tuning/jobs``."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None
    metadata: Metadata | None = None

    @property
    def kind(self) -> str:
        """supervised, dpo or reinforcement."""
        return self.method.type if self.method else "supervised"

    @property
    def wanted(self) -> dict[str, Any]:
        """The hyperparameters of the way that is taken; those at the top level are the older form of supervised ones."""
        own = getattr(self.method, self.kind, None) if self.method else None
        if isinstance(own, Supervised | Dpo):
            return own.hyperparameters.model_dump()
        if self.kind == "dpo":
            return DpoHyperparameters().model_dump()
        return (self.hyperparameters or Hyperparameters()).model_dump()


def resolved(wanted: dict[str, Any], examples: int) -> dict[str, Any]:
    """Hyperparameters with numbers for "auto".

    Epochs are those of OpenAI's data preparation notebook (3, more for few examples, fewer for very many), which real
    jobs confirm: 10 examples 10 epochs, 101 three. A batch is one example, as in the real jobs of the notebooks, and
    grows with the examples (0.2 % of them, at most 256, from OpenAI's documentation of the first fine-tuning API).
    """
    numbers = dict(wanted)
    if numbers["n_epochs"] == "auto":
        epochs = TARGET_EPOCHS
        if examples * TARGET_EPOCHS < FEWEST:
            epochs = min(MOST_EPOCHS, FEWEST // max(1, examples))
        elif examples * TARGET_EPOCHS > MOST:
            epochs = max(1, MOST // examples)
        numbers["n_epochs"] = epochs
    if numbers["batch_size"] == "auto":
        numbers["batch_size"] = max(1, min(256, round(0.002 * examples)))
    if numbers["learning_rate_multiplier"] == "auto":
        numbers["learning_rate_multiplier"] = 1.0
    if numbers.get("beta") == "auto":
        numbers["beta"] = BETA
    return numbers
