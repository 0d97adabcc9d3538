"""Statistics of a dataset: what is planted is counted, the page shows it all and runs none of it."""

from __future__ import annotations

import copy
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from groundtune.cli.dataset import stats as command
from groundtune.dataset.files.items import Item
from groundtune.dataset.render import TokenRow, render_example
from groundtune.dataset.stats.duplicates import ExactCopies, near_twins
from groundtune.dataset.stats.measure import MOST_NAMES, measure
from groundtune.dataset.stats.odd import Longest, oddest
from groundtune.dataset.stats.page import findings, render_page, verdict
from groundtune.dataset.stats.sample import HUGE_CHARACTERS, SampledRow, UniformSample, characters_of, thin
from groundtune.dataset.stats.tokens import distribution, share, shown_rows, token_statistics
from groundtune.dataset.stats.words import languages, vocabulary
from groundtune.errors import ConfigError, InputError
from groundtune.nn.tokenizer import END
from groundtune.records import Conversation, Message, Preference, ToolCall
from html_page import Page

CONTEXT = 40


def chat(question: str, answer: str, **origin: Any) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), **origin)


def rows_of(items: Iterable[Conversation | Preference]) -> list[SampledRow]:
    return [SampledRow(n, n + 1, item, characters_of(item)) for n, item in enumerate(items)]


def as_items(items: Iterable[Conversation | Preference]) -> Iterator[Item]:
    return (Item(n, item) for n, item in enumerate(items, 1))


def embed(texts: Sequence[str]) -> Any:
    """Words hashed into 64 places: alike where words are shared."""
    out = np.zeros((len(texts), 64), dtype=np.float32)
    for at, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()):
            out[at, sum(word.encode()) % 64] += 1
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)


def language_of(text: str) -> tuple[str, float]:
    return ("de", 0.99) if " der " in f" {text} " else ("en", 0.99) if len(text) > 12 else ("und", 0.0)


def varied(count: int = 60) -> list[Conversation]:
    rng = random.Random(0)
    words = "ferry soup code tax rope lamp bread stone river cloud train paper".split()
    return [
        chat(f"{' '.join(rng.sample(words, 4))} {n}?", " ".join(rng.choices(words, k=n % 9 + 1))) for n in range(count)
    ]


@pytest.fixture(scope="module")
def small(tiny_tokenizer: Any) -> dict[str, Any]:
    return measure(as_items(varied()), tiny_tokenizer, CONTEXT, embed=embed, language_of=language_of)


# --- counting


def test_counts_of_roles_turns_splits_and_tools(tiny_tokenizer: Any) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    called = Conversation(
        (
            Message("system", "Be kind."),
            Message("user", "Weather?"),
            Message("assistant", tool_calls=(ToolCall("weather", '{"city": "Bergen"}'),)),
            Message("tool", "rain"),
            Message("assistant", "Rain."),
            Message("user", "Sure?"),
            Message("assistant", "Yes.", trained=False),
        ),
        tools=(tool,),
        split="train",
        source="a.pdf",
    )
    items = [
        Item(1, called),
        Item(2, chat("a", "b", split="held_out")),
        Item(3, None, "not JSON", (("not_json", "not JSON: column 3"),)),
        Item(4, chat("c", "d", split="train")),
        Item(5, None, "not JSON", (("not_json", "not JSON: column 9"),)),
        Item(6, Preference((Message("user", "q"),), (Message("assistant", "good"),), (Message("assistant", "bad"),))),
    ]
    counts = measure(items, tiny_tokenizer, CONTEXT)["counts"]
    assert counts["examples"] == 4
    assert counts["unreadable"] == {
        "rows": 2,
        "faults": [{"code": "not_json", "rows": 2, "line": 3, "reason": "not JSON: column 3"}],
    }
    assert counts["kinds"] == {"conversation": 3, "preference": 1}
    assert counts["roles"] == {"assistant": 6, "user": 5, "system": 1, "tool": 1}
    assert counts["turns"] == {"total": 13, "mean": 3.25, "most": 7, "examples_by_turns": {"2": 3, "7": 1}}
    assert counts["splits"] == {"train": 2, "held_out": 1, "": 1}
    assert counts["untrained_answers"] == 1
    assert counts["with_source"] == 1
    assert counts["system_messages"]["distinct"] == 1
    assert counts["tools"]["offered"] == [{"name": "weather", "examples": 1}]
    assert counts["tools"]["called"] == [{"name": "weather", "calls": 1}]
    assert counts["tools"]["examples_with_calls"] == 1


