"""The report: one file, nothing fetched, nothing unescaped, nothing lost."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest

from groundtune.evaluation.report import render_report
from html_page import Page

SYSTEMS = ("baseline", "most_frequent", "prompt", "few_shot", "rag", "tuned", "tuned+rag", "scratch")
SPLITS = {"held_out_facts": 30, "held_out_phrasings": 40, "unanswerable": 10}
ANSWERED = ("exact_match", "token_f1", "rouge_l", "supported", "abstention_accuracy")
LEVELS = {
    "baseline": 0.36,
    "most_frequent": 0.03,
    "prompt": 0.11,
    "few_shot": 0.15,
    "rag": 0.78,
    "tuned": 0.31,
    "tuned+rag": 0.81,
    "scratch": 0.12,
}
SPOKEN = {
    "baseline": "the best-matching sentence, no language model",
    "most_frequent": "answers everything with the most frequent training answer",
    "prompt": "the model with a careful instruction",
    "few_shot": "instruction and four worked examples",
    "rag": "finds the five nearest passages and answers from them",
    "tuned": "the model fine-tuned on questions about the documents",
    "tuned+rag": "the fine-tuned model, given the passages found",
    "scratch": "a model of the same size, trained on these documents alone",
}


def make_result(systems: tuple[str, ...] = SYSTEMS, questions: int = 12, seed: int = 7) -> dict[str, Any]:
    """A comparison with the shape that the report takes; the numbers are invented."""
    rng = random.Random(seed)

    def entry(mean: float, n: int) -> dict[str, float]:
        mean = min(max(mean + rng.uniform(-0.03, 0.03), 0.0), 1.0)
        half = 1.96 * math.sqrt(mean * (1 - mean) / n) + 0.01
        return {"mean": mean, "low": max(mean - half, 0.0), "high": min(mean + half, 1.0), "n": n}

    def scores(name: str, split: str, n: int) -> dict[str, Any]:
        level = LEVELS[name] * (0.3 if split == "held_out_facts" and name in ("tuned", "scratch") else 1.0)
        if split == "unanswerable":
            return {"abstention_accuracy": entry(0.35 + level / 2, n)}
        found = {m: entry(level + 0.05 * (m != "exact_match"), n) for m in ANSWERED}
        if "rag" in name:
            found |= {"recall_at_1": entry(0.74, n), "recall_at_5": entry(0.93, n), "mrr": entry(0.82, n)}
        return found

    def system(index: int, name: str) -> dict[str, Any]:
        trained = name in ("tuned", "tuned+rag", "scratch")
        wait = {"most_frequent": 2e-6, "few_shot": 0.9, "baseline": 0.03}.get(
            name, 0.21 + 0.17 * ("rag" in name) + 0.01 * index
        )
        learnt = {"rag": 9, "tuned+rag": 9, "tuned": 4}.get(name)
        return {
            "name": name,
            "description": SPOKEN[name],
            "scores": {split: scores(name, split, n) for split, n in {**SPLITS, "all_answerable": 70}.items()},
            "latency_seconds": {"p50": wait, "p95": wait * rng.uniform(1.4, 2.5)},
            "peak_memory_bytes": int(3.1e8 + 4e7 * index),
            "train_seconds": 640.0 * index if trained else 0.0,
            "disk_bytes": int(2.1e7 + 1.3e7 * ("rag" in name) + 3e6 * trained),
            "cost_usd": wait * 1000 / 3600 * 0.09,
            "pays_off_after_questions": 41_000 if name == "tuned" else None,
            "adaptability": None
            if learnt is None
            else {
                "facts": 10,
                "seconds": 4.2 if name == "rag" else 310.0,
                "right_before": 0,
                "right_after": learnt,
                "stale_after": 10 - learnt - 1 if name == "tuned" else 0,
            },
        }

    def pair(a: str, b: str, split: str, metric: str) -> dict[str, Any]:
        difference = (LEVELS[a] - LEVELS[b]) * (0.5 if split == "unanswerable" else 1.0)
        real = abs(difference) > 0.1
        return {
            "a": a,
            "b": b,
            "split": split,
            "metric": metric,
            "difference": difference,
            "low": difference - 0.07,
            "high": difference + 0.08,
            "p_value": 0.0001 if real else 0.2,
            "p_holm": 0.0008 if real else 0.61,
            "significant": real,
        }

    def answer(name: str, split: str, reference: str) -> dict[str, Any]:
        right = rng.random() < LEVELS[name]
        abstained = right if split == "unanswerable" else rng.random() < 0.1
        overlap = 0.0 if abstained else 1.0 if right else rng.choice([0.0, 0.0, 0.6])
        marks = (
            {"abstention_accuracy": float(abstained)}
            if split == "unanswerable"
            else {
                "exact_match": float(overlap == 1.0),
                "token_f1": overlap,
                "rouge_l": overlap,
                "supported": float(right),
            }
        )
        text = "I cannot find that in the documents." if abstained else reference if right else "within seven days"
        sources = [
            {
                "document": f"handbook/leave-{i}.pdf",
                "page": 3 + i,
                "chunk_id": f"c{i:04d}",
                "score": 0.81 - 0.1 * i,
                "quote": "Carers may take up to 14 days of paid leave a year, in parts if they wish.",
            }
            for i in range(3)
        ]
        return {
            "text": text,
            "abstained": abstained,
            "seconds": rng.uniform(0.2, 0.9),
            "scores": marks,
            "sources": sources if "rag" in name else [],
        }

    asked = []
    for index in range(questions):
        split = list(SPLITS)[index % 3]
        asked.append(
            {
                "id": f"q{index:03d}",
                "fact": f"leave.carers.{index // 3}",
                "split": split,
                "kind": ("lookup", "number", "two_steps")[index % 3 - 1],
                "question": f"How many days of paid leave may a carer take a year, case {index}?",
                "references": [] if split == "unanswerable" else ["14 days", "fourteen days"],
                "passages": []
                if split == "unanswerable"
                else [
                    {
                        "document": "handbook/leave-0.pdf",
                        "page": 3,
                        "text": "Leave for carers. Carers may take up to 14 "
                        "days of paid leave a year, in parts if they wish. The line manager is told two weeks before.",
                    }
                ],
                "answers": {name: answer(name, split, "14 days") for name in systems},
            }
        )
    return {
        "questions": sum(SPLITS.values()),
        "splits": dict(SPLITS),
        "model": "pebble",
        "created": "2026-11-21T02:30:00",
        "command": "groundtune compare --systems all --workspace /srv/groundtune/acme --out report.html",
        "machine": {
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "memory_bytes": 8_340_000_000,
            "python": "3.11.9",
            "torch": "2.9.1+cpu",
            "platform": "Linux-6.1-x86_64",
        },
        "systems": [system(index, name) for index, name in enumerate(systems)],
        "pairs": [
            pair(a, b, split, metric)
            for i, a in enumerate(systems)
            for b in systems[i + 1 :]
            for split in (*SPLITS, "all_answerable")
            for metric in (("abstention_accuracy",) if split == "unanswerable" else ("token_f1", "exact_match"))
        ],
        "recommendation": {
            "system": "rag" if "rag" in systems else None,
            "text": "Use rag: it answers four questions in five and learns changed facts in seconds.",
            "because": [
                "It beats every system that does not search, on every test, beyond chance.",
                "tuned+rag scores a little higher, but the difference could be chance.",
                "A changed document is live after 4.2 s; fine-tuning takes 5 minutes and keeps old answers.",
            ],
        },
        "notes": ["One seed per trained system; spread between seeds is not measured."],
        "per_question": asked,
    }


def test_every_system_question_and_answer_is_there() -> None:
    result = make_result()
    page = Page(render_report(result))
    assert not page.faults
    assert page.open == []
    assert result["recommendation"]["text"] in page.text
    for reason in result["recommendation"]["because"]:
        assert reason in page.text
    for system in result["systems"]:
        assert system["description"] in page.text
    for question in result["per_question"]:
        assert question["question"] in page.text
    assert page.tags.count("article") == len(result["per_question"]) * len(SYSTEMS)
    closed = [i for i, tag in enumerate(page.tags) if tag == "details"]
    assert closed and "open" not in page.values("open")
    assert "handbook/leave-0.pdf" in page.text
    assert result["command"] in page.text and result["notes"][0] in page.text


def test_nothing_is_fetched() -> None:
    source = render_report(make_result())
    page = Page(source)
    links = [value for name in ("src", "href", "action", "data", "srcset") for value in page.values(name)]
    assert links and all(link.startswith("#") for link in links)
    assert not re.search(r"https?://|url\(|@import", source)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)


def test_inner_links_and_ids_hold() -> None:
    page = Page(render_report(make_result()))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = [link[1:] for link in page.values("href")] + page.values("aria-labelledby") + page.values("for")
    assert set(wanted) <= set(ids)


def test_text_from_data_is_escaped_everywhere() -> None:
    evil = "</script></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\x00\ud800"
    result = make_result(questions=3)

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: spoil(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        return value + evil if isinstance(value, str) and key not in ("split", "metric") else value

    source = render_report(spoil(result))
    page = Page(source)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not page.faults
    assert not [name for name in {name for _, name, _ in page.attributes} if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    source.encode("utf-8")


@pytest.mark.parametrize("present", [("rag",), ("baseline", "rag"), ("baseline", "tuned"), ("most_frequent",), ()])
def test_any_system_may_be_missing(present: tuple[str, ...]) -> None:
    page = Page(render_report(make_result(present, questions=3)))
    assert not page.faults
    for name in present:
        assert name in page.text


def test_missing_metrics_become_dashes() -> None:
    result = make_result()
    for system in result["systems"]:
        system["scores"]["held_out_facts"].pop("rouge_l")
        system["latency_seconds"] = None
    result["systems"][0]["scores"] = {}
    result["systems"][4]["scores"]["held_out_phrasings"]["token_f1"] = {
        "mean": math.nan,
        "low": None,
        "high": None,
        "n": 0,
    }
    result["systems"][5] = {"name": "tuned"}
    page = Page(render_report(result))
    assert "—" in page.text
    assert not re.search(r"\bnan\b|\bNone\b", page.text)
    assert not page.faults


def test_an_empty_result_still_renders() -> None:
    page = Page(render_report({}))
    assert "recommends no system" in page.text
    assert not page.faults


def test_no_questions() -> None:
    page = Page(render_report(make_result() | {"per_question": []}))
    assert "no single questions" in page.text
    assert "article" not in page.tags


def test_rival_is_turned_so_that_the_recommended_system_comes_first() -> None:
    result = make_result(("baseline", "rag"), questions=0)
    result["pairs"] = [
        {
            "a": "baseline",
            "b": "rag",
            "split": "held_out_facts",
            "metric": "token_f1",
            "difference": -0.4,
            "low": -0.5,
            "high": -0.3,
            "p_value": 0.001,
            "p_holm": 0.002,
            "significant": True,
        }
    ]
    page = Page(render_report(result))
    assert "rag \u2212 baseline +0.40 ✓ significant p = 0.002" in page.text


def test_without_a_winner_the_best_system_is_compared() -> None:
    result = make_result(("baseline", "rag", "tuned"), questions=0)
    result["recommendation"] = {"system": None, "text": "No clear winner.", "because": []}
    page = Page(render_report(result))
    assert "No clear winner." in page.text
    assert "rag compared with" in page.text
    assert "recommended" not in page.text.lower()


def test_marks_carry_words_as_well_as_colour() -> None:
    result = make_result(("rag",), questions=2)
    right, declined = result["per_question"]
    right["answers"]["rag"] |= {"abstained": False, "scores": {"exact_match": 1.0, "token_f1": 1.0}}
    declined["answers"]["rag"] |= {"abstained": True, "scores": {"exact_match": 0.0, "token_f1": 0.0}}
    labels = Page(render_report(result)).values("aria-label")
    assert "rag: right" in labels
    assert "rag: declined, but the documents hold the answer" in labels


def test_table_headers_have_a_scope() -> None:
    page = Page(render_report(make_result()))
    assert page.tags.count("th") == len([1 for tag, name, _ in page.attributes if tag == "th" and name == "scope"])
    assert {value for tag, name, value in page.attributes if tag == "th" and name == "scope"} == {"col", "row"}
