"""Forgetting a document: out of the documents, the fetched pages and the questions, and who was trained on it.

Leaves out the index (``retrieval.index.forget_document``) and models: what a model learnt cannot be taken out of it, so
the runs that were trained on the document are named, to be trained again or deleted.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest.crawl import delete_fetched
from groundtune.ingest.ingest import FORGOTTEN, read_result
from groundtune.ingest.section_files import as_document
from groundtune.ingest.sources import WEB, is_address
from groundtune.records import Document
from groundtune.workspace import Workspace, digest, write_json


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
    """Write down that a document is to be forgotten, so that no later ingest reads it: its name, hash and the day."""
    path = workspace.path(FORGOTTEN)
    rows: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    if not any(row["sha256"] == document.sha256 and row["name"] == document.path for row in rows):
        rows.append({"name": document.path, "sha256": document.sha256, "day": date.today().isoformat()})
    write_json(path, rows)


def inputs_without(workspace: Workspace, document: Document) -> dict[str, Any]:
    """The inputs of the artifact ``documents`` once the document is gone; their digest is what the index depends on."""
    inputs = (workspace.manifest("documents") or {})["inputs"]
    files = [row for row in inputs["files"] if not (row[0] == document.path and row[2] == document.sha256)]
    return {**inputs, "files": files, "left_out": [*inputs["left_out"], document.path]}


def documents_digest_without(workspace: Workspace, document: Document) -> str:
    """What :func:`groundtune.ingest.ingest.documents_digest` will be once the document is gone."""
    return digest(inputs_without(workspace, document))


def forget_document(workspace: Workspace, document: Document) -> None:
    """Delete a document's sections, its fetched copy and what is left of interrupted runs."""
    inputs = inputs_without(workspace, document)
    figures: Mapping[str, Any] = (workspace.manifest("documents") or {})["figures"]
    left = [d for d in figures["documents"] if as_document(d).id != document.id]
    reason = {"path": document.path, "reason": f"forgotten on {date.today().isoformat()}"}
    (workspace.path("documents") / f"{document.id}.jsonl").unlink(missing_ok=True)
    if is_address(document.path):
        delete_fetched(workspace.path(WEB), document.path)
    for half in [*workspace.folder.glob("*.part-*"), *workspace.folder.glob("*.old")]:
        shutil.rmtree(half, ignore_errors=True)
    workspace.amend("documents", inputs, {**figures, "documents": left, "skipped": [*figures["skipped"], reason]})


def rows_about(path: Path, document: str) -> tuple[list[str], int]:
    """The lines of a questions file that do not rest on a document, and the number of rows that do.

    A row rests on it where its ``document``, its ``source`` or one of its ``passages`` names it.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return [], 0
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", next_step="mend it, then type the same again") from None
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text))
        rows = list(reader)
        kept = [row for row in rows if document not in (row.get("document"), row.get("source"))]
        out = io.StringIO()
        writer = csv.DictWriter(out, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(kept)
        return out.getvalue().splitlines(keepends=True), len(rows) - len(kept)
    lines = text.splitlines(keepends=True)
    kept_lines = [line for line in lines if not _names(line, document)]
    return kept_lines, len(lines) - len(kept_lines)


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
    return document in (row.get("document"), row.get("source"), *named)


def write_rows(path: Path, lines: list[str]) -> None:
    """Write a questions file's lines, whole or not at all."""
    half = path.with_name(path.name + ".part")
    half.write_text("".join(lines), encoding="utf-8")
    half.replace(path)


def runs_trained_on(workspace: Workspace, document: str) -> list[str]:
    """The runs (``runs/tuned`` ...) whose training saw a document; those too that did not write down what they saw."""
    out = []
    for folder in sorted(workspace.path("runs").glob("*")):
        manifest = workspace.manifest(f"runs/{folder.name}")
        if manifest and document in manifest["figures"].get("documents", [document]):
            out.append(f"runs/{folder.name}")
    return out
