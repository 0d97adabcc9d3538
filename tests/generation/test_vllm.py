"""The vLLM backend against a stub of ``vllm serve`` over our own engine: the same answers as without it. No GPU is needed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from groundtune.config import Config, ServeConfig
from groundtune.errors import ConfigError
from groundtune.generation.vllm import VllmEngine
from groundtune.methods._setup import Setup
from groundtune.nn.checkpoints import BUNDLED_FOLDER
from groundtune.serving.app import create_app
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace
from live_server import live

STUB = Path(__file__).with_name("vllm_stub.py")
ASK = {"model": "pebble", "messages": [{"role": "user", "content": "When does the library open?"}], "temperature": 0, "max_tokens": 20}  # fmt: skip


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("vllm")
    program = folder / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STUB}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{program.parent}{os.pathsep}{before}"
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        apps = {}
        for backend in ("local", "vllm"):
            root = folder / backend
            root.mkdir()
            config = Config(serve=ServeConfig(backend=backend))  # type: ignore[arg-type]
            apps[backend] = create_app(Serving.open(Setup(Workspace(root), config)))
        with live(apps["local"]) as one, live(apps["vllm"]) as other:
            for backend, url in (("local", one), ("vllm", other)):
                made[backend] = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
            yield made | {"app": apps["vllm"]}
    os.environ["PATH"] = before


@pytest.mark.parametrize(
    "more",
    [
        {}, {"logprobs": True, "top_logprobs": 3}, {"stop": ["e"]}, {"temperature": 1.3, "seed": 7, "n": 2}, {"logit_bias": {"300": 100}},
        {"temperature": 1.5, "seed": 1, "frequency_penalty": 2.0, "top_p": 0.8},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": ["x", "y"]}}}},
    ],
)  # fmt: skip
def test_the_same_answers_as_our_own_engine(clients: dict[str, Any], more: dict[str, Any]) -> None:
    own, there = (clients[name].chat.completions.create(**{**ASK, **more}) for name in ("local", "vllm"))
    assert [c.message.content for c in there.choices] == [c.message.content for c in own.choices]
    assert [c.finish_reason for c in there.choices] == [c.finish_reason for c in own.choices]
    assert there.usage.completion_tokens == own.usage.completion_tokens
    if more.get("logprobs"):
        for a, b in zip(own.choices[0].logprobs.content, there.choices[0].logprobs.content, strict=True):
            assert a.token == b.token and abs(a.logprob - b.logprob) < 1e-4
            assert [t.token for t in a.top_logprobs] == [t.token for t in b.top_logprobs]


def test_streams_echo_and_systems(clients: dict[str, Any]) -> None:
    chunks = list(clients["vllm"].chat.completions.create(**ASK, stream=True))
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == clients["local"].chat.completions.create(**ASK).choices[0].message.content
    wanted = {"model": "pebble", "prompt": "The library opens", "echo": True, "max_tokens": 0, "logprobs": 1}
    own, there = (clients[name].completions.create(**wanted).choices[0] for name in ("local", "vllm"))
    assert own.text == there.text and own.logprobs.tokens == there.logprobs.tokens
    system = {**ASK, "model": "prompt"}
    assert clients["vllm"].chat.completions.create(**system).choices[0].message.content


def test_a_dropped_request_stops_there_too(clients: dict[str, Any]) -> None:
    stream = clients["vllm"].chat.completions.create(**{**ASK, "max_tokens": 400}, logit_bias={"0": -100}, stream=True)
    next(iter(stream))
    stream.close()
    end = time.monotonic() + 20
    while clients["app"].state.generators.engines.load[1:] != (0, 0) and time.monotonic() < end:
        time.sleep(0.02)
    assert clients["app"].state.generators.engines.load[1:] == (0, 0)


def test_an_adapter_is_loaded_there(clients: dict[str, Any], tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    from groundtune.nn.checkpoints import open_model

    model, _ = open_model(str(BUNDLED_FOLDER), torch.float32)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    serving = clients["app"].state.serving
    folder = serving.folder / "models" / "a"
    folder.parent.mkdir(exist_ok=True)
    (tmp_path / "adapter").rename(folder)
    serving.store.add("model", {"object": "model", "base": "pebble", "folder": "models/a", "adapter": True, "job": "j"}, id="ft:a:b:c:d")  # fmt: skip
    plain = clients["vllm"].chat.completions.create(**ASK, logprobs=True)
    there = clients["vllm"].chat.completions.create(**{**ASK, "model": "ft:a:b:c:d"}, logprobs=True)
    assert json.dumps([t.logprob for t in there.choices[0].logprobs.content]) != json.dumps([t.logprob for t in plain.choices[0].logprobs.content])  # fmt: skip


def test_without_vllm_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="not installed"):
        VllmEngine(str(BUNDLED_FOLDER))
