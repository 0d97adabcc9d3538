"""Where wandb, tensorboard and mlflow write, beside the runs: transformers' callbacks read it from the environment.

What a user has set in the environment holds. Nothing leaves the machine unasked: wandb is offline without a key, mlflow
writes a file. Leaves out what is told (loss, learning rate, validations): that is transformers'.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from groundtune.errors import ConfigError


def check_trackers(names: Sequence[str]) -> None:
    """See that every tracker's package is here.

    Raises:
        ConfigError: one is not, with what installs it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"tune.report_to: {name} is not installed",
                expected=f"the package {name}",
                next_step=f"pip install {name}, or leave it out of tune.report_to",
            )


@contextmanager
def told(names: Sequence[str], folder: Path, run: str) -> Iterator[None]:
    """While inside, trackers write into ``folder``; at the end their run is closed and the environment as it was.

    Args:
        names: of wandb, tensorboard, mlflow.
        folder: gets ``tensorboard/RUN-TIME``, ``wandb`` and ``mlflow.db``.
        run: what the run is called.

    Raises:
        ConfigError: a tracker is not installed.
    """
    check_trackers(names)
    wanted: dict[str, str] = {}
    if "tensorboard" in names:
        wanted["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard" / f"{run}-{time.strftime('%Y%m%d-%H%M%S')}")
    if "wandb" in names:
        wanted |= {
            "WANDB_DIR": str(folder),
            "WANDB_PROJECT": "groundtune",
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "off",
        }
        if not os.environ.get("WANDB_API_KEY"):
            wanted["WANDB_MODE"] = "offline"
    if "mlflow" in names:
        database = folder / "mlflow.db"
        wanted |= {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "MLFLOW_EXPERIMENT_NAME": "groundtune"}
    own = {name: value for name, value in wanted.items() if name not in os.environ}
    if names:
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(own)
    try:
        yield
    finally:
        if "wandb" in names and (wandb := sys.modules.get("wandb")) and wandb.run is not None:
            wandb.finish()  # else the next run of this process would go on in it
        for name in own:
            os.environ.pop(name, None)
        if names and not any(folder.iterdir()):  # nothing was trained
            folder.rmdir()
