"""The sums: epochs, billed tokens, hosted and local prices, each against numbers worked out on the page."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from groundtune.cli.dataset.cost import cost
from groundtune.dataset.cost import (
    MAX_BILLED_TOKENS,
    auto_epochs,
    count_items,
    dollars,
    find_price,
    find_speed,
    item_tokens,
    local_dollars,
    message_tokens,
    need_price,
    read_prices,
)
from groundtune.dataset.files.items import read_items
from groundtune.errors import GroundtuneError, InputError, UnknownNameError
from groundtune.records import Conversation, Message, Preference, ToolCall


def words(text: str) -> int:
    return len(text.split())


def run(*arguments: str | Path) -> str:
    """What the command prints; its own error where it raises one."""
    app = typer.Typer()
    app.command()(cost)
    done = CliRunner().invoke(app, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_worked_example_of_the_lesson(tmp_path: Path) -> None:
    """10,000 tokens for 3 epochs at $0.012 and $0.016 for 1,000: $0.36 + $0.48 = $0.84."""
    arguments = ["--tokens", "10000", "--epochs", "3", "--usd-per-1k-training", "0.012", "--usd-per-1k-usage", "0.016"]
    assert "$0.36 + $0.48 = $0.84" in run(*arguments, "--project", tmp_path)
    assert dollars(30_000, 12) == pytest.approx(0.36) and dollars(30_000, 16) == pytest.approx(0.48)


@pytest.mark.parametrize(
    ("examples", "epochs"), [(1, 25), (4, 25), (10, 10), (33, 3), (34, 3), (101, 3), (8333, 3), (8334, 2), (12_501, 1), (1_000_000, 1), (0, 3)]
)  # fmt: skip
def test_epochs_are_set_as_openai_sets_them(examples: int, epochs: int) -> None:
    """10 lines gave 10 epochs and 101 and 103 lines gave 3 on real jobs."""
    assert auto_epochs(examples) == epochs


def test_tokens_are_counted_as_in_the_cookbook() -> None:
    """3 in all, 3 a message, its role (one word here) and text, 1 a name with the name itself."""
    turns = [Message("system", "Be kind now"), Message("user", "Hello", name="Ann"), Message("assistant", "Good day")]
    assert message_tokens(turns, words) == 3 + (3 + 1 + 3) + (3 + 1 + 1 + 1 + 1) + (3 + 1 + 2)
    assert message_tokens([Message("assistant", tool_calls=(ToolCall("f", "{}"),))], words) > 3 + 3 + 1
    one = Conversation(tuple(turns))
    pair = Preference((Message("user", "Hi"),), (Message("assistant", "yes"),), (Message("assistant", "no thanks"),))
    assert item_tokens(one, words) == message_tokens(turns, words)
    assert item_tokens(pair, words) == 2 * (3 + 5) + 5 + 6


def test_a_long_example_is_billed_to_the_limit(tmp_path: Path) -> None:
    rows = [("hi", "ok"), ("long " * 20_000, "ok")]
    path = tmp_path / "chat.jsonl"
    path.write_text(
        "".join(
            f'{{"messages": [{{"role": "user", "content": "{q}"}}, {{"role": "assistant", "content": "{a}"}}]}}\n' for q, a in rows
        )
        + "{broken\n",
        encoding="utf-8",
    )  # fmt: skip
    counted = count_items(read_items(path), words)
    assert (counted.examples, counted.over_limit, counted.faulty) == (2, 1, 1)
    assert counted.billed_tokens == (3 + 5 + 5) + MAX_BILLED_TOKENS and counted.tokens == 13 + 3 + 4 + 20_000 + 5


def test_held_out_rows_are_not_billed() -> None:
    class Row:
        def __init__(self, split: str) -> None:
            self.item = Conversation((Message("user", "Hi"), Message("assistant", "Ho")), split=split)

    assert count_items([Row(""), Row("train"), Row("held_out_facts")], words).examples == 2


def test_every_price_has_a_date_and_a_source() -> None:
    for price in read_prices():
        assert datetime.date.fromisoformat(price.date) <= datetime.date.today()
        assert "/" in price.source and price.training
    names = [n for p in read_prices() for n in (p.model, *p.aliases)]
    assert len(names) == len(set(names))


def test_a_price_is_found_under_every_name_of_its_model() -> None:
    wanted = need_price("gpt-4o-mini-2024-07-18")
    for name in (
        "gpt-4o-mini",
        "openai:gpt-4o-mini@https://api.openai.com/v1",
        "ft:gpt-4o-mini-2024-07-18:me::abc12345",
    ):
        assert find_price(name) == wanted
    assert find_price("Qwen/Qwen3-0.6B") is None
    with pytest.raises(UnknownNameError, match="gpt-4o-mini"):
        need_price("gpt-4o-mimi")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "entries: 3", "entries:\n  - model: x\n", "entries: [", "entries:\n  - {model: x, provider: y, date: 2026-01-01, source: z, training: free}\n"],
)  # fmt: skip
def test_a_faulty_price_table_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"prices\.yaml"):
        read_prices(path)


def test_time_is_given_or_measured_and_never_guessed() -> None:
    earlier = {"seconds": 50, "tokens": 25_000, "base": "pebble"}
    assert find_speed(tokens_per_second=200, earlier=earlier).seconds_per_1k_tokens == 5  # type: ignore[union-attr]
    assert find_speed(probe=lambda: 100.0, earlier=earlier).source == "measured now"  # type: ignore[union-attr]
    assert find_speed(earlier=earlier, base="pebble").seconds_per_1k_tokens == 2  # type: ignore[union-attr]
    assert find_speed(earlier=earlier, base="another") is None
    assert find_speed(earlier={"seconds": 50}) is None and find_speed() is None


def test_rent_and_power() -> None:
    """An hour and a half at $2 an hour; the same at 400 W and $0.25 per kWh: 0.6 kWh."""
    assert local_dollars(5400, usd_per_hour=2) == pytest.approx(3)
    assert local_dollars(5400, watts=400, usd_per_kwh=0.25) == pytest.approx(0.15)
    assert local_dollars(5400, usd_per_hour=2, watts=400, usd_per_kwh=0.25) == pytest.approx(3.15)
    assert local_dollars(5400) is None and local_dollars(5400, watts=400) is None


def test_a_file_is_counted_with_the_models_own_tokenizer(
    tmp_path: Path, tiny_model_path: Path, tiny_tokenizer: Any
) -> None:
    import json

    path = tmp_path / "chat.jsonl"
    turns = [{"role": "user", "content": "What is the fee?"}, {"role": "assistant", "content": "48 crowns"}]
    path.write_text((json.dumps({"messages": turns}) + "\n") * 40, encoding="utf-8")
    arguments = [path, "--model", tiny_model_path, "--project", tmp_path, "--tokens-per-second", "1000"]
    found = json.loads(run(*arguments, "--watts", "100", "--usd-per-kwh", "0.36", "--json"))

    def count(text: str) -> int:
        return len(tiny_tokenizer(text, add_special_tokens=False)["input_ids"])

    one = 3 + sum(3 + count(t["role"]) + count(t["content"]) for t in turns)
    assert (found["examples"], found["tokens"], found["epochs"]) == (40, 40 * one, 3)
    assert found["tokenizer"] == str(tiny_model_path) and found["hosted"] == []
    assert found["local"]["usd"] == pytest.approx(120 * one / 1000 / 3600 * 0.1 * 0.36, rel=1e-3)
    shown = run(path, "--model", "gpt-4o-mini", "--epochs", "2", "--project", tmp_path)
    assert "2 epochs" in shown and "gpt-4o-mini-2024-07-18" in shown and "2025-06-26" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nowhere.jsonl"],
        ["--tokens", "5", "--epochs", "many"],
        ["--tokens", "5", "--epochs", "0"],
        ["--tokens", "5", "--watts", "60"],
        ["x.jsonl", "--tokens", "5"],
    ],
)
def test_what_cannot_be_reckoned_is_said(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(GroundtuneError) as caught:
        run(*arguments, "--project", tmp_path)
    assert caught.value.expected or caught.value.next_step
