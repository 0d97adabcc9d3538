"""Sources to documents: picks each file's loader, has it read and cleaned, drops duplicates, remembers what was left out.

One JSONL file a document (first line the Document, then its Sections), written whole or not at all, so that a killed
run continues with the next file, and a file that has not changed is not read again. Leaves out where files come from
(``sources``), how one is read without harm (``worker``) and what cleaning does (``clean``, ``redact``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.config import Config
from groundtune.errors import ConfigError, InputError
from groundtune.ingest.duplicates import DocumentSignature, Twin, document_duplicates
from groundtune.ingest.redact_names import read_names
from groundtune.ingest.section_files import as_document, as_line, first_line, sections_of
from groundtune.ingest.sources import Progress, Skipped, gather, is_address, loaders_by_extension
from groundtune.ingest.worker import Job, Readers
from groundtune.records import Document, Section
from groundtune.workspace import Workspace, digest, file_digest

#: raised when what loaders write changes, so that old sections are not reused
VERSION = 2
FORGOTTEN = "forgotten.jsonl"
_DATASET_KEYS = (
    {"question", "references"}, {"question", "answer"}, {"question", "quote"}, {"messages"}, {"prompt", "completion"},
    {"instruction", "output"}, {"conversations"}, {"input", "preferred_output"}, {"chosen", "rejected"}, {"codes", "row"},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What came in.

    Attributes:
        documents: what came in.
        skipped: what did not, and why.
        folder: where the sections are.
        cleaning: counts of what was changed, and of personal data found (see ``cleaning.merge``).
    """

    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...]
    folder: Path
    cleaning: Mapping[str, Any]


def is_report(path: Path) -> bool:
    """True for our own report: it repeats questions and answers, which retrieval must not find."""
    with path.open("rb") as file:
        return b'<meta name="generator" content="groundtune">' in file.read(1024)


def is_dataset(path: Path) -> bool:
    """True for a JSONL or CSV file of questions or training examples: retrieval must not find the answers."""
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    if path.suffix.lower() == ".csv":
        names = {name.strip().strip('"').lower() for name in line.decode("utf-8-sig", "replace").split(",")}
        return any(keys <= names for keys in _DATASET_KEYS)
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and any(keys <= row.keys() for keys in _DATASET_KEYS)


