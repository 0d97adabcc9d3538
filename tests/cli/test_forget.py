"""``groundtune forget``: no byte of the document stays in the workspace, and what learnt from it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundtune.workspace import Workspace
from sample_project import run, run_json

#: words that stand in hours.txt alone
SECRET = b"cloakroom"


def holders(folder: Path) -> list[str]:
    """Files of the workspace in which the document's words stand."""
    return [str(p) for p in folder.rglob("*") if p.is_file() and SECRET in p.read_bytes()]


def test_nothing_of_the_document_stays(made: Path) -> None:
    workspace = made / ".groundtune"
    assert holders(workspace)
    before = run_json("ask", "When do you close?", "--project", made, "--system", "baseline")
    assert before["sources"][0]["document"] == "hours.txt"
    result = run_json("forget", "hours.txt", "--project", made)
    assert result["document"] == "hours.txt"
    assert result["index"] is True
    assert result["examples_removed"] == {str(made / "questions.jsonl"): 3}
    assert holders(workspace) == []
    rows = [json.loads(line) for line in (made / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 11
    after = run_json("ask", "When do you close?", "--project", made, "--system", "baseline")
    assert all(source["document"] != "hours.txt" for source in after["sources"])


def test_it_stays_forgotten(made: Path) -> None:
    run_json("forget", "hours.txt", "--project", made)
    again = run_json("ingest", "--project", made)
    assert again["documents"] == 3
    assert [s["reason"][:12] for s in again["skipped"] if s["path"] == "hours.txt"] == ["forgotten on"]
    (made / "documents" / "copy.txt").write_bytes((made / "documents" / "hours.txt").read_bytes())
    third = run_json("ingest", "--project", made)
    assert {s["path"] for s in third["skipped"]} == {"hours.txt", "copy.txt"}  # the same content under another name


def test_the_index_is_up_to_date_afterwards(made: Path) -> None:
    run_json("forget", "membership.md", "--project", made)
    key = Workspace(made).manifest("index")
    assert run_json("index", "--project", made)["documents"] == 3
    assert Workspace(made).manifest("index") == key  # not made again


def test_models_that_learnt_from_it_are_named_and_deleted_on_request(made: Path) -> None:
    run("tune", "--project", made)
    result = run_json("forget", "hours.txt", "--project", made)
    assert result["trained_on_it"] == ["runs/full"]
    assert result["runs_deleted"] == []
    assert (made / ".groundtune" / "runs" / "full").is_dir()
    second = run_json("forget", "prices.csv", "--project", made, "--delete-runs")
    assert second["runs_deleted"] == ["runs/full"]
    assert not (made / ".groundtune" / "runs" / "full").exists()


@pytest.mark.parametrize("name", ["no-such.pdf", "hour.txt"])
def test_an_unknown_document_is_one_message(made: Path, name: str) -> None:
    done = run("forget", name, "--project", made, "--yes")
    assert done.returncode == 2
    assert f"no document '{name}' among the 4" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_terminal_it_asks_for_yes(made: Path) -> None:
    done = run("forget", "hours.txt", "--project", made)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert holders(made / ".groundtune")


def test_copies_samples_and_rejected_rows_go_too(made: Path) -> None:
    documents = made / "documents"
    (documents / "letter.txt").write_text(
        "The se\u00adcret word is xylophonia.\u200b It is not to be told.", encoding="utf-8"
    )
    (documents / "z-copy.md").write_text("The secret word is xylophonia.\n\nIt is not to be told.", encoding="utf-8")
    first = run_json("ingest", "--project", made)
    assert [s["reason"] for s in first["skipped"]] == ["the same text as letter.txt, which is kept"]
    row = {
        "question": "Which word? \u2028 Say xylophonia.",
        "answer": "xylophonia",
        "document": "letter.txt",
        "id": "x1",
    }
    with (made / "questions.jsonl").open("a", encoding="utf-8", newline="") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    rejected = {"question": "?", "quote": "xylophonia", "place": "letter.txt, section 1"}
    (made / "questions.rejects.jsonl").write_text(json.dumps(rejected) + "\n", encoding="utf-8")
    (made / "notes.jsonl").write_bytes(b"\xff\xfe broken\n")
    result = run_json("forget", "letter.txt", "--project", made)
    assert sorted(Path(p).name for p in result["examples_removed"]) == ["questions.jsonl", "questions.rejects.jsonl"]
    left = [str(p) for p in made.rglob("*") if p.is_file() and b"xylophonia" in p.read_bytes()]
    assert sorted(left) == [str(documents / "letter.txt"), str(documents / "z-copy.md")]  # the user's own files
    again = run_json("ingest", "--project", made)
    assert {s["path"] for s in again["skipped"]} == {"letter.txt", "z-copy.md"}
    assert all(s["reason"].startswith("forgotten on") for s in again["skipped"])


def test_a_line_taken_out_is_read_again_and_a_broken_one_is_one_message(made: Path) -> None:
    run_json("forget", "hours.txt", "--project", made)
    forgotten = made / ".groundtune" / "forgotten.jsonl"
    whole = forgotten.read_text(encoding="utf-8")
    forgotten.write_text("{broken\n" + whole, encoding="utf-8")
    done = run("ingest", "--project", made)
    assert done.returncode == 2
    assert "forgotten.jsonl:1: not an entry" in done.stderr and "Traceback" not in done.stderr
    forgotten.write_text("", encoding="utf-8")
    assert run_json("ingest", "--project", made)["documents"] == 4
