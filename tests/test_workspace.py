"""Artifacts: made once, whole or not at all, resumed only from their own key, one writer at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from groundtune.errors import MissingArtifactError, WorkspaceError
from groundtune.workspace import MANIFEST, Workspace, digest, folder_digest, write_json
from sample_project import environment


class Work:
    """Writes a file and counts how often it was asked to; stops with an error where told to."""

    def __init__(self, text: str = "done", *, fails: bool = False) -> None:
        self.text, self.fails, self.calls = text, fails, 0
        self.found: list[str] = []

    def __call__(self, folder: Path) -> Mapping[str, Any]:
        self.calls += 1
        self.found = sorted(p.name for p in folder.iterdir())
        (folder / "half.txt").write_text("half", encoding="utf-8")
        if self.fails:
            raise RuntimeError("killed")
        (folder / "result.txt").write_text(self.text, encoding="utf-8")
        return {"size": len(self.text)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def names(workspace: Workspace, below: str = "") -> list[str]:
    return sorted(p.name for p in (workspace.folder / below).iterdir())


def test_made_once_while_the_inputs_stay(workspace: Workspace) -> None:
    first, second = Work("one"), Work("two")
    folder, made = workspace.make("documents", {"a": 1, "b": [2]}, first)
    assert made
    again, made_again = workspace.make("documents", {"b": [2], "a": 1}, second)  # the order of keys does not count
    assert (folder, made_again, second.calls) == (again, False, 0)
    assert (folder / "result.txt").read_text(encoding="utf-8") == "one"


def test_made_anew_when_an_input_changes(workspace: Workspace) -> None:
    workspace.make("documents", {"a": 1}, Work("one"))
    folder, made = workspace.make("documents", {"a": 2}, Work("two"))
    assert made
    assert (folder / "result.txt").read_text(encoding="utf-8") == "two"
    assert names(workspace) == ["documents"]  # neither the old one nor a half one is left


def test_manifest_says_what_it_was_made_from_and_with(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["groundtune", "ingest", "here"])
    workspace.make("runs/tuned", {"seed": 7, "files": ["ä"]}, Work("four"))
    manifest = workspace.manifest("runs/tuned")
    assert manifest is not None
    assert manifest["key"] == digest({"files": ["ä"], "seed": 7})
    assert manifest["inputs"] == {"seed": 7, "files": ["ä"]}
    assert manifest["figures"] == {"size": 4}
    assert manifest["made_with"]["command"] == "groundtune ingest here"
    assert manifest["made_with"]["python"].startswith("3.")
    assert {"torch", "transformers", "lancedb"} <= set(manifest["made_with"]["packages"])


def test_a_stopped_run_goes_on_in_its_own_half_folder(workspace: Workspace) -> None:
    with pytest.raises(RuntimeError):
        workspace.make("index", {"a": 1}, Work(fails=True))
    assert workspace.manifest("index") is None
    resumed = Work()
    workspace.make("index", {"a": 1}, resumed)
    assert resumed.found == ["half.txt"]
    assert names(workspace) == ["index"]


def test_half_folders_of_other_inputs_are_removed(workspace: Workspace) -> None:
    with pytest.raises(RuntimeError):
        workspace.make("index", {"a": 1}, Work(fails=True))
    fresh = Work()
    workspace.make("index", {"a": 2}, fresh)
    assert fresh.found == []
    assert names(workspace) == ["index"]


def test_a_failing_rebuild_leaves_the_finished_artifact(workspace: Workspace) -> None:
    workspace.make("index", {"a": 1}, Work("one"))
    with pytest.raises(RuntimeError):
        workspace.make("index", {"a": 2}, Work("two", fails=True))
    assert (workspace.need("index", next_step="") / "result.txt").read_text(encoding="utf-8") == "one"


def test_a_kill_between_the_two_renames_is_mended(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.make("index", {"a": 1}, Work("one"))
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if ".part-" in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        workspace.make("index", {"a": 2}, Work("two"))
    monkeypatch.undo()
    folder, _ = workspace.make("index", {"a": 2}, Work("two"))
    assert (folder / "result.txt").read_text(encoding="utf-8") == "two"
    workspace.make("index", {"a": 3}, Work("three"))
    assert names(workspace) == ["index"]


def test_a_damaged_manifest_counts_as_missing(workspace: Workspace) -> None:
    folder, _ = workspace.make("index", {"a": 1}, Work("one"))
    for damaged in ("", "{", "[]", '{"figures": {}}'):
        (folder / MANIFEST).write_text(damaged, encoding="utf-8")
        with pytest.raises(MissingArtifactError, match="no index"):
            workspace.need("index", next_step="groundtune index")
        assert workspace.make("index", {"a": 1}, Work("two"))[1], damaged


def test_a_missing_artifact_names_the_command_that_makes_it(workspace: Workspace) -> None:
    with pytest.raises(MissingArtifactError) as caught:
        workspace.need("index", next_step="groundtune index")
    assert "groundtune index" in str(caught.value)
    assert str(workspace.folder) in str(caught.value)


HOLD = """
import sys
from pathlib import Path
from groundtune.workspace import Workspace
with Workspace(Path(sys.argv[1])).writing():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_has_gone(workspace: Workspace) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workspace.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceError, match="another groundtune is writing"), workspace.writing():
            raise AssertionError("two writers at a time")
        first.kill()  # not even a kill leaves the lock behind
        first.wait(timeout=10)
        with workspace.writing():
            assert workspace.folder.is_dir()
    finally:
        first.kill()
        first.communicate()


def test_a_workspace_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / ".groundtune").write_text("a file is in the way", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="cannot be made"), Workspace(tmp_path).writing():
        raise AssertionError("written into a file")


def test_write_json_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.json"
    write_json(path, {"b": 1, "a": "ä"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ä", "b": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]

    before = path.read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"c": 1})
    monkeypatch.undo()
    assert path.read_bytes() == before

    with pytest.raises(TypeError):
        write_json(path, {"c": object()})
    assert path.read_bytes() == before


def test_folder_digest_follows_names_and_bytes_of_the_weights(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"1")
        (tmp_path / name / "config.json").write_bytes(b"{}")
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")
    (tmp_path / "b" / "notes.md").write_bytes(b"no part of the model")
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").write_bytes(b"2")
    assert folder_digest(tmp_path / "a") != folder_digest(tmp_path / "b")


def test_a_manifest_holds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["groundtune", "ingest", "--password", "s3cret", "--password=t0psecret", "a.pdf"])
    workspace = Workspace(tmp_path)
    workspace.make("documents", {"a": 1}, lambda folder: None)
    text = (workspace.path("documents") / "manifest.json").read_text(encoding="utf-8")
    assert "groundtune ingest --password *** --password=*** a.pdf" in text
    assert "s3cret" not in text and "t0psecret" not in text
