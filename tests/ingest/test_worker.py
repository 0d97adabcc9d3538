"""A file that hangs, swells or kills its reader costs itself alone; the next one is read."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from groundtune.config import IngestConfig
from groundtune.errors import InputError
from groundtune.ingest.ingest import ingest
from groundtune.ingest.worker import Job, Readers
from groundtune.workspace import Workspace

LOADERS = {
    "hang": "import time\n    time.sleep(60)",
    "swell": "rows = []\n    while True:\n        rows.append(b'x' * 10_000_000)",
    "crash": "import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)",
    "throw": "raise KeyError('no such table')",
    "deep": "deep = lambda: deep()\n    deep()",
    "print": "import os\n    os.write(1, b'noise from a C library')\n    print('noise')",
}


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of misbehaving loaders, registered through entry points as another package's would be."""
    package = tmp_path / "plugins"
    (package / "misbehaving-1.0.dist-info").mkdir(parents=True)
    points = "".join(f"{name} = misbehaving_{name}\n" for name in LOADERS)
    (package / "misbehaving-1.0.dist-info" / "entry_points.txt").write_text(f"[groundtune.loaders]\n{points}")
    (package / "misbehaving-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n"
    )
    for name, body in LOADERS.items():
        (package / f"misbehaving_{name}.py").write_text(
            f'"""Misbehaves: {name}."""\nfrom groundtune.records import Section\nEXTENSIONS = (".{name}",)\n'
            f'def load(path, options=None):\n    yield Section("a beginning")\n    {body}\n',
            encoding="utf-8",
        )
    monkeypatch.setenv("PYTHONPATH", str(package))
    monkeypatch.syspath_prepend(str(package))
    from groundtune import registry

    for cached in (registry._foreign, registry.names, registry.get):
        cached.cache_clear()
    yield
    for cached in (registry._foreign, registry.names, registry.get):
        cached.cache_clear()
    for name in LOADERS:
        sys.modules.pop(f"misbehaving_{name}", None)


def job(tmp_path: Path, loader: str, text: str = "Hello there.") -> Job:
    path = tmp_path / f"file.{loader}"
    path.write_text(text, encoding="utf-8")
    head = {"id": "1", "path": path.name, "sha256": "", "media_type": loader, "title": "", "size_bytes": 12}
    return Job(str(path), loader, str(tmp_path / "out.jsonl"), head, IngestConfig().model_dump(mode="json"))


@pytest.mark.usefixtures("loaders")
@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ("hang", "not read within 2 seconds"),
        ("swell", "takes more than 300 MB of memory"),
        ("crash", "the program that reads it stopped (SIGSEGV)"),
        ("throw", "KeyError while reading it as throw"),
        ("deep", "nested too deeply"),
    ],
)
def test_a_bad_file_costs_itself_alone(tmp_path: Path, loader: str, said: str) -> None:
    with Readers(IngestConfig(seconds_per_file=2, megabytes_per_file=300)) as readers:
        with pytest.raises(InputError) as caught:
            readers.read(job(tmp_path, loader))
        assert said in caught.value.problem
        assert f"file.{loader}" in caught.value.problem
        assert not list(tmp_path.glob("out.*"))  # nothing half-written stays
        assert readers.read(job(tmp_path, "text"))["head"]["path"] == "file.text"


@pytest.mark.usefixtures("loaders")
def test_what_libraries_print_does_not_reach_the_answer(tmp_path: Path) -> None:
    with Readers(IngestConfig()) as readers:
        assert readers.read(job(tmp_path, "print"))["head"]["path"] == "file.print"


@pytest.mark.usefixtures("loaders")
def test_an_ingest_lists_the_bad_file_and_keeps_the_others(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.txt").write_text("The rooms open at 9:30.", encoding="utf-8")
    (documents / "b.crash").write_text("x", encoding="utf-8")
    (documents / "c.txt").write_text("The cellar is cold.", encoding="utf-8")
    result = ingest(Workspace(tmp_path), ["documents"])
    assert [d.path for d in result.documents] == ["a.txt", "c.txt"]
    assert [(s.path, "SIGSEGV" in s.reason) for s in result.skipped] == [("b.crash", True)]


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    before = _workers()
    with Readers(IngestConfig()) as readers:
        readers.read(job(tmp_path, "text"))
        assert len(_workers()) == len(before) + 1
    deadline = time.monotonic() + 5
    while _workers() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _workers() == before


def _workers() -> list[Any]:
    out = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "groundtune.ingest.worker" in child.cmdline():
                out.append(child.pid)
        except psutil.Error:
            continue
    return out


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.txt").write_text("The rooms open at 9:30.", encoding="utf-8")
    workspace = Workspace(tmp_path)
    first = ingest(workspace, ["documents"])
    (documents / "b.txt").write_text("The cellar is cold.", encoding="utf-8")
    read: list[str] = []
    whole = Readers.read
    monkeypatch.setattr(Readers, "read", lambda self, job: (read.append(job.head["path"]), whole(self, job))[1])
    second = ingest(workspace, ["documents"])
    assert read == ["b.txt"]
    assert [d.path for d in second.documents] == ["a.txt", "b.txt"]
    assert second.documents[0] == first.documents[0]
