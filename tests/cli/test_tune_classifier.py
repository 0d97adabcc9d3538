"""``tune --method classifier`` on the command line: a recipe, the table, the answer, the comparison with the most frequent answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from sample_project import run, run_json
from tiny_encoders import topic_rows, write_bert, write_rows

RECIPE = """tune:
  method: classifier
  model: bert
  data: train.jsonl
  test: test.jsonl
  epochs: 10
  learning_rate: 0.005
  batch_tokens: 192
  options:
    published: {name: the other table, epochs: [{accuracy: 0.5, f1: 0.25}]}
compare:
  resamples: 200
  latency_questions: 2
  adaptability_facts: 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classified")
    write_bert(folder / "bert")
    write_rows(folder / "train.jsonl", topic_rows(240, 1))
    write_rows(folder / "test.jsonl", topic_rows(60, 2))
    asked = [
        {
            "id": str(n),
            "split": "train" if n < 9 else "held_out_facts",
            "question": r["text"],
            "references": [r["label"]],
        }
        for n, r in enumerate(topic_rows(30, 3))
    ]
    write_rows(folder / "questions.jsonl", asked)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def test_a_recipe_is_trained_told_asked_and_compared(folder: Path) -> None:
    recipe = ("--project", folder, "--config", folder / "recipe.yaml")
    figures = run_json("tune", *recipe, "--seed", "3")
    assert figures["seed"] == 3
    assert figures["test"]["accuracy"] > 0.8
    done = run("tune", *recipe, "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "(up to date)" in done.stdout
    assert "classes: animal 72, colour 72, tool 72" in done.stdout
    (first,) = [line for line in done.stdout.splitlines() if "the other table" in line]
    assert "training loss" in first
    assert sum("|" in line and "0.500   0.250" in " ".join(line.split("|")[1].split()).replace(" ", "   ") for line in done.stdout.splitlines()) == 1  # fmt: skip
    assert f"test: accuracy {figures['test']['accuracy']:.4f}" in done.stdout
    answer = run_json("ask", "the small goat here", "--system", "classifier", *recipe)
    assert answer["answer"] == "animal"
    assert answer["usage"]["completion_tokens"] == 1


def test_it_is_compared_like_any_system(folder: Path) -> None:
    recipe = ("--project", folder, "--config", folder / "recipe.yaml")
    result = run_json("compare", "--systems", "most_frequent,classifier", *recipe)
    means = {s["name"]: s["scores"]["held_out_facts"]["exact_match"]["mean"] for s in result["systems"]}
    assert means["classifier"] > 0.8
    assert means["most_frequent"] < 0.5
