"""A grid of settings, trained and compared; what cannot be swept is said; the picture shows every line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import load_config
from groundtune.errors import ConfigError
from groundtune.methods import _sweep
from groundtune.methods._setup import Setup
from groundtune.page.curves import Curve, curves, smoothed
from groundtune.workspace import Workspace
from sample_project import write_project


@pytest.fixture
def setup(tmp_path: Path, tiny_model_path: Path) -> Setup:
    folder = write_project(tmp_path / "project")
    shutil.rmtree(folder / "tiny", ignore_errors=True)
    shutil.copytree(tiny_model_path, folder / "tiny")
    config = load_config(folder)
    tune = config.tune.model_copy(update={"method": "lora", "epochs": 8, "batch_tokens": 300})
    return Setup(Workspace(folder), config.model_copy(update={"tune": tune}))


def test_the_grid_is_every_combination() -> None:
    grid = _sweep.parse_grid(["learning_rate=0.1,1e-3", "rank=4,8"], ["rank"])
    assert grid == [
        {"learning_rate": 0.1, "options.rank": 4},
        {"learning_rate": 0.1, "options.rank": 8},
        {"learning_rate": 0.001, "options.rank": 4},
        {"learning_rate": 0.001, "options.rank": 8},
    ]


@pytest.mark.parametrize("text", ["learning_rate", "learning_rate=", "depth=1,2", "method=lora,full"])
def test_what_is_no_axis_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match="--sweep"):
        _sweep.parse_grid([text], ["rank"])


def test_a_value_that_cannot_be_is_said_before_anything_is_trained(setup: Setup) -> None:
    with pytest.raises(ConfigError, match="learning_rate"):
        _sweep.sweep(setup, [{"learning_rate": 0.01}, {"learning_rate": -1.0}])
    assert not setup.workspace.path("sweeps").exists()


def test_a_rate_too_high_is_seen_beside_one_that_works(setup: Setup, tmp_path: Path) -> None:
    grid = _sweep.parse_grid(["learning_rate=1e30,0.02,1e-7"], [])
    trained: list[str] = []

    def progress(name: str) -> Any:
        trained.append(name)

    points = _sweep.sweep(setup, grid, progress=progress)
    assert [p.settings["learning_rate"] for p in points] == [0.02, 1e-7, 1e30]
    assert points[0].validation is not None and points[1].validation is not None
    assert points[0].validation < points[1].validation - 0.1
    assert points[2].validation is None and "not a number" in points[2].fault
    page = tmp_path / "sweep.html"
    _sweep.write_page(page, "lora", points)
    html = page.read_text(encoding="utf-8")
    assert html.count("<polyline") == len([p for p in points if p.losses])
    assert "learning_rate 0.02 did best." in html
    before = [p.seconds for p in points]
    assert [p.seconds for p in _sweep.sweep(setup, grid)][:2] == before[:2]  # not trained again


def test_curves_leave_the_frame_to_no_line_that_explodes() -> None:
    drawn = curves([Curve("good", [(1, 4.0), (2, 2.0)]), Curve("bad", [(1, 4.0), (2, 9e9)], "failed")], value="loss")
    assert drawn.count("<polyline") == 2
    assert "nan" not in drawn and "-9" not in drawn
    assert curves([Curve("none", [(1, float("nan"))])], value="loss") == ""


def test_smoothing_keeps_the_mean() -> None:
    points = [(n, float(n % 7)) for n in range(1, 1001)]
    smooth = smoothed(points, most=100)
    assert len(smooth) == 100
    assert sum(y for _, y in smooth) / 100 == pytest.approx(sum(y for _, y in points) / 1000)
