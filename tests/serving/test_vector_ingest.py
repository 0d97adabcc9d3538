"""Reading files into vector stores: a kill at any moment loses and doubles nothing, nothing half is searched."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving
from groundtune.serving.vectors.vector_ingest import Ingest
from groundtune.serving.vectors.vector_requests import CreateFile, CreateStore
from groundtune.serving.vectors.vector_search import search
from groundtune.serving.vectors.vector_stores import FILE
from groundtune.workspace import Workspace

TEXT = "\n\n".join(f"Berth {n} of the harbour is kept by the crew of the boat number {n}." for n in range(120))
#: where the process dies -> what is patched to make it
MOMENTS = {
    "reading": "ingest.Readers.read = die",
    "half written": "embed = encoding.embed; calls = []; encoding.embed = lambda *a: die() if calls else (calls.append(1), embed(*a))[1]",
    "written": "os.fsync = die",
    "renamed": "ingest.Ingest._settle = die",
    "settled": "settle = ingest.Ingest._settle; ingest.Ingest._settle = lambda *a: (settle(*a), die())",
}
CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_vector_ingest import WordEmbedder
from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving.vectors import encoding, vector_ingest as ingest
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace

def die(*_, **__):
    os._exit(9)

encoding.SLICE = 8
serving = Serving.open(Setup(Workspace(Path(sys.argv[1])), Config()))
serving.vectors.embedder, serving.vectors.embedder_identity = WordEmbedder(), "words"
exec(sys.argv[2])
ingest.Ingest(serving.vectors).start()
import time
time.sleep(60)
"""


class WordEmbedder:
    """Counts words and embeds by their letters: what is tested here is what is kept, not what is found."""

    NAME, DIMENSIONS, MAX_TOKENS = "words", 16, 256

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def embed(self, texts: Sequence[str]) -> Any:
        rows = [[1 + text.count(chr(97 + n)) for n in range(self.DIMENSIONS)] for text in texts]
        return np.asarray([np.asarray(row) / np.linalg.norm(row) for row in rows], dtype=np.float32)


def opened(folder: Path) -> Serving:
    """A server's state with that embedder."""
    serving = Serving.open(Setup(Workspace(folder), Config()))
    serving.vectors.embedder, serving.vectors.embedder_identity = WordEmbedder(), "words"
    return serving


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    return opened(tmp_path)


@contextmanager
def working(serving: Serving) -> Iterator[None]:
    work = Ingest(serving.vectors)
    work.start()
    try:
        yield
    finally:
        work.stop()


def keep(serving: Serving, name: str, text: str) -> str:
    return str(serving.files.keep([text.encode()], name, "assistants")["id"])


def wait(serving: Serving, store: str) -> Any:
    for _ in range(900):
        rows = serving.store.all(FILE, parent=store)
        if all(row["status"] != "in_progress" for row in rows):
            return rows
        time.sleep(0.05)
    raise AssertionError("still in progress after 45 seconds")


def texts(serving: Serving, store: str) -> list[str]:
    hits = search(serving, [store], ["berth"], limit=10_000, filters=None)
    return sorted(text for hit in hits for text in hit.texts)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_loses_and_doubles_nothing(moment: str, tmp_path: Path, serving: Serving) -> None:
    chunking = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    wanted = CreateStore.model_validate(
        {"file_ids": [keep(serving, "berths.txt", TEXT)], "chunking_strategy": chunking}
    )
    store = serving.vectors.create(wanted)["id"]
    died = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), MOMENTS[moment], str(Path(__file__).parent)],
        timeout=60,
        check=False,
    )
    assert died.returncode == 9
    status = serving.store.all(FILE, parent=store)[0]["status"]
    assert status == ("completed" if moment == "settled" else "in_progress")
    assert bool(texts(serving, store)) == (moment == "settled")  # all or nothing

    folder = serving.folder / "vector_stores" / store
    again = opened(tmp_path)
    with working(again):
        (row,) = wait(again, store)
        found = texts(again, store)
    assert row["status"] == "completed"
    assert [path.name for path in folder.iterdir()] == [row["data"]]
    assert found == sorted(again.vectors.texts(store, row["id"])) and len(found) == len(set(found)) > 10
    for n in range(120):
        assert sum(f"Berth {n} of" in text for text in found) == 1


def test_a_stop_in_the_middle_is_taken_up(serving: Serving, tmp_path: Path) -> None:
    store = serving.vectors.create(CreateStore(file_ids=[keep(serving, f"{n}.txt", TEXT + str(n)) for n in range(4)]))[
        "id"
    ]
    with working(serving):
        time.sleep(0.3)
    rows = serving.store.all(FILE, parent=store)
    assert {row["status"] for row in rows} <= {"in_progress", "completed"} and rows[-1]["status"] == "in_progress"
    again = opened(tmp_path)
    with working(again):
        assert [row["status"] for row in wait(again, store)] == ["completed"] * 4


