"""Each command as a user types it, and the JSON that scripts depend on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundtune.config import load_config
from sample_project import QUESTIONS, run, run_json

SOURCE_KEYS = {"document", "page", "chunk_id", "score", "quote"}
SPLITS = {"held_out_phrasings": 3, "held_out_facts": 3, "unanswerable": 2}


def test_init_looks_at_the_folder_and_writes_a_config_that_works(project: Path) -> None:
    (project / "groundtune.yaml").unlink()
    (project / "documents" / "[draft] song.mp3").write_bytes(b"ID3")
    said = run_json("init", project)
    assert said["kinds"] == {"text": 1, "markdown": 1, "csv": 1, "pdf": 1}
    assert said["unknown"].keys() >= {".mp3"}
    assert said["questions"] == "questions.jsonl"
    assert said["config"] == str(project / "groundtune.yaml")
    written = (project / "groundtune.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(written) == {"documents": ["documents"], "questions": "questions.jsonl"}
    assert load_config(project).documents == ("documents",)
    again = run("init", project)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert (project / "groundtune.yaml").read_text(encoding="utf-8") == written
    assert "4 files" in run("ingest", "--project", project).stdout.replace("4 documents", "4 files")


def test_ingest_says_what_came_in_and_what_did_not(project: Path) -> None:
    (project / "documents" / "empty.txt").touch()
    (project / "documents" / "[b] x.mp3").write_bytes(b"ID3")
    said = run_json("ingest", "--project", project)
    assert said.keys() >= {"documents", "skipped", "bytes", "seconds"}
    assert said["documents"] == 4
    assert said["bytes"] == sum(p.stat().st_size for p in (project / "documents").iterdir() if p.suffix not in {".mp3"})
    assert {s["path"] for s in said["skipped"]} == {"empty.txt", "[b] x.mp3"}
    assert all(s.keys() == {"path", "reason"} and s["reason"] for s in said["skipped"])
    spoken = run("ingest", "--project", project)
    assert "4 documents, 2 skipped" in spoken.stdout
    assert "skipped [b] x.mp3: no loader for .mp3" in spoken.stdout  # square brackets are the file's, not markup
    assert (spoken.returncode, spoken.stderr) == (0, "")


def test_ingest_of_named_sources(project: Path) -> None:
    assert (
        run_json("ingest", "documents/hours.txt", "documents/handbook.pdf", "--project", project, cwd=project)[
            "documents"
        ]
        == 2
    )


def test_index_is_made_once(made: Path) -> None:
    before = (made / ".groundtune" / "index" / "manifest.json").stat().st_mtime_ns
    done = run("index", "--project", made)
    assert "9 chunks of 4 documents (up to date)" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    told = run_json("index", "--project", made)
    assert (told["documents"], told["added"], told["changed"], told["removed"]) == (4, 0, 0, 0)
    assert (made / ".groundtune" / "index" / "manifest.json").stat().st_mtime_ns == before


def test_ask_prints_what_is_promised(indexed: Path) -> None:
    question = "On which extension does the duty officer answer?"
    said = run_json("ask", question, "--project", indexed, "--model", "echo:4471")
    assert said.keys() == {"question", "system", "answer", "abstained", "sources", "statements", "usage", "seconds"}
    assert (said["question"], said["system"], said["abstained"]) == (question, "rag", False)
    assert said["answer"] == "4471"
    assert said["usage"].keys() == {"prompt_tokens", "completion_tokens"}
    assert said["seconds"] > 0
    first = said["sources"][0]
    assert first.keys() == SOURCE_KEYS | {"path"}
    assert first["path"] == str((indexed / "documents" / "handbook.pdf").resolve())
    assert (first["document"], first["page"], first["quote"]) == (
        "handbook.pdf",
        2,
        "The duty officer answers on extension 4471.",
    )
    assert re.fullmatch(r"[0-9a-f]{16}-\d+", first["chunk_id"])
    assert isinstance(first["score"], float)


def test_ask_with_the_configured_model_generates(indexed: Path) -> None:
    said = run_json("ask", "What does a yearly card cost?", "--project", indexed)
    assert said["system"] == "rag"
    assert 1 <= said["usage"]["completion_tokens"] <= 6  # answer.max_tokens
    assert said["usage"]["prompt_tokens"] > 30
    assert bool(said["sources"]) == any(s["supported"] for s in said["statements"])
    assert not (said["sources"] and said["abstained"])


def test_ask_shows_answer_and_sources_to_people(indexed: Path) -> None:
    done = run(
        "ask",
        "Within how many days are lost keys replaced?",
        "--document",
        "handbook.pdf",
        "--project",
        indexed,
        "--model",
        "echo:6 [working] days",
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "6 [working] days [1]"
    assert lines[1] == "  [1] handbook.pdf, page 3: Lost keys are replaced within 6 working days."
    assert all("handbook.pdf" in line for line in lines[1:])
    assert (done.returncode, done.stderr) == (0, "")


def test_ask_looks_only_in_the_named_document(indexed: Path) -> None:
    said = run_json(
        "ask", "What does a yearly card cost?", "--document", "prices.csv", "--project", indexed, "--system", "baseline"
    )
    assert {s["document"] for s in said["sources"]} == {"prices.csv"}
    assert said["system"] == "baseline"
    assert said["answer"] == said["sources"][0]["quote"]  # word for word
    assert said["usage"] == {"prompt_tokens": 0, "completion_tokens": 0}


def test_chat_answers_until_bye(indexed: Path) -> None:
    asked = b"When do the reading rooms open?\n\nWhat does a yearly card cost at the caf\xe9?\nBye!\nnever asked\n"  # the second no UTF-8
    done = run("chat", "--project", indexed, "--model", "echo:at 9:30", stdin=asked)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[1:3] == ["at 9:30 [1]", "  [1] hours.txt: The reading rooms open at 9:30 on weekdays."]
    assert lines[3].endswith("[guard: output_followed]")  # it is about something else
    assert lines[-1] == "bye"


def test_chat_ends_with_the_input(indexed: Path) -> None:
    done = run("chat", "--system", "prompt", "--model", "echo:yes", "--project", indexed, stdin="Are you open?")
    assert done.stdout.splitlines()[1:] == ["yes", "bye"]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", {"baseline", "prompt", "few_shot", "rag", "tuned", "scratch"}),
        ("metrics", {"exact_match", "token_f1", "rouge_l", "supported", "recall_at_5", "mrr", "abstention_accuracy"}),
        ("loaders", {"text", "markdown", "csv", "pdf", "docx", "html"}),
        ("stores", {"lance"}),
        ("backends", {"local", "echo"}),
        ("models", {"pebble"}),
    ],
)
def test_list_names_everything_with_a_line_of_explanation(kind: str, names: set[str]) -> None:
    rows = run_json("list", kind)
    assert rows.keys() >= names
    assert all(len(line) > 15 for line in rows.values())
    assert not [n for n in rows if n.startswith("_")]
    if kind == "loaders":
        assert all(name in run("list", kind).stdout for name in names)


def check_system(row: dict[str, Any], name: str) -> None:
    assert row["name"] == name
    assert row.keys() >= {
        "name",
        "scores",
        "latency_seconds",
        "peak_memory_bytes",
        "train_seconds",
        "disk_bytes",
        "cost_usd",
    }
    assert row["latency_seconds"].keys() == {"p50", "p95"}
    assert 0 < row["latency_seconds"]["p50"] <= row["latency_seconds"]["p95"]
    assert row["peak_memory_bytes"] > 10_000_000
    assert row["train_seconds"] >= 0
    assert row["disk_bytes"] >= 0
    assert row["cost_usd"] > 0
    assert row["scores"].keys() == {*SPLITS, "all_answerable"}
    for split, metrics in row["scores"].items():
        for metric, score in metrics.items():
            assert score.keys() == {"mean", "low", "high", "n"}, (split, metric)
            assert 0 <= score["low"] <= score["mean"] <= score["high"] <= 1, (split, metric)
    for split in ("held_out_phrasings", "held_out_facts"):
        assert row["scores"][split].keys() >= {"exact_match", "token_f1", "rouge_l"}
        assert row["scores"][split]["token_f1"]["n"] == SPLITS[split]
    assert row["scores"]["unanswerable"]["abstention_accuracy"]["n"] == 2


def test_evaluate_prints_one_systems_element(made: Path) -> None:
    row = run_json("evaluate", "--system", "baseline", "--per-question", "--project", made)
    check_system(row, "baseline")
    assert row["scores"]["all_answerable"].keys() >= {"recall_at_5", "mrr", "supported"}
    assert row["scores"]["all_answerable"]["recall_at_5"]["mean"] == 1.0
    held_out = [q[2] for q in QUESTIONS if q[1] != "train"]
    assert [q["question"] for q in row["per_question"]] == held_out
    assert all({"id", "split", "question", "references", "answers"} <= q.keys() for q in row["per_question"])
    fee = next(q for q in row["per_question"] if q["question"] == "How many crowns does a yearly card cost?")
    assert fee["answers"]["text"] == "A yearly card costs 48 crowns."
    assert 0 < fee["answers"]["scores"]["token_f1"] < 1


def test_evaluate_without_per_question_leaves_them_out(made: Path) -> None:
    row = run_json("evaluate", "--system", "prompt", "--questions", "1", "--model", "echo:48 crowns", "--project", made)
    assert "per_question" not in row
    assert (
        row["scores"]["held_out_phrasings"]["token_f1"]["n"] == 1
    )  # whole facts at a time; here each has one question


@pytest.fixture(scope="module")
def compared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Every system, from nothing but the documents, with a report in a folder that is not there yet."""
    import shutil

    folder = tmp_path_factory.mktemp("compared") / "project"
    shutil.copytree(template, folder)
    return folder, run_json("compare", "--project", folder, "--report", folder / "out" / "report.html")


