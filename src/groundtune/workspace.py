"""The workspace: the folder ``.groundtune`` beside ``groundtune.yaml`` that holds everything made from the user's data.

An artifact is a folder. It is written under a temporary name and renamed when whole, together with ``manifest.json``:
the hash of every input, the config, the seed, the package versions, the command. An artifact whose key has not changed
is not made again. Half-made folders stay for the next run to resume from. Leaves out what the artifacts contain.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from groundtune.errors import MissingArtifactError, WorkspaceError

FOLDER = ".groundtune"
MANIFEST = "manifest.json"
_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "lancedb",
    "pypdfium2",
    "lxml",
    "python-calamine",
    "striprtf",
    "rensa",
    "trafilatura",
    "numpy",
)


def digest(value: object) -> str:
    """SHA-256 of a JSON-able value, canonical: key order does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(path: Path) -> str:
    """SHA-256 over the names and bytes of a folder's files (a model, an adapter)."""
    files = sorted(
        p for p in path.rglob("*") if p.is_file() and p.suffix in {".safetensors", ".json", ".jinja", ".txt", ".model"}
    )
    return digest([(p.relative_to(path).as_posix(), file_digest(p)) for p in files])


def write_json(path: Path, value: object) -> None:
    """Write JSON whole or not at all."""
    half = path.with_name(path.name + ".part")
    half.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    half.replace(path)


class Workspace:
    """The folder of a project's artifacts.

    Args:
        root: the project folder, where ``groundtune.yaml`` is or would be.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.folder = self.root / FOLDER

    def path(self, name: str) -> Path:
        """Where the artifact ``name`` (``documents``, ``index``, ``runs/tuned`` ...) is or will be."""
        return self.folder / name

    def manifest(self, name: str) -> dict[str, Any] | None:
        """The manifest of a finished artifact, or None."""
        try:
            loaded: Any = json.loads((self.path(name) / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return loaded if isinstance(loaded, dict) and {"key", "inputs", "figures"} <= loaded.keys() else None

    def need(self, name: str, *, next_step: str) -> Path:
        """The folder of an artifact that must be there.

        Raises:
            MissingArtifactError: it is not; ``next_step`` is the command that makes it.
        """
        if self.manifest(name) is None:
            raise MissingArtifactError(f"no {name} in {self.folder}", next_step=next_step)
        return self.path(name)

    def make(
        self, name: str, inputs: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any] | None]
    ) -> tuple[Path, bool]:
        """The artifact ``name`` for these inputs, made now unless it is there already.

        Args:
            inputs: everything the artifact depends on; its digest is the key.
            work: writes into the folder it is given, which may hold what a killed run left **of the same key**;
                returns figures to keep in the manifest.

        Returns:
            The finished folder, and whether it was made now.
        """
        key = digest(inputs)
        done = self.manifest(name)
        if done is not None and done["key"] == key:
            return self.path(name), False
        final = self.path(name)
        shutil.rmtree(final.with_name(final.name + ".old"), ignore_errors=True)  # of a run killed at its end
        half = final.with_name(f"{final.name}.part-{key[:16]}")
        half.mkdir(parents=True, exist_ok=True)
        for other in final.parent.glob(f"{final.name}.part-*"):
            if other != half:  # of inputs that are no longer wanted
                shutil.rmtree(other, ignore_errors=True)
        figures = work(half)
        write_json(half / MANIFEST, {"key": key, "inputs": inputs, "figures": figures or {}, "made_with": provenance()})
        if final.exists():
            old = final.with_name(final.name + ".old")
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
            half.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        else:
            half.rename(final)
        return final, True

    def amend(self, name: str, inputs: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
        """Give a finished artifact, changed in place, the manifest of what it now is.

        Raises:
            MissingArtifactError: there is none.
        """
        folder = self.need(name, next_step=f"make {name} first")
        write_json(
            folder / MANIFEST,
            {"key": digest(inputs), "inputs": inputs, "figures": figures, "made_with": provenance()},
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the workspace for writing; a second writer is told so. Released by the system when the process dies.

        Raises:
            WorkspaceError: another run is writing, or the folder cannot be made.
        """
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{self.folder}: cannot be made: {error.strerror}", expected="a folder you may write to"
            ) from None
        lock = FileLock(str(self.folder / "writing.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise WorkspaceError(
                f"another groundtune is writing in {self.folder}", next_step="wait until it ends, or use another folder"
            ) from None
        try:
            yield
        finally:
            lock.release()


def _without_secrets(arguments: list[str]) -> list[str]:
    """A command line without the values of its ``--password`` options."""
    out = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, _ = argument.partition("=")
        out.append(
            "***" if before == "--password" else f"{option}=***" if equals and option == "--password" else argument
        )
    return out


def provenance() -> dict[str, Any]:
    """The command, the interpreter and the package versions that make an artifact."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": " ".join(["groundtune", *_without_secrets(sys.argv[1:])]),
        "python": platform.python_version(),
        "packages": versions,
    }
