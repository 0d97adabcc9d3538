"""``groundtune red-team`` as a user types it: a few cases, tables for people, the page, JSON."""

from __future__ import annotations

import json
from pathlib import Path

from groundtune.guardrails.red_team.cases import FILES
from sample_project import Typed


def test_a_few_cases_are_stopped_and_the_page_and_the_tables_say_so(made: Path, tmp_path: Path, typed: Typed) -> None:
    own = tmp_path / "own.jsonl"
    lines = (FILES / "first.jsonl").read_text(encoding="utf-8").splitlines()
    chosen = [row for row in map(json.loads, lines) if row["stage"] == "retrieved"][:3]
    own.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    page = tmp_path / "report.html"
    code, said, message = typed("red-team", "--cases", own, "--report", page, "--ordinary", own, "--project", made)
    assert (code, message) == (0, "")
    table = [line.split() for line in said.splitlines()]
    assert ["own", "3", "3", "0"] in table
    assert "ms to a question" in said
    code, said, _ = typed("red-team", "--cases", own, "--json", "--project", made)
    result = json.loads(said)
    assert result["sets"] == {"own": {"cases": 3, "before": 3, "after": 0, "times_lower": None}}
    assert result["false_alarms"]["questions"]["questions"] == 6
    assert result["off_topic"]["the project's"]["asked"] == 6
    assert result["off_topic"]["the project's"]["stopped"] == 0
    html = page.read_text(encoding="utf-8")
    assert "What got through" in html
    assert "By set" in html
