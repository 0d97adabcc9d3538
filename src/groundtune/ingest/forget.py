"""Forgetting a document: out of the documents, the fetched pages and the questions, and who was trained on it.

Leaves out the index (``retrieval.index.forget_document``) and models: what a model learnt cannot be taken out of it, so
the runs that were trained on the document are named, to be trained again or deleted.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest.cleaning import merge
from groundtune.ingest.crawl import delete_fetched
from groundtune.ingest.ingest import FORGOTTEN, read_forgotten, read_result
from groundtune.ingest.section_files import as_document, first_line
from groundtune.ingest.sources import WEB, is_address
from groundtune.records import Document
from groundtune.workspace import Workspace, digest, file_digest


def find_document(workspace: Workspace, which: str) -> Document:
    """The one document of that path, id, address or file name.

    Raises:
        InputError: none, or several. MissingArtifactError: nothing is ingested.
    """
    documents = read_result(workspace).documents
    for found in (
        [d for d in documents if which in (d.path, d.id)],
        [d for d in documents if d.path.rsplit("/", 1)[-1] == Path(which).name],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(d.path for d in found)
            raise InputError(f"{which!r} is the name of {len(found)} documents", expected=f"one of {names}")
    near = difflib.get_close_matches(which, [d.path for d in documents], n=3, cutoff=0.3)
    raise InputError(
        f"no document {which!r} among the {len(documents)} that were ingested",
        expected=f"a path, address or id{', such as ' + ', '.join(near) if near else ''}",
    )


def remember(workspace: Workspace, document: Document) -> None:
    """Write down that a document is to be forgotten, with those that were left out as its copies: name, hash, day.

    No later ingest reads them. One line each in ``forgotten.jsonl``.
    """
    known = read_forgotten(workspace)
    copies = [(twin["name"], twin["sha256"]) for twin in twins_of(workspace, document)]
    with workspace.path(FORGOTTEN).open("a", encoding="utf-8") as out:
        for name, sha in [(document.path, document.sha256), *copies]:
            if sha not in known or name not in known:
                out.write(json.dumps({"name": name, "sha256": sha, "day": date.today().isoformat()}) + "\n")


def twins_of(workspace: Workspace, document: Document) -> list[dict[str, str]]:
    """The documents that were left out because this one says the same: ``name``, ``sha256``, ``like``."""
    twins = (workspace.manifest("documents") or {"figures": {}})["figures"].get("twins", [])
    return [twin for twin in twins if twin["like"] == document.path]


def inputs_without(workspace: Workspace, document: Document) -> dict[str, Any]:
    """The inputs of the artifact ``documents`` once the document is gone; their digest is what the index depends on."""
    inputs = (workspace.manifest("documents") or {})["inputs"]
    files = [row for row in inputs["files"] if not (row[0] == document.path and row[2] == document.sha256)]
    left_out = inputs["left_out"] if is_address(document.path) else sorted([*inputs["left_out"], document.path])
    return {**inputs, "files": files, "left_out": left_out}


def documents_digest_without(workspace: Workspace, document: Document) -> str:
    """What :func:`groundtune.ingest.ingest.documents_digest` will be once the document is gone."""
    return digest(inputs_without(workspace, document))


def forget_document(workspace: Workspace, document: Document) -> None:
    """Delete a document's sections, its fetched copy and what is left of interrupted runs."""
    inputs = inputs_without(workspace, document)
    figures: Mapping[str, Any] = (workspace.manifest("documents") or {})["figures"]
    left = [d for d in figures["documents"] if as_document(d).id != document.id]
    gone = {document.path, *(twin["name"] for twin in twins_of(workspace, document))}
    reason = f"forgotten on {date.today().isoformat()}"
    skipped = [row for row in figures["skipped"] if row["path"] not in gone]
    folder = workspace.path("documents")
    cleaning = figures.get("cleaning", {})
    near = [line for line in cleaning.get("near_twins", ()) if document.path not in line]
    (folder / f"{document.id}.jsonl").unlink(missing_ok=True)
    if is_address(document.path):
        delete_fetched(workspace.path(WEB), document.path)
    for half in [*workspace.folder.rglob("*.part-*"), *workspace.folder.rglob("*.old")]:
        shutil.rmtree(half, ignore_errors=True)
    heads = (first_line(folder / f"{as_document(d).id}.jsonl") for d in left)
    changed = {
        "documents": left,
        "skipped": [*skipped, *({"path": name, "reason": reason} for name in sorted(gone))],
        "twins": [twin for twin in figures.get("twins", ()) if twin["like"] != document.path],
        "cleaning": merge(heads, cleaning.get("redacted", ()), near),
    }
    workspace.amend("documents", inputs, {**figures, **changed})


def rows_about(path: Path, document: str) -> tuple[list[str], int]:
    """The lines of a questions file that do not rest on a document, and the number of rows that do.

    A row rests on it where its ``document``, its ``source``, its ``place`` or one of its ``passages`` names it.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        return [], 0
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", next_step="mend it, then type the same again") from None
    if path.suffix.lower() == ".csv":
        return _csv_rows_about(text, document)
    lines = [line for line in re.split(r"(?<=\n)", text) if line]  # not splitlines: JSON may hold other line ends
    kept = [line for line in lines if not _names(line, document)]
    return kept, len(lines) - len(kept)


def _csv_rows_about(text: str, document: str) -> tuple[list[str], int]:
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    places = [n for n, name in enumerate(rows[0] if rows else []) if name.strip() in ("document", "source")]
    kept = [row for row in rows if not any(document == row[n] for n in places if n < len(row))]
    out = io.StringIO(newline="")
    csv.writer(out).writerows(kept)
    return [out.getvalue()], len(rows) - len(kept)


def _names(line: str, document: str) -> bool:
    try:
        row: Any = json.loads(line)
    except ValueError:
        return False
    if not isinstance(row, dict):
        return False
    passages = row.get("passages")
    places = [*(passages if isinstance(passages, list) else []), row.get("place")]
    named = [place.get("document") for place in places if isinstance(place, dict)]
    place = str(row.get("place") or "")
    return document in (row.get("document"), row.get("source"), place, *named) or place.startswith(f"{document}, ")


def datasets_of(workspace: Workspace, questions: Path) -> list[Path]:
    """The questions file and every other JSONL file of the project and the workspace, but no document that came in."""
    known = {document.sha256 for document in read_result(workspace).documents}
    others = [*workspace.root.glob("*.jsonl"), *workspace.folder.glob("*.jsonl")]
    return sorted({questions, *(path for path in others if path.is_file() and file_digest(path) not in known)})


def write_rows(path: Path, lines: list[str]) -> None:
    """Write a questions file's lines, whole or not at all."""
    half = path.with_name(path.name + ".part")
    with half.open("w", encoding="utf-8", newline="") as out:
        out.writelines(lines)
    half.replace(path)


def runs_trained_on(workspace: Workspace, document: str) -> list[str]:
    """The runs (``runs/tuned`` ...) whose training saw a document; those too that did not write down what they saw."""
    out = []
    for folder in sorted(workspace.path("runs").glob("*")):
        manifest = workspace.manifest(f"runs/{folder.name}")
        figures = manifest["figures"] if manifest else {"documents": []}
        if document in figures.get("documents", [document]) or not figures.get("documents_complete", True):
            out.append(f"runs/{folder.name}")
    return out
