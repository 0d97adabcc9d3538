"""Choosing a prompt with a scripted model that obeys certain words: found, checked on other facts, written; or left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.examples import write_examples
from groundtune.dataset.prompts import ABSTENTION
from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.methods._prompt_choice import SYSTEM_OF, ChoiceOptions, choose_prompt
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.prompt_files import own_path, prompt_names, read_prompt_file
from groundtune.records import Chunk, Example, Message, Passage
from groundtune.retrieval.retriever import Hit
from groundtune.system import as_messages
from scripted import Scripted, scripted_setup

THINGS = ("card", "kayak", "canoe", "key", "lamp", "rope", "sail", "tent", "map", "oar", "mast", "bell")
TOLD = "Speak as {question} does."
EXAMPLES = [
    Example(f"{n}-{w}", thing, "train", f"What does a {thing} {w}?", (f"{n} crowns",), (Passage(f"{thing}.txt", ""),))
    for n, thing in enumerate(THINGS)
    for w in ("cost", "go for")
]


class OneEach:
    """Finds the document of the thing that is asked for, then one of every other."""

    def __init__(self) -> None:
        self.searches = 0

    def embed_all(self, texts: list[str]) -> None:
        """Nothing to embed."""

    def refuses(self, question: str, hits: object) -> bool:
        return False

    def retrieve(self, question: str, *, document: str | None = None, also: object = ()) -> list[Hit]:
        self.searches += 1
        texts = {thing: f"A {thing} costs {n} crowns." for n, thing in enumerate(THINGS)}
        order = sorted(THINGS, key=lambda t: t not in question)[:2]
        return [Hit(Chunk(f"{t}-0", t, f"{t}.txt", texts[t]), 0.5, ((texts[t], 0.5),)) for t in order]


def obedient(messages: list[Message]) -> str:
    """Copies a number of crowns where it was told so, and says that there is none where there is none."""
    asked = messages[-1].content
    thing = next((t for t in THINGS if t in asked.partition("\n")[0]), "")
    told = messages[0].content == TOLD
    found = [line for line in asked.splitlines() if line.startswith(f"A {thing} ")]
    if told and not found:
        return ABSTENTION
    return f"{THINGS.index(thing)} crowns" if told else "no idea"


def project(folder: Path, says: Any = obedient, **config: Any) -> tuple[Setup, Scripted]:
    setup, backend = scripted_setup(folder, says, **config)
    write_examples(folder / "questions.jsonl", EXAMPLES)
    setup.retriever = OneEach()  # type: ignore[assignment]
    return setup, backend


def test_a_better_instruction_is_found_and_written_and_used(tmp_path: Path) -> None:
    setup, _ = project(tmp_path)
    options = ChoiceOptions(instructions=("Sing.", TOLD), demonstrations=0)
    found = choose_prompt(setup, "with_passages", options)
    assert found["better"] and found["file"] == str(own_path(tmp_path, "with_passages"))
    assert found["before"]["token_f1"] == 0 and found["after"] == {"score": 1.0, "token_f1": 1.0, "abstains": 1.0}
    assert found["gain"]["mean"] == pytest.approx(1.0)
    written = read_prompt_file(tmp_path, "with_passages")
    assert "{{question}}" in written.text() and written.messages(question="q", passages="p")[0].content == TOLD
    again = Setup(setup.workspace, setup.config, _backends=setup._backends)
    again.retriever = setup.retriever
    assert build_system("rag", again).answer(as_messages("What does a rope cost?")).text == "5 crowns"
    held = found["held_back_questions"]
    assert 0 < held < found["scored_questions"] and found["answers"] < found["candidates"] * (held + found["scored_questions"])  # fmt: skip
    assert setup.retriever.searches <= len(EXAMPLES) + 1  # type: ignore[attr-defined]


def test_the_project_s_own_prompt_moves_aside(tmp_path: Path) -> None:
    setup, _ = project(tmp_path)
    path = own_path(tmp_path, "with_passages")
    path.parent.mkdir()
    path.write_text("[user]\nmine {question} {passages}\n", encoding="utf-8")
    assert choose_prompt(setup, "with_passages", ChoiceOptions(instructions=(TOLD,), demonstrations=0))["better"]
    assert path.with_suffix(".before").read_text(encoding="utf-8").startswith("[user]\nmine")
    assert read_prompt_file(tmp_path, "with_passages").turns[-1][1] == "mine {question} {passages}"


def test_where_nothing_helps_nothing_is_written(tmp_path: Path) -> None:
    setup, _ = project(tmp_path, ["no idea"])
    found = choose_prompt(setup, "with_passages", ChoiceOptions(demonstrations=1, sets=2))
    assert not found["better"] and not own_path(tmp_path, "with_passages").exists()
    assert "the prompt" in found["said"][-1] and found["gain"]["mean"] == 0


def test_always_answering_does_not_win(tmp_path: Path) -> None:
    """Right one time in four more, but no longer refusing: the hidden documents tell."""

    def model(messages: list[Message]) -> str:
        asked = messages[-1].content
        thing = next((t for t in THINGS if t in asked.partition("\n")[0]), "")
        held = any(line.startswith(f"A {thing} ") for line in asked.splitlines())
        if messages[0].content == TOLD:
            return f"{THINGS.index(thing)} crowns"  # also where no passage says so
        return f"{THINGS.index(thing)} crowns" if held else ABSTENTION

    setup, _ = project(tmp_path, model)
    found = choose_prompt(setup, "with_passages", ChoiceOptions(instructions=(TOLD,), demonstrations=0))
    assert not found["better"] and found["before"] == {"score": 1.0, "token_f1": 1.0, "abstains": 1.0}


def test_demonstrations_are_questions_that_were_answered_rightly(tmp_path: Path) -> None:
    def model(messages: list[Message]) -> str:
        asked = messages[-1].content.partition("\n")[0]
        thing = next((t for t in THINGS if t in asked), "")
        shown = sum(m.role == "assistant" for m in messages)
        return f"{THINGS.index(thing)} crowns" if shown or thing in THINGS[::4] else "no idea"

    setup, _ = project(tmp_path, model)
    found = choose_prompt(setup, "closed_book", ChoiceOptions(demonstrations=2, sets=4, held_back_share=0.4))
    assert found["better"] and found["system"] == "prompt"
    prompt = read_prompt_file(tmp_path, "closed_book")
    shown = [text for role, text in prompt.turns if role == "assistant"]
    assert shown and all(int(text.split()[0]) % 4 == 0 for text in shown)


def test_the_model_is_asked_for_instructions(tmp_path: Path) -> None:
    def model(messages: list[Message]) -> str:
        return TOLD if messages[0].content.startswith("You write instructions") else obedient(messages)

    setup, backend = project(tmp_path, model)
    found = choose_prompt(setup, "with_passages", ChoiceOptions(proposals=2, demonstrations=1, sets=1))
    assert found["better"] and len(backend.sampled) == 2
    asked = next(p for p in backend.prompts if p[0].content.startswith("You write instructions"))
    assert asked[-1].content.count("Question: ") == 4


def test_what_cannot_be_chosen(tmp_path: Path) -> None:
    setup, _ = project(tmp_path)
    assert set(SYSTEM_OF) <= set(prompt_names())
    with pytest.raises(UnknownNameError, match="'react'"):
        choose_prompt(setup, "react")
    setup.config = setup.config.model_copy(update={"model": "openai:gpt"})
    with pytest.raises(ConfigError, match="may cost money"):
        choose_prompt(setup, "with_passages")
    write_examples(tmp_path / "questions.jsonl", EXAMPLES[:2])
    few = Setup(setup.workspace, setup.config)
    with pytest.raises(InputError, match="training questions"):
        choose_prompt(few, "with_passages")
