"""``groundtune index``: what it says has changed, ``--watch``, and ``ask --where``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import IndexConfig, RetrievalConfig
from groundtune.errors import InputError
from groundtune.ingest.ingest import ingest
from groundtune.retrieval.embedders import minilm
from groundtune.retrieval.index import build_index, forget_document
from groundtune.retrieval.retriever import Retriever
from groundtune.retrieval.stores import lance
from groundtune.workspace import Workspace

CONFIG = IndexConfig()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "documents").mkdir()
    for name, text in (
        ("boats.txt", "The kayak costs seven crowns. The ferry leaves at nine."),
        ("hours.md", "# Hours\n\nThe pool opens at seven."),
        ("menu.txt", "Soup is served on Mondays."),
    ):
        (tmp_path / "documents" / name).write_text(text, encoding="utf-8")
    return tmp_path


def indexed(workspace: Workspace, config: IndexConfig = CONFIG) -> dict[str, Any]:
    ingest(workspace, ["documents"])
    build_index(workspace, config)
    return dict((workspace.manifest("index") or {})["figures"])


def entries(workspace: Workspace) -> dict[str, lance.Entry]:
    store = lance.Store(workspace.path("index") / "store")
    return store.entries([c.id for c in store.chunks()])


def test_only_what_changed_is_embedded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(project)
    assert [indexed(workspace)[n] for n in ("added", "changed", "removed")] == [3, 0, 0]
    before = entries(workspace)
    embedded: list[str] = []
    real = minilm.embed
    monkeypatch.setattr(minilm, "embed", lambda texts: (embedded.extend(texts), real(texts))[1])
    (project / "documents" / "menu.txt").unlink()
    (project / "documents" / "hours.md").write_text("# Hours\n\nThe pool opens at eight.", encoding="utf-8")
    (project / "documents" / "new.txt").write_text("A zeppelin may not land here.", encoding="utf-8")
    figures = indexed(workspace)
    assert [figures[n] for n in ("added", "changed", "removed", "documents", "chunks")] == [1, 1, 1, 3, 3]
    assert embedded and not any("kayak" in text for text in embedded)
    after = entries(workspace)
    kept = next(i for i, e in before.items() if "kayak" in e.chunk.text)
    assert (after[kept].vectors == before[kept].vectors).all()
    assert {e.chunk.document for e in after.values()} == {"boats.txt", "hours.md", "new.txt"}
    fresh = Workspace(project / "elsewhere")
    (fresh.root / "documents").mkdir(parents=True)
    for file in (project / "documents").iterdir():
        (fresh.root / "documents" / file.name).write_bytes(file.read_bytes())
    indexed(fresh)
    assert entries(fresh).keys() == after.keys()
    found = [lance.Store(w.path("index") / "store").text_search("zeppelin pool kayak", 9) for w in (workspace, fresh)]
    assert found[0] == found[1]


def test_another_setting_means_all_anew(project: Path) -> None:
    workspace = Workspace(project)
    indexed(workspace)
    assert indexed(workspace, IndexConfig(sentences="pooled"))["added"] == 3
    assert indexed(workspace, IndexConfig(chunker="structure"))["added"] == 3


def test_a_forgotten_document_is_not_taken_for_a_removed_one(project: Path) -> None:
    workspace = Workspace(project)
    indexed(workspace)
    (gone,) = (c for c in lance.Store(workspace.path("index") / "store").chunks() if c.document == "menu.txt")
    assert forget_document(workspace, gone.document_id, "digest")
    (project / "documents" / "menu.txt").unlink()
    assert [indexed(workspace)[n] for n in ("added", "changed", "removed", "chunks")] == [0, 0, 0, 2]


def test_a_german_word_counted_later_reaches_earlier_texts(project: Path) -> None:
    workspace = Workspace(project)
    german = project / "documents" / "urlaub.txt"
    german.write_text(
        "Der Sommerkrumpel gilt ab Mai und endet im Herbst. Die Fähre fährt dann nicht mehr.", encoding="utf-8"
    )
    indexed(workspace)
    find = lambda: lance.Store(workspace.path("index") / "store").text_search("Krumpel", 5)  # noqa: E731
    assert find() == []
    more = "Der Krumpel hängt aus. Den Krumpel gibt es auch im Büro, und der Sommer ist dort warm und der Sommer lang."
    (project / "documents" / "buero.txt").write_text(more, encoding="utf-8")
    assert indexed(workspace)["added"] == 1
    assert len(find()) == 2


def test_a_condition_restricts_every_search(project: Path) -> None:
    workspace = Workspace(project)
    indexed(workspace)

    def documents(where: str | None, question: str = "When does the pool open?") -> set[str]:
        config = RetrievalConfig(where=where)
        hits = Retriever(workspace.path("index"), IndexConfig(), config).retrieve(question)
        return {h.chunk.document for h in hits}

    assert documents(None) == {"boats.txt", "hours.md", "menu.txt"}
    assert documents("document like '%.txt'") == {"boats.txt", "menu.txt"}
    assert documents("media_type = 'markdown' and heading = 'Hours'") == {"hours.md"}
    assert documents("page > 3") == set()
    with pytest.raises(InputError, match=r"a field: document, page, .*did you mean 'page'"):
        documents("pag = 3")


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def test_watch_takes_in_what_comes_to_rest_and_ends_with_0(project: Path) -> None:
    (project / "groundtune.yaml").write_text("documents: [documents]\n", encoding="utf-8")
    manifest = project / ".groundtune" / "index" / "manifest.json"

    def chunks() -> int:
        try:
            return int(json.loads(manifest.read_text(encoding="utf-8"))["figures"]["chunks"])
        except (OSError, ValueError):
            return 0

    process = subprocess.Popen(
        [sys.executable, "-m", "groundtune", "index", "--watch", "--every", "0.4"],
        cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's background jobs ignore it
    )  # fmt: skip
    try:
        wait_for(lambda: chunks() == 3, process)
        with (project / "documents" / "long.txt").open("w", encoding="utf-8") as half:
            for n in range(12):  # written slowly: no look finds it at rest
                half.write(f"Sentence {n} of a text that is being written. ")
                half.flush()
                assert chunks() == 3
                time.sleep(0.2)
        wait_for(lambda: chunks() == 4, process)
        (project / "documents" / "menu.txt").unlink()
        wait_for(lambda: chunks() == 3, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert json.loads(manifest.read_text(encoding="utf-8"))["figures"]["removed"] == 1
    assert "(1 added)" in out and out.endswith("ended\n") and "Traceback" not in err
