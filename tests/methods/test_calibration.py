"""`groundtune calibrate`: passages taken away, a threshold for a rate, kept in the workspace until settings change."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from groundtune.cli.main import app
from groundtune.config import IndexConfig, RetrievalConfig, load_config
from groundtune.errors import ConfigError, InputError
from groundtune.ingest.ingest import ingest
from groundtune.methods._calibration import Material, calibrate
from groundtune.methods._setup import Setup
from groundtune.methods.baseline import build
from groundtune.retrieval.calibrated import stored
from groundtune.retrieval.index import build_index
from groundtune.retrieval.refusal import FEATURES
from groundtune.system import as_messages
from groundtune.workspace import Workspace

THINGS = "kayak yacht canoe raft barge ferry dinghy tug cutter sloop ketch punt".split()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve documents that each give one price, two training questions for each."""
    folder = tmp_path_factory.mktemp("prices")
    rows = []
    for n, thing in enumerate(THINGS):
        passage = f"The mooring of a {thing} costs {20 + n} crowns a night."
        (folder / f"{thing}.txt").write_text(passage, encoding="utf-8")
        for m, question in enumerate(
            (f"What does the mooring of a {thing} cost?", f"How much is a night for a {thing}?")
        ):
            place = {"document": f"{thing}.txt", "text": passage}
            rows.append({"id": f"{thing}-{m}", "fact": thing, "split": "train", "question": question, "references": [f"{20 + n} crowns"], "passages": [place]})  # fmt: skip
    (folder / "questions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    workspace = Workspace(folder)
    ingest(workspace, [f"{t}.txt" for t in THINGS])
    build_index(workspace, IndexConfig())
    return folder


def test_the_command_calibrates_and_systems_refuse_from_then_on(project: Path) -> None:
    question = as_messages("Who painted the ceiling of the concert hall?")
    assert not build(Setup(Workspace(project), load_config(project))).answer(question).abstained
    done = CliRunner().invoke(app, ["calibrate", "--project", str(project), "--refuse", "0.8", "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["answerable"] == figures["unanswerable"] == 24
    assert figures["refused"] >= 0.8 and figures["area_under_curve"] > 0.9
    assert [p["refused"] for p in figures["curve"]] == sorted(p["refused"] for p in figures["curve"])
    setup = Setup(Workspace(project), load_config(project))
    assert setup.retriever.calibration.refuse_below == figures["refuse_below"] > 0
    assert build(setup).answer(question).abstained
    assert not build(setup).answer(as_messages("What does the mooring of a kayak cost?")).abstained
    with pytest.raises(ConfigError, match=r"other settings: retrieval\.text_weight"):
        stored(setup.workspace, RetrievalConfig(text_weight=0.7))
    assert stored(setup.workspace, RetrievalConfig(text_weight=0.7, refuse_below=0.0)) is not None
    assert stored(setup.workspace, RetrievalConfig(where="page <= 3")) is not None  # asks fewer chunks, the same scores
    assert stored(setup.workspace, RetrievalConfig(text_weight=0.7), must_fit=False) is None
    tried = setup.config.model_copy(update={"retrieval": RetrievalConfig(text_weight=0.7)})
    other = Setup(setup.workspace, tried, tries_settings=True)
    assert not build(other).answer(question).abstained
    assert CliRunner().invoke(app, ["calibrate", "--project", str(project), "--forget"]).exit_code == 0
    assert stored(setup.workspace, RetrievalConfig()) is None


def material(count: int) -> Material:
    rng = random.Random(0)
    answered = [bool(n % 2) for n in range(count)]
    rows = [(rng.gauss(0.7 if yes else 0.4, 0.1), *[0.0] * (len(FEATURES) - 1)) for yes in answered]
    return Material(rows, answered, [str(n // 2) for n in range(count)], [str(n) for n in range(count)])


def test_either_rate_can_be_asked_for() -> None:
    made = calibrate(material(200), false_refusals=0.1)
    assert made.chosen.false_refusals == pytest.approx(0.1) and made.chosen.refused > 0.7
    assert calibrate(material(200), refuse=0.5).chosen.refused == pytest.approx(0.5)
    assert calibrate(material(200)).chosen.false_refusals == pytest.approx(0.05)


def test_one_sort_of_question_is_not_enough() -> None:
    with pytest.raises(InputError, match="all questions are answerable, or none is"):
        calibrate(Material([(0.5,) * len(FEATURES)] * 4, [True] * 4, ["a", "b", "c", "d"], []))


def test_too_few_questions_and_two_rates_are_said(project: Path, tmp_path: Path) -> None:
    both = CliRunner().invoke(
        app, ["calibrate", "--project", str(project), "--refuse", "0.8", "--false-refusals", "0.1"]
    )
    assert isinstance(both.exception, ConfigError) and "both" in str(both.exception)
    wrong = CliRunner().invoke(app, ["calibrate", "--project", str(project), "--refuse", "8"])
    assert isinstance(wrong.exception, ConfigError) and "from 0 to 1" in str(wrong.exception)
