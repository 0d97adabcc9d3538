"""Prompting methods with a scripted model: the exact prompt, what is taken out of the reply, sources where they search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groundtune.config import AnswerConfig, RetrievalConfig
from groundtune.methods import demonstrate_search_predict
from groundtune.methods._reasoning import extract_answer
from groundtune.methods._systems import build_system
from groundtune.methods.directional_stimulus import Policy, asks_for, keywords, kind_of
from groundtune.methods.few_shot_nearest import Nearest
from groundtune.methods.self_consistency import majority
from groundtune.records import Message
from groundtune.system import as_messages
from scripted import EXAMPLES, scripted_setup

TRAIN = [e for e in EXAMPLES if e.split == "train"]


def test_nearest_examples_stand_before_the_question_the_nearest_last(tmp_path: Path) -> None:
    setup, backend = scripted_setup(tmp_path, ["x"], answer=AnswerConfig(shots=2))
    build_system("few_shot_nearest", setup).answer(as_messages("At what time is the hall opened?"))
    assert backend.said() == (
        "[system] Answer in a few words.\n[user] Question: On which day is the hall shut?\n[assistant] Friday\n"
        "[user] Question: When does the hall open?\n[assistant] 9:30\n[user] Question: At what time is the hall opened?"
    )


def test_nearest_examples_are_of_different_facts_and_not_of_one_that_is_left_out(tmp_path: Path) -> None:
    setup, _ = scripted_setup(tmp_path, ["x"])
    found = Nearest(setup, [*TRAIN, *TRAIN]).find("When does the hall open?", 3, but="hall")
    assert len(found) == 3 and len({e.fact for e in found}) == 3 and "hall" not in {e.fact for e in found}
    assert Nearest(setup, []).find("x", 3) == []


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("There are 3 cars, then 2 more.\nAnswer: 5", "5"),
        ("Answer: four\nNo, I forgot one.\n**Answer:** five.", "five"),
        ("He had 5 balls. 5 + 6 = 11. The answer is 11.", "11"),
        ("So the answer is: 48 crowns.", "48 crowns"),
        ("It opens early. Final answer: 9:30", "9:30"),
        ("First this.\nThen that.", "Then that"),
        ("Answer:", "Answer:"),
        ('Answer: "Friday"', "Friday"),
        ("Answer: The passages do not say.", "The passages do not say."),
        ("Answer: at 9 a.m.", "at 9 a.m."),
        ("", ""),
    ],
)
def test_the_answer_at_the_end_of_a_chain_of_thought(written: str, answer: str) -> None:
    assert extract_answer(written) == answer


def test_chain_of_thought_with_and_without_passages(tmp_path: Path) -> None:
    setup, backend = scripted_setup(tmp_path, ["It says so.\nAnswer: 48 crowns"])
    alone = build_system("chain_of_thought", setup).answer(as_messages("What does a yearly card cost?"))
    assert backend.said().endswith("[user] Question: What does a yearly card cost?\n\nLet's think step by step.")
    assert (alone.text, alone.sources, alone.transcript) == ("48 crowns", (), "It says so.\nAnswer: 48 crowns")
    read = build_system("chain_of_thought+rag", setup).answer(as_messages("What does a yearly card cost?"))
    assert "[1] fees.pdf, page 4\nA yearly card costs 48 crowns." in backend.said()
    assert read.text == "48 crowns" and read.sources[0].page == 4 and read.retrieved


@pytest.mark.parametrize(
    ("answers", "winner", "votes"),
    [
        (["4", "5", "5", "4", "5"], "5", 3),
        (["The 5.", "five", "5"], "The 5.", 2),
        (["a", "b"], "a", 1),
        (["", "", "b"], "b", 1),
        (["", ""], "", 2),
        (["I do not know", "The passages do not say.", "Friday"], "I do not know", 2),
        (["...", "!?"], "...", 1),
    ],
)
def test_the_majority(answers: list[str], winner: str, votes: int) -> None:
    best, most = majority(answers)
    assert (answers[best], most) == (winner, votes)


def test_self_consistency_draws_and_votes(tmp_path: Path) -> None:
    replies = ["Answer: 4", "Answer: 48 crowns", "Answer: 48 crowns.", "hm", "Answer: 4"]
    own = AnswerConfig(samples=5, temperature=0.9)
    setup, backend = scripted_setup(tmp_path, [*replies, *replies[2:], "Answer: z", "Answer: z"], answer=own, seed=2)
    system = build_system("self_consistency+rag", setup)
    first, second = system.answer_batch([as_messages("What does a yearly card cost?"), as_messages("Who?")])
    assert backend.sampled == [(0.9, seed) for seed in (10, 11, 12, 13, 14)] * 2
    assert first.text == "4" and first.transcript.startswith("2 of 5 chains end in: 4\n\n[1] Answer: 4")
    assert second.text == "z" and first.usage.completion_tokens == 10
    one = scripted_setup(tmp_path, ["Answer: 7"], answer=AnswerConfig(samples=1))[0]
    assert build_system("self_consistency", one).answer(as_messages("?")).text == "7"


def test_demonstrate_search_predict(tmp_path: Path) -> None:
    def model(messages: list[Message]) -> str:
        return "Query: hall shut" if messages[-1].content.endswith("Query:") else "Friday"

    own = AnswerConfig(shots=2)
    setup, backend = scripted_setup(tmp_path, model, answer=own, retrieval=RetrievalConfig(context_sentences=1))
    system: Any = demonstrate_search_predict.build(setup)
    shown = [d["question"] for d in system.demonstrations]
    assert len(shown) == 2 and set(shown) <= {
        e.question for e in TRAIN if e.fact != "moon"
    }  # no passage holds "very far"
    completion = system.answer(as_messages("On which day must I stay out, and what does a yearly card cost?"))
    assert completion.text == "Friday" and completion.sources[0].document == "hours.txt"
    assert completion.transcript.endswith("search: hall shut")
    last = backend.prompts[-1]
    assert [m.role for m in last] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "fees.pdf" in last[-1].content and "The hall is shut on Friday." in last[-1].content
    assert setup.retriever.asked[-1] == "hall shut"  # type: ignore[attr-defined]


@pytest.mark.parametrize("written", ["", "On which day?", "???"])
def test_a_query_that_is_none_is_not_searched_with(tmp_path: Path, written: str) -> None:
    def model(messages: list[Message]) -> str:
        return written if messages[-1].content.endswith("Query:") else "Friday"

    setup, _ = scripted_setup(tmp_path, model, answer=AnswerConfig(shots=0))
    completion = build_system("demonstrate_search_predict", setup).answer(as_messages("On which day?"))
    assert setup.retriever.asked == ["On which day?"] and completion.text == "Friday"  # type: ignore[attr-defined]


def test_worked_examples_make_room(tmp_path: Path) -> None:
    setup, backend = scripted_setup(tmp_path, ["x"], answer=AnswerConfig(shots=2, max_tokens=4))
    backend.context_tokens = 90
    build_system("demonstrate_search_predict", setup).answer(as_messages("What does a yearly card cost?"))
    assert len(backend.prompts[-1]) in (2, 4)
    assert "What does a yearly card cost?" in backend.prompts[-1][-1].content


def test_the_kind_of_answer_and_of_question() -> None:
    assert [kind_of(t) for t in ("14 March", "9:30", "48 crowns", "Ann Lee", "green")] == [
        "date",
        "date",
        "number",
        "name",
        "word",
    ]
    assert [asks_for(q) for q in ("How many boats?", "On which day is it?", "Tell me!")] == [
        "how many",
        "which day",
        "",
    ]
    found = keywords("A card costs 48 crowns from 14 March at Port Ellery.")
    assert found[:2] == ["14 March", "48 crowns"] and "Port Ellery" in found and "from" not in found


def test_hints_are_of_the_kind_that_training_answers_have() -> None:
    policy = Policy(TRAIN)
    texts = ["The hall was built by Ann Lee.", "It is shut on Friday and costs 48 crowns."]
    assert "Friday" in policy.hint("On which day is it closed?", texts[1:]).split("; ")[:2]
    assert policy.share("When is it?", "date") > policy.share("When is it?", "name")
    assert policy.hint("Ann Lee built the hall", texts[:1]) == ""  # nothing that the question does not say
    assert Policy([]).hint("Who?", texts)


def test_directional_stimulus(tmp_path: Path) -> None:
    setup, backend = scripted_setup(tmp_path, ["48 crowns"])
    completion = build_system("directional_stimulus+rag", setup).answer(as_messages("What does a yearly card cost?"))
    hint = completion.transcript.removeprefix("hint: ")
    assert "48 crowns" in hint.split("; ") and backend.said().endswith(f"Hint: {hint}")
    assert completion.sources[0].document == "fees.pdf"
    closed = build_system("directional_stimulus", setup).answer(as_messages("What is the yearly cost of a card?"))
    assert "48 crowns" in closed.transcript and not closed.sources and "fees.pdf" not in backend.said()


@pytest.mark.parametrize(("name", "kind"), [("hyde", "hyde"), ("multi_query", "multi_query"), ("query_rewriting", "rewrite"), ("step_back", "step_back")])  # fmt: skip
def test_further_queries(tmp_path: Path, name: str, kind: str) -> None:
    def model(messages: list[Message]) -> str:
        return "Friday" if "passages" in messages[0].content[:30] else "The hall is shut\nnever"

    setup, backend = scripted_setup(tmp_path, model)
    completion = build_system(name, setup).answer(as_messages("A card?"))
    asked: Any = setup.retriever.asked  # type: ignore[attr-defined]
    assert asked[0] == "A card?" and asked[1].startswith("The hall is shut") and len(backend.prompts) == 2
    assert {s.chunk_id for s in completion.retrieved} == {"d1-0", "d2-0"} and completion.sources[
        0
    ].document == "hours.txt"
    build_system("rag", setup).answer(as_messages("A card?"))
    assert asked[-1] == "A card?" and len(backend.prompts) == 3  # rag itself is as it was
    again = scripted_setup(tmp_path, model, retrieval=RetrievalConfig(queries=kind))[0]
    build_system("rag", again).answer(as_messages("A card?"))
    assert again.retriever.asked == asked[: len(asked) - 1]  # type: ignore[attr-defined]


def test_a_query_that_comes_to_nothing_changes_nothing(tmp_path: Path) -> None:
    setup, _ = scripted_setup(tmp_path, [""])
    hyde, rag = (build_system(n, setup).answer(as_messages("A yearly card?")) for n in ("hyde", "rag"))
    assert hyde.retrieved == rag.retrieved != ()


@pytest.mark.parametrize(
    "name",
    [
        "rag",
        "hyde",
        "chain_of_thought+rag",
        "self_consistency+rag",
        "directional_stimulus+rag",
        "demonstrate_search_predict",
    ],
)
def test_where_the_retriever_refuses_every_system_does(tmp_path: Path, name: str) -> None:
    setup, _ = scripted_setup(tmp_path, ["48 crowns"], answer=AnswerConfig(hops=1))
    question = "What does a yearly card cost?"
    setup.retriever.refused.add(question)  # type: ignore[attr-defined]
    completion = build_system(name, setup).answer(as_messages(question))
    assert completion.abstained and completion.text == "The passages do not say." and not completion.sources
    assert completion.retrieved


def test_react_refuses_where_all_its_searches_were_refused(tmp_path: Path) -> None:
    for refused in ({"hall"}, {"hall", "card"}):
        setup, _ = scripted_setup(tmp_path, ["Action: search[hall]", "Action: search[card]", "Action: finish[Friday]"])
        setup.retriever.refused |= refused  # type: ignore[attr-defined]
        assert build_system("react", setup).answer(as_messages("?")).abstained == (len(refused) == 2)