def test_what_belongs_to_nothing_is_gone_at_the_start(serving: Serving) -> None:
    store = serving.vectors.create(CreateStore(file_ids=[keep(serving, "a.txt", "The canteen opens at noon.")]))["id"]
    with working(serving):
        (row,) = wait(serving, store)
    folder = serving.folder / "vector_stores"
    (folder / "vs_gone").mkdir()
    (folder / "vs_gone" / "x.parquet").write_bytes(b"x")
    (folder / store / "x.parquet").write_bytes(b"x")
    (folder / store / "x.part").mkdir()
    serving.vectors.attach(store, [CreateFile(file_id=keep(serving, "b.txt", "The gym closes at ten."))])
    serving.store.remove(
        "vector_store", serving.vectors.create(CreateStore(file_ids=[row["id"]]))["id"]
    )  # killed there
    with working(serving):
        rows = wait(serving, store)
    assert sorted(p.name for p in folder.iterdir()) == [store]
    assert {p.name for p in (folder / store).iterdir()} == {r["data"] for r in rows}
    assert len(serving.store.all(FILE)) == 2


def test_another_embedder_reads_everything_anew(serving: Serving) -> None:
    store = serving.vectors.create(CreateStore(file_ids=[keep(serving, "a.txt", "The canteen opens at noon.")]))["id"]
    with working(serving):
        wait(serving, store)
    serving.vectors.embedder_identity = "another"
    serving.vectors.tidy()
    assert serving.store.all(FILE, parent=store)[0]["status"] == "in_progress"
    with working(serving):
        (row,) = wait(serving, store)
    assert (row["status"], row["embedder"]) == ("completed", "another")


def test_a_file_deleted_before_it_is_read(serving: Serving) -> None:
    id = keep(serving, "a.txt", "The canteen opens at noon.")
    store = serving.vectors.create(CreateStore(file_ids=[id]))["id"]
    serving.files.delete(id)
    with working(serving):
        (row,) = wait(serving, store)
    assert row["status"] == "failed" and "deleted" in row["last_error"]["message"]


def test_a_store_deleted_while_it_is_filled(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    long = "\n\n".join(TEXT for _ in range(40))
    store = serving.vectors.create(CreateStore(file_ids=[keep(serving, f"{n}.txt", long) for n in range(3)]))["id"]
    folder = serving.folder / "vector_stores" / store
    with working(serving):
        while not list(folder.glob("*.part")):
            time.sleep(0.01)
        time.sleep(0.5)
        serving.vectors.remove(store)
        time.sleep(0.5)
    assert serving.store.all(FILE) == [] and not list(folder.glob("*"))
    assert not [record for record in caplog.records if record.name == "groundtune.serving"]


def test_a_fault_of_ours_fails_one_file(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    from groundtune.serving.vectors import vector_ingest

    store = serving.vectors.create(CreateStore(file_ids=[keep(serving, "a.txt", "x"), keep(serving, "b.txt", "y")]))[
        "id"
    ]
    right = vector_ingest.write_shard

    def wrong(path: Path, chunks: Any) -> int:
        if "x" in next(chunks)[0]:
            raise RuntimeError("secret")
        return right(path, chunks)

    monkeypatch.setattr(vector_ingest, "write_shard", wrong)
    with working(serving):
        first, second = wait(serving, store)
    assert (first["status"], first["last_error"]["code"]) == ("failed", "server_error")
    assert "secret" not in first["last_error"]["message"] and second["status"] == "completed"


def test_several_stores_are_searched_as_one(serving: Serving) -> None:
    made = [
        serving.vectors.create(CreateStore(file_ids=[keep(serving, f"{n}.txt", text)]))["id"]
        for n, text in enumerate(("The canteen opens at noon.", "The gym closes at ten."))
    ]
    with working(serving):
        for store in made:
            wait(serving, store)
    hits = search(serving, made, ["When does the gym close?", "canteen hours"], limit=5, filters=None)
    assert {hit.filename for hit in hits} == {"0.txt", "1.txt"} and len(hits) == 2
    assert [hit.filename for hit in search(serving, [*made, made[1]], ["gym"], limit=1, filters=None)] == ["1.txt"]
    for wrong in ({"filters": {"type": "x"}}, {"filters": None, "ranker": "best"}):
        with pytest.raises(ApiError):
            search(serving, made, ["gym"], limit=1, **wrong)  # type: ignore[arg-type]
