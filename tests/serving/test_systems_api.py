"""The project's Systems as models: answers with sources that can be opened, heeding parameters, built anew when retrained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from groundtune.config import Config, RetrievalConfig
from groundtune.generation.writing import Token
from groundtune.ingest.ingest import ingest
from groundtune.methods._setup import Setup
from groundtune.retrieval.index import build_index
from groundtune.serving.app import create_app
from groundtune.serving.generating.answers import _spelling
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace
from live_server import live
from sample_project import write_project

FEE = [{"role": "user", "content": "What does a yearly card cost?"}]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    setup = Setup(Workspace(folder), Config(retrieval=RetrievalConfig(top_k=3)))
    ingest(setup.workspace, setup.config.documents, config=setup.config, questions=setup.questions_path)
    build_index(setup.workspace, setup.config.index)
    return setup


@pytest.fixture(scope="module")
def served(project: Setup) -> Iterator[tuple[Any, Any]]:
    app = create_app(Serving.open(project))
    with live(app) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="nobody", max_retries=0), app


def ask(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(**{"model": "rag", "messages": FEE, **more})


def test_every_system_that_can_answer_is_a_model(served: tuple[Any, Any]) -> None:
    names = [model.id for model in served[0].models.list()]
    assert {"prompt", "few_shot", "baseline", "rag", "pebble", "minilm"} <= set(names)
    assert "tuned" not in names and "scratch" not in names  # not trained yet


def test_prompting_systems_are_models_and_their_steps_are_not_streamed(served: tuple[Any, Any], project: Setup) -> None:
    from groundtune.methods._systems import build_system
    from groundtune.system import as_messages

    client = served[0]
    names = {model.id for model in client.models.list()}
    assert {"react", "self_consistency+rag", "few_shot_nearest", "long_context", "hyde"} <= names
    for name in ("react", "self_consistency+rag"):
        own = build_system(name, project).answer(as_messages(FEE[0]["content"]))
        assert own.transcript and own.text != own.transcript
        chunks = list(ask(client, model=name, stream=True, temperature=0))
        said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert said == own.text


def test_an_answer_names_its_sources_and_they_can_be_opened(served: tuple[Any, Any]) -> None:
    found = ask(served[0])
    message = found.choices[0].message
    assert "48 crowns" in message.content and found.usage.prompt_tokens > 10 and found.usage.completion_tokens > 0
    first = message.annotations[0]
    assert first.type == "url_citation" and first.url_citation.title == "membership.md"
    assert first.quote == "A yearly card costs 48 crowns."  # type: ignore[attr-defined]
    page = httpx.get(first.url_citation.url)
    assert page.status_code == 200 and "<mark>A yearly card costs 48 crowns.</mark>" in page.text
    assert httpx.get(first.url_citation.url.partition("?")[0] + "x").status_code == 404


def test_the_same_answer_as_the_command_line(served: tuple[Any, Any], project: Setup) -> None:
    from groundtune.methods._systems import build_system
    from groundtune.system import as_messages

    own = build_system("rag", project).answer(as_messages(FEE[0]["content"]))
    assert ask(served[0]).choices[0].message.content == own.text


def test_a_stream_and_a_response(served: tuple[Any, Any]) -> None:
    client = served[0]
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == ask(client).choices[0].message.content and chunks[-1].usage.completion_tokens > 0
    last = next(c for c in chunks if c.choices and c.choices[0].finish_reason)
    assert last.choices[0].delta.annotations[0]["url_citation"]["title"] == "membership.md"
    response = client.responses.create(model="rag", input=FEE[0]["content"])
    assert response.output_text == said and response.output[0].content[0].annotations[0].title == "membership.md"


def test_parameters_reach_the_model_behind(served: tuple[Any, Any]) -> None:
    client = served[0]
    assert ask(client, max_tokens=1).choices[0].finish_reason == "length"
    hot = {ask(client, temperature=2, seed=seed).choices[0].message.content for seed in range(4)}
    assert len(hot) > 1 and ask(client, temperature=2, seed=1).choices[0].message.content in hot
    two = ask(client, n=2, temperature=2, seed=5).choices
    assert len(two) == 2 and two[0].message.content != two[1].message.content
    shown = ask(client, logprobs=True, top_logprobs=2).choices[0]
    assert "".join(t.token for t in shown.logprobs.content).strip() == shown.message.content
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": ["yes", "no"]}}}
    assert ask(client, response_format=form).choices[0].message.content in ('"yes"', '"no"')
    with pytest.raises(openai.BadRequestError, match="tools"):
        ask(client, tools=[{"type": "function", "function": {"name": "look"}}])


def test_a_system_of_another_backend_refuses_what_it_cannot_heed(served: tuple[Any, Any], tmp_path: Path) -> None:
    setup = Setup(Workspace(tmp_path), Config(model="echo:always this"))
    with live(create_app(Serving.open(setup))) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="nobody", max_retries=0)
        assert ask(client, model="prompt").choices[0].message.content == "always this"
        with pytest.raises(openai.BadRequestError, match="top_p"):
            ask(client, model="prompt", top_p=0.5)


def test_training_again_builds_the_system_anew(served: tuple[Any, Any], project: Setup) -> None:
    from groundtune.methods._tuning import LAST, tune
    from groundtune.workspace import write_json

    tuned = project.config.tune.model_copy(update={"epochs": 1, "method": "lora"})
    project.config = project.config.model_copy(update={"tune": tuned})
    tune(project, "lora")
    write_json(project.workspace.path(LAST), {"method": "lora"})
    assert {"tuned", "tuned+rag", "lora"} <= {model.id for model in served[0].models.list()}
    assert ask(served[0], model="tuned").choices[0].message.content is not None
    systems = served[1].state.generators.systems
    before = systems.get("tuned")
    assert systems.get("tuned") is before
    again = tuned.model_copy(update={"epochs": 2})
    project.config = project.config.model_copy(update={"tune": again})
    tune(project, "lora")
    assert systems.get("tuned") is not before
    assert len(served[1].state.generators.engines._loaded) <= 3


def test_tokens_are_told_only_of_the_text_that_goes_out() -> None:
    tokens = tuple(Token(n, part, -0.1) for n, part in enumerate((b" the key", b" is AKIA")))
    assert _spelling("the key is AKIA", tokens) == tokens
    assert _spelling("the key is [redacted]", tokens) == ()
