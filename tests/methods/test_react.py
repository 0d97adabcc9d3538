"""ReAct with a scripted model: tools that work, steps that keep to no form, and an answer whatever is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import AnswerConfig
from groundtune.methods import react
from groundtune.methods._systems import build_system
from groundtune.methods._tables import Tables, cells_of, conditions
from groundtune.methods.react import parse_step
from groundtune.records import Completion
from groundtune.system import as_messages
from scripted import Scripted, scripted_setup

QUESTION = "What do a kayak and a canoe cost together?"
GOOD = (
    "Thought: I need both prices.\nAction: lookup[item=kayak]\nObservation: item: kayak; price: 99 crowns",
    "Thought: Now the canoe.\nAction: lookup[item=canoe]",
    "Thought: Add them.\nAction: calculate[17 + 31]",
    "Thought: Done.\nAction: finish[48 crowns]",
)


def asked(folder: Path, says: Any, question: str = QUESTION, **config: Any) -> tuple[Completion, Scripted]:
    setup, backend = scripted_setup(folder, says, **config)
    return build_system("react", setup).answer(as_messages(question)), backend


def test_looks_up_calculates_and_finishes(tmp_path: Path) -> None:
    completion, backend = asked(tmp_path, GOOD)
    assert completion.text == "48 crowns" and not completion.abstained
    assert completion.transcript.split("\n") == [
        f"Question: {QUESTION}",
        "Thought: I need both prices.",
        "Action: lookup[item=kayak]",  # the observation that the model made up is not kept
        "Observation: [1] boats.csv",
        "item: kayak; price: 17 crowns; deposit: 80 crowns",
        "Thought: Now the canoe.",
        "Action: lookup[item=canoe]",
        "Observation: [1] boats.csv",
        "item: canoe; price: 31 crowns; deposit: 60 crowns",
        "Thought: Add them.",
        "Action: calculate[17 + 31]",
        "Observation: 48",
        "Thought: Done.",
        "Action: finish[48 crowns]",
    ]
    assert {s.chunk_id for s in completion.sources} == {"d3-0", "d3-1"}
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (40, 8)
    assert [m.role for m in backend.prompts[-1]] == ["system", "user"] + ["assistant", "user"] * 3


def test_searches_and_cites(tmp_path: Path) -> None:
    completion, backend = asked(tmp_path, ["Action: search[hall shut]", "Action: finish[Friday]"], "When is it shut?")
    assert completion.text == "Friday"
    assert (completion.sources[0].document, completion.sources[0].quote) == ("hours.txt", "The hall is shut on Friday.")
    assert "[1] hours.txt\nThe hall opens at 9:30. The hall is shut on Friday." in backend.said()


@pytest.mark.parametrize(
    ("written", "tool", "argument"),
    [
        ("Action: search[opening hours]", "search", "opening hours"),
        ('thought: x\naction 2: Search("opening hours")', "search", "opening hours"),
        ("**Action:** `lookup[item=kayak; size=6 mm]`", "lookup", "item=kayak; size=6 mm"),
        ("Action: calculate[(1 + 2) * 3]", "calculate", "(1 + 2) * 3"),
        ("Action: calculate((1 + 2) * 3)", "calculate", "(1 + 2) * 3"),
        ("Action: search: opening hours", "search", "opening hours"),
        ("Action: search[opening hours", "search", "opening hours"),
        ("Action: finish[see [1] there]", "finish", "see [1] there"),
        ("Action: finish", "finish", ""),
        ("Action: search[a]\nAction: search[b]", "search", "a"),
        ("Final Answer: 48 crowns", "finish", "48 crowns"),
        ("Answer: 48", "finish", "48"),
        ("I think it is Friday.", "", ""),
        ("Observation: made up\nAction: finish[x]", "", ""),
        ("", "", ""),
        ("Action:", "", ""),
        ("Action: []", "[]", ""),
    ],
)
def test_actions_are_read_however_they_are_written(written: str, tool: str, argument: str) -> None:
    step = parse_step(written)
    assert (step.tool, step.argument) == (tool, argument)


def test_what_cannot_be_read_is_the_observation_and_the_model_may_mend_it(tmp_path: Path) -> None:
    says = ["Hm.", "Action: dance[x]\n", "Action: finish[no]"]
    steps = [says[0], "Action: search[hall shut]", says[1], "Action: finish[Friday]"]
    completion, backend = asked(tmp_path, steps, "When is it shut?")
    assert completion.text == "Friday"
    assert "Observation: No action was understood. Write one line such as" in backend.said()
    assert "Observation: There is no action 'dance'. Actions: search, lookup, calculate, finish." in backend.said()


@pytest.mark.parametrize(
    "says", ["gibberish", "", "Action: fly[away]", "Action: finish[]", "\x00[[[((", "Observation:"]
)
def test_a_model_that_keeps_to_no_form_answers_from_a_search(tmp_path: Path, says: str) -> None:
    def model(messages: Any) -> str:
        return "48 crowns" if "passages" in messages[0].content[:30] else says

    completion, backend = asked(tmp_path, model, "What does a yearly card cost?")
    assert completion.text == "48 crowns" and completion.sources[0].document == "fees.pdf"
    assert len(backend.prompts) == 3 and "2 steps running without an action" in completion.transcript


def test_steps_are_bounded(tmp_path: Path) -> None:
    def model(messages: Any) -> str:
        return "Friday" if "passages" in messages[0].content[:30] else "Action: search[hall shut]"

    completion, backend = asked(tmp_path, model, "When is it shut?", answer=AnswerConfig(steps=3))
    assert completion.text == "Friday" and len(backend.prompts) == 4
    assert "no answer after 3 steps" in completion.transcript
    assert backend.said().count("The hall is shut on Friday.") == 1  # found three times, read once


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("item=kayak", "price: 17 crowns"),
        ("ITEM = Kayak; price=17 crowns", "deposit: 80"),
        ("price=31", "item: canoe"),
        ("table=boats; deposit=95 crowns", "item: rowing boat"),
        ("canoe", "price: 31"),
        ("item=canoo", "No row with item = 'canoo'; there is 'canoe'."),
        ("item=zeppelin", "No row with item = 'zeppelin'; there is 'kayak', 'canoe', 'rowing boat'."),
        ("colour=red", "No column 'colour'. Columns: item, price, deposit."),
        ("table=fees; item=kayak", "No table 'fees'. Tables: boats.csv."),
        ("", "Write lookup[column=value]"),
    ],
)
def test_lookup(tmp_path: Path, argument: str, says: str) -> None:
    completion, _ = asked(tmp_path, [f"Action: lookup[{argument}]", "Action: finish[x]"])
    assert says in completion.transcript


@pytest.mark.parametrize("argument", ["(1 + ", "1 / 0", "9 ** 9 ** 9", "__import__('os')", ""])
def test_what_cannot_be_calculated_is_said(tmp_path: Path, argument: str) -> None:
    completion, _ = asked(tmp_path, [f"Action: calculate[{argument}]", "Action: finish[x]"])
    assert "Observation: Cannot calculate: " in completion.transcript and completion.text == "x"


def test_table_rows_pass_the_guard_of_passages(tmp_path: Path) -> None:
    setup, _ = scripted_setup(tmp_path, ["Action: lookup[item=kayak]", "Action: finish[x]"])
    seen: list[str] = []
    setup.passage_filter = lambda chunks: [c for c in chunks if seen.append(c.id)]  # type: ignore[func-returns-value]
    completion = react.build(setup).answer(as_messages(QUESTION))  # build_system puts the project's own guard there
    assert seen == ["d3-0"] and "17 crowns" not in completion.transcript and not completion.sources


def test_only_the_one_document_is_looked_at(tmp_path: Path) -> None:
    setup, _ = scripted_setup(tmp_path, ["Action: lookup[item=kayak]", "Action: search[kayak]", "Action: finish[x]"])
    setup.document = "hours.txt"
    transcript = build_system("react", setup).answer(as_messages(QUESTION)).transcript
    assert "There are no tables." in transcript and "Nothing was found." in transcript


def test_questions_side_by_side_are_those_one_by_one(tmp_path: Path) -> None:
    def model(messages: Any) -> str:
        if "passages" in messages[0].content[:30]:
            return "from passages"
        turns, asks = sum(m.role == "assistant" for m in messages), messages[1].content
        return "?" if "shut" in asks else f"Action: finish[{asks[-2]}]" if turns else "Action: search[card]"

    setup, _ = scripted_setup(tmp_path, model)
    system = build_system("react", setup)
    questions = [as_messages(q) for q in ("card a?", "shut?", "card b?")]
    together = system.answer_batch(questions)
    assert [c.text for c in together] == ["a", "from passages", "b"]
    assert together == [system.answer(q) for q in questions]


def test_conditions_and_cells() -> None:
    assert conditions("a=1, b = '2'") == [("a", "1"), ("b", "2")]
    assert conditions("name = Smith, Ann; year=2026") == [("name", "Smith, Ann"), ("year", "2026")]
    assert conditions("=;;=") == [] or all(v for _, v in conditions("=;;="))
    assert cells_of("a: 1; b: fish; milk; c: 2") == (("a", "1"), ("b", "fish; milk"), ("c", "2"))


def test_five_rows_and_how_many_more(tmp_path: Path) -> None:
    setup, _ = scripted_setup(tmp_path, [""])
    tables = Tables(setup)
    tables.rows = [r for r in tables.rows for _ in range(4)]
    chunks, note = tables.lookup("crowns")
    assert len(chunks) == 5 and note.startswith("7 more rows")


def test_what_a_guard_takes_out_of_a_row_is_no_hint_either(tmp_path: Path) -> None:
    setup, _ = scripted_setup(tmp_path, [])
    tables = Tables(setup)
    assert "canoe" in tables.lookup("item=canoo")[1] and "price" in tables.lookup("colour=red")[1]
    setup.passage_filter = lambda chunks: [replace(c, text=c.text.replace("canoe", "[secret]")) for c in chunks]
    assert "canoe" not in tables.lookup("item=canoo")[1].replace("'canoo'", "")
    setup.passage_filter = lambda chunks: []
    assert tables.lookup("item=canoo")[1] == "No row with item = 'canoo'."
    assert tables.lookup("colour=red")[1] == "No column 'colour'. Columns: ."