ALL = ["baseline", "most_frequent", "prompt", "few_shot", "rag", "tuned", "tuned+rag", "scratch"]


def test_compare_prints_what_is_promised(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, said = compared
    assert said.keys() >= {"questions", "splits", "systems", "pairs", "recommendation", "report"}
    assert (said["questions"], said["splits"]) == (8, SPLITS)
    assert [r["name"] for r in said["systems"]] == ALL
    for row in said["systems"]:
        check_system(row, row["name"])
    assert said["recommendation"].keys() == {"system", "text", "because"}
    assert said["recommendation"]["system"] in {*ALL, None}
    assert said["recommendation"]["text"]
    assert all(isinstance(line, str) for line in said["recommendation"]["because"])
    assert said["report"] == str(folder / "out" / "report.html")


def test_compare_says_how_every_pair_differs(compared: tuple[Path, dict[str, Any]]) -> None:
    _, said = compared
    for pair in said["pairs"]:
        assert pair.keys() >= {"a", "b", "split", "metric", "difference", "low", "high", "p_value"}
        assert pair["low"] <= pair["difference"] <= pair["high"]
        assert 0 < pair["p_value"] <= 1
    facts = {(p["a"], p["b"]) for p in said["pairs"] if p["split"] == "held_out_facts"}
    assert len(facts) == len(ALL) * (len(ALL) - 1) // 2


def test_compare_makes_what_the_systems_need(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, said = compared
    workspace = folder / ".groundtune"
    for artifact in ("documents", "index", "runs/full", "runs/scratch"):
        assert (workspace / artifact / "manifest.json").exists(), artifact
    assert not list(workspace.rglob("*.part*"))
    rows = {r["name"]: r for r in said["systems"]}
    assert rows["tuned"]["train_seconds"] > 0
    assert rows["tuned"]["disk_bytes"] > 50_000
    assert rows["rag"]["disk_bytes"] > rows["prompt"]["disk_bytes"]
    kept = json.loads((workspace / "reports" / "comparison.json").read_text(encoding="utf-8"))
    assert kept["systems"] == said["systems"]


def test_compare_writes_the_report(compared: tuple[Path, dict[str, Any]]) -> None:
    page = (compared[0] / "out" / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert all(name in page for name in ALL)
    assert "How many crowns does a yearly card cost?" in page
    assert not re.findall(r"""(?:src|href)=["']https?://""", page)  # opens without a network


def test_the_tuned_system_answers_after_compare(compared: tuple[Path, dict[str, Any]]) -> None:
    said = run_json("ask", "When do you open?", "--system", "tuned", "--project", compared[0])
    assert said["system"] == "tuned"
    assert said["sources"] == []
    assert said["usage"]["completion_tokens"] >= 1


def test_tune_shows_a_row_and_trains_nothing(project: Path) -> None:
    done = run("tune", "--show-row", "1", "--project", project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<|assistant|>⟦9:30<|end|>⟧" in done.stdout
    said = run_json("tune", "--show-row", "1", "--project", project)
    assert (said["where"], said["trained"]) == ("example q1", 5)
    assert not (project / ".groundtune" / "runs").exists()


def test_tune_says_what_options_a_method_has(tmp_path: Path) -> None:
    done = run("tune", "--help-method", "lora", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("LoRA: low-rank") and "tune.options.rank: 16" in done.stdout
    assert not list(tmp_path.iterdir())


def test_tune_takes_a_method_and_says_what_it_did(project: Path) -> None:
    said = run_json("tune", "--method", "lora", "--project", project)
    assert said["method"] == "lora"
    assert said["rows"] == 10  # six questions, and each of the four facts once behind its passage
    assert said["trainable_parameters"] > 0
    assert said["last_loss"] < said["first_loss"]
    assert (project / ".groundtune" / "runs" / "lora" / "weights" / "adapter_model.safetensors").exists()


def test_a_bare_command_shows_the_help_and_no_empty_complaint() -> None:
    done = run()
    assert "compare" in done.stdout + done.stderr
    assert "groundtune: \n" not in done.stderr
    assert run("--version").stdout.startswith("groundtune 0.")


def test_an_index_older_than_the_documents_is_said(project: Path) -> None:
    run_json("ingest", "--project", project)
    run_json("index", "--project", project)
    (project / "documents" / "new.txt").write_text("The shed key costs a deposit of 40 crowns.", encoding="utf-8")
    run_json("ingest", "--project", project)
    done = run("ask", "What does the key cost?", "--project", project, "--model", "echo:x")
    assert done.returncode == 0
    assert done.stderr.strip() == ("groundtune: the index is older than the ingested documents; next: groundtune index")
    run_json("index", "--project", project)
    assert run("ask", "What does the key cost?", "--project", project, "--model", "echo:x").stderr == ""
