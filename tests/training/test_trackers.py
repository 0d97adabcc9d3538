"""wandb, tensorboard and mlflow are told every loss, beside the run, and leave the process as it was."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import parse_config
from groundtune.errors import ConfigError
from groundtune.methods._setup import Setup
from groundtune.methods._tuning import tune
from groundtune.training import trackers
from groundtune.workspace import Workspace

STEPS = 4


def needs(name: str) -> Any:
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


def trained(folder: Path, model: Path, *names: str, epochs: int = STEPS) -> tuple[Path, list[float]]:
    """The tracking folder of a run that told these trackers, and the losses that the run itself kept."""
    if not (folder / "model").exists():
        shutil.copytree(model, folder / "model")
        rows = [
            {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": a}]} for a in "abcd"
        ]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = {"data": "rows.jsonl", "epochs": epochs, "report_to": list(names), "method": "full"}
    setup = Setup(Workspace(folder), parse_config({"model": "./model", "tune": settings}, "test"))
    run, _ = tune(setup)
    return setup.workspace.path("tracking"), [loss for _, loss in json.loads((run / "training.json").read_text())]


def of_tensorboard(folder: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return [event.value for event in read.Scalars("train/loss")]


@needs("tensorboard")
def test_tensorboard_gets_each_run_apart(tiny_model_path: Path, tmp_path: Path) -> None:
    before = dict(os.environ)
    folder, losses = trained(tmp_path, tiny_model_path, "tensorboard")
    (only,) = (folder / "tensorboard").iterdir()
    assert only.name.startswith("full-")
    assert of_tensorboard(only) == pytest.approx(losses) and len(losses) == STEPS
    assert dict(os.environ) == before


OFFLINE = """
import json, sys
from pathlib import Path
import test_trackers as t
first = t.trained(Path(sys.argv[1]), Path(sys.argv[2]), "wandb")
second = t.trained(Path(sys.argv[1]), Path(sys.argv[2]), "wandb", epochs=t.STEPS + 1)
print(json.dumps([first[1], second[1]]))
"""


@needs("wandb")
def test_wandb_stays_offline_and_gets_two_runs_of_one_process_apart(tiny_model_path: Path, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    unreachable = {
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    (tmp_path / "p").mkdir()
    made = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path / "p"), str(tiny_model_path)],
        env=kept | unreachable, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "p" / ".groundtune" / "tracking" / "wandb"
    written = [next(run.glob("*.wandb")).read_bytes() for run in sorted(folder.glob("offline-run-*"))]
    assert len(written) == 2 and all(b"train/loss" in one for one in written)
    for one, losses in zip(written, json.loads(made.stdout.splitlines()[-1]), strict=True):
        assert all(repr(loss).encode() in one for loss in losses)


@needs("mlflow")
def test_mlflow_gets_a_file(tiny_model_path: Path, tmp_path: Path) -> None:
    folder, losses = trained(tmp_path, tiny_model_path, "mlflow")
    with sqlite3.connect(folder / "mlflow.db") as database:
        rows = database.execute("select value from metrics where key = 'loss' order by step").fetchall()
    assert [value for (value,) in rows] == pytest.approx(losses)


def test_what_is_not_installed_is_said_before_anything_is_trained(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="mlflow is not installed") as caught:
        trained(tmp_path, tiny_model_path, "mlflow")
    assert "pip install" in str(caught.value.next_step)
    assert not (tmp_path / ".groundtune" / "runs").exists()


def test_the_users_own_settings_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "mine")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with trackers.told(["tensorboard", "wandb"], tmp_path, "run"):
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == "mine"
        assert os.environ["WANDB_MODE"] == "offline"
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "mine" and "WANDB_MODE" not in os.environ
