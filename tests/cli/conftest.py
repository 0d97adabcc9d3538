"""Project folders for the command line: as a user has them, and with documents and index made by the commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sample_project import Typed, run_json, write_project


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four documents, questions, a tiny model, a config; nothing made yet. Not to be written to."""
    return write_project(tmp_path_factory.mktemp("template") / "project")


@pytest.fixture(scope="session")
def indexed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after ``ingest`` and ``index``. Not to be written to."""
    folder = tmp_path_factory.mktemp("indexed") / "project"
    shutil.copytree(template, folder)
    assert run_json("ingest", "--project", folder)["documents"] == 4
    assert run_json("index", "--project", folder)["documents"] == 4
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A copy of ``template`` to write to."""
    return Path(shutil.copytree(template, tmp_path / "project"))


@pytest.fixture
def made(indexed: Path, tmp_path: Path) -> Path:
    """A copy of ``indexed`` to write to."""
    return Path(shutil.copytree(indexed, tmp_path / "project"))


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """A command in this process, for speed: exit code, stdout, message."""

    def type_(*arguments: str | Path) -> tuple[int, str, str]:
        from groundtune.cli.main import app
        from groundtune.errors import GroundtuneError

        message = ""
        try:
            code = app([str(a) for a in arguments], standalone_mode=False)
        except GroundtuneError as error:
            code, message = error.exit_code, str(error)
        return code if isinstance(code, int) else 0, capsys.readouterr().out, message

    return type_
