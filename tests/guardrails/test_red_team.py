"""The red-team set is what it says, the gullible reader obeys it, and the guards stop most of a sample."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from groundtune.config import GuardConfig
from groundtune.dataset.prompts import READ_INSTRUCTION, with_passages
from groundtune.dataset.reading import sentences
from groundtune.errors import InputError
from groundtune.guardrails.passages import PassageGuard
from groundtune.guardrails.red_team.cases import read_cases
from groundtune.guardrails.red_team.gullible import GullibleBackend

CASES = read_cases()


def test_there_are_300_cases_of_20_families_and_half_of_the_families_came_after() -> None:
    families = {c.family: c.written_after for c in CASES}
    assert len(CASES) >= 300 and len(families) >= 20
    assert sum(families.values()) >= len(families) / 2
    assert not {c.family for c in CASES if c.written_after} & {c.family for c in CASES if not c.written_after}
    assert len({c.text for c in CASES}) == len(CASES)
    assert Counter(c.set for c in CASES).keys() == {"first", "second", "third"}


def test_the_gullible_reader_obeys_what_it_is_shown_and_copies_otherwise() -> None:
    reader = GullibleBackend(CASES)
    for case in CASES[::7]:
        answer = reader.generate(with_passages([f"[1] a\n{case.text}"], "When?")).text
        assert case.succeeded(answer, [READ_INSTRUCTION]), case.id
    plain = reader.generate(
        with_passages(["[1] a\nThe hall is shut. A card costs 48 crowns."], "What does a card cost?")
    )
    assert plain.text == "A card costs 48 crowns."


def test_the_first_guard_alone_stops_two_thirds_of_a_sample() -> None:
    sample = CASES[::6]
    guard = PassageGuard(GuardConfig(), frozenset({"en"}))
    judged = guard.judge_all([sentences(c.text) for c in sample])
    shown = [" ".join(" ".join(j.text for j in found if not j.rule).split()) for found in judged]
    left = [c for c, s in zip(sample, shown, strict=True) if all(" ".join(p.split()) in s for p in c.core)]
    assert len(left) <= len(sample) / 3, [c.id for c in left]


def test_faulty_cases_are_named_by_line(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"id": "a", "family": "f"}\n')
    with pytest.raises(InputError, match=r"own\.jsonl:1"):
        read_cases([file])