def ingest(
    workspace: Workspace,
    sources: Iterable[str],
    *,
    config: Config | None = None,
    questions: Path | None = None,
    refresh: bool = True,
    explicit: bool = False,
    progress: Progress | None = None,
) -> IngestResult:
    """Read every file of the sources into the artifact ``documents``.

    Args:
        sources: files, folders, web addresses.
        config: its parts ``ingest`` and ``crawl``.
        questions: the questions file, left out wherever it lies: retrieval must not find the reference answers.
        refresh: fetch web pages again where they have changed.
        explicit: kept for :func:`ingested_explicitly`.

    Raises:
        InputError: nothing came in; lists the first reasons.
    """
    from groundtune.ingest import cleaning

    config = config or Config()
    if "name" in config.ingest.redact and not config.ingest.names:
        raise ConfigError(
            "ingest.redact: name needs a list of names",
            expected="a file with one name a line",
            next_step="--names FILE, or names: FILE below ingest: in groundtune.yaml",
        )
    named = list(sources)
    files, skipped = gather(
        workspace, named, config.crawl, refresh=refresh, forgotten=read_forgotten(workspace), progress=progress
    )
    meant = {(workspace.root / s).resolve() for s in named if not is_address(s)}
    jobs, refused = _accepted(workspace, files, questions, meant)
    skipped += refused
    names = read_names(workspace.root / config.ingest.names) if config.ingest.names else ()
    settings = config.ingest.model_dump(mode="json")
    key = {k: v for k, v in settings.items() if k not in {"seconds_per_file", "megabytes_per_file"}}
    ocr = config.ingest.ocr == "auto" and importlib.util.find_spec("rapidocr") is not None
    inputs = {
        "version": VERSION,
        "settings": digest([key, names, ocr]),
        "files": [[name, loader, sha] for _, name, loader, sha in jobs],
        "left_out": sorted(s.path for s in skipped if not is_address(s.path)),
    }
    before = workspace.manifest("documents")
    reusable = workspace.path("documents") if before and _same_reading(before["inputs"], inputs) else None

    given = {"sources": named, "explicit": explicit}

    def goes(twin: Twin) -> bool:
        return (twin.exact and config.ingest.duplicates != "keep") or (
            twin.nearly and config.ingest.duplicates == "drop_near"
        )

    def work(folder: Path) -> Mapping[str, Any]:
        if config.ingest.redact:  # what was made from the text as it was
            shutil.rmtree(workspace.path("reports"), ignore_errors=True)
            workspace.path("teacher.jsonl").unlink(missing_ok=True)
        todo = [
            Job(str(path), loader, str(folder / f"{_identity(name, sha)}.jsonl"), _head(path, name, loader, sha), settings, names)
            for path, name, loader, sha in jobs
        ]  # fmt: skip
        for half in [*folder.glob("*.part"), *folder.glob("*.body")]:  # of a run that was killed
            half.unlink()
        heads, faults = _read_all(todo, config, reusable, progress)
        if config.ingest.boilerplate:
            cleaning.without_site_lines(folder, heads)
        signed = ((h["path"], DocumentSignature.from_json(h["signature"])) for h in heads)
        twins = document_duplicates(signed, drop_near=config.ingest.duplicates == "drop_near")
        dropped = {t.document: t.reason(dropped=True) for t in twins if goes(t)}
        documents = [as_document(head) for head in heads if head["path"] not in dropped]
        for head in heads:
            if head["path"] in dropped:
                (folder / f"{head['id']}.jsonl").unlink()
        partly = [Skipped(d.path, line) for d in documents for line in left_out(folder, d)]
        out = [*skipped, *faults, *(Skipped(*item) for item in dropped.items()), *partly]
        if not documents:
            reasons = "; ".join(f"{s.path}: {s.reason}" for s in out[:5])
            raise InputError(
                f"no document came in ({reasons or 'no files found'})",
                expected="files of which one can be read at least",
                next_step="groundtune list loaders shows what is read",
            )
        return {
            "documents": [asdict(d) for d in documents],
            "skipped": [asdict(s) for s in out],
            "cleaning": cleaning.merge(
                (first_line(folder / f"{d.id}.jsonl") for d in documents),
                config.ingest.redact,
                [f"{t.document}: {t.reason()}" for t in twins if t.document not in dropped],
            ),
            "twins": [
                {"name": h["path"], "sha256": h["sha256"], "like": t.like}
                for h in heads
                for t in twins
                if t.document == h["path"] and h["path"] in dropped
            ],
            **given,
        }

    folder, made = workspace.make("documents", inputs, work)
    manifest = workspace.manifest("documents") or {}
    index = workspace.manifest("index")
    if made and config.ingest.redact and index and index["inputs"]["documents"] != documents_digest(workspace):
        shutil.rmtree(workspace.path("index"))  # it holds the text as it was
    if not made:  # the same files, perhaps asked for otherwise, or with other pages of the web left out
        figures = manifest["figures"]
        came = {row["path"] for row in figures["documents"]}
        kept = [row for row in figures["skipped"] if not is_address(row["path"]) or row["path"] in came]
        web = [asdict(s) for s in skipped if is_address(s.path)]
        now = {**figures, **given, "skipped": [*kept, *(row for row in web if row not in kept)]}
        if now != figures:
            workspace.amend("documents", manifest["inputs"], now)
    return read_result(workspace, folder)


