"""Every dataset format: what it writes it reads back the same, and what it has no place for it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundtune import registry
from groundtune.dataset.files.items import Reader, detect_format, read_items, write_items
from groundtune.dataset.formats._messages import CannotHold, RowFault
from groundtune.dataset.prompts import ABSTENTION
from groundtune.errors import ConfigError, InputError
from groundtune.records import Conversation, Message, Preference, ToolCall

TOOLS = ({"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}},)
CALL = Message("assistant", tool_calls=(ToolCall("look_up", '{"of": "tea"}', "call_1"),))
RESULT = Message("tool", '{"price": 3}', tool_call_id="call_1")
SAID = Message("assistant", "Three euro.")
ASKED = Message("user", "What is tea?")

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(lambda t: bool(t.strip()))
plain = st.builds(lambda q, a: (Message("user", q), Message("assistant", a)), texts, texts)
maybe_system = st.one_of(st.just(()), texts.map(lambda t: (Message("system", t),)))


@st.composite
def talks(draw: Any) -> tuple[Message, ...]:
    """Turns that alternate, a system message before them now and then."""
    head = draw(maybe_system)
    return (*head, *[m for pair in draw(st.lists(plain, min_size=1, max_size=3)) for m in pair])


@st.composite
def with_calls(draw: Any) -> Conversation:
    """A talk with a tool call and its answer in it, and turns that are context only."""
    arguments = json.dumps(draw(st.dictionaries(texts, texts | st.integers(-9, 9), max_size=2)), ensure_ascii=False)
    call = Message("assistant", tool_calls=(ToolCall("look_up", arguments, "call_1"),))
    answer = Message("assistant", draw(texts), trained=draw(st.booleans()))
    return Conversation(
        (Message("user", draw(texts)), call, Message("tool", draw(texts), tool_call_id="call_1"), answer), TOOLS
    )


conversations = talks().map(Conversation)
single = plain.map(Conversation)
marked = st.builds(
    lambda q, a: Conversation((Message("system", "<to-fr>"), Message("user", q), Message("assistant", a))),
    *[st.text("abc éß,.!?1", min_size=1, max_size=30).map(str.strip).filter(bool)] * 2,
)
sided = st.builds(
    lambda q, a, b: Preference((Message("user", q),), (Message("assistant", a),), (Message("assistant", b),)),
    texts,
    texts,
    texts,
)
labelled = st.builds(
    lambda q, a, good: Preference((Message("user", q),), (a,) if good else (), () if good else (a,)),
    texts,
    texts.map(lambda t: Message("assistant", t)),
    st.booleans(),
)
HELD = {
    "openai_chat": conversations | with_calls(),
    "prompt_completion": single,
    "openai_preference": sided,
    "alpaca": conversations,
    "sharegpt": conversations | with_calls() | sided,
    "kto": labelled,
    "columns": st.builds(lambda head, pair: Conversation((*head, *pair)), maybe_system, plain),
    "task_markers": marked,
    "groundtune": single,
    "text": texts.map(lambda t: Conversation((Message("assistant", t),))),
}


def test_every_format_is_under_test() -> None:
    assert set(HELD) == set(registry.names("formats"))


@pytest.mark.parametrize("name", HELD)
def test_what_is_written_is_read_back(name: str) -> None:
    module = registry.get("formats", name)

    @settings(max_examples=60, deadline=None, database=None)
    @given(HELD[name])
    def round_trip(item: Any) -> None:
        row = json.loads(json.dumps(module.write(item)))
        assert module.sniff(row) > 0
        assert module.read(row) == item

    round_trip()


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".jsonl.gz", ".jsonl.xz"])
def test_files_keep_items_and_their_format_is_found(name: str, ending: str, tmp_path: Path) -> None:
    found = _some(name)
    path = tmp_path / f"data{ending}"
    assert write_items(path, found, name) == len(found)
    assert detect_format(path) == name
    assert [i.item for i in read_items(path)] == found
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def _some(name: str) -> list[Any]:
    question = (ASKED, Message("assistant", "A drink,\nhot."))
    some: dict[str, list[Any]] = {
        "openai_chat": [
            Conversation((ASKED, CALL, RESULT, SAID), TOOLS),
            Conversation((Message("developer", "Brief."), *question)),
        ],
        "openai_preference": [Preference((ASKED,), (SAID,), (Message("assistant", "No."),), TOOLS)],
        "alpaca": [Conversation((*question, *question))],
        "sharegpt": [Conversation((ASKED, CALL, RESULT, SAID), TOOLS)],
        "kto": [Preference((ASKED,), (SAID,), ()), Preference((ASKED,), (), (SAID,))],
        "task_markers": [Conversation((Message("system", "<summarize>"), ASKED, SAID))],
        "groundtune": [Conversation((ASKED, SAID), id="q1", fact="f", split="train", source="tea.pdf")],
        "text": [Conversation((Message("assistant", "Tea is a drink."),))],
    }
    return some.get(name, [Conversation(question)])


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("openai_chat", Preference((ASKED,), (SAID,), (SAID,))),
        ("prompt_completion", Conversation((Message("system", "Brief."), ASKED, SAID))),
        ("prompt_completion", Conversation((ASKED, SAID), TOOLS)),
        ("openai_preference", Conversation((ASKED, SAID))),
        ("openai_preference", Preference((ASKED,), (SAID,), ())),
        ("alpaca", Conversation((ASKED, SAID), TOOLS)),
        ("alpaca", Conversation((ASKED, CALL, RESULT, SAID))),
        ("alpaca", Conversation((ASKED, Message("assistant", "x", trained=False), ASKED, SAID))),
        ("alpaca", Conversation((Message("user", "x", name="Ann"), SAID))),
        ("sharegpt", Conversation((Message("developer", "Brief."), ASKED, SAID))),
        ("sharegpt", Conversation((ASKED, Message("assistant", "Wait.", tool_calls=CALL.tool_calls)))),
        ("sharegpt", Conversation((ASKED, Message("assistant", tool_calls=(ToolCall("f", "{broken"),))))),
        ("kto", Preference((ASKED,), (SAID,), (SAID,))),
        ("task_markers", Conversation((ASKED, SAID))),
        ("task_markers", Conversation((Message("system", "<to-fr>"), Message("user", "a <to-de> b"), SAID))),
        ("groundtune", Conversation((Message("system", "Brief."), ASKED, SAID))),
        ("text", Conversation((ASKED, SAID))),
        ("columns", Conversation((ASKED, SAID, ASKED, SAID))),
    ],
)
def test_nothing_is_lost_in_silence(name: str, item: Any) -> None:
    with pytest.raises(CannotHold):
        registry.get("formats", name).write(item)


def user(text: str = "Hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str = "Hello.") -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        (
            "openai_chat",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                    assistant(),
                ]
            },
            Conversation((Message("user", "ab"), Message("assistant", "Hello."))),
        ),
        (
            "openai_chat",
            {
                "messages": [
                    user(),
                    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                ],
                "functions": [{"name": "f"}],
            },
            Conversation(
                (Message("user", "Hi"), Message("assistant", tool_calls=(ToolCall("f", "{}"),))),
                ({"type": "function", "function": {"name": "f"}},),
            ),
        ),
        (
            "openai_chat",
            {
                "messages": [
                    user(),
                    {**assistant(), "weight": 0, "refusal": None, "annotations": []},
                    user(),
                    assistant(),
                ],
                "tools": None,
            },
            Conversation(
                (
                    Message("user", "Hi"),
                    Message("assistant", "Hello.", trained=False),
                    Message("user", "Hi"),
                    Message("assistant", "Hello."),
                )
            ),
        ),
        (
            "openai_preference",
            {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."},
            Preference((Message("user", "Hi"),), (Message("assistant", "Hello."),), (Message("assistant", "Go."),)),
        ),
        (
            "openai_preference",
            {"chosen": [user(), assistant()], "rejected": [user(), assistant("Go.")]},
            Preference((Message("user", "Hi"),), (Message("assistant", "Hello."),), (Message("assistant", "Go."),)),
        ),
        (
            "openai_preference",
            {"instruction": "Say", "input": "hi", "chosen": "Hello.", "rejected": "Go."},
            Preference(
                (Message("user", "Say\nhi"),), (Message("assistant", "Hello."),), (Message("assistant", "Go."),)
            ),
        ),
        (
            "openai_preference",
            {
                "input": {"messages": [user()]},
                "preferred_completion": [assistant()],
                "non_preferred_completion": [assistant("Go.")],
            },
            Preference((Message("user", "Hi"),), (Message("assistant", "Hello."),), (Message("assistant", "Go."),)),
        ),
        (
            "prompt_completion",
            {"prompt": [user()], "completion": [assistant()]},
            Conversation((Message("user", "Hi"), Message("assistant", "Hello."))),
        ),
        (
            "kto",
            {"prompt": "Hi", "completion": "Go.", "label": False},
            Preference((Message("user", "Hi"),), (), (Message("assistant", "Go."),)),
        ),
        (
            "groundtune",
            {"question": "Who?", "references": []},
            Conversation((Message("user", "Who?"), Message("assistant", ABSTENTION))),
        ),
        (
            "task_markers",
            "I am a student\t<to-fr>\tJe suis étudiant<|endoftext|>",
            Conversation(
                (
                    Message("system", "<to-fr>"),
                    Message("user", "I am a student"),
                    Message("assistant", "Je suis étudiant"),
                )
            ),
        ),
    ],
)
def test_other_spellings_are_read(name: str, row: Any, expected: Any) -> None:
    assert registry.get("formats", name).read(row) == expected


def test_sharegpt_numbers_calls_and_hands_their_ids_to_observations() -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "Both?"},
            {
                "from": "function_call",
                "value": '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]',
            },
            {"from": "observation", "value": "1"},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "Done."},
        ],
        "tools": '[{"name": "f"}, {"name": "g"}]',
    }
    item = registry.get("formats", "sharegpt").read(row)
    assert [c.id for c in item.messages[1].tool_calls] == ["call_1", "call_2"]
    assert [m.tool_call_id for m in item.messages[2:4]] == ["call_1", "call_2"]
    assert [t["function"]["name"] for t in item.tools] == ["f", "g"]


def test_self_instruct_rows_become_one_item_an_instance() -> None:
    row = {
        "id": "t1",
        "instruction": "Add.",
        "instances": [{"input": "1 1", "output": "2"}, {"input": "2 2", "output": "4"}],
    }
    items = Reader("alpaca").items(7, row)
    assert [(i.line, i.item.id, i.item.messages[0].content) for i in items if i.item] == [
        (7, "t1-1", "Add.\n1 1"),
        (7, "t1-2", "Add.\n2 2"),
    ]


def test_a_mapping_reads_any_columns() -> None:
    row = {"meta": {"q": "Hi"}, "sums": ["a", "b"], "topic": "t"}
    each = Reader(None, {"question": "meta.q", "answer": "sums[*]"}).items(1, row)
    assert [i.item.messages[1].content for i in each if i.item] == ["a", "b"]
    first = Reader(None, {"question": "meta.q", "answer": "sums[0]", "fact": "topic"}).items(1, row)[0].item
    assert first == Conversation((Message("user", "Hi"), Message("assistant", "a")), fact="t")
    unsure = Reader(None, {"question": "meta.q", "answer": "sums"}).items(1, row)[0]
    assert unsure.item is None and "sums[0]" in unsure.fault and "sums[*]" in unsure.fault


@pytest.mark.parametrize("mapping", [{"question": "a"}, {"question": "a", "answer": "b", "colour": "c"}])
def test_a_wrong_mapping_is_named(mapping: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Reader(None, mapping)


def test_where_an_item_comes_from_is_kept_on_request(tmp_path: Path) -> None:
    item = Conversation((ASKED, SAID), id="1", fact="f", split="train", source="tea.pdf")
    write_items(tmp_path / "a.jsonl", [item], "openai_chat")
    write_items(tmp_path / "b.jsonl", [item], "openai_chat", origin=True)
    assert next(read_items(tmp_path / "a.jsonl")).item == Conversation((ASKED, SAID))
    assert next(read_items(tmp_path / "b.jsonl")).item == item


def test_an_item_that_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="item 2 cannot be written as alpaca"):
        write_items(tmp_path / "a.jsonl", [Conversation((ASKED, SAID)), Conversation((ASKED, SAID), TOOLS)], "alpaca")
    assert not list(tmp_path.iterdir())


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "from", "value", "tools", "tool_calls", "function", "name", "label", "x",
                         "conversations", "prompt", "completion", "chosen", "rejected", "input", "instruction", "output",
                         "question", "references", "text", "history", "instances", "weight", "passages"]),
        inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("name", HELD)
def test_junk_is_refused_with_a_reason_and_never_crashes(name: str) -> None:
    module = registry.get("formats", name)

    @settings(max_examples=150, deadline=None, database=None)
    @given(junk)
    def read(row: Any) -> None:
        assert module.sniff(row) >= 0
        for item in Reader(name).items(3, row):
            assert (item.item is None) == bool(item.fault) == bool(item.faults)

    read()
    with pytest.raises(RowFault):
        module.read({"nothing": 1})


@pytest.mark.parametrize(
    ("more", "source"),
    [
        ({"document": "d.pdf"}, "d.pdf"),
        ({"place": {"document": "d.pdf", "page": 3}}, "d.pdf"),
        ({"source": "s.pdf"}, "s.pdf"),
        ({"document": "d.pdf", "passages": [{"document": "p.pdf", "text": "x"}]}, "p.pdf"),
        ({"document": 3, "passages": "x"}, ""),
    ],
)
def test_a_question_s_source_is_the_document_that_it_names(more: dict[str, Any], source: str) -> None:
    item = registry.get("formats", "groundtune").read({"question": "q", "references": "a", **more})
    assert item.source == source
