"""Files and folders to documents: finds the files, picks each one's loader, writes sections with their provenance.

One JSONL file a document (first line the Document, then its Sections), written whole or not at all, so that a killed
run continues with the next file and memory never holds more than one section.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.errors import InputError
from groundtune.records import Document, Section
from groundtune.workspace import Workspace, digest, file_digest

#: raised when what loaders write changes, so that old sections are not reused
VERSION = 1
_IGNORED = {".groundtune", ".git", "__pycache__", "node_modules", ".venv"}
#: (files done, files in all, name)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that did not come in, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What came in."""

    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...]
    folder: Path


def loaders_by_extension() -> dict[str, str]:
    """Extension (``.pdf``) -> loader name, of every registered loader."""
    return {ext: name for name in registry.names("loaders") for ext in registry.get("loaders", name).EXTENSIONS}


def find_files(sources: Iterable[str], base: Path) -> list[tuple[Path, str]]:
    """Every file of the sources with the name a user sees, sorted; hidden files and workspaces are left out.

    The name is the path inside its source; where two sources have the same one, folders above the later go before it.

    Raises:
        InputError: a source that is not there, or an address.
    """
    found: dict[Path, str] = {}
    for source in sources:
        if "://" in source:
            raise InputError(
                f"{source}: web addresses are not read yet",
                expected="files and folders",
                next_step="download the page and name the file",
            )
        path = Path(source) if Path(source).is_absolute() else base / source
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                folders[:] = sorted(f for f in folders if f not in _IGNORED and not f.startswith("."))
                for name in files:
                    if not name.startswith((".", "~$")):
                        file = Path(folder) / name
                        found[file] = file.relative_to(path).as_posix()
        elif path.exists():
            found[path] = path.name
        else:
            raise InputError(
                f"no file or folder {path}",
                expected="an existing path",
                next_step="check `documents:` in groundtune.yaml",
            )
    taken: dict[str, Path] = {}
    for file, name in found.items():
        for above in file.parents[name.count("/") :]:
            if name not in taken:
                break
            name = f"{above.name}/{name}"
        taken[name] = file
    return sorted(((file, name) for name, file in taken.items()), key=lambda item: item[1])


def is_report(path: Path) -> bool:
    """True for our own report: it repeats questions and answers, which retrieval must not find."""
    with path.open("rb") as file:
        return b'<meta name="generator" content="groundtune">' in file.read(1024)


def ingest(
    workspace: Workspace, sources: Iterable[str], *, questions: Path | None = None, progress: Progress | None = None
) -> IngestResult:
    """Read every file of the sources into the artifact ``documents``.

    Args:
        questions: the questions file, left out wherever it lies: retrieval must not find the reference answers.

    Raises:
        InputError: nothing came in; lists the first reasons.
    """
    files = find_files(sources, workspace.root)
    by_extension = loaders_by_extension()
    hashed: list[tuple[Path, str, str, str]] = []
    skipped: list[Skipped] = []
    seen: set[tuple[str, str]] = set()
    for path, raw_name in files:
        loader = by_extension.get(path.suffix.lower())
        name = raw_name.encode("utf-8", "replace").decode("utf-8")
        try:
            if name != raw_name:
                raise InputError("its name is not UTF-8; rename it")
            if questions and path.resolve() == questions.resolve():
                raise InputError("holds the questions")
            if loader is None:
                raise InputError(f"no loader for {path.suffix or 'files without an extension'}")
            if path.exists() and not path.is_file():
                raise InputError("is a device or a pipe")
            sha = file_digest(path)
            if (path.name, sha) in seen:
                raise InputError("the same content as another file of that name")
            seen.add((path.name, sha))
            if path.suffix.lower() == ".html" and is_report(path):
                raise InputError("a report that groundtune wrote")
            hashed.append((path, name, loader, sha))
        except InputError as error:
            skipped.append(Skipped(name, error.problem))
        except OSError as error:
            skipped.append(Skipped(name, f"cannot be read: {error.strerror or error}"))
    inputs = {
        "version": VERSION,
        "files": [[n, loader, sha] for _, n, loader, sha in hashed],
        "left_out": [s.path for s in skipped],
    }

    def work(folder: Path) -> Mapping[str, Any]:
        documents: list[Document] = []
        for done, (path, name, loader, sha) in enumerate(hashed):
            if progress:
                progress(done, len(hashed), name)
            try:
                documents.append(_one(folder, path, name, loader, sha))
            except InputError as error:
                skipped.append(Skipped(name, " ".join(error.problem.split())))
        if progress:
            progress(len(hashed), len(hashed), "")
        if not documents:
            reasons = "; ".join(f"{s.path}: {s.reason}" for s in skipped[:5])
            raise InputError(
                f"no document came in ({reasons or 'no files found'})",
                expected=f"files ending in {', '.join(sorted(by_extension))}",
            )
        return {"documents": [asdict(d) for d in documents], "skipped": [asdict(s) for s in skipped]}

    folder, _ = workspace.make("documents", inputs, work)
    return read_result(workspace, folder)


def _one(folder: Path, path: Path, name: str, loader: str, sha: str) -> Document:
    identity = hashlib.sha256(f"{name}\0{sha}".encode()).hexdigest()[:16]
    target = folder / f"{identity}.jsonl"
    if target.exists():
        with target.open(encoding="utf-8") as lines:
            return Document(**json.loads(next(lines)))
    sections: Iterator[Section] = registry.get("loaders", loader).load(path)
    first = next(sections, None)
    if first is None:
        raise InputError(f"{name}: holds no text")
    title = first.heading.split(" > ")[0].strip() or path.stem.replace("-", " ").replace("_", " ")
    document = Document(identity, name, sha, loader, title, path.stat().st_size)
    half = target.with_suffix(".part")
    with half.open("w", encoding="utf-8", newline="\n") as out:
        out.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")
        out.write(json.dumps(asdict(first), ensure_ascii=False) + "\n")
        try:
            for section in sections:
                out.write(json.dumps(asdict(section), ensure_ascii=False) + "\n")
        except InputError:  # refused further down: nothing of it comes in
            half.unlink()
            raise
    half.replace(target)
    return document


def read_result(workspace: Workspace, folder: Path | None = None) -> IngestResult:
    """What the workspace holds.

    Raises:
        MissingArtifactError: nothing was ingested yet.
    """
    folder = folder or workspace.need("documents", next_step="groundtune ingest")
    figures = (workspace.manifest("documents") or {})["figures"]
    return IngestResult(
        tuple(Document(**d) for d in figures["documents"]), tuple(Skipped(**s) for s in figures["skipped"]), folder
    )


def read_sections(folder: Path, document: Document) -> Iterator[Section]:
    """A document's sections, one at a time."""
    with (folder / f"{document.id}.jsonl").open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            yield Section(**json.loads(line))


def documents_digest(workspace: Workspace) -> str:
    """The key of what is ingested: what everything downstream depends on."""
    workspace.need("documents", next_step="groundtune ingest")
    return digest((workspace.manifest("documents") or {})["inputs"])
