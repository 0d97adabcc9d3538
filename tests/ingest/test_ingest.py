"""Folders to documents: what comes in, what is skipped and why, nothing read twice, little memory."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from groundtune.errors import InputError, MissingArtifactError
from groundtune.ingest import sources
from groundtune.ingest.ingest import IngestResult, documents_digest, ingest, read_result, read_sections
from groundtune.ingest.sources import find_files
from groundtune.ingest.worker import Job, Readers
from groundtune.workspace import Workspace
from sample_project import PAGES, write_pdf

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256))


def project(folder: Path, files: dict[str, str | bytes]) -> Workspace:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Workspace(folder)


def reasons(result: IngestResult) -> dict[str, str]:
    return {s.path: s.reason for s in result.skipped}


def contents(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_documents_and_their_sections_come_in(tmp_path: Path) -> None:
    workspace = project(tmp_path, {"documents/a.txt": "Just words.", "documents/deep/b.md": "# Title\n\nMore words.\n"})
    write_pdf(tmp_path / "documents" / "c.pdf", PAGES)
    result = ingest(workspace, ["documents"])
    assert [(d.path, d.media_type) for d in result.documents] == [
        ("a.txt", "text"),
        ("c.pdf", "pdf"),
        ("deep/b.md", "markdown"),
    ]
    assert result.skipped == ()
    by_path = {d.path: d for d in result.documents}
    assert by_path["deep/b.md"].title == "Title"
    assert by_path["a.txt"].sha256 == hashlib.sha256(b"Just words.").hexdigest()
    assert by_path["a.txt"].size_bytes == 11
    assert [s.page for s in read_sections(result.folder, by_path["c.pdf"])] == [1, 2, 3]
    assert [s.text for s in read_sections(result.folder, by_path["a.txt"])] == ["Just words."]
    assert read_result(workspace) == result


def test_what_cannot_be_read_is_listed_with_its_reason(tmp_path: Path) -> None:
    workspace = project(
        tmp_path,
        {
            "documents/good.txt": "Words.",
            "documents/empty.txt": b"",
            "documents/blank.md": " \n\n ",
            "documents/photo.pdf": JPEG,
            "documents/notes.xyz": "?",
            "documents/Makefile": "all:",
            "documents/rows.json": "{",
            "documents/nul.txt": b"a\x00b",
        },
    )
    os.mkfifo(tmp_path / "documents" / "pipe.txt")
    (tmp_path / "documents" / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "documents" / os.fsdecode(b"caf\xe9.txt")).write_text("a name from another machine", encoding="utf-8")
    result = ingest(workspace, ["documents"])
    assert [d.path for d in result.documents] == ["good.txt"]
    expected = {
        "empty.txt": "is empty", "blank.md": "empty", "photo.pdf": "a JPEG image", "notes.xyz": "no loader for .xyz", "Makefile": "without an extension",
        "rows.json": "JSON", "nul.txt": "offset 1", "pipe.txt": "pipe", "gone.txt": "No such file", "caf?.txt": "not UTF-8",
    }  # fmt: skip
    found = reasons(result)
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert words in found[name], name
        assert "\n" not in found[name]
    assert sorted(p.suffix for p in result.folder.iterdir()) == [".json", ".jsonl"]  # nothing half of the refused ones


def test_hidden_files_and_the_workspace_stay_out(tmp_path: Path) -> None:
    workspace = project(
        tmp_path,
        {
            "a.txt": "in",
            ".hidden.txt": "out",
            "~$b.txt": "out",
            ".git/c.txt": "out",
            "node_modules/d.txt": "out",
            ".groundtune/e.txt": "out",
        },
    )
    assert [name for _, name in find_files(["."], workspace.root)] == ["a.txt"]


def test_the_questions_never_come_in_as_a_document(tmp_path: Path) -> None:
    workspace = project(tmp_path, {"a.txt": "Words.", "questions.csv": "question,answer\nWhy?,Because\n"})
    result = ingest(workspace, ["."], questions=tmp_path / "questions.csv")
    assert [d.path for d in result.documents] == ["a.txt"]
    assert reasons(result) == {"questions.csv": "holds the questions"}


def test_the_same_file_in_two_sources_comes_in_once(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a/x.txt": "One.", "b/x.txt": "One.", "c/x.txt": "Two."}
    result = ingest(project(tmp_path, files), ["a", "c", "b"])
    assert len({d.id for d in result.documents}) == len(result.documents) == 2
    assert sorted(d.path for d in result.documents) == ["b/x.txt", "c/x.txt"]  # two files, two names to cite
    assert reasons(result) == {"x.txt": "the same content as b/x.txt, of the same name"}


def test_sources_of_one_name_lose_no_file(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{part}/docs/x.txt": f"Words of {part}." for part in "pqr"}
    found = ingest(project(tmp_path, files), ["p/docs", "q/docs", "r/docs"])
    assert sorted(d.path for d in found.documents) == ["docs/x.txt", "r/docs/x.txt", "x.txt"]


def test_our_own_report_never_comes_in(tmp_path: Path) -> None:
    from groundtune.evaluation.report import render_report

    result = ingest(project(tmp_path, {"a.txt": "Words.", "report.html": render_report({})}), ["."])
    assert [d.path for d in result.documents] == ["a.txt"]
    assert reasons(result) == {"report.html": "a report that groundtune wrote"}


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["nowhere"], "no file or folder"),
        (["ftp://example.org/a.pdf"], "addresses of this kind"),
        (["http://127.0.0.1/a.pdf"], "loopback"),
        (["empty"], "no files found"),
        (["bad"], "is empty"),
    ],
)
def test_nothing_came_in_is_an_error_with_the_reason(tmp_path: Path, sources: list[str], words: str) -> None:
    workspace = project(tmp_path, {"bad/a.txt": b""})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        ingest(workspace, sources)
    with pytest.raises(MissingArtifactError, match="no documents"):
        read_result(workspace)


def test_a_failed_ingest_keeps_what_was_there(tmp_path: Path) -> None:
    workspace = project(tmp_path, {"good/a.txt": "Words.", "bad/b.txt": b""})
    before = ingest(workspace, ["good"])
    with pytest.raises(InputError):
        ingest(workspace, ["bad"])
    assert read_result(workspace) == before


def test_an_unchanged_folder_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = project(tmp_path, {"documents/a.txt": "One.", "documents/b.txt": "Two."})
    first = ingest(workspace, ["documents"])
    monkeypatch.setattr(Readers, "read", lambda _, job: pytest.fail(f"{job.path} read again"))
    assert ingest(workspace, ["documents"]) == first


def test_a_stopped_run_goes_on_with_the_next_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = project(tmp_path, {f"documents/{i}.txt": f"Text {i}." for i in range(5)})
    whole, read = Readers.read, []

    def stopping(readers: Readers, job: Job) -> Any:
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(job.head["path"])
        return whole(readers, job)

    monkeypatch.setattr(Readers, "read", stopping)
    with pytest.raises(KeyboardInterrupt):
        ingest(workspace, ["documents"])
    monkeypatch.setattr(Readers, "read", lambda readers, job: (read.append(job.head["path"]), whole(readers, job))[1])
    ingest(workspace, ["documents"])
    assert sorted(read) == ["0.txt", "1.txt", "2.txt", "3.txt", "4.txt"]  # each once


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "documents/b.txt": "Zwei – ü.",
        "documents/a.md": "# A\n\nOne.",
        "documents/c.csv": "x,y\n1,2\n",
        "documents/no.xyz": "?",
    }
    first, second = project(tmp_path / "1", files), project(tmp_path / "2", dict(reversed(files.items())))
    assert contents(ingest(first, ["documents"]).folder) == contents(ingest(second, ["documents"]).folder)
    assert documents_digest(first) == documents_digest(second)
    (tmp_path / "2" / "documents" / "b.txt").write_text("Drei.", encoding="utf-8")
    ingest(second, ["documents"])
    assert documents_digest(first) != documents_digest(second)


def test_renaming_a_file_changes_its_identity_only(tmp_path: Path) -> None:
    workspace = project(tmp_path, {"documents/a.txt": "One.", "documents/b.txt": "Two."})
    before = {d.path: d.id for d in ingest(workspace, ["documents"]).documents}
    (tmp_path / "documents" / "a.txt").rename(tmp_path / "documents" / "c.txt")
    after = {d.path: d.id for d in ingest(workspace, ["documents"]).documents}
    assert after["b.txt"] == before["b.txt"]
    assert set(after) == {"b.txt", "c.txt"}
    assert after["c.txt"] != before["a.txt"]


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    workspace = project(tmp_path, {"documents/a.txt": "One.", "documents/b.txt": "Two."})
    seen: list[tuple[int, int, str]] = []
    ingest(workspace, ["documents"], progress=lambda *step: seen.append(step))
    assert seen == [(0, 2, "a.txt"), (1, 2, "b.txt"), (2, 2, "")]


def test_every_loader_has_its_extensions() -> None:
    assert {
        ".txt": "text",
        ".pdf": "pdf",
        ".md": "markdown",
        ".csv": "csv",
        ".html": "html",
        ".docx": "docx",
    }.items() <= sources.loaders_by_extension().items()


@pytest.mark.slow
def test_a_large_file_comes_in_with_little_memory(tmp_path: Path) -> None:
    line = "".join(f"Sentence number {i} of a long file that says very little. " for i in range(20)) + "\n\n"
    with (tmp_path / "large.txt").open("w", encoding="utf-8") as file:
        for _ in range(60_000_000 // len(line) + 1):
            file.write(line)
    workspace = Workspace(tmp_path)
    tracemalloc.start()
    try:
        result = ingest(workspace, ["large.txt"])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.documents[0].size_bytes > 60_000_000
    written = sum(
        len(json.loads(row)["text"])
        for row in (result.folder / f"{result.documents[0].id}.jsonl").open(encoding="utf-8")
        if '"text": ' in row
    )
    assert written > 58_000_000
    assert peak_bytes < 40_000_000


@pytest.mark.parametrize(
    "row",
    [
        '{"question": "When?", "references": ["9:30"]}',
        '{"messages": [{"role": "user", "content": "When?"}]}',
        '{"prompt": "When?", "completion": "9:30"}',
        '{"question": "When?", "quote": "at 9:30", "reason": "no answer"}',
    ],
)
def test_datasets_are_no_documents_unless_named(tmp_path: Path, row: str) -> None:
    workspace = project(tmp_path, {"a.txt": "Words.", "train.jsonl": row + "\n", "log.jsonl": '{"event": "opened"}\n'})
    result = ingest(workspace, ["."])
    assert [d.path for d in result.documents] == ["a.txt", "log.jsonl"]
    assert "questions or training examples" in reasons(result)["train.jsonl"]
    assert "train.jsonl" in [d.path for d in ingest(workspace, [".", "train.jsonl"]).documents]
