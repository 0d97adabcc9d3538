"""What every registered method keeps to: a ``build`` that makes a System, the same alone and in a batch."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from groundtune import registry
from groundtune.config import SYSTEMS, Config
from groundtune.dataset.examples import write_examples
from groundtune.errors import MissingArtifactError, UnknownNameError
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.records import Completion, Example
from groundtune.system import System, as_messages
from groundtune.workspace import Workspace

#: the others train a model that `tuned` or their own name stands for, or make no System at all
NAMES = [n for n in registry.names("methods") if hasattr(registry.get("methods", n), "build")]
NEEDS = {"baseline": "groundtune index", "rag": "groundtune index", "tuned": "groundtune tune", "scratch": "groundtune", "hard_prompt": "groundtune tune", "classifier": "groundtune tune", "seq2seq": "groundtune tune"}  # fmt: skip
NEEDS |= dict.fromkeys(["react", "demonstrate_search_predict", "hyde", "multi_query", "query_rewriting", "step_back", "chain_of_thought+rag", "self_consistency+rag", "directional_stimulus+rag"], "groundtune index")  # fmt: skip
NEEDS |= {"long_context": "groundtune ingest"}
EXAMPLES = [
    Example("1", "1", "train", "Who?", ("Ann",)),
    Example("2", "2", "train", "Where?", ("Oslo",)),
    Example("3", "3", "train", "Whose?", ("Oslo",)),
    Example("4", "4", "held_out_facts", "When?", ("May",)),
    Example("5", "5", "held_out_facts", "Since when?", ("May",)),
    Example("6", "6", "held_out_facts", "Till when?", ("May",)),
]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    write_examples(tmp_path / "questions.jsonl", EXAMPLES)
    return Setup(Workspace(tmp_path), Config(model="echo:Friday"))


@pytest.mark.parametrize("name", NAMES)
def test_build_takes_the_setup(name: str) -> None:
    first, *others = inspect.signature(registry.get("methods", name).build).parameters.values()
    assert first.name == "setup"
    assert all(p.default is not inspect.Parameter.empty for p in others)
    assert (registry.get("methods", name).__doc__ or "").strip()


def test_every_default_system_has_a_method() -> None:
    for name in SYSTEMS:
        base, _, layer = name.partition("+")
        assert base in NAMES
        assert layer in {"", "rag"}
        if layer:
            assert callable(registry.get("methods", base).backend)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(NEEDS)))
def test_a_system_answers_alone_as_in_a_batch(name: str, setup: Setup) -> None:
    system = build_system(name, setup)
    assert isinstance(system, System)
    assert system.name == name
    assert system.description
    questions = [as_messages(q) for q in ("Who?", "Which day?", "Why?")]
    answers = system.answer_batch(questions)
    assert [a.text for a in answers] == [system.answer(q).text for q in questions]
    assert all(
        isinstance(a, Completion) and a.text == ("Oslo" if name == "most_frequent" else "Friday") for a in answers
    )
    assert system.answer_batch([]) == []


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_what_is_missing_is_said_with_the_command_that_makes_it(name: str, setup: Setup) -> None:
    with pytest.raises(MissingArtifactError) as caught:
        build_system(name, setup)
    assert caught.value.next_step.startswith(NEEDS[name])


@pytest.mark.parametrize("name", ["tunde", "tuned+rga", "prompt+rag", "pretraining", ""])
def test_an_unknown_system_is_refused(name: str, setup: Setup) -> None:
    with pytest.raises(UnknownNameError, match="unknown system"):
        build_system(name, setup)


def test_the_most_frequent_answer_is_that_of_the_training_split(setup: Setup) -> None:
    assert build_system("most_frequent", setup).answer(as_messages("When?")).text == "Oslo"  # "May" is held out


def test_few_shot_shows_training_examples_only(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    backend = setup.backend()
    count = backend.count_tokens
    monkeypatch.setattr(backend, "count_tokens", lambda text: seen.append(text) or count(text))
    build_system("few_shot", setup).answer(as_messages("How?"))
    shown = " ".join(seen)
    assert all(answer in shown for answer in ("Ann", "Oslo", "Question: How?"))
    assert "May" not in shown