def _same_reading(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(old.get(name) == new[name] for name in ("version", "settings"))


def _identity(name: str, sha: str) -> str:
    return hashlib.sha256(f"{name}\0{sha}".encode()).hexdigest()[:16]


def _head(path: Path, name: str, loader: str, sha: str) -> dict[str, Any]:
    return {"id": _identity(name, sha), "path": name, "sha256": sha, "media_type": loader, "title": "",
            "size_bytes": path.stat().st_size}  # fmt: skip


def _accepted(
    workspace: Workspace, files: Iterable[tuple[Path, str]], questions: Path | None, meant: Collection[Path]
) -> tuple[list[tuple[Path, str, str, str]], list[Skipped]]:
    """(path, name, loader, hash) of every file that a loader will be tried on, and the others with their reason."""
    by_extension, forgotten = loaders_by_extension(), read_forgotten(workspace)
    jobs: list[tuple[Path, str, str, str]] = []
    skipped: list[Skipped] = []
    seen: dict[tuple[str, str], str] = {}
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
            if when := forgotten.get(name) or forgotten.get(sha):
                raise InputError(f"forgotten on {when}; to read it again, take its line out of .groundtune/{FORGOTTEN}")
            if getattr(registry.get("loaders", loader), "VOLATILE", False):  # the same file, perhaps other rows
                if path.resolve() not in meant:  # a folder from elsewhere must not make us run queries
                    raise InputError("a database query, which is run only where the file itself is named as a source")
                sha = _rows_digest(registry.get("loaders", loader).load(path))
            if (path.name, sha) in seen and not is_address(name):
                raise InputError(f"the same content as {seen[path.name, sha]}, of the same name")
            seen[path.name, sha] = name
            if path.suffix.lower() == ".html" and is_report(path):
                raise InputError("a report that groundtune wrote")
            if path.suffix.lower() in (".jsonl", ".csv") and path.resolve() not in meant and is_dataset(path):
                raise InputError("questions or training examples; to read it as a document, name the file itself")
            jobs.append((path, name, loader, sha))
        except InputError as error:
            skipped.append(Skipped(name, error.problem))
        except OSError as error:
            skipped.append(Skipped(name, f"cannot be read: {error.strerror or error}"))
        except RuntimeError:  # how pathlib says it
            skipped.append(Skipped(name, "a link that leads to itself"))
    return jobs, skipped


def _rows_digest(sections: Iterable[Section]) -> str:
    digest = hashlib.sha256()
    for section in sections:
        digest.update(as_line(section).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read_all(
    jobs: list[Job], config: Config, reusable: Path | None, progress: Progress | None
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """The first lines of the documents that were read, in order, and what was refused."""
    heads: list[dict[str, Any]] = []
    faults: list[Skipped] = []
    with Readers(config.ingest) as readers:
        pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
        try:
            running = [(job, pool.submit(_one, readers, job, reusable)) for job in jobs]
            for done, (job, future) in enumerate(running):
                if progress:
                    progress(done, len(jobs), job.head["path"])
                try:
                    heads.append(future.result())
                except InputError as error:
                    faults.append(Skipped(job.head["path"], " ".join(error.problem.split())))
            if progress:
                progress(len(jobs), len(jobs), "")
        finally:
            readers.close()
            pool.shutdown(wait=True, cancel_futures=True)
    return heads, faults


def _one(readers: Readers, job: Job, reusable: Path | None) -> dict[str, Any]:
    target = Path(job.target)
    web = is_address(job.head["path"])
    if web:  # what repeats over a site is taken out of all its pages together: each time from the whole text
        target.unlink(missing_ok=True)
    if not target.exists() and reusable and not web and (reusable / target.name).exists():
        half = target.with_suffix(".part")
        shutil.copyfile(reusable / target.name, half)
        half.replace(target)
    if target.exists():
        return first_line(target)
    head: dict[str, Any] = readers.read(job)["head"]
    return head


def left_out(folder: Path, document: Document) -> list[str]:
    """What of a document did not come in, such as its scanned pages; a line each."""
    return list(first_line(folder / f"{document.id}.jsonl").get("left_out", ()))


def read_result(workspace: Workspace, folder: Path | None = None) -> IngestResult:
    """What the workspace holds.

    Raises:
        MissingArtifactError: nothing was ingested yet.
    """
    folder = folder or workspace.need("documents", next_step="groundtune ingest")
    figures = (workspace.manifest("documents") or {})["figures"]
    return IngestResult(
        tuple(as_document(d) for d in figures["documents"]),
        tuple(Skipped(**s) for s in figures["skipped"]),
        folder,
        figures.get("cleaning", {}),
    )


def ingested_explicitly(workspace: Workspace) -> bool:
    """True where the command line told the last ingest more than the config does: it is not to be undone unasked."""
    return bool((workspace.manifest("documents") or {"figures": {}})["figures"].get("explicit"))


def read_sections(folder: Path, document: Document) -> Iterator[Section]:
    """A document's sections, one at a time."""
    return sections_of(folder / f"{document.id}.jsonl")


def documents_digest(workspace: Workspace) -> str:
    """The key of what is ingested: what everything downstream depends on."""
    workspace.need("documents", next_step="groundtune ingest")
    return digest((workspace.manifest("documents") or {})["inputs"])


def read_forgotten(workspace: Workspace) -> dict[str, str]:
    """Name or content hash -> day, of every document that was to be forgotten."""
    path = workspace.path(FORGOTTEN)
    if not path.exists():
        return {}
    out: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        try:
            row = json.loads(line) if line.strip() else None
            out |= {str(key): str(row["day"]) for key in (row["name"], row["sha256"])} if row else {}
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{path}:{number}: not an entry of what is to be forgotten",
                expected='{"name": ..., "sha256": ..., "day": ...} on one line',
                next_step="mend the line or take it out",
            ) from None
    return out
