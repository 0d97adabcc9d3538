"""Prompts as files: the shipped ones say what training says, a project's own come first, and a wrong one is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundtune.dataset.prompts import closed_book, with_passages
from groundtune.errors import InputError, UnknownNameError
from groundtune.methods._systems import build_system
from groundtune.prompt_files import (
    SHIPPED,
    literal,
    own_path,
    parse_prompt,
    prompt_names,
    read_prompt_file,
    rows,
)
from groundtune.system import as_messages
from scripted import scripted_setup

HARD = (
    ("Translate the English sentence '{x}' into German: {y}", "Translate the English sentence 'I am.' into German:"),
    ("English: '{x}' | German: {y}", "English: 'I am.' | German:"),
    ("From English to German: '{x}' -> {y}", "From English to German: 'I am.' ->"),
)


def write(root: Path, name: str, text: str) -> Path:
    path = own_path(root, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_prompts_are_word_for_word_what_the_bundled_model_was_trained_on(tmp_path: Path) -> None:
    question, passages = "What is {this}?", ["[1] a.txt\nOne {question}.", "[2] b.txt\nTwo."]
    shots = [("Who?", "Ann"), ("Where?", "Oslo")]
    own = read_prompt_file(tmp_path, "closed_book")
    told = [{"question": q, "answer": a} for q, a in shots]
    assert own.messages(told, question=question) == closed_book(question, shots)
    assert own.messages(question=question) == closed_book(question)
    read = read_prompt_file(tmp_path, "with_passages").messages(question=question, passages="\n\n".join(passages))
    assert read == with_passages(passages, question)


def test_every_shipped_prompt_can_be_read_and_says_what_it_is_for(tmp_path: Path) -> None:
    found = rows(tmp_path)
    assert [row["name"] for row in found] == prompt_names() and len(found) >= 13
    assert all(row["note"] and row["places"] and not row["own"] for row in found)
    about = [r["name"] for r in found if not {"question", "claim"} & set(r["places"])]
    assert about == ["propose_instruction"]


def test_a_project_s_own_wording_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path, "closed_book", '# mine\n[system]\nBe brief.\n\n[user]\n{question} {{question}} {"a": {}}\n')
    assert read_prompt_file(tmp_path, "closed_book").path == path
    setup, backend = scripted_setup(tmp_path, ["x"])
    build_system("prompt", setup).answer(as_messages("Why {passages}?"))
    assert backend.said() == '[system] Be brief.\n[user] Why {passages}? {question} {"a": {}}'


@pytest.mark.parametrize(("template", "asked"), HARD)
def test_hard_prompt_templates_stand_as_they_are(tmp_path: Path, template: str, asked: str) -> None:
    write(tmp_path, "closed_book", f"[user]\n{template}\n")
    setup, backend = scripted_setup(tmp_path, ["Ich bin."])
    assert build_system("prompt", setup).answer(as_messages("I am.")).text == "Ich bin."
    assert backend.said() == f"[user] {asked}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[user]\nQ: {question} {passage}", "unknown place {passage}"),
        ("[user]\nQ: {answer}", "unknown place {answer}"),
        ("[user]\nQ:", "no place {question}"),
        ("[user]\n{question}\n[assistant]\nYes", "ends with the turn [assistant]"),
        ("", "holds no turn"),
        ("Answer!\n[user]\n{question}", "prompts/closed_book.txt:1: 'Answer!' before the first turn"),
    ],
)
def test_what_is_wrong_is_said_with_file_place_and_what_was_expected(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, "closed_book", text)
    with pytest.raises(InputError) as caught:
        read_prompt_file(tmp_path, "closed_book")
    assert says in caught.value.problem and str(path) in caught.value.problem and caught.value.expected


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, "closed_book", "").write_bytes(b"\xff\xfe[user]")
    with pytest.raises(InputError, match="cannot be read"):
        read_prompt_file(tmp_path, "closed_book")
    with pytest.raises(UnknownNameError, match="closed_bok"):
        read_prompt_file(tmp_path, "closed_bok")


@pytest.mark.parametrize("text", ["{question}", "{{question}}", "a {x} [user]", "[user]", '{"a": {b}}', "{ x }"])
def test_a_literal_text_says_just_that(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "closed_book", f"[user]\n{literal(text)}\n[assistant]\nyes\n[user]\n{{question}}\n")
    said = parse_prompt(path).messages(question="Q")
    assert said[0].content.strip() == text and said[-1].content == "Q" and len(said) == 3


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    for name in prompt_names():
        shipped = parse_prompt(SHIPPED / f"{name}.txt")
        assert parse_prompt(write(tmp_path, name, shipped.text("a note"))).turns == shipped.turns
