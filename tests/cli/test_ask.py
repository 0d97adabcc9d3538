"""How an answer is shown: each sentence with its sources' numbers or its mark, each source with a link to its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundtune.cli.ask import answer_json, show_answer
from groundtune.config import AnswerConfig, Config
from groundtune.ingest.ingest import ingest
from groundtune.ingest.sources import file_of
from groundtune.methods._setup import Setup
from groundtune.records import Completion, Source, Statement
from groundtune.workspace import Workspace

FIRST = Source("notes/rules [old].txt", "a-0", 0.9, "Cards cost 48 crowns.", None, "Cards cost 48 crowns.")
SECOND = Source("guide.pdf", "b-1", 0.5, "The hall is shut on Friday.", 7)
ANSWER = Completion(
    "Cards cost 48 crowns. Boats are free.\nThe hall is shut on Friday.",
    sources=(SECOND, FIRST),
    statements=(
        Statement("Cards cost 48 crowns.", True, 0.9, (FIRST,)),
        Statement("Boats are free.", False, 0.1),
        Statement("The hall is shut on Friday.", True, 0.95, (SECOND, FIRST)),
    ),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("ask")
    (folder / "documents" / "notes").mkdir(parents=True)
    (folder / "documents" / "notes" / "rules [old].txt").write_text("Cards cost 48 crowns.\n", encoding="utf-8")
    setup = Setup(Workspace(folder), Config())
    ingest(setup.workspace, ("documents",), config=setup.config)
    return setup


def test_sentences_carry_numbers_and_marks(capsys: pytest.CaptureFixture[str]) -> None:
    show_answer(ANSWER)
    assert capsys.readouterr().out == (
        "Cards cost 48 crowns. [2] Boats are free. [unsupported]\n"
        "The hall is shut on Friday. [1] [2]\n"
        "  [1] guide.pdf, page 7: The hall is shut on Friday.\n"
        "  [2] notes/rules [old].txt: Cards cost 48 crowns.\n"
    )


def test_marks_are_left_out_where_that_is_set(project: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    config = project.config.model_copy(update={"answer": AnswerConfig(unsupported="keep")})
    show_answer(ANSWER, Setup(project.workspace, config))
    assert "[unsupported]" not in capsys.readouterr().out


def test_an_answer_without_statements_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_answer(Completion("Nine [bold] crowns"))
    show_answer(Completion(""))
    assert capsys.readouterr().out == "Nine [bold] crowns\n(nothing)\n"


def test_a_source_is_a_link_to_its_file(
    project: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    show_answer(ANSWER, project)
    out = capsys.readouterr().out
    file = file_of(project.workspace, FIRST.document)
    assert file is not None
    assert file.read_text(encoding="utf-8") == "Cards cost 48 crowns.\n"
    assert file.as_uri() in out
    assert file_of(project.workspace, "guide.pdf") is None
    assert file_of(project.workspace, "https://example.org/x") is None


def test_a_pdf_opens_at_its_page(tmp_path: Path, project: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("FORCE_COLOR", "1")
    guide = project.workspace.root / "documents" / "guide.pdf"
    guide.write_bytes(b"%PDF-1.4\n")
    try:
        show_answer(ANSWER, project)
    finally:
        guide.unlink()
    assert f"{guide.resolve().as_uri()}#page=7" in capsys.readouterr().out


def test_json_keeps_its_keys_and_adds_statements(project: Setup) -> None:
    said = json.loads(json.dumps(answer_json("?", "rag", ANSWER, project)))
    assert [s.get("path") for s in said["sources"]] == [None, str(file_of(project.workspace, FIRST.document))]
    assert {"document", "page", "chunk_id", "score", "quote"} <= said["sources"][0].keys()
    assert said["statements"] == [
        {"text": "Cards cost 48 crowns.", "supported": True, "support": 0.9, "sources": [1]},
        {"text": "Boats are free.", "supported": False, "support": 0.1, "sources": []},
        {"text": "The hall is shut on Friday.", "supported": True, "support": 0.95, "sources": [0, 1]},
    ]
    assert answer_json("?", "prompt", Completion("x"))["statements"] == []
