"""``groundtune optimize`` on the sample project: search, report, lines to write, going on, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from html_page import Page
from sample_project import command, environment, run, run_json

#: two settings, one of which needs an index; with the echo below, finding nothing answers nothing better
SPACE = "retrieval:\n  top_k: [1, 5]\nindex.chunk_tokens: [24, 200]\n"
#: answers every question alike: right for one fact of the training questions
MODEL = "echo:48 crowns"


@pytest.fixture
def quick(made: Path) -> Path:
    (made / "space.yaml").write_text(SPACE, encoding="utf-8")
    return made


def test_search_report_and_going_on(quick: Path) -> None:
    common = ("optimize", "--project", quick, "--model", MODEL, "--space", quick / "space.yaml", "--minutes", "2")
    result = run_json(*common, "--report", quick / "r.html", "--write")
    assert result["winner"] == {} and not result["recommendation"]["adopt"] and result["written"] is None
    assert result["asked"] == {"search": 4, "validation": 3} or sum(result["asked"].values()) == 7
    tried = [a["changes"] for r in result["rounds"] for a in r["arms"]]
    assert {} in tried and {"index.chunk_tokens": 24} in tried and {"retrieval.top_k": 1} in tried
    held = result["held_out"]
    assert held["questions"] == 8 and held["systems"][0]["scores"]["held_out_phrasings"]["token_f1"]["n"] == 3
    assert held["systems"][0]["latency_seconds"]["p50"] > 0
    page = Page((quick / "r.html").read_text(encoding="utf-8"))
    assert not page.faults and "Leave the settings as they are" in page.text
    journal = next((quick / ".groundtune" / "optimize").glob("*.jsonl"))
    lines = journal.read_text(encoding="utf-8")
    again = run(*common)
    assert again.returncode == 0 and "Leave the settings" in again.stdout, again.stderr
    assert journal.read_text(encoding="utf-8") == lines  # nothing was asked again
    assert not list((quick / ".groundtune" / "optimize" / "indexes").glob("*"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_was_measured(quick: Path) -> None:
    (quick / "space.yaml").write_text("index.chunk_tokens: [16, 24, 32, 48, 64, 96, 128]\n", encoding="utf-8")
    arguments = command("optimize", "--project", quick, "--model", MODEL, "--space", quick / "space.yaml")
    process = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    journals = quick / ".groundtune" / "optimize"
    until = time.monotonic() + 60
    while not any(p.stat().st_size for p in journals.glob("*.jsonl")) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "are kept" in errors and "Traceback" not in errors
    rows = [json.loads(line) for line in next(journals.glob("*.jsonl")).read_text(encoding="utf-8").splitlines()]
    assert rows[0]["part"] == "answers" and rows[0]["arm"] == "[]"


def test_the_space_is_shown_as_a_file_that_is_taken(quick: Path) -> None:
    shown = run("optimize", "--project", quick, "--show-space")
    assert shown.returncode == 0, shown.stderr
    (quick / "own.yaml").write_text(shown.stdout, encoding="utf-8")
    assert run_json("tune-rag", "--project", quick, "--show-space", "--space", quick / "own.yaml") == run_json(
        "optimize", "--project", quick, "--show-space"
    )


def test_faults_are_said_before_anything_is_made(quick: Path) -> None:
    (quick / "space.yaml").write_text("retrieval.topk: [3]\n", encoding="utf-8")
    done = run("optimize", "--project", quick, "--space", quick / "space.yaml")
    assert done.returncode == 2 and "did you mean 'retrieval.top_k'" in done.stderr
    few = [
        line for line in (quick / "questions.jsonl").read_text(encoding="utf-8").splitlines() if '"kayak"' not in line
    ]
    (quick / "questions.jsonl").write_text("\n".join(few), encoding="utf-8")
    done = run("optimize", "--project", quick)
    assert done.returncode == 2 and "5 questions about 3 facts" in done.stderr and "at least 4 facts" in done.stderr
    assert not (quick / ".groundtune" / "optimize").exists()
