"""What an ingest does to the text between loader and disk, and that it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundtune.config import Config, parse_config
from groundtune.errors import ConfigError
from groundtune.ingest.cleaning import in_words, without_site_lines
from groundtune.ingest.ingest import IngestResult, ingest, read_sections
from groundtune.ingest.section_files import as_line, first_line, sections_of
from groundtune.records import Section
from groundtune.workspace import Workspace

LETTER = "Please write to anna.schmidt@example.org or call +49 30 901820. Anna Schmidt pays from DE89 3704 0044 0532 0130 00."


def brought_in(tmp_path: Path, files: dict[str, str], **settings: object) -> IngestResult:
    for name, text in files.items():
        (tmp_path / "documents").mkdir(exist_ok=True)
        (tmp_path / "documents" / name).write_text(text, encoding="utf-8")
    config = parse_config({"ingest": settings}, "test") if settings else Config()
    return ingest(Workspace(tmp_path), ["documents"], config=config)


def text_of(result: IngestResult, name: str) -> str:
    document = next(d for d in result.documents if d.path == name)
    return "\n".join(s.text for s in read_sections(result.folder, document))


def test_changes_are_made_and_counted(tmp_path: Path) -> None:
    result = brought_in(tmp_path, {"a.txt": "The o\ufb03ce\u200b is open.\u00a0Itâ€™s free."})
    assert text_of(result, "a.txt") == "The office is open. It’s free."
    changes = result.cleaning["changes"]
    assert {"ligatures", "invisible", "spaces", "mojibake"} <= changes.keys()
    assert "cleaned 1 ligatures written as letters" in in_words(result.cleaning)


def test_personal_data_is_found_and_stays_unless_asked(tmp_path: Path) -> None:
    result = brought_in(tmp_path, {"letter.txt": LETTER})
    assert text_of(result, "letter.txt") == LETTER
    assert {k: v["count"] for k, v in result.cleaning["personal"].items()} == {"email": 1, "phone": 1, "iban": 1}
    assert any(
        "personal data found" in line and "--redact email,phone,iban" in line for line in in_words(result.cleaning)
    )
    assert "anna" not in json.dumps(result.cleaning)  # the report holds masks, not the data


def test_personal_data_is_redacted_on_request_and_nowhere_on_disk(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Anna Schmidt\n", encoding="utf-8")
    result = brought_in(tmp_path, {"letter.txt": LETTER}, redact=["email", "phone", "iban", "name"], names="names.txt")
    assert text_of(result, "letter.txt") == "Please write to [email] or call [phone]. [name] pays from [iban]."
    for file in (tmp_path / ".groundtune").rglob("*"):
        if file.is_file():
            assert not [w for w in (b"anna.schmidt", b"901820", b"0532", b"Anna Schmidt") if w in file.read_bytes()], (
                file
            )


def test_another_setting_reads_the_files_again(tmp_path: Path) -> None:
    brought_in(tmp_path, {"letter.txt": LETTER})
    result = brought_in(tmp_path, {}, redact=["email"])
    assert "[email]" in text_of(result, "letter.txt")


def test_duplicates_go_with_the_kept_one_named_and_near_twins_stay(tmp_path: Path) -> None:
    rules = " ".join(
        f"Rule {n} says that room {n} opens at {n % 12 + 8}:30 and closes before the evening bell rings."
        for n in range(30)
    )
    files = {
        "a.txt": rules,
        "b.txt": rules.replace(". ", ".\n\n"),
        "c.txt": rules.replace("room 7 opens at 15:30", "room 7 opens at 16:30"),
    }
    result = brought_in(tmp_path, files)
    assert [d.path for d in result.documents] == ["a.txt", "c.txt"]
    assert [(s.path, s.reason) for s in result.skipped] == [("b.txt", "the same text as a.txt, which is kept")]
    assert len(result.cleaning["near_twins"]) == 1
    assert "c.txt: similar to a.txt" in result.cleaning["near_twins"][0]
    kept = brought_in(tmp_path, {}, duplicates="keep")
    assert [d.path for d in kept.documents] == ["a.txt", "b.txt", "c.txt"]


def test_languages_are_told(tmp_path: Path) -> None:
    files = {
        "en.txt": "The reading rooms open early in the morning and close late in the evening.",
        "de.txt": "Die Lesesäle öffnen früh am Morgen und schließen spät am Abend, auch im Winter.",
    }
    result = brought_in(tmp_path, files)
    assert {d.path: d.language for d in result.documents} == {"en.txt": "en", "de.txt": "de"}
    assert result.cleaning["languages"] == {"de": 1, "en": 1}


@pytest.mark.parametrize("pages", [3, 8])
def test_lines_that_repeat_over_a_site_go(tmp_path: Path, pages: int) -> None:
    heads = []
    for n in range(pages):
        head = {"id": f"p{n}", "path": f"https://example.org/{n}", "changes": {}}
        (tmp_path / f"p{n}.jsonl").write_text(
            as_line(head) + as_line(Section(f"We use cookies.\nPage {n} is about topic {n * 7}.")), encoding="utf-8"
        )
        heads.append(head)
    without_site_lines(tmp_path, heads)
    last = [s.text for s in sections_of(tmp_path / f"p{pages - 1}.jsonl")]
    if pages < 5:
        assert last == [f"We use cookies.\nPage {pages - 1} is about topic {(pages - 1) * 7}."]
        return
    assert last == [f"Page {pages - 1} is about topic {(pages - 1) * 7}."]
    assert first_line(tmp_path / f"p{pages - 1}.jsonl")["changes"]["site_lines"]["count"] == 1
    assert heads[-1]["changes"]["site_lines"]["samples"] == ["We use cookies."]


def test_names_are_not_redacted_without_a_list_and_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.redact: name needs a list of names"):
        brought_in(tmp_path, {"letter.txt": LETTER}, redact=["name"])


def test_a_title_made_of_the_files_name_is_redacted_too(tmp_path: Path) -> None:
    result = brought_in(tmp_path, {"anna.schmidt@example.org.txt": "We open at nine."}, redact=["email"])
    assert result.documents[0].title == "[email]"


def test_a_query_in_a_folder_is_not_run_unless_named(tmp_path: Path) -> None:
    import sqlite3

    documents = tmp_path / "documents"
    documents.mkdir()
    base = sqlite3.connect(documents / "shop.db")
    base.execute("create table p (item text)")
    base.execute("insert into p values ('kayak')")
    base.commit()
    base.close()
    (documents / "q.sql").write_text("-- groundtune: sqlite:///shop.db\nSELECT item FROM p\n", encoding="utf-8")
    (documents / "a.txt").write_text("We open at nine.", encoding="utf-8")
    workspace = Workspace(tmp_path)
    by_folder = ingest(workspace, ["documents"])
    assert [d.path for d in by_folder.documents] == ["a.txt"]
    assert "run only where the file itself is named" in {s.path: s.reason for s in by_folder.skipped}["q.sql"]
    named = ingest(workspace, ["documents", "documents/q.sql"])
    assert [d.path for d in named.documents] == ["a.txt", "q.sql"]
    before = named.documents[1].id
    base = sqlite3.connect(documents / "shop.db")
    base.execute("insert into p values ('canoe')")
    base.commit()
    base.close()
    assert ingest(workspace, ["documents", "documents/q.sql"]).documents[1].id != before  # other rows, another document
