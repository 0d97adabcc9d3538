"""Arms of a project as systems: an index of their own, vectors remembered, the project's own index untouched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import load_config
from groundtune.evaluation.search_space import CURRENT, arm_of, with_changes
from groundtune.ingest.ingest import ingest
from groundtune.methods._rag_arms import RagArms
from groundtune.methods._setup import Setup
from groundtune.records import Completion
from groundtune.retrieval.index import build_index
from groundtune.system import as_messages
from groundtune.workspace import Workspace, folder_digest
from sample_project import write_project

QUESTION = "On which extension does the duty officer answer?"


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_project(tmp_path_factory.mktemp("arms") / "project")
    config = load_config(folder).model_copy(update={"model": "echo:6 working days"})
    workspace = Workspace(folder)
    ingest(workspace, config.documents, config=config, questions=folder / "questions.jsonl")
    build_index(workspace, config.index)
    return folder


@pytest.fixture
def project(indexed: Path, tmp_path: Path) -> Setup:
    folder = Path(shutil.copytree(indexed, tmp_path / "project"))
    return Setup(Workspace(folder), load_config(folder).model_copy(update={"model": "echo:6 working days"}))


def arms_of(project: Setup) -> RagArms:
    return RagArms(project, lambda arm: with_changes(project.config, arm.changes), "rag")


def found(arms: RagArms, **changes: Any) -> Completion:
    arm = arm_of({name.replace("__", "."): value for name, value in changes.items()})
    if arms.index_seconds(arm) > 0:
        arms.make_index(arm)
    return arms.finder(arm).answer(as_messages(QUESTION))


def test_an_arm_with_another_index_leaves_the_projects_alone(project: Setup) -> None:
    arms = arms_of(project)
    assert arms.index_seconds(CURRENT) == 0
    mine = folder_digest(project.workspace.path("index"))
    small = arm_of({"index.chunk_tokens": 16, "index.overlap_tokens": 0})
    assert arms.index_seconds(small) > 0
    first = arms.make_index(small)
    assert first["chunks"] > (project.workspace.manifest("index") or {})["figures"]["chunks"]
    assert arms.index_seconds(small) == 0 and first["texts"] > 0
    assert folder_digest(project.workspace.path("index")) == mine
    hit = arms.finder(small).answer(as_messages(QUESTION)).retrieved[0]
    assert "4471" in hit.text and len(hit.text.split()) <= 16
    again = arms.make_index(arm_of({"index.chunk_tokens": 16, "index.overlap_tokens": 8}))
    assert again["texts"] < first["texts"]  # sentences have their vectors
    arms.clear()
    assert arms.index_seconds(small) > 0
    assert arms_of(project).make_index(small)["texts"] == 0  # another process finds them


def test_what_is_found_is_what_the_settings_say(project: Setup) -> None:
    arms = arms_of(project)
    assert len(found(arms, retrieval__top_k=2).retrieved) == 2
    by_words = found(arms, retrieval__mode="text")
    assert by_words.text == "" and by_words.retrieved[0].document == "handbook.pdf"
    plain = arms.plain(CURRENT).answer(as_messages(QUESTION))
    assert [s.chunk_id for s in found(arms).retrieved] == [s.chunk_id for s in plain.retrieved]


def test_an_arm_may_say_another_instruction_or_answer_by_another_system(project: Setup) -> None:
    arms = arms_of(project)
    beside = arms.beside()
    assert beside["system"] == "rag" and beside["prompt.with_passages"].startswith("Answer from the passages")
    setup = arms._open(arm_of({"prompt.with_passages": "Shout."}), remember=False)
    said = setup.prompt("with_passages").messages(question="q", passages="p")
    assert said[0].content == "Shout." and "p" in said[-1].content
    assert project.prompt("with_passages").messages(question="q", passages="p")[0].content != "Shout."
    other = arms.answerer(arm_of({"system": "baseline"})).answer(as_messages(QUESTION))
    assert "4471" in other.text
    lost = as_messages("Within how many days are lost keys replaced?")  # what the echo says is about nothing else
    assert arms.answerer(CURRENT).answer(lost).text == "6 working days"


def test_what_this_machine_cannot_do_is_not_tried(project: Setup) -> None:
    arms = arms_of(project)
    assert arms.usable("index.embedder", "minilm") and not arms.usable("index.embedder", "tuned")
    assert not arms.usable("index.embedder", "no-such-embedder")
    assert arms.usable("system", "baseline") and not arms.usable("system", "telepathy")
    assert arms.usable("retrieval.top_k", 3)
    assert not arms.usable("retrieval.refuse_below", 0.2)  # every training question has an answer
    rows = (project.workspace.root / "questions.jsonl").read_text(encoding="utf-8").replace("unanswerable", "train")
    (project.workspace.root / "questions.jsonl").write_text(rows, encoding="utf-8")
    assert arms_of(Setup(project.workspace, project.config)).usable("retrieval.refuse_below", 0.2)
