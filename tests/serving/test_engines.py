"""Models in memory: opened, shared, let go, deleted while they answer; whoever asks gets the answer of the model asked for."""

from __future__ import annotations

import importlib.util
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from groundtune.config import ServeConfig
from groundtune.serving.catalog import Model
from groundtune.serving.generating.engines import Engines, opener


def _tiny() -> ModuleType:
    path = Path(__file__).parent.parent / "generation" / "tiny.py"
    spec = importlib.util.spec_from_file_location("generation_tiny", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["generation_tiny"] = module
    spec.loader.exec_module(module)
    return module


tiny = _tiny()
PROMPT = [5, 6, 7, 8, 9] * 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three models and an adapter of the first, on disk."""
    from peft import LoraConfig, get_peft_model

    top = tmp_path_factory.mktemp("models")
    for n, name in enumerate(("a", "b", "c")):
        tiny.llama(n).save_pretrained(top / name)
        tiny.tokenizer().save_pretrained(top / name)
    adapted = get_peft_model(tiny.llama(0), LoraConfig(r=4, lora_alpha=64, init_lora_weights=False, target_modules=["q_proj", "down_proj"]))  # fmt: skip
    adapted.save_pretrained(top / "a+")
    return {name: str(top / name) for name in ("a", "b", "c", "a+")}


@pytest.fixture(scope="module")
def answers(folders: dict[str, str]) -> dict[str, list[int]]:
    from peft import PeftModel

    found = {name: tiny.greedy(tiny.llama(n), PROMPT, 40) for n, name in enumerate(("a", "b", "c"))}
    merged: Any = PeftModel.from_pretrained(tiny.llama(0), folders["a+"]).merge_and_unload()  # type: ignore[no-untyped-call]
    found["a+"] = tiny.greedy(merged.eval(), PROMPT, 40)
    assert len({tuple(own) for own in found.values()}) == 4
    return found


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    found = Engines(most=1, open_engine=opener(ServeConfig(), tmp_path), after_step=lambda: None)
    yield found
    found.close()


def model(folders: dict[str, str], name: str) -> Model:
    if name == "a+":
        return Model(name, "weights", folders["a"], folders["a+"])
    return Model(name, "weights", folders[name])


def written(engines: Engines, folders: dict[str, str], name: str) -> list[int]:
    with engines.lease(model(folders, name)) as held:
        found: list[int] = tiny.begin(held.engine, PROMPT, 40, adapter=held.adapter).wait().writing.written
        return found


def test_three_models_where_one_has_room(
    engines: Engines, folders: dict[str, str], answers: dict[str, list[int]]
) -> None:
    """Many threads, each another model at a time: every answer is its model's own, and one model is left in the end."""
    wrong: list[tuple[str, Any]] = []

    def ask(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(6):
            name = draw.choice(["a", "b", "c", "a+"])
            try:
                found = written(engines, folders, name)
            except Exception as error:
                wrong.append((name, error))
                continue
            if found != answers[name]:
                wrong.append((name, found))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not wrong, wrong[:2]
    assert engines.load == (1, 0, 0)
    assert sum(thread.name == "engine" for thread in threading.enumerate()) <= 2


def test_an_adapter_deleted_while_it_answers(
    engines: Engines, folders: dict[str, str], answers: dict[str, list[int]]
) -> None:
    """What is under way ends as it began, not with the base's words; then nothing of the adapter is left."""
    with engines.lease(model(folders, "a+")) as held:
        answer = tiny.begin(held.engine, PROMPT, 40, adapter=held.adapter)
        engines.forget(folders["a+"])
        assert answer.wait().writing.written == answers["a+"]
        assert folders["a+"] in held.engine.runner.adapters
        base = written(engines, folders, "a")
        assert base == answers["a"]
    assert folders["a+"] not in held.engine.runner.adapters
    assert written(engines, folders, "a") == answers["a"]


def test_a_model_deleted_while_it_answers(
    engines: Engines, folders: dict[str, str], answers: dict[str, list[int]]
) -> None:
    with engines.lease(model(folders, "b")) as held:
        answer = tiny.begin(held.engine, PROMPT, 40)
        engines.forget(folders["b"])
        assert answer.wait().writing.written == answers["b"]
        assert engines.load[0] == 1
    assert engines.load[0] == 0
    for _ in range(100):
        if not held.engine._thread.is_alive():
            break
        time.sleep(0.05)
    assert not held.engine._thread.is_alive()


def test_what_cannot_be_opened_holds_nothing(engines: Engines, folders: dict[str, str], answers: dict[str, list[int]], tmp_path: Path) -> None:  # fmt: skip
    with pytest.raises(Exception), engines.lease(Model("x", "weights", str(tmp_path / "none"))):  # noqa: B017
        raise AssertionError
    with pytest.raises(Exception), engines.lease(Model("x", "weights", folders["a"], str(tmp_path / "none"))):  # noqa: B017
        raise AssertionError
    assert written(engines, folders, "b") == answers["b"] and engines.load == (1, 0, 0)
