"""Answers held to a grammar, at once or behind a text that the model writes itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.generation.constraint import Constraint, json_grammar
from groundtune.generation.vocabulary import Vocabulary

sys.path.insert(0, str(Path(__file__).parent))
from tiny import tokenizer

CALL, END = "<tool_call>", "</tool_call>"
SCHEMA = {
    "type": "object", "properties": {"name": {"const": "f"}, "arguments": {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}},
    "required": ["name", "arguments"], "additionalProperties": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(tokenizer(), len(tokenizer()) + 5, set())


def allowed(constraint: Constraint, vocabulary: Vocabulary) -> set[int]:
    logits = torch.zeros(vocabulary.size)
    constraint.mask(logits)
    return {id for id, value in enumerate(logits.tolist()) if value == 0.0}


def walk(constraint: Constraint, vocabulary: Vocabulary, seed: int, most: int = 300) -> str:
    """A text of tokens drawn from those that are allowed."""
    draws, out = torch.Generator().manual_seed(seed), b""
    for _ in range(most):
        logits = torch.rand(vocabulary.size, generator=draws)
        constraint.mask(logits)
        id = int(logits.argmax())
        constraint.took(id)
        out += vocabulary.bytes_of(id)
        if constraint.finished or id in vocabulary.ends:
            break
    return out.decode()


def feed(constraint: Constraint, vocabulary: Vocabulary, text: str) -> None:
    for id in vocabulary.encode(text):
        constraint.took(id)


def test_every_walk_is_json_of_the_schema(vocabulary: Vocabulary) -> None:
    for seed in range(30):
        found = json.loads(walk(Constraint(json_grammar(SCHEMA), vocabulary), vocabulary, seed))
        assert found in ({"name": "f", "arguments": {"n": 1}}, {"name": "f", "arguments": {"n": 2}})


def test_rows_behind_the_tokenizer_are_never_allowed(vocabulary: Vocabulary) -> None:
    assert max(allowed(Constraint(json_grammar(None), vocabulary), vocabulary)) < vocabulary.known


def test_only_the_json_is_held_behind_a_trigger(vocabulary: Vocabulary) -> None:
    constraint = Constraint(json_grammar(SCHEMA, trigger=CALL, end=END), vocabulary)
    assert len(allowed(constraint, vocabulary)) == vocabulary.size
    feed(constraint, vocabulary, "I look it up. <tool")
    assert len(allowed(constraint, vocabulary)) == vocabulary.size and not constraint.finished
    feed(constraint, vocabulary, "_call>")
    assert len(allowed(constraint, vocabulary)) < 50
    text = walk(constraint, vocabulary, 0)
    assert text.rstrip().endswith(END) and json.loads(text.strip().removesuffix(END))["name"] == "f"


def test_a_trigger_and_the_beginning_of_a_call_in_one_token(vocabulary: Vocabulary) -> None:
    for begun in (f"{CALL}\n", f'{CALL}\n{{"', f'{CALL}{{"name":"f'):
        constraint = Constraint(json_grammar(SCHEMA, trigger=CALL, end=END), vocabulary)
        feed(constraint, vocabulary, begun)
        text = begun.removeprefix(CALL) + walk(constraint, vocabulary, 1)
        assert json.loads(text.strip().removesuffix(END))["name"] == "f", begun


def test_another_call_may_follow(vocabulary: Vocabulary) -> None:
    seen = set()
    for seed in range(40):
        constraint = Constraint(json_grammar(SCHEMA, end=END, again=CALL), vocabulary)
        text = walk(constraint, vocabulary, seed, most=150)
        calls = [part.strip().removesuffix(END).strip() for part in text.split(CALL)]
        assert all(json.loads(call)["name"] == "f" for call in calls[:-1])
        seen.add(len(calls) > 1)
    assert True in seen


def test_no_pages_of_white_space(vocabulary: Vocabulary) -> None:
    constraint = Constraint(json_grammar(SCHEMA, end=END), vocabulary)
    feed(constraint, vocabulary, "\n\n")
    assert all(vocabulary.bytes_of(id)[:1] == b"{" for id in allowed(constraint, vocabulary))
    other = Constraint(json_grammar(SCHEMA, end=END), vocabulary)
    assert not any("\u2028".encode() in vocabulary.bytes_of(id) for id in allowed(other, vocabulary))


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"not": {}}, {"$ref": "http://a/b"}, {"pattern": "(((", "type": "string"}, {"enum": []}, {"properties": []}])  # fmt: skip
def test_what_cannot_be_held_to_is_refused_before(schema: Any) -> None:
    with pytest.raises(InputError, match="cannot be held to"):
        json_grammar(schema)


def test_what_breaks_off_says_so(vocabulary: Vocabulary) -> None:
    constraint = Constraint(json_grammar({"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(500)}}), vocabulary)  # fmt: skip
    for _ in range(20):
        logits = torch.zeros(vocabulary.size)
        constraint.mask(logits)
        if constraint.fault:
            break
        constraint.took(int(logits.argmax()))
    assert constraint.fault and not constraint.finished
    assert len(allowed(constraint, vocabulary)) == vocabulary.size  # masks no more


def test_a_token_that_cannot_stand_there_says_so(vocabulary: Vocabulary) -> None:
    constraint = Constraint(json_grammar(SCHEMA), vocabulary)
    feed(constraint, vocabulary, "no JSON")
    assert constraint.fault and not constraint.finished
