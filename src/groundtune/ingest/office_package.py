"""Office Open XML packages (.docx, .pptx, .xlsx): their parts, and which part refers to which (ECMA-376 part 2).

Reads one part at a time out of the archive, and never a picture. Leaves out what the parts hold.
"""

from __future__ import annotations

import posixpath
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from groundtune.errors import InputError
from groundtune.ingest import archives, reading, xml_tree


class Package:
    """An open package; a context manager.

    Args:
        path: the file, checked by :func:`archives.check_zip`.
        kind: what it is, for errors.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self._archive = zipfile.ZipFile(path)
        self.names = frozenset(self._archive.namelist())

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def open(self, name: str) -> Any:
        """A part as a binary stream.

        Raises:
            archives.ERRORS: not there, or damaged.
        """
        return self._archive.open(name)

    def xml(self, name: str) -> Any:
        """The root element of a part; None where it is missing.

        Raises:
            InputError: damaged, or not well-formed.
        """
        if name not in self.names:
            return None
        try:
            return xml_tree.parse(archives.read_part(self._archive, name))
        except archives.ERRORS as error:
            raise reading.damaged(self.path, self.kind, error) from error

    def optional_xml(self, name: str) -> Any:
        """As :meth:`xml`, with None for a damaged part too: for notes and comments, which the rest does without."""
        try:
            return self.xml(name)
        except InputError:
            return None

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """The parts that a part refers to: id -> (last word of the type, part's name); addresses are left out."""
        folder, base = posixpath.split(name)
        root = self.optional_xml(posixpath.join(folder, "_rels", f"{base}.rels"))
        out: dict[str, tuple[str, str]] = {}
        for relation in root if root is not None else ():
            target = unquote(relation.get("Target") or "")
            if relation.get("TargetMode") != "External" and target:
                part = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
                out[relation.get("Id") or ""] = ((relation.get("Type") or "").rsplit("/", 1)[-1], part)
        return out

    def addresses(self, name: str) -> dict[str, str]:
        """The web and mail addresses that a part links to: id -> address."""
        folder, base = posixpath.split(name)
        root = self.optional_xml(posixpath.join(folder, "_rels", f"{base}.rels"))
        outside = (r for r in (root if root is not None else ()) if r.get("TargetMode") == "External")
        return {r.get("Id") or "": r.get("Target") or "" for r in outside if "hyperlink" in (r.get("Type") or "")}

    def main_part(self, default: str) -> str:
        """The part that the package starts with."""
        targets = [part for kind, part in self.relations("").values() if kind == "officeDocument"]
        return next((part for part in [*targets, default] if part in self.names), default)

    def related(self, name: str, *kinds: str) -> list[str]:
        """The names of the parts of these types that a part refers to, in the order they are listed."""
        return [part for kind, part in self.relations(name).values() if kind in kinds]
