"""Every weight-changing method of a causal model: the loss goes down, a killed run ends in the same weights, what is read back is
what was trained."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from groundtune import registry
from groundtune.config import load_config
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.methods._tuning import causal_methods, tune
from groundtune.system import as_messages
from groundtune.workspace import Workspace
from sample_project import write_project

#: nats a token by which the loss on the trained rows must fall on a tiny random model (it starts at about ln 400 = 6)
FALLS = {
    "full": 3.0,
    "qat": 2.0,
    "layers": 0.5,
    "lora": 0.8,
    "qlora": 0.4,
    "adapter": 0.3,
    "prompt_tuning": 0.05,
    "prefix_tuning": 0.1,
    "p_tuning": 0.05,
    "ia3": 0.2,
    "llama_adapter": 0.1,
}
RATES = {
    "full": 5e-3,
    "qat": 5e-3,
    "layers": 1e-2,
    "lora": 1e-2,
    "qlora": 2e-2,
    "adapter": 1e-1,
    "p_tuning": 2e-2,
    "prompt_tuning": 5e-2,
}


@pytest.fixture(params=causal_methods())
def method(request: pytest.FixtureRequest) -> str:
    if request.param == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    return str(request.param)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, tiny_model_path: Path) -> Path:
    folder = write_project(tmp_path_factory.mktemp("tuning") / "project")
    shutil.rmtree(folder / "tiny", ignore_errors=True)
    shutil.copytree(tiny_model_path, folder / "tiny")
    return folder


def setup_of(template: Path, folder: Path, method: str, **settings: Any) -> Setup:
    shutil.copytree(template, folder)
    config = load_config(folder)
    tuned = config.tune.model_copy(
        update={
            "method": method,
            "epochs": 30,
            "batch_tokens": 600,
            "save_every_steps": 20,
            "options": {"top": 1} if method == "layers" else {},
            "learning_rate": RATES.get(method, 0.1),
            **settings,
        }
    )
    return Setup(Workspace(folder), config.model_copy(update={"tune": tuned}))


class Killed(Exception):
    """Stands for the kill of a run."""


def killer(at: int) -> Callable[[int, int, Any], None]:
    def progress(step: int, steps: int, status: Any) -> None:
        if step == at:
            raise Killed

    return progress


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = [f for f in (folder / "weights").glob("*.safetensors") if f.name != "probe.safetensors"]
    return load_file(file)


def test_every_method_has_a_stated_fall() -> None:
    assert set(FALLS) == set(causal_methods())


def test_the_loss_falls_and_what_is_read_back_is_what_was_trained(method: str, template: Path, tmp_path: Path) -> None:
    setup = setup_of(template, tmp_path / "p", method)
    folder, made = tune(setup)
    assert made
    figures = (setup.workspace.manifest(f"runs/{method}") or {})["figures"]
    trained = figures["learned"]["trained"]
    assert trained["before"] - trained["after"] > FALLS[method], trained
    assert figures["reload_difference"] < 1e-3
    assert (folder / "learned.html").read_text(encoding="utf-8").count('class="curves"') == 1
    assert figures["trainable_parameters"] > 0
    if method not in ("full", "qat", "layers"):
        assert figures["trainable_parameters"] < figures["parameters"] / 2
    assert tune(setup)[1] is False  # nothing is trained twice
    answered = build_system(method, setup).answer(as_messages("When do the reading rooms open?"))
    assert len(answered.logprobs) > 0


def test_a_killed_run_ends_in_the_same_weights(method: str, template: Path, tmp_path: Path) -> None:
    whole, _ = tune(setup_of(template, tmp_path / "whole", method))
    rough = setup_of(template, tmp_path / "rough", method)
    with pytest.raises(Killed):
        tune(rough, progress=killer(33))
    steps: list[int] = []
    folder, _ = tune(rough, progress=lambda step, steps_, status: steps.append(step))
    assert steps[0] == 21
    expected, found = weights(whole), weights(folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_methods_that_cannot_pack_say_so(template: Path, tmp_path: Path) -> None:
    from groundtune.errors import ConfigError

    for method in causal_methods():
        module = registry.get("methods", method)
        setup = setup_of(template, tmp_path / method, method, packing=True, epochs=2)
        if getattr(module, "PACKS", True) is False:
            with pytest.raises(ConfigError, match="cannot be packed"):
                tune(setup)
    tune(setup_of(template, tmp_path / "packs", "lora", packing=True, epochs=2))