def test_counters_are_bounded(tiny_tokenizer: Any) -> None:
    items = (Item(n, chat(f"q{n}", "a", split=f"split {n}")) for n in range(MOST_NAMES + 300))
    found = measure(items, tiny_tokenizer, CONTEXT, sample=UniformSample(most_rows=50))
    assert found["counts"]["examples"] == MOST_NAMES + 300
    assert found["counts"]["splits"]["(others)"] == 300
    assert found["sample"] == {"rows": 50, "of": MOST_NAMES + 300, "every_row": False}
    assert found["tokens"]["rendered"] == 50
    assert "drawn alike" in " ".join(findings(found))


def test_no_rows_at_all(tiny_tokenizer: Any) -> None:
    found = measure([Item(1, None, "no", (("not_json", "no"),))], tiny_tokenizer, CONTEXT, embed=embed)
    assert found["counts"]["examples"] == 0
    assert found["tokens"]["whole"] is None
    page = Page(render_page(found, name="x.jsonl", model="m"))
    assert not page.faults and "1 row cannot be read" in page.text
    json.dumps(found, allow_nan=False)


def test_a_huge_row_is_counted_and_not_tokenized(tiny_tokenizer: Any) -> None:
    huge = chat("q", "boat " * (HUGE_CHARACTERS // 5 + 1))
    found = measure(as_items([chat("a", "b"), huge, huge]), tiny_tokenizer, CONTEXT, embed=embed)
    assert found["counts"]["examples"] == 3 and found["counts"]["huge"] == 2
    assert found["sample"] == {"rows": 1, "of": 3, "every_row": True}
    assert found["duplicates"]["exact"]["copies"] == 1
    assert found["longest"][0]["tokens"] is None
    page = Page(render_page(found, name="x", model="m"))
    assert verdict(found, "m") == "3 examples. 1 was tokenized, within m's 40 tokens."
    assert "2 rows of over 2,000,000 characters were only counted" in page.text and "not tokenized" in page.text


# --- the sample


def test_the_sample_is_drawn_alike_from_the_whole_file() -> None:
    sample = UniformSample(most_rows=1000)
    for number in range(20_000):
        sample.offer(SampledRow(number, number, chat("q", "a"), 2))
    rows = sample.rows()
    assert len(rows) == len(sample) == 1000
    assert [r.number for r in rows] == sorted({r.number for r in rows})
    quarters = np.bincount([r.number // 5000 for r in rows], minlength=4)
    assert quarters.sum() == 1000 and quarters.min() > 200  # 250 expected, deviation 14


def test_the_sample_bounds_characters_and_keeps_one_row() -> None:
    sample = UniformSample(most_rows=1000, most_characters=5000)
    for number in range(3000):
        sample.offer(SampledRow(number, number, chat("q", "a"), 100))
    assert len(sample) == 50 and sample.characters == 5000
    huge = UniformSample(most_rows=10, most_characters=10)
    huge.offer(SampledRow(0, 1, chat("q", "a"), 10**9))
    assert len(huge) == 1


def test_thinning_keeps_the_order_and_the_number() -> None:
    rows = rows_of(varied(50))
    some = list(thin(rows, 20))
    assert len(some) == 20
    assert [r.number for r in some] == sorted(r.number for r in some)
    assert list(thin(rows, 50)) == rows


# --- tokens


def test_lengths_agree_with_rendering_and_add_up(tiny_tokenizer: Any, small: dict[str, Any]) -> None:
    rendered = [render_example(tiny_tokenizer, c.messages, max_tokens=9999, where="x") for c in varied()]
    sizes = [len(row.ids) for row in rendered]
    tokens = small["tokens"]
    assert tokens["whole"]["max"] == max(sizes)
    assert tokens["whole"]["mean"] == pytest.approx(np.mean(sizes))
    assert tokens["too_long"]["examples"] == sum(size > CONTEXT for size in sizes) > 0
    assert small["mask"]["tokens"] == sum(sizes)
    assert small["mask"]["trained_tokens"] == sum(sum(row.trained) for row in rendered)
    assert tokens["prompt"]["mean"] + tokens["answer"]["mean"] == pytest.approx(tokens["whole"]["mean"])


@pytest.mark.parametrize("seed", range(6))
def test_every_example_is_in_one_bar(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.maximum(rng.lognormal(3 + seed, 0.3 + seed / 4, 400), 1).astype(np.int64)
    limit = int(np.quantile(values, 0.9))
    found = distribution(values, limit)
    assert found is not None
    bars = found["bars"]
    assert sum(bar["count"] for bar in bars) + found["beyond"] == len(values)
    assert found["beyond"] == int((values >= bars[-1]["high"]).sum())
    assert found["over_limit"] == int((values > limit).sum())
    assert all(bar["count"] == int(((values >= bar["low"]) & (values < bar["high"])).sum()) for bar in bars)
    assert len(bars) <= 60


def test_rows_that_cannot_be_trained_on_are_counted_with_the_reason(tiny_tokenizer: Any) -> None:
    items = [chat("a", "b"), Conversation((Message("user", "no answer"),)), chat("a", "  ")]
    found, lengths = token_statistics(rows_of(items), tiny_tokenizer, CONTEXT)
    assert found["tokens"]["refused"] == [{"reason": "no assistant token to train on", "examples": 2, "line": 2}]
    assert list(lengths) == [0]


def test_a_template_that_refuses_is_a_reason_and_no_crash(tiny_tokenizer: Any) -> None:
    strict = copy.deepcopy(tiny_tokenizer)
    strict.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{{ m['content'] }}<|end|>{% endfor %}"
    )
    items = [Conversation((Message("system", "s"), *chat("q", "a").messages)), chat("q", "a")]
    found, _ = token_statistics(rows_of(items), strict, CONTEXT)
    assert found["tokens"]["refused"][0]["reason"] == "the chat template refuses it: System role not supported"
    assert found["tokens"]["rendered"] == 1


def test_half_characters_are_a_reason_and_no_crash(tiny_tokenizer: Any) -> None:
    items = [chat("broken \ud83d emoji", "and \udc00 again"), chat("q", "a")]
    found = measure(as_items(items), tiny_tokenizer, CONTEXT, embed=embed, language_of=language_of)
    assert found["tokens"]["refused"] == [
        {"reason": "half a character stands in its text (a lone surrogate)", "examples": 1, "line": 1}
    ]
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    render_page(found, name="x", model="m").encode("utf-8")


def test_both_sides_of_a_preference_must_fit(tiny_tokenizer: Any) -> None:
    long = " ".join(["boat"] * 80)
    pair = Preference((Message("user", "q"),), (Message("assistant", "good"),), (Message("assistant", long),))
    found, _ = token_statistics(rows_of([pair]), tiny_tokenizer, CONTEXT)
    assert found["tokens"]["whole"]["max"] <= CONTEXT < found["tokens"]["rejected"]["max"]
    assert found["tokens"]["too_long"]["examples"] == 1


def test_share_has_the_wilson_interval() -> None:
    # Wilson 1927 for 10 of 100: (0.05522914, 0.17436566), as scipy.stats.binomtest(10, 100).proportion_ci(method="wilson")
    found = share(10, 100)
    assert (found["low"], found["high"]) == pytest.approx((0.05522914, 0.17436566), abs=1e-7)
    assert share(0, 0)["share"] is None


def test_pieces_know_rare_broken_and_unknown(tiny_tokenizer: Any) -> None:
    found, _ = token_statistics(rows_of([chat("hello", "你好")] * 6), tiny_tokenizer, CONTEXT)
    pieces = found["pieces"]
    assert pieces["vocabulary"] == 400
    assert pieces["broken_share"] > 0.2  # no Chinese character is in this vocabulary
    assert pieces["rare"] == 0 and pieces["unknown_share"] is None  # this tokenizer has no token for the unknown
    plain, _ = token_statistics(rows_of([chat("hello", "there")]), tiny_tokenizer, CONTEXT)
    assert plain["pieces"]["broken_share"] == 0.0
    assert plain["pieces"]["rare_share"] > 0.5


# --- the loss mask in colour


def test_shown_tokens_spell_the_row_and_mark_its_parts(tiny_tokenizer: Any) -> None:
    item = Conversation(
        (
            *chat("Où est le café 你好? 🚀", "Là-bas → 東京.").messages,
            Message("user", "Danke"),
            Message("assistant", "ok"),
        )
    )
    rows = rows_of([item])
    _, lengths = token_statistics(rows, tiny_tokenizer, CONTEXT)
    (shown,) = shown_rows(rows, lengths, tiny_tokenizer, CONTEXT)
    row = render_example(tiny_tokenizer, item.messages, max_tokens=999, where="x")
    assert "".join(text for text, _, _ in shown["pieces"]) == tiny_tokenizer.decode(list(row.ids))
    assert [at for _, _, at in shown["pieces"]] == list(range(len(row.ids)))
    trained = "".join(text for text, kind, _ in shown["pieces"] if kind in ("trained", "end"))
    assert trained == f"Là-bas → 東京.{END}ok{END}"
    assert [text for text, kind, _ in shown["pieces"] if kind == "end"] == [END, END]
    assert [text for text, kind, _ in shown["pieces"] if kind == "mark"] == ["<|user|>", END, "<|assistant|>"] * 2


def test_the_beginning_of_text_is_marked(tiny_tokenizer: Any) -> None:
    other = copy.deepcopy(tiny_tokenizer)
    other.add_special_tokens({"bos_token": "<|begin|>"})
    other.chat_template = "<|begin|>" + tiny_tokenizer.chat_template
    rows = rows_of([chat("q", "a")])
    _, lengths = token_statistics(rows, other, CONTEXT)
    (shown,) = shown_rows(rows, lengths, other, CONTEXT)
    assert [piece for piece in shown["pieces"] if piece[1] == "begin"] == [["<|begin|>", "begin", 0]]


def test_a_long_row_shows_its_ends_and_says_how_much_is_left_out(tiny_tokenizer: Any) -> None:
    rows = rows_of([chat("q", " ".join(["boat"] * 900))])
    found = measure(as_items([rows[0].item]), tiny_tokenizer, CONTEXT)
    (shown,) = found["mask"]["examples"]
    gaps = [piece for piece in shown["pieces"] if piece[1] == "gap"]
    assert len(gaps) == 1
    assert len(shown["pieces"]) - 1 + int(gaps[0][0]) == shown["tokens"]
    page = render_page(found, name="x", model="m")
    assert f"{int(gaps[0][0]):,} tokens are left out here" in page
    assert page.count("the context of 40 tokens ends here") == 1


def test_ten_examples_from_the_shortest_to_the_longest(small: dict[str, Any]) -> None:
    sizes = [example["tokens"] for example in small["mask"]["examples"]]
    assert len(sizes) == 10 and sizes == sorted(sizes)
    assert sizes[0] == small["tokens"]["whole"]["min"] and sizes[-1] == small["tokens"]["whole"]["max"]


# --- words and languages


def test_vocabulary_counts_words_of_questions_and_answers() -> None:
    found = vocabulary(rows_of([chat("The ferry, the FERRY!", "It’s a ferry"), chat("soup 12", "東京")]))
    assert found["words"] == 4 + 3 + 2 + 2
    assert found["types"] == len({"the", "ferry", "it's", "a", "soup", "12", "東", "京"})
    assert found["frequent"][0] == {"word": "ferry", "count": 3, "examples": 1}
    assert "the" not in [w["word"] for w in found["frequent"]]
    assert found["growth"][-1] == [11, 8]


def test_words_of_another_language_have_its_function_words_left_out() -> None:
    german = rows_of(
        [chat(f"Wo ist der Hafen und die Fähre nach Bergen {n}?", "Der Hafen ist nicht weit.") for n in range(9)]
    )
    assert not {"der", "und", "ist", "nicht"} & {w["word"] for w in vocabulary(german)["frequent"]}
    english = rows_of(
        [chat(f"Did soldiers die in the war number {n}?", "Many of them did, in the war.") for n in range(9)]
    )
    assert {"die", "war"} <= {w["word"] for w in vocabulary(english)["frequent"]}


def test_vocabulary_is_bounded() -> None:
    rows = rows_of(chat(f"boat {n} x{n}a x{n}b", "boat") for n in range(400))
    found = vocabulary(rows, most_types=100)
    assert not found["types_complete"]
    assert found["types"] >= 400 * 3 + 1
    assert found["frequent"][0] == {"word": "boat", "count": 800, "examples": 400}


def test_languages_and_answers_in_another_one(tiny_tokenizer: Any) -> None:
    german = "Das ist der lange Weg zum Hafen in der Stadt"
    english = "This is the long way to the harbour of the town"
    items = [chat(english, english), chat(english, german), chat("x", "y"), chat(english, "ok")]
    found, density = languages(rows_of(items), tiny_tokenizer, language_of)
    assert {e["code"]: e["examples"] for e in found["languages"]} == {"en": 2, "de": 1, "short": 1}
    assert found["pairs"] == [{"asked": "en", "answered": "de", "examples": 1}]
    texts = ["\n".join((c.messages[0].content, c.messages[1].content)) for c in items]
    tokens = [len(tiny_tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert density == pytest.approx(
        {n: size / len(text) for n, (size, text) in enumerate(zip(tokens, texts, strict=True))}
    )
    none, _ = languages(rows_of(items), tiny_tokenizer, None)
    assert [e["code"] for e in none["languages"]] == ["unknown"]


# --- duplicates


def test_copies_and_same_questions() -> None:
    items = [
        chat("Where is it?", "Here."),
        chat("where is it", "HERE"),
        chat("Where is it?", "There."),
        chat("Who?", "Me."),
    ]
    rows, copies = rows_of([*items, items[3], items[3]]), ExactCopies()
    for row in rows:
        copies.offer(row)
    found = copies.figures(rows)
    assert (found["groups"], found["copies"]) == (2, 3)
    assert found["same_question"] == 2  # two ways of answering where it is
    assert found["shown"][0]["rows"] == 3 and found["shown"][0]["lines"] == [4, 5, 6]
    assert found["shown"][1]["lines"] == [1, 2]


def test_calls_that_differ_make_no_copies() -> None:
    def call(city: str) -> Conversation:
        said = Message("assistant", tool_calls=(ToolCall("weather", json.dumps({"city": city})),))
        return Conversation((Message("user", "Weather?"), said))

    rows, copies = rows_of([call("Bergen"), call("Oslo")]), ExactCopies()
    for row in rows:
        copies.offer(row)
    assert copies.figures(rows)["copies"] == 0


def test_near_twins_are_shown_side_by_side_and_across_splits_first(tiny_tokenizer: Any) -> None:
    base = "The harbour office in Vessa is open on weekdays from nine in the morning until four in the afternoon and closed on holidays"
    other = "Every boat that stays overnight pays the berth fee at the machine beside the fuel pier before the evening begins here"
    items = [
        chat("When is the office open, please tell me?", base + " for 2025.", split="train"),
        chat("When is the office open, please tell me?", base + " for 2026.", split="train"),
        chat("Who pays the berth fee?", other + ".", split="train"),
        chat("Who pays the berth fee?", other + " always.", split="held_out"),
        chat("Something else", "entirely different words stand in this one"),
    ]
    found = near_twins(rows_of(items))
    assert (found["examples"], found["across_splits"], found["other_numbers"]) == (2, 1, 1)
    assert [pair["a"]["split"] + pair["b"]["split"] for pair in found["shown"]] == ["trainheld_out", "traintrain"]
    assert [pair["same_numbers"] for pair in found["shown"]] == [True, False]
    page = render_page(measure(as_items(items), tiny_tokenizer, 256), name="x", model="m")
    assert "<mark>2025.</mark>" in page and "<mark>2026.</mark>" in page
    assert "differ in a number" in Page(page).text


# --- longest and oddest


def test_planted_oddities_are_found_by_their_measure(tiny_tokenizer: Any) -> None:
    items: list[Conversation | Preference] = list(varied(80))
    items[10] = chat("zq xkcdw vbnm qqqrt " * 3, "wvx kjh qzp " * 4)
    items[20] = chat("ferry soup code?", "tax rope lamp " * 300)
    items[30] = chat("lamp rope soup", "🚀🔥✨💡 🚀🔥✨💡 lamp")
    rows = rows_of(items)
    _, density = languages(rows, tiny_tokenizer, None)
    alone = dict.fromkeys(range(80), 0.2) | {n: 0.2 + n / 1000 for n in range(80)} | {40: 0.9}
    found = oddest(rows, density, alone)
    named = {e["line"] - 1: e["measure"] for e in found["examples"]}
    assert named[20] == "length"
    assert named[30] == "strange" or named[30] == "tokens_per_character"
    assert named[40] == "isolation"
    assert named[10] in ("tokens_per_character", "isolation")
    assert found["odd"] >= 3
    assert len(found["examples"]) == 10


def test_what_is_alike_is_not_odd() -> None:
    rows = rows_of([chat("same words here", "yes indeed") for _ in range(30)])
    found = oddest(rows, dict.fromkeys(range(30), 0.3), dict.fromkeys(range(30), 0.0))
    assert found["odd"] == 0


def test_the_longest_of_all_rows_are_kept() -> None:
    longest = Longest(most=3)
    for number in range(500):
        longest.offer(SampledRow(number, number, chat("q", "a"), (number * 7919) % 500))
    assert [row.characters for row in longest.rows()] == [499, 498, 497]


# --- the page


def test_the_page_is_whole_and_fetches_nothing(small: dict[str, Any]) -> None:
    source = render_page(small, name="boats.jsonl", model="pebble", format="alpaca", created="2026-11-21T10:00")
    page = Page(source)
    assert not page.faults and page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = page.values("href") + page.values("src")
    assert links and {link[1:] for link in links} <= set(ids)
    assert not re.search(r"https?://|url\(|@import", source)
    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert '<meta name="generator" content="groundtune">' in source
    assert "default-src 'none'" in source and "script-src 'none'" in source
    for title in ("What is in it", "How long the examples are", "What the model learns to write", "What it is about"):
        assert title in page.text
    assert verdict(small, "pebble") in page.text
    assert all(line in page.text for line in findings(small))
    assert not re.search(r"\bnan\b|\bNone\b", page.text)
    assert page.tags.count("th") == len([1 for tag, name, _ in page.attributes if tag == "th" and name == "scope"])


def test_text_from_rows_is_escaped_everywhere(tiny_tokenizer: Any) -> None:
    evil = "</script></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)> \x00\ud800 &amp;"
    tool = {"type": "function", "function": {"name": evil}}
    items = []
    for n in range(40):
        turns = (Message("system", evil), Message("user", f"{evil} {n % 7} ferry soup"), Message("assistant", evil * 2))
        items.append(Conversation(turns, tools=(tool,), split=evil, source=evil))
    rows = [*as_items(items), Item(99, None, evil, ((evil, evil),))]
    found = measure(rows, tiny_tokenizer, CONTEXT, embed=embed, language_of=lambda text: (evil, 0.9))
    source = render_page(found, name=evil, model=evil, format=evil, created=evil, command=evil)
    page = Page(source)
    assert not page.faults
    assert not {"script", "img"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 5
    source.encode("utf-8")


@pytest.mark.parametrize(
    "items", [[chat("Hi", "Hello")], varied(3), [Conversation((Message("assistant", "text only"),))]]
)
def test_a_tiny_dataset_has_a_page(items: list[Conversation], tiny_tokenizer: Any) -> None:
    found = measure(as_items(items), tiny_tokenizer, CONTEXT, embed=embed, language_of=language_of)
    page = Page(render_page(found, name="x", model="m"))
    assert not page.faults
    assert verdict(found, "m") in page.text
    json.dumps(found, allow_nan=False)


def test_verdict_and_findings_are_plain(tiny_tokenizer: Any, small: dict[str, Any]) -> None:
    assert re.fullmatch(r"60 examples; \d+ % do not fit m's 40 tokens\.", verdict(small, "m"))
    one = measure(as_items([chat("Hi", "Hello")]), tiny_tokenizer, CONTEXT)
    assert verdict(one, "m") == "1 example, within m's 40 tokens."
    two = measure(as_items([chat("a", "b"), chat("a", "b"), chat("a", "c")]), tiny_tokenizer, CONTEXT)
    assert findings(two)[:2] == [
        "1 row repeats another row word for word.",
        "2 rows ask what another row asks, and are answered differently.",
    ]


# --- the command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(command, "_embedder", lambda: embed)
    monkeypatch.setattr(command, "_language_of", lambda: language_of)
    app = typer.Typer()
    app.command()(command.stats)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def chat_file(folder: Path) -> Path:
    file = folder / "chat.jsonl"
    lines = [{"messages": [{"role": m.role, "content": m.content} for m in c.messages]} for c in varied(40)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n", encoding="utf-8")
    return file


def test_the_command_writes_the_page_and_prints_json(run: Any, tmp_path: Path, tiny_model_path: Path) -> None:
    file, page = chat_file(tmp_path), tmp_path / "pages" / "dataset.html"
    done = run(file, "--model", tiny_model_path, "--report", page, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["counts"]["examples"] == 40 and found["counts"]["unreadable"]["rows"] == 1
    assert found["context_tokens"] == 256 and found["format"] == "openai_chat"
    assert found["report"] == str(page)
    assert all("pieces" not in example for example in found["mask"]["examples"])
    shown = Page(page.read_text(encoding="utf-8"))
    assert not shown.faults and "40 examples" in shown.text
    again = run(file, "--model", tiny_model_path, "--report", page)  # our own page is replaced
    assert again.exit_code == 0 and "40 examples" in again.stdout
    assert sorted(p.name for p in page.parent.iterdir()) == ["dataset.html"]


def test_a_page_of_somebody_else_is_not_overwritten(run: Any, tmp_path: Path, tiny_model_path: Path) -> None:
    page = tmp_path / "mine.html"
    page.write_text("<html>mine</html>", encoding="utf-8")
    done = run(chat_file(tmp_path), "--model", tiny_model_path, "--report", page)
    assert isinstance(done.exception, InputError) and "has not made it" in str(done.exception)
    assert page.read_text(encoding="utf-8") == "<html>mine</html>"


def test_faults_of_the_user_are_one_message(run: Any, tmp_path: Path, tiny_model_path: Path) -> None:
    assert isinstance(run(tmp_path / "none.jsonl", "--model", tiny_model_path, "--json").exception, InputError)
    done = run(chat_file(tmp_path), "--model", tmp_path / "no-model", "--json")
    assert isinstance(done.exception, InputError) and "tokenizer of" in str(done.exception)
    assert isinstance(run(chat_file(tmp_path), "--report", tmp_path).exception, InputError)
    done = run(chat_file(tmp_path), "--map", "question", "--json")
    assert isinstance(done.exception, ConfigError)


def test_the_command_loads_nothing_heavy_before_it_runs() -> None:
    code = "import sys, groundtune.cli.dataset.stats; print([m for m in ('torch', 'numpy', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_rows_render_the_same_in_sample_and_alone(tiny_tokenizer: Any) -> None:
    item = chat("Where is the ferry?", "At the pier.")
    rows = rows_of([item])
    _, lengths = token_statistics(rows, tiny_tokenizer, CONTEXT)
    row = render_example(tiny_tokenizer, item.messages, max_tokens=CONTEXT, where="x")
    assert isinstance(row, TokenRow) and lengths == {0: len(row.ids)}
