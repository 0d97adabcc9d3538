"""``groundtune optimize`` on the sample project: search, report, lines to write, going on, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from groundtune.cli._common import open_project
from groundtune.cli.main import main
from groundtune.cli.optimize import _write
from groundtune.methods._rag_arms import RagArms
from html_page import Page

#: two settings, one of which needs an index
SPACE = "retrieval:\n  top_k: [1, 5]\nindex.chunk_tokens: [24, 200]\n"
#: answers every question alike
MODEL = "echo:48 crowns"


class Command:
    """``groundtune optimize`` in this process: starting another one for each call takes seconds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._patch, self._capsys = folder, monkeypatch, capsys
        self.space = folder / "space.yaml"
        self.space.write_text(SPACE, encoding="utf-8")

    def __call__(self, *arguments: object, name: str = "optimize") -> tuple[int, str, str]:
        given = ["groundtune", name, "--project", str(self.folder), "--model", MODEL, *map(str, arguments)]
        self._patch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    def json(self, *arguments: object, name: str = "optimize") -> Any:
        code, out, errors = self(*arguments, "--json", name=name)
        assert code == 0, errors
        return json.loads(out)

    def journal(self) -> Path:
        return next((self.folder / ".groundtune" / "optimize").glob("*.jsonl"))


@pytest.fixture
def optimize(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(made, monkeypatch, capsys)


def test_search_report_and_going_on(optimize: Command) -> None:
    common = ("--space", optimize.space, "--minutes", 5)
    result = optimize.json(*common, "--report", optimize.folder / "r.html", "--write")
    assert result["winner"] == {} and not result["recommendation"]["adopt"] and result["written"] is None
    assert sum(result["asked"].values()) == 6
    tried = [a["changes"] for r in result["rounds"] for a in r["arms"]]
    assert {} in tried and {"index.chunk_tokens": 24} in tried and {"retrieval.top_k": 1} in tried
    held = result["held_out"]
    assert held["questions"] == 8 and held["systems"][0]["scores"]["held_out_phrasings"]["token_f1"]["n"] == 3
    assert held["systems"][0]["latency_seconds"]["p50"] > 0
    page = Page((optimize.folder / "r.html").read_text(encoding="utf-8"))
    assert not page.faults and "Leave the settings as they are" in page.text
    lines = optimize.journal().read_text(encoding="utf-8")
    code, out, errors = optimize(*common)
    assert code == 0 and "Leave the settings" in out, errors
    assert optimize.journal().read_text(encoding="utf-8") == lines  # nothing was asked again
    assert not (optimize.folder / ".groundtune" / "optimize" / "indexes").exists()


def test_what_is_better_is_written_where_asked(optimize: Command) -> None:
    rows = [json.loads(line) for line in (optimize.folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["references"] = ["Weavers' Hall"]  # what the baseline never says, and the echo always
    more = [{**r, "id": f"{r['id']}-{n}", "fact": f"{r['fact']}-{n}"} for r in rows for n in range(2)]
    (optimize.folder / "questions.jsonl").write_text("\n".join(map(json.dumps, more)), encoding="utf-8")
    optimize.space.write_text("system: [rag]\nanswer.max_tokens: [9]\n", encoding="utf-8")
    common = ("--space", optimize.space, "--system", "baseline", "--minutes", 5, "--model", "echo:Weavers' Hall")
    result = optimize.json(*common, "--write")
    assert result["winner"] == {"system": "rag"} and result["recommendation"]["adopt"] and result["written"] is None
    assert result["held_out"]["overall"]["difference"] > 0.5
    assert result["held_out"]["worth"][0]["difference"] == result["held_out"]["overall"]["difference"]
    code, out, _ = optimize(*common)
    assert code == 0 and "answers best: --system rag" in out and "what each choice is worth" in out


def test_settings_and_instructions_are_written_and_nothing_is_lost(project: Path) -> None:
    (project / "prompts").mkdir()
    own = "[system]\nOurs.\n[user]\n{passages} {question}\n"
    (project / "prompts" / "with_passages.txt").write_text(own, encoding="utf-8")
    winner = {"retrieval.top_k": 3, "prompt.with_passages": "Be {short}.", "system": "rag"}
    file, before = project / "groundtune.yaml", (project / "groundtune.yaml").read_text(encoding="utf-8")
    assert _write(open_project(project), file, {"winner": winner, "recommendation": {"adopt": False}}) is None
    assert file.read_text(encoding="utf-8") == before
    written = _write(open_project(project), file, {"winner": winner, "recommendation": {"adopt": True}})
    assert written == f"{file}, {project / 'prompts' / 'with_passages.txt'}"
    assert file.read_text(encoding="utf-8") == before + "retrieval:\n  top_k: 3\n"
    assert (project / "prompts" / "with_passages.old").read_text(encoding="utf-8") == own
    said = open_project(project).prompt("with_passages").messages(question="q?", passages="p")
    assert [m.content for m in said] == ["Be {short}.", "p q?"]


def test_ctrl_c_keeps_what_was_measured(optimize: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: RagArms, arm: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(RagArms, "make_index", stopped)
    code, _, errors = optimize("--space", optimize.space, "--minutes", 5)
    assert code == 2 and "goes on from there" in errors and "are kept" in errors and "Traceback" not in errors
    rows = [json.loads(line) for line in optimize.journal().read_text(encoding="utf-8").splitlines()]
    assert rows[0]["part"] == "answers" and rows[0]["arm"] == "[]"
    monkeypatch.undo()
    again = optimize.json("--space", optimize.space, "--minutes", 5)
    assert {"index.chunk_tokens": 24} in [a["changes"] for r in again["rounds"] for a in r["arms"]]
    kept = optimize.journal().read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in kept[: len(rows)]] == rows


def test_the_space_is_shown_as_a_file_that_is_taken(optimize: Command) -> None:
    code, shown, errors = optimize("--show-space")
    assert code == 0, errors
    optimize.space.write_text(shown, encoding="utf-8")
    own = optimize.json("--show-space", "--space", optimize.space, name="tune-rag")
    assert own == optimize.json("--show-space") and "retrieval.top_k" in own


def test_faults_are_said_before_anything_is_made(optimize: Command) -> None:
    optimize.space.write_text("retrieval.topk: [3]\n", encoding="utf-8")
    code, _, errors = optimize("--space", optimize.space)
    assert code == 2 and "did you mean 'retrieval.top_k'" in errors
    questions = optimize.folder / "questions.jsonl"
    few = [line for line in questions.read_text(encoding="utf-8").splitlines() if '"kayak"' not in line]
    questions.write_text("\n".join(few), encoding="utf-8")
    code, _, errors = optimize()
    assert code == 2 and "5 questions about 3 facts" in errors and "at least 4 facts" in errors
    assert not (optimize.folder / ".groundtune" / "optimize").exists()
