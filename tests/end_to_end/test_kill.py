"""kill -9 at seeded moments of ingest, index and tune; the same command again ends in what an undisturbed run makes.

A chain of kills on one folder: each run goes on from what the one before it left. The first moment is as soon as
something is kept, the others are drawn over the time that the undisturbed run worked.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundtune.config import load_config
from groundtune.workspace import Workspace
from sample_project import command, environment, run_json, write_project

SEED = 20270106
KILLS = 3


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(name), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
    )


def undisturbed(folder: Path, name: str, begun: Callable[[Path], bool]) -> float:
    """Run to the end; returns the seconds from the first kept piece on."""
    process = start(folder, name)
    while not begun(folder) and process.poll() is None:
        time.sleep(0.002)
    since = time.perf_counter()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return time.perf_counter() - since


def killed(folder: Path, name: str, begun: Callable[[Path], bool], delay_seconds: float) -> bool:
    """Start a run and kill it ``delay_seconds`` after its first kept piece; False where it had ended by then."""
    process = start(folder, name)
    while not begun(folder) and process.poll() is None:
        time.sleep(0.002)
    time.sleep(delay_seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def disturbed_and_undisturbed(
    template: Path, tmp_path: Path, name: str, begun: Callable[[Path], bool]
) -> tuple[Workspace, Workspace]:
    """Two copies of a project after ``name``: one killed on the way, one not."""
    smooth, rough = (Path(shutil.copytree(template, tmp_path / which)) for which in ("smooth", "rough"))
    work_seconds = undisturbed(smooth, name, begun)
    rng = random.Random(f"{SEED}{name}")
    landed = [killed(rough, name, begun, 0.0 if n == 0 else rng.uniform(0, work_seconds / 2)) for n in range(KILLS)]
    assert landed[0], "the first kill came too late to prove anything"
    assert sum(landed) >= 2
    undisturbed(rough, name, begun)
    return Workspace(rough), Workspace(smooth)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def at_least(pieces: int, pattern: str) -> Callable[[Path], bool]:
    return lambda folder: sum(1 for _ in (folder / ".groundtune").glob(pattern)) >= pieces


def test_ingest(tmp_path: Path) -> None:
    template = tmp_path / "template"
    (template / "documents").mkdir(parents=True)
    for n in range(40):
        text = "".join(f"Paragraph {i} of document {n} says little.\n\n" for i in range(4000))
        (template / "documents" / f"{n:02}.txt").write_text(text, encoding="utf-8")
    (template / "documents" / "broken.csv").write_text("a,b\n" + "1,2\n" * 2000 + '3,"4\n', encoding="utf-8")
    rough, smooth = disturbed_and_undisturbed(template, tmp_path, "ingest", at_least(1, "documents.part-*/*.jsonl"))
    found, expected = contents(rough.path("documents")), contents(smooth.path("documents"))
    assert len(expected) == 41
    for files in (found, expected):  # the reason of what was skipped names the file with its folder
        manifest = files.pop("manifest.json").decode()
        files["manifest"] = manifest.replace(str(rough.root), "").replace(str(smooth.root), "").encode()
    assert found == expected
    assert not list(rough.folder.glob("*.part-*"))


def rows_of(workspace: Workspace) -> list[Any]:
    from groundtune.retrieval.stores.lance import Store

    store = Store(workspace.path("index") / "store")
    entries = store.entries([c.id for c in store.chunks()])
    return [entries[c.id] for c in store.chunks()]


def test_index(tmp_path: Path) -> None:
    template = tmp_path / "template"
    (template / "documents").mkdir(parents=True)
    rows = "".join(f"boat number {i} of quay {i % 7},{i} crowns\n" for i in range(320))
    (template / "documents" / "boats.csv").write_text("name,price\n" + rows, encoding="utf-8")
    run_json("ingest", cwd=template)
    rough, smooth = disturbed_and_undisturbed(template, tmp_path, "index", at_least(1, "index.part-*/vectors/*.npy"))
    found, expected = rows_of(rough), rows_of(smooth)
    assert len(expected) == 320
    assert [(e.chunk, e.search_text, e.sentences) for e in found] == [
        (e.chunk, e.search_text, e.sentences) for e in expected
    ]
    for vectors in ("vector", "vectors", "context_vectors"):
        assert all(
            np.array_equal(getattr(a, vectors), getattr(b, vectors)) for a, b in zip(found, expected, strict=True)
        )
    assert (rough.manifest("index") or {})["figures"] == (smooth.manifest("index") or {})["figures"]
    assert not list(rough.folder.glob("*.part-*"))
    assert not (rough.path("index") / "vectors").exists()


@pytest.fixture(scope="module")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_project(tmp_path_factory.mktemp("trainable") / "project")
    config = (folder / "groundtune.yaml").read_text(encoding="utf-8")
    (folder / "groundtune.yaml").write_text(
        config.replace("  epochs: 3\n", "  epochs: 40\n  save_every_steps: 6\n"), encoding="utf-8"
    )
    return folder


def check_same_weights(rough: Workspace, smooth: Workspace) -> None:
    found, expected = contents(rough.path("runs/full")), contents(smooth.path("runs/full"))
    assert "weights/model.safetensors" in expected
    assert found.keys() == expected.keys()
    assert [name for name in expected if name != "manifest.json" and found[name] != expected[name]] == []
    figures = [
        {k: v for k, v in json.loads(f["manifest.json"])["figures"].items() if k not in {"seconds", "base"}}
        for f in (found, expected)
    ]
    assert figures[0] == figures[1]
    assert figures[0]["last_loss"] < figures[0]["first_loss"]


def test_tune(trainable: Path, tmp_path: Path) -> None:
    marked = "runs/full.part-*/checkpoints/checkpoint-*/groundtune-whole"
    rough, smooth = disturbed_and_undisturbed(trainable, tmp_path, "tune", at_least(1, marked))
    check_same_weights(rough, smooth)
    assert not list((rough.folder / "runs").glob("*.part-*"))


def test_tune_killed_while_it_clears_its_checkpoints_away(
    trainable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundtune.methods._setup import Setup
    from groundtune.methods._tuning import tune

    rough, smooth = (
        Setup(Workspace(folder), load_config(folder))
        for folder in (Path(shutil.copytree(trainable, tmp_path / w)) for w in ("rough", "smooth"))
    )
    tune(smooth)

    def dies_half_way(path: Path, *_: object, **__: object) -> None:
        last = sorted(Path(path).glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
        remove(last[-1])  # in whatever order the file system lists them
        (last[-2] / "optimizer.pt").unlink()
        raise KeyboardInterrupt

    remove = shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(
            shutil,
            "rmtree",
            lambda path, *a, **k: dies_half_way(path) if Path(path).name == "checkpoints" else remove(path, *a, **k),
        )
        with pytest.raises(KeyboardInterrupt):
            tune(rough)
    tune(rough)
    check_same_weights(rough.workspace, smooth.workspace)
