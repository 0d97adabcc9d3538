"""Claims: how they are read, what the rule says of them, how thresholds are chosen, four ways and their page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from groundtune.backends.echo import EchoBackend
from groundtune.errors import InputError
from groundtune.evaluation.claim_rule import RuleVerdict, read, verdict
from groundtune.evaluation.claim_verdicts import ModelVerdict, parse_verdict, write_passages
from groundtune.evaluation.claims import WAYS, Claim, Evidence, choose_threshold, four_ways, near, read_claims
from groundtune.evaluation.claims_report import render_claims
from groundtune.records import Generation, Message
from html_page import Page


def evidence(text: str, document: str = "rules.md", distance: float = 0.2) -> Evidence:
    return Evidence(text, document, None, distance)


CARD = evidence("A yearly card costs 48 crowns. Dogs stay outside the reading room.")


@pytest.mark.parametrize(
    ("claim", "found", "label"),
    [
        ("A yearly card costs 48 crowns.", [CARD], "True"),
        ("The price of a yearly card is 48 crowns.", [CARD], "True"),
        ("A yearly card costs 84 crowns.", [CARD], "False"),  # another number
        ("A yearly card is free.", [CARD], "False"),  # a sum of money
        ("Dogs stay inside the reading room.", [CARD], "False"),  # an opposite
        ("Dogs do not stay outside the reading room.", [CARD], "False"),  # a negation
        ("The librarian plays chess in the evening.", [CARD], "NEE"),
        (
            "A yearly card costs 48 crowns.",
            [evidence(CARD.text, distance=0.95)],
            "NEE",
        ),  # far away: about something else
        ("The roof is covered with slate.", [evidence("The roof is covered with larch instead of slate.")], "False"),
        ("A yearly card costs 48 crowns.", [], "NEE"),
    ],
)
def test_the_rule(claim: str, found: list[Evidence], label: str) -> None:
    assert RuleVerdict().judge([claim], [found]) == [(label, True)]


def test_of_two_versions_the_newer_one_counts_unless_the_claim_names_a_year() -> None:
    old, new = evidence("A card costs 40 crowns.", "fees-2024.md"), evidence("A card costs 48 crowns.", "fees-2026.md")
    assert RuleVerdict().judge(["A card costs 40 crowns."], [[old, new]]) == [("False", True)]
    assert RuleVerdict().judge(["A card costs 48 crowns."], [[old, new]]) == [("True", True)]
    reading = read("In 2024 a card cost 40 crowns.", [old, new])
    assert reading
    assert reading.sentence == "A card costs 40 crowns."
    assert verdict(None) == "NEE"


def test_without_evidence_the_rule_knows_nothing() -> None:
    assert RuleVerdict().judge(["x", "y"], None) == [("NEE", True)] * 2


@pytest.mark.parametrize(
    ("reply", "label", "understood"),
    [
        ("True", "True", True),
        ("false.", "False", True),
        ("NEE", "NEE", True),
        ("The claim is not true.", "False", True),
        ("Not enough evidence to call it true", "NEE", True),
        ("The evidence supports it", "True", True),
        ("The evidence does not support the claim.", "False", True),
        ("The claim isn't true.", "False", True),
        ("Not entirely correct.", "False", True),
        ("It is not fully supported", "False", True),
        ("The passage does not contradict it.", "NEE", True),
        ("It cannot be determined whether it is true.", "NEE", True),
        ("The passages do not say.", "NEE", True),
        ("48 crowns", "NEE", False),
        ("", "NEE", False),
        ("nowhere", "NEE", False),  # "no" is a word, not a beginning
    ],
)
def test_replies_are_read(reply: str, label: str, understood: bool) -> None:
    assert parse_verdict(reply) == (label, understood)


class Listening:
    """A backend that says True where the evidence stands in the prompt, and keeps what it was asked."""

    name = "listening"

    def __init__(self) -> None:
        self.asked: list[Sequence[Message]] = []

    def generate_batch(self, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 32) -> list[Generation]:
        self.asked += conversations
        return [Generation("True" if "48 crowns" in c[-1].content else "no idea") for c in conversations]


CLAIMS = [
    Claim("1", "A card costs money.", "True", fact="card"),
    Claim("2", "A card is free.", "False", fact="card"),
    Claim("3", "The king plays chess.", "NEE", fact="3"),
]


def test_four_ways_show_what_they_are_meant_to_and_nothing_else() -> None:
    backend = Listening()
    context = [[CARD], [CARD], [evidence("Chess is played.", distance=0.8)]]
    kept = near(context, 0.5)
    assert kept == [[CARD], [CARD], []]
    ways = four_ways(CLAIMS, ModelVerdict("m", backend, Path()), context, kept, [[], [], []], resamples=200, seed=0)
    assert [way["way"] for way in ways] == list(WAYS)
    closed, shown, threshold, hyde = ways
    # closed book: three questions without evidence; context: three; threshold: two; hyde: nothing left to ask
    assert len(backend.asked) == 3 + 3 + 2
    assert not any("crowns" in m.content for c in backend.asked[:3] for m in c)
    assert all("48 crowns" in c[-1].content and "rules.md" in c[-1].content for c in backend.asked[6:])
    assert closed["matrix"] == [[0, 0, 1], [0, 0, 1], [0, 0, 1]]
    assert (closed["not_understood"], closed["without_context"]) == (3, 0)
    assert shown["matrix"] == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert (threshold["matrix"], threshold["without_context"], threshold["not_understood"]) == (shown["matrix"], 1, 0)
    assert hyde["matrix"] == closed["matrix"]
    assert threshold["accuracy"] == pytest.approx(2 / 3)
    assert threshold["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert threshold["accuracy_low"] <= threshold["accuracy"] <= threshold["accuracy_high"]


def test_a_made_up_passage_or_the_claim() -> None:
    assert write_passages(EchoBackend("A card costs 48 crowns."), ["x", "y"], Path()) == ["A card costs 48 crowns."] * 2
    assert write_passages(EchoBackend(""), ["x"], Path()) == ["x"]


def test_the_threshold_divides_best() -> None:
    # 0.1 and 0.2 have evidence, 0.4 has too, 0.3 and 0.5 do not: below 0.25 two thirds and all, below 0.45 all and a half
    chosen = choose_threshold([0.5, 0.1, 0.3, 0.2, 0.4], [False, True, False, True, True])
    assert chosen == pytest.approx(0.25)
    assert choose_threshold([0.1, 0.2], [True, True]) is None
    assert choose_threshold([0.2, 0.2, 0.6], [True, False, False]) == pytest.approx(0.4)  # equal ones stay together


def test_claims_of_ours_and_of_scifact_are_read(tmp_path: Path) -> None:
    rows = [
        {
            "id": "a",
            "claim": "One.",
            "label": "Supported",
            "split": "train",
            "passages": [{"document": "d", "text": "t"}],
        },
        {
            "id": 5,
            "claim": "Two.",
            "evidence": {"14": [{"sentences": [2], "label": "CONTRADICT"}]},
            "cited_doc_ids": [14],
        },
        {"claim": "Three.", "evidence": {}},
    ]
    file = tmp_path / "claims.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    found = read_claims(file)
    assert [(c.id, c.label, c.split) for c in found] == [
        ("a", "True", "train"),
        ("5", "False", "test"),
        ("3", "NEE", "test"),
    ]
    assert found[0].passages[0].document == "d"
    file.write_text(json.dumps(rows[0]) + "\n" + json.dumps(rows[0]), encoding="utf-8")
    with pytest.raises(InputError, match="id 'a' again"):
        read_claims(file)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"claim": "x"}', "no 'label'"),
        ('{"claim": "x", "label": "perhaps"}', "label 'perhaps'"),
        ('{"claim": " ", "label": "True"}', "must be some words"),
        ("{claim", "not JSON"),
    ],
)
def test_a_faulty_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "claims.jsonl"
    file.write_text('{"claim": "fine", "label": "NEE"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"claims.jsonl:2: .*{said}"):
        read_claims(file)


def test_no_file_and_no_claims(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no claims file"):
        read_claims(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no claim"):
        read_claims(tmp_path / "empty.jsonl")


def test_the_page_shows_every_count_and_escapes() -> None:
    ways = four_ways(CLAIMS, RuleVerdict(), [[CARD]] * 3, [[CARD]] * 3, [[]] * 3, resamples=200, seed=0)
    page = Page(
        render_claims(
            {
                "claims": 3, "labels": {"True": 1, "False": 1, "NEE": 1}, "nearest": 3, "model": "<m>", "chosen_on": 9,
                "thresholds": {"threshold": 0.4, "hyde": 0.5}, "verdicts": [{"name": "<rule>", "ways": ways}], "machine": {},
            }
        )
    )  # fmt: skip
    assert not page.faults
    assert not page.open
    assert page.tags.count("table") == 5
    assert "Verdict by <rule>" in page.text
    assert "Best: <rule>, with context" in page.text


def test_the_examples_claims() -> None:
    import groundtune

    claims = read_claims(Path(groundtune.__file__).parent / "example" / "claims.jsonl")
    tested = [c for c in claims if c.split != "train"]
    counts = [sum(c.label == label for c in tested) for label in ("True", "False", "NEE")]
    assert sum(counts) >= 150
    assert min(counts) >= 0.3 * sum(counts)
    assert all(bool(c.passages) == (c.label != "NEE") for c in claims)
    facts = {c.fact for c in claims if c.split == "train"}
    assert not facts & {c.fact for c in tested}
