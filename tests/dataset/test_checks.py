"""Every defect that lies in data is planted into an otherwise good file, and named with its line."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.checks.check import check
from groundtune.dataset.checks.findings import CODES
from groundtune.dataset.convert import convert
from groundtune.dataset.files import row_bytes as rows_module
from groundtune.dataset.split import split
from groundtune.errors import InputError
from groundtune.nn.checkpoints import BUNDLED_FOLDER

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
TOPICS = (
    "tea coffee bread salt harbour winter tax violin garden copper lantern meadow railway chess candle orchard".split()
)


def user(text: Any = "How are you?") -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: Any = "Well, thanks.") -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def call(name: str = "f", arguments: str = "{}", identity: str = "c1") -> dict[str, Any]:
    calls = [{"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answer(identity: str = "c1") -> dict[str, Any]:
    return {"role": "tool", "content": "3", "tool_call_id": identity}


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def good(number: int) -> dict[str, Any]:
    topic = TOPICS[number % len(TOPICS)]
    return chat(user(f"What do you know about {topic}?"), said(f"{topic.title()} number {number} is my favourite."))


GOOD = [good(n) for n in range(12)]
PAIR = {"input": {"messages": [user()]}, "preferred_output": [said()], "non_preferred_output": [said("No.")]}
PAIRS = [
    {
        "input": {"messages": [user(f"About {t}?")]},
        "preferred_output": [said(f"{t}!")],
        "non_preferred_output": [said("?")],
    }
    for t in TOPICS
]
COMPLETIONS = [{"prompt": f"{t} ->", "completion": f" {t} is fine\n"} for t in TOPICS]
ALPACA = [{"instruction": f"Tell of {t}.", "input": "", "output": f"{t} is good."} for t in TOPICS]
MARKED = [f"{t} is here <to-fr> {t} est là" for t in TOPICS]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(BUNDLED_FOLDER)


def written(path: Path, rows: list[Any]) -> Path:
    """A file of rows; bytes and strings stand as they are."""
    with path.open("wb") as file:
        for row in rows:
            data = row if isinstance(row, bytes) else row.encode() if isinstance(row, str) else json.dumps(row).encode()
            file.write(data + b"\n")
    return path


#: code, the row that has it; it stands in line 13 behind twelve good chat rows
CHAT_DEFECTS: list[tuple[str, Any]] = [
    ("not_json", '{"messages": [{"role"'),
    ("wrong_encoding", b'{"messages": "\xfc"}'),
    ("data_type", ["no", "object"]),
    ("data_type", chat("no object")),
    ("data_type", chat(user(), {"role": "assistant", "content": None, "tool_calls": [{"type": "custom"}]})),
    ("missing_messages_list", chat()),
    ("missing_messages_list", {"messages": "Hi"}),
    ("message_missing_key", chat({"content": "Hi"}, said())),
    ("message_missing_key", chat(user(), {"role": "assistant"})),
    ("message_unrecognized_key", chat({**user(), "mood": "good"}, said())),
    ("message_unrecognized_key", chat(user(), {**said(), "reasoning_content": "First ..."})),
    ("unrecognized_role", chat(user(), {"role": "robot", "content": "Hi"})),
    ("missing_content", chat(user(""), said())),
    ("missing_content", chat(user(7), said())),
    ("content_not_text", chat(user([{"type": "image_url", "image_url": {"url": "x"}}]), said())),
    ("example_missing_assistant_message", chat(user())),
    ("missing_user_message", chat({"role": "system", "content": "Be brief."}, said())),
    ("missing_system_message", chat(user(), said())),
    ("tool_call_without_content", chat(user(), call(), answer(), said(), tools=[TOOL])),
    ("system_not_first", chat(user(), {"role": "system", "content": "Be brief."}, said())),
    ("assistant_first", chat(said("Welcome."), user(), said())),
    ("two_users_in_a_row", chat(user(), user("Hello?"), said())),
    ("two_assistants_in_a_row", chat(user(), said(), said("Really."))),
    ("tool_answer_without_call", chat(user(), answer(), said(), tools=[TOOL])),
    ("tool_answer_without_call", chat(user(), call(), answer("other"), said(), tools=[TOOL])),
    ("call_without_tool_answer", chat(user(), call(), said(), tools=[TOOL])),
    ("call_by_other_role", chat({**call(), "role": "user", "content": "x"}, said(), tools=[TOOL])),
    ("arguments_not_json", chat(user(), call(arguments="{'a': 1}"), answer(), said(), tools=[TOOL])),
    ("arguments_not_json", chat(user(), call(arguments="[1]"), answer(), said(), tools=[TOOL])),
    ("unknown_tool", chat(user(), call("g"), answer(), said(), tools=[TOOL])),
    ("tools_not_described", chat(user(), call(), answer(), said())),
    ("tools_not_a_list", chat(user(), said(), tools={"f": 1})),
    ("last_not_assistant", chat(user(), said(), user("And?"))),
    ("empty_answer", chat(user(), said(" "))),
    ("weight_not_0_or_1", chat(user(), {**said(), "weight": 0.5})),
    ("weight_not_0_or_1", chat(user(), {**said(), "weight": True})),
    ("all_weights_zero", chat(user(), {**said(), "weight": 0})),
    ("control_token_in_text", chat(user("Say <|end|> now"), said())),
    ("chat_marker_in_text", chat(user("<|im_start|>user Hi<|im_end|>"), said())),
    ("chat_marker_in_text", chat(user("[INST] Hi [/INST]"), said())),
    ("chat_marker_in_text", chat(user("### Instruction: Hi"), said())),
    ("unknown_special_token", chat(user("Use <|memory|> here"), said())),
    ("template_placeholder", chat(user(), said("I am {{name}}."))),
    ("mojibake", chat(user("Ein schÃ¶ner Tag"), said())),
    ("mojibake", chat(user("Itâ€™s fine"), said())),
    ("replacement_character", chat(user("Ein sch�ner Tag"), said())),
    ("half_character", chat(user("Oh \ud83d no"), said())),
    ("control_character", chat(user("A\x00B"), said())),
    ("too_long", chat(user("word " * 700), said())),
    ("answer_too_long", chat(user(), said("word " * 700))),
    ("mixed_formats", {"prompt": "Hi", "completion": "Hello."}),
    ("mixed_formats", {"conversations": [{"from": "human", "value": "Hi"}]}),
    ("unknown_special_token", chat({"role": "system", "content": "<to-fr>"}, user("good"), said("bon"))),
]


@pytest.mark.parametrize(("code", "row"), CHAT_DEFECTS, ids=[f"{n}-{c}" for n, (c, _) in enumerate(CHAT_DEFECTS)])
def test_a_planted_defect_is_named_with_its_line(code: str, row: Any, tokenizer: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "data.jsonl", [*GOOD, row])
    found = {f.code: f for f in check(path, tokenizer=tokenizer, quarantine=tmp_path / "bad.jsonl").findings}
    assert code in found, f"found {sorted(found)}"
    if code == "missing_system_message":  # all rows have it
        assert found[code].count == 13
        return
    assert found[code].count == 1
    assert found[code].places[0].startswith(f"{path}:13"), found[code].places
    put_aside = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    if found[code].severity == "error":
        assert [p["line"] for p in put_aside] == [13] and code in put_aside[0]["codes"]
    else:
        assert all(code not in p["codes"] for p in put_aside)


@pytest.mark.parametrize(
    ("code", "name", "rows", "line"),
    [
        ("empty_row", "a.jsonl", [*GOOD[:3], "", *GOOD[3:]], 4),
        ("damaged_file", "a.jsonl.gz", None, None),
        ("wrong_columns", "a.csv", ["question,answer", *[f"{t}?,{t}!" for t in TOPICS], "x"], 18),
        ("label_not_true_or_false", "a.jsonl", [*[{**chat(user(f"{t}?"), said(t)), "label": True} for t in TOPICS], {**chat(user(), said()), "label": "yes"}], 17),
        ("last_not_assistant", "a.jsonl", [*[{**chat(user(f"{t}?"), said(t)), "label": True} for t in TOPICS], {**chat(user()), "label": True}], 17),
        ("missing_side", "a.jsonl", [*PAIRS, {k: v for k, v in PAIR.items() if k != "non_preferred_output"}], 17),
        ("equal_sides", "a.jsonl", [*PAIRS, {**PAIR, "non_preferred_output": [said(" Well, thanks. ")]}], 17),
        ("empty_answer", "a.jsonl", [*PAIRS, {**PAIR, "preferred_output": [said("")]}], 17),
        ("empty_answer", "a.jsonl", [*ALPACA, {**ALPACA[0], "output": ""}], 17),
        ("missing_content", "a.jsonl", [*ALPACA, {**ALPACA[0], "instruction": None}], 17),
        ("no_task_marker", "a.txt", [*MARKED, "no marker here"], 17),
        ("no_task_marker", "a.txt", [*MARKED, "a <to-fr> b <to-de> c"], 17),
        ("no_leading_space", "a.jsonl", [*COMPLETIONS, {"prompt": "x ->", "completion": "no space\n"}], 17),
        ("no_prompt_suffix", "a.jsonl", [*COMPLETIONS, {"prompt": "no ending", "completion": " x\n"}], None),
        ("no_completion_suffix", "a.jsonl", [*COMPLETIONS, {"prompt": "x ->", "completion": " no ending"}], None),
        ("too_few_examples", "a.jsonl", GOOD[:9], None),
        ("duplicate", "a.jsonl", [*GOOD, GOOD[2]], 13),
        ("duplicate", "a.jsonl", [*GOOD, chat(user("what do you know  about BREAD?"), GOOD[2]["messages"][1])], 13),
        ("near_duplicate", "a.jsonl", [*GOOD, chat(user("What do you know about bread today?"), GOOD[2]["messages"][1])], 13),
        ("contradiction", "a.jsonl", [*GOOD, chat(GOOD[2]["messages"][0], said("Never heard of it."))], 3),
        ("duplicate_id", "a.jsonl", [{**row, "id": "same"} for row in GOOD[:2]] + GOOD[2:], 2),
        ("skewed_answers", "a.jsonl", [chat(user(f"Is {t} good?"), said("Yes")) for t in TOPICS] + GOOD[:10], None),
    ],
)  # fmt: skip
def test_defects_of_other_formats_and_whole_files(
    code: str, name: str, rows: list[Any] | None, line: int | None, tmp_path: Path
) -> None:
    path = tmp_path / name
    if rows is None:
        import gzip

        path.write_bytes(
            gzip.compress(json.dumps(GOOD[0]).encode() * 1 + b"\n" + json.dumps(GOOD[1]).encode() * 1)[:-9]
        )
    else:
        written(path, rows)
    found = {f.code: f for f in check(path).findings}
    assert code in found, f"found {sorted(found)}"
    assert found[code].count >= 1
    if line is not None:
        assert any(place.startswith(f"{path}:{line}") for place in found[code].places), found[code].places


def test_good_files_have_no_errors_and_no_warnings(tokenizer: Any, tmp_path: Path) -> None:
    for name, rows in (
        ("a.jsonl", GOOD),
        ("b.jsonl", PAIRS),
        ("c.jsonl", COMPLETIONS),
        ("d.jsonl", ALPACA),
        ("e.txt", MARKED),
    ):
        report = check(written(tmp_path / name, rows), tokenizer=tokenizer)
        assert {f.code for f in report.findings} <= {"missing_system_message", "unknown_special_token"}, name
        assert not report.errors and report.rows == len(rows) and report.tokens > report.trained_tokens > 0


def test_a_long_row_is_named_where_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_ROW_BYTES", 2000)
    report = check(written(tmp_path / "a.jsonl", [*GOOD, chat(user("x" * 3000), said())]))
    assert [(f.code, f.places[0].endswith(":13: over 0 MiB")) for f in report.findings if f.severity == "error"] == [
        ("row_too_long", True)
    ]


def with_template(tokenizer: Any, template: str, **more: Any) -> Any:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    for name, value in more.items():
        setattr(changed, name, value)
    return changed


_TURN = "{% for m in messages %}<|{{ m['role'] }}|>"
TEMPLATES = [
    ("no_end_of_turn", _TURN + "{% generation %}{{ m['content'] }}{% endgeneration %}<|end|>{% endfor %}", {}),
    ("template_refuses", "{{ raise_exception('roles must alternate') }}", {}),
    ("template_refuses", "{{ raise_exception('roles must alternate') }}{% generation %}{% endgeneration %}", {}),
    ("empty_loss_mask", _TURN + "{{ m['content'] }}<|end|>{% generation %}{% endgeneration %}{% endfor %}", {}),
    ("double_bos", "<|pad|><|pad|>" + _TURN + "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}{% endfor %}", {"bos_token": "<|pad|>"}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "template", "more"), TEMPLATES)
def test_defects_of_the_rendered_row(
    code: str, template: str, more: dict[str, str], tokenizer: Any, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.jsonl", GOOD)
    report = check(path, tokenizer=with_template(tokenizer, template, **more))
    found = {f.code: f.count for f in report.findings if f.severity == "error"}
    assert found == {code: 12}


def test_tools_that_a_template_leaves_out_are_named(tokenizer: Any, tmp_path: Path) -> None:
    rows = [*GOOD, chat(user(), call(), answer(), said(), tools=[TOOL])]
    template = "{% set x = 'tools tool_calls' %}" + tokenizer.chat_template  # says that it knows them, and does not
    report = check(written(tmp_path / "a.jsonl", rows), tokenizer=with_template(tokenizer, template))
    assert next(f.places for f in report.findings if f.code == "tools_not_rendered")[0].startswith(
        f"{tmp_path}/a.jsonl:13"
    )
    plain = check(tmp_path / "a.jsonl", tokenizer=tokenizer)
    assert "tools_not_rendered" not in {f.code for f in plain.findings}


@pytest.mark.parametrize("marked", [True, False])
def test_tokens_and_masks_are_those_of_render_example(marked: bool, tokenizer: Any) -> None:
    from groundtune.dataset.checks.tokens import TokenCounter
    from groundtune.dataset.files.items import Reader
    from groundtune.dataset.render import render_example

    if not marked:
        plain = tokenizer.chat_template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
        tokenizer = with_template(tokenizer, plain)
    rows = [
        *GOOD[:3],
        chat(
            {"role": "system", "content": "Be brief."},
            user(),
            {**said(), "weight": 0},
            user("<|end|> é 日本"),
            said("Ä\n2,5"),
        ),
        chat(user(), call(), answer(), said(), tools=[TOOL]),
        chat(user(), {**said("One"), "weight": 0}, user("Two?"), said("Two")),
    ]
    items = [Reader("openai_chat").items(1, row)[0].item for row in rows]
    counter = TokenCounter(tokenizer, 512)
    assert counter.marked == marked
    for item, measured in zip(items, counter.measure([i for i in items if i]), strict=True):
        assert item is not None
        expected = render_example(tokenizer, item.messages, max_tokens=512, where="", tools=item.tools)
        assert (measured.tokens, measured.trained, measured.faults) == (len(expected.ids), sum(expected.trained), [])


def test_truncation_policies(tokenizer: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [*GOOD, chat(user("word " * 700), said()), chat(user(), said("word " * 700))])
    reports = {p: check(path, tokenizer=tokenizer, truncation=p) for p in ("error", "drop", "window")}  # type: ignore[arg-type]
    assert {p: r.errors for p, r in reports.items()} == {"error": 2, "drop": 0, "window": 0}
    assert all(r.over_context == 2 for r in reports.values())
    assert reports["drop"].tokens < 512 < reports["window"].tokens
    assert reports["window"].windows >= 3 and "answer_cut" in {f.code for f in reports["window"].findings}
    aside = check(path, tokenizer=tokenizer, truncation="drop", quarantine=tmp_path / "q.jsonl")
    assert aside.quarantined == 2 and aside.over_context == 2


def test_running_text_is_not_asked_for_roles(tokenizer: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", ["word " * 900, "Ein schÃ¶ner Tag"])
    report = check(path, tokenizer=tokenizer)
    assert report.format == "text" and {f.code for f in report.findings} == {"mojibake"} and report.tokens > 900


def test_endless_rows_are_estimated_and_endless_texts_counted_in_pieces(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundtune.dataset.checks import tokens as checks_tokens

    long = "some words, and more of them " * 5000
    chats = written(tmp_path / "a.jsonl", [*GOOD, chat(user(long), said()), chat(user(), said(long))])
    text = written(tmp_path / "b.txt", [long, "short"])
    exact = [check(path, tokenizer=tokenizer) for path in (chats, text)]
    monkeypatch.setattr(checks_tokens, "_HUGE_CHARACTERS", 500)
    rough = [check(path, tokenizer=tokenizer) for path in (chats, text)]
    for a, b in zip(exact, rough, strict=True):
        assert [(f.code, f.count) for f in a.findings] == [(f.code, f.count) for f in b.findings]
    assert (
        abs(exact[0].tokens / rough[0].tokens - 1) < 0.05
        and abs(exact[0].trained_tokens / rough[0].trained_tokens - 1) < 0.05
    )
    assert exact[1].tokens == rough[1].tokens


def test_every_code_says_what_it_is_and_what_to_do() -> None:
    assert all(
        code.means and code.next_step and code.severity in ("error", "warning", "note") for code in CODES.values()
    )


def test_every_code_is_planted_somewhere() -> None:
    planted = {code for code, _ in CHAT_DEFECTS} | {code for code, _, _ in TEMPLATES}
    source = "".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("test_*.py"))
    missing = {code for code in CODES if code not in planted and f'"{code}"' not in source}
    assert not missing


def test_what_is_no_dataset_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        check(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xd8\xff\xe0JFIF" * 50)
    with pytest.raises(InputError):
        check(tmp_path / "b.jsonl")


def test_self_instruct_faults_name_the_row(tmp_path: Path) -> None:
    rows = [{"id": str(n), "instruction": t, "instances": [{"input": "", "output": t}]} for n, t in enumerate(TOPICS)]
    rows.append(
        {"id": "x", "instruction": "y", "instances": [{"input": "", "output": "z"}, {"input": "", "output": ""}]}
    )
    report = check(written(tmp_path / "a.jsonl", rows))
    found = {f.code: f.places for f in report.findings}
    assert found["empty_answer"][0].startswith(f"{tmp_path}/a.jsonl:17") and report.items == 18 and report.rows == 17


def test_defects_of_mapped_columns_and_foreign_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.jsonl", [*[{"q": t, "a": [t]} for t in TOPICS], {"q": "x", "a": ["one", "two"]}])
    report = check(path, mapping={"question": "q", "answer": "a"})
    assert {f.code: f.places[0] for f in report.findings}["several_values"].startswith(f"{path}:17")
    path = written(tmp_path / "b.jsonl", [*[{"question": t, "answer": t} for t in TOPICS], {"colour": "red"}])
    assert {f.code: f.places[0] for f in check(path).findings}["unknown_format"].startswith(f"{path}:17")

    def refuse(row: Any) -> Any:
        raise ValueError("not mine")

    from groundtune.dataset.formats import openai_chat

    path = written(tmp_path / "c.jsonl", GOOD)
    monkeypatch.setattr(openai_chat, "read", refuse)
    found = {f.code: f for f in check(path).findings}["unreadable_row"]
    assert found.count == 12 and found.places[0] == f"{path}:1: not mine"


@pytest.mark.parametrize("seed", range(25))
def test_damaged_files_are_checked_converted_and_split_without_a_crash(
    seed: int, tokenizer: Any, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    rows = [*GOOD, chat(user(), call(), answer(), said(), tools=[TOOL]), rng.choice([PAIR, COMPLETIONS[0], ALPACA[0]])]
    data = bytearray(written(tmp_path / "a", rows).read_bytes())
    for _ in range(rng.randint(1, 10)):
        at = rng.randrange(len(data))
        new = rng.choice(
            [b'"', b"{", b"]", b"null", b"\\ud800", b"[[[[" * 300, b"1e999", rng.randbytes(3), data[at : at + 99]]
        )
        data[at : at + rng.choice((0, 0, 1, 40))] = new
    path = tmp_path / f"a{rng.choice(['.jsonl', '.json', '.csv', '.txt'])}"
    path.write_bytes(data)
    for work in (
        lambda: check(path, tokenizer=tokenizer, quarantine=tmp_path / "q.jsonl", against=path),
        lambda: convert(path, tmp_path / "b.jsonl", rng.choice(["openai_chat", "sharegpt", "alpaca"])),
        lambda: split(path, tmp_path / "t.jsonl", tmp_path / "h.jsonl", skip_faulty=True),
    ):
        with contextlib.suppress(InputError):
            work()
