"""``groundtune plan`` as a user types it, and the stop before a run that would take too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundtune.errors import ConfigError
from sample_project import run, run_json

KEYS = {"method", "fits", "trainable_parameters", "memory_bytes", "seconds", "disk_bytes", "cost_usd"}


def test_a_project_is_counted_and_timed(template: Path) -> None:
    said = run_json("plan", "--project", template, "--methods", "full,lora")
    assert [row["method"] for row in said["rows"]] == ["full", "lora"]
    assert "training rows" in said["tokens_from"]
    assert said["epochs"] == 3
    for row in said["rows"]:
        assert row.keys() >= KEYS
        assert row["fits"] is True
        assert row["seconds"] >= 0
        parts = dict(row["memory_bytes"])
        assert parts.pop("peak") == sum(parts.values())
    full, lora = said["rows"]
    assert full["trainable_parameters"] == said["parameters"] > lora["trainable_parameters"]
    assert full["disk_bytes"] > lora["disk_bytes"]
    assert said["weights_bytes"]["fp16"] == 2 * said["parameters"]


def test_a_shape_without_a_project(tmp_path: Path) -> None:
    arguments = ("plan", "--project", tmp_path, "--model", "pebble-24m", "--tokens", "50000", "--no-measure")
    said = run_json(*arguments)
    assert [row["method"] for row in said["rows"]] == "full lora qlora prefix_tuning prompt_tuning p_tuning ia3 llama_adapter adapter layers".split()  # fmt: skip
    assert said["parameters"] == 23_994_240
    assert all(row["seconds"] is None and row["cost_usd"] is None for row in said["rows"])
    spoken = run(*arguments, "--methods", "lora,layers", "--memory-gb", "0.8")
    assert spoken.returncode == 0
    assert "no: memory" in spoken.stdout
    assert "would fit with" in spoken.stdout


def test_what_does_not_go_with_the_model_is_left_out_with_its_reason(tmp_path: Path) -> None:
    said = run_json("plan", "--project", tmp_path, "--model", "qwen3-0.6b", "--tokens", "1000", "--no-measure", "--methods", "llama_adapter,ia3")  # fmt: skip
    assert [row["method"] for row in said["rows"]] == ["ia3"]
    assert said["left_out"][0]["method"] == "llama_adapter"
    assert "Unsupported" in said["left_out"][0]["reason"]


def test_an_encoder_is_planned_as_a_classifier(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    ).save_pretrained(tmp_path / "encoder")
    said = run_json("plan", "--project", tmp_path, "--model", tmp_path / "encoder", "--tokens", "1000", "--no-measure")
    assert [row["method"] for row in said["rows"]] == ["classifier"]
    assert said["rows"][0]["trainable_parameters"] == said["parameters"]


def test_pretraining_by_shape(tmp_path: Path) -> None:
    said = run_json("plan", "--project", tmp_path, "--model", "pebble-24m", "--tokens", "1000", "--no-measure", "--methods", "lora", "--pretrain-tokens", "1000000")  # fmt: skip
    row = said["rows"][-1]
    assert row["method"] == "pretraining"
    assert row["trainable_parameters"] == 23_994_240
    assert row["steps"] == 245  # a million tokens, 4,096 a step


def test_the_lessons_table() -> None:
    said = run_json("plan", "--table", "lessons")
    assert len(said["pretraining"]) == 12
    assert all(abs(row["usd"] / row["printed_usd"] - 1) < 0.002 for row in said["pretraining"])
    assert all(abs(row["bytes"] / row["printed_bytes"] - 1) < 0.05 for row in said["sizes"])
    spoken = run("plan", "--table", "lessons").stdout
    assert "312 TFLOP/s" in spoken
    assert "$1.50 an hour" in spoken
    assert "Chinchilla" in spoken


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "no/such-model", "--tokens", "10"), "a shape"),
        (("--model", "openai:gpt-4o", "--tokens", "10"), "not on this machine"),
        (("--tokens", "10", "--methods", "lorra"), "did you mean 'lora'"),
        (("--tokens", "10", "--methods", ","), "names none"),
        ((), "--tokens"),
        (("--table", "lesson"), "did you mean 'lessons'"),
    ],
)
def test_mistakes_get_one_message(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run("plan", "--project", tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert words in done.stderr


def test_a_run_is_stopped_before_it_begins(template: Path) -> None:
    from groundtune.cli._common import open_project
    from groundtune.cli._planning import check_before

    setup = open_project(template)
    with pytest.raises(ConfigError, match="--max-hours"):
        check_before(setup, "full", max_hours=1e-6)
    row = check_before(setup, "full", max_hours=10, max_usd=100)
    assert row.figures.seconds is not None
