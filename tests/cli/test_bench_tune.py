"""`groundtune bench tune`: every contestant takes the same steps and ends at the same loss; what is printed is what was measured."""

from __future__ import annotations

import ast
import importlib.util
import json
import xml.etree.ElementTree as ET
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from groundtune.cli.bench import _contestants, _rounds, tune
from groundtune.cli.bench._chats import question_chats
from groundtune.cli.bench._plot import Bar, bars
from groundtune.cli.bench._work import Work
from groundtune.errors import ConfigError, GroundtuneError, InputError, UnknownNameError

app = typer.Typer()
app.command()(tune.tune)

HAS_TRL = all(importlib.util.find_spec(name) for name in ("trl", "datasets"))
TRL = ["trl_defaults", "trl_tuned", "trl_subclass"]
PEERS = [*(TRL if HAS_TRL else []), "transformers"]


def typed(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def failed(*words: object) -> GroundtuneError:
    result = typed(*words)
    assert isinstance(result.exception, GroundtuneError), result.output
    return result.exception


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "chats.jsonl"
    chats = [
        [("user", f"What is number {n}?" + " Tell me." * (n % 5)), ("assistant", f"It is {n * n}." + " Yes." * (n % 3))]
        for n in range(40)
    ]
    rows = [{"messages": [{"role": role, "content": text} for role, text in chat]} for chat in chats]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def found(data: Path, tiny_model_path: Path) -> dict[str, Any]:
    """One round of everybody who can take part here, on a tiny model."""
    shape = ["--rows", 24, "--epochs", 2, "--rows-per-step", 4, "--warm-up-steps", 2, "--rounds", 1, "--threads", 1]
    result = typed(
        "--model", tiny_model_path, "--data", data, "--peers", ",".join(PEERS), *shape,
        "--learning-rate", 0.003, "--svg", data.parent / "out" / "bench.svg", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


@pytest.mark.slow
def test_it_prints_what_design_promises(found: dict[str, Any]) -> None:
    assert list(found) == ["name", "machine", "ours", "peers", "ratios"] and found["name"] == "tune"
    assert list(found["peers"]) == list(found["ratios"]) == PEERS
    assert found["machine"]["cores"]
    work = found["ours"]["workload"]
    assert work["steps"] == 2 * 24 // 4 and work["rows_per_step"] == 4
    assert 0 < work["trained_tokens"] < work["timed_tokens"] < work["tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("peer", [*TRL, "transformers"])
def test_a_peer_ends_where_ours_ends(peer: str, found: dict[str, Any]) -> None:
    if peer not in found["peers"]:
        pytest.skip("trl and datasets are not installed")
    ours, theirs = found["ours"], found["peers"][peer]
    close = 0.01 if peer == "trl_defaults" else 0.001  # bf16
    for name in ("first_loss", "last_loss", "held_out_loss"):
        assert theirs[name] == pytest.approx(ours[name], rel=close)
    assert ours["last_loss"] < ours["first_loss"] - 0.2  # it learns, or equal losses would mean nothing
    assert ours["held_out_loss"] < ours["first_loss"] - 0.2
    assert ("trl" in theirs["versions"]) == peer.startswith("trl")


@pytest.mark.slow
@pytest.mark.parametrize("peer", [*TRL, "transformers"])
def test_ratios_are_ours_by_theirs(peer: str, found: dict[str, Any]) -> None:
    if peer not in found["peers"]:
        pytest.skip("trl and datasets are not installed")
    ours, theirs, ratios = found["ours"], found["peers"][peer], found["ratios"][peer]
    for name in (
        "tokens_per_cpu_second",
        "tokens_per_second",
        "peak_memory_bytes",
        "training_memory_bytes",
        "last_loss",
    ):
        assert ratios[name] == pytest.approx(ours[name] / theirs[name], abs=1e-3)
        assert ours[name] > 0 and theirs[name] > 0
    for figures in (ours, theirs):
        timed = found["ours"]["workload"]["timed_tokens"]
        assert figures["tokens_per_cpu_second"] == pytest.approx(timed / figures["cpu_seconds"], rel=0.05)
        assert figures["training_memory_bytes"] == figures["peak_memory_bytes"] - figures["memory_before_bytes"]
        assert figures["memory_before_bytes"] > 1e8  # torch alone is more


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TRL, reason="trl and datasets are not installed")
def test_trl_is_run_as_it_comes_and_at_its_best(found: dict[str, Any]) -> None:
    defaults, tuned = found["peers"]["trl_defaults"]["options"], found["peers"]["trl_tuned"]["options"]
    assert defaults["bf16"] and defaults["gradient_checkpointing"] and not defaults["padding_free"]
    assert not tuned["bf16"] and not tuned["gradient_checkpointing"] and tuned["padding_free"]
    assert tuned["per_device_train_batch_size"] * tuned["gradient_accumulation_steps"] == 4


@pytest.mark.slow
def test_the_drawing_shows_everybody(found: dict[str, Any], data: Path) -> None:
    drawn = ET.parse(data.parent / "out" / "bench.svg").getroot()
    said = "".join(drawn.itertext())
    for name in ["groundtune", *(tune.PEERS[peer] for peer in PEERS)]:
        assert said.count(name) == 3


def test_bars_are_as_long_as_their_values() -> None:
    svg = bars("a & b", "note", [("speed", [Bar("us", 30.0, "30", ours=True), Bar("<them>", 10.0, "10")])])
    widths = [float(r.get("width", "")) for r in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect") if r.get("height") == "18"]  # fmt: skip
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.01)


# ---------------------------------------------------------------- what everybody is given


def test_chats_are_the_same_every_time_and_like_real_ones() -> None:
    from groundtune.dataset.render import render_example
    from groundtune.nn.checkpoints import open_tokenizer

    chats = list(islice(question_chats(5), 200))
    assert chats == list(islice(question_chats(5), 200)) != list(islice(question_chats(6), 200))
    tokenizer, context = open_tokenizer("pebble")
    rows = [render_example(tokenizer, chat, max_tokens=context, where="chat") for chat in chats]
    tokens = sum(len(row.ids) for row in rows)
    assert 100 < tokens / len(rows) < 130
    assert 0.2 < sum(sum(row.trained) for row in rows) / tokens < 0.3
    assert len({len(row.ids) for row in rows}) > 50


def test_held_out_losses_are_those_of_our_own_objective(data: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    import torch

    from groundtune.dataset.render import TokenRow
    from groundtune.nn.checkpoints import open_model
    from groundtune.training.data import RowBatches
    from groundtune.training.objectives import mean_loss

    rows = [TokenRow(tuple(range(5, 12 + n)), tuple(i > 3 for i in range(7 + n))) for n in range(6)]
    path = tmp_path / "rows.jsonl"
    labels = [[i if t else -100 for i, t in zip(r.ids, r.trained, strict=True)] for r in rows]
    path.write_text(
        "".join(json.dumps({"input_ids": r.ids, "labels": x}) + "\n" for r, x in zip(rows, labels, strict=True))
    )
    found = _contestants.held_out_losses({"rows": str(path), "weights": {"tiny": str(tiny_model_path)}})
    model, _ = open_model(str(tiny_model_path), torch.float32)
    expected = mean_loss(model, RowBatches(rows, batch_tokens=500, epochs=1, seed=0))
    assert found == {"tiny": pytest.approx(expected, rel=1e-5)}


def test_contestants_import_nothing_of_ours_but_for_ours() -> None:
    """Another environment's Python runs the file; groundtune is not installed there."""
    tree = ast.parse(Path(_contestants.__file__).read_text(encoding="utf-8"))
    importing = {
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("groundtune")
    }
    assert importing == {"ours"}
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    assert names | {node.module for node in top if isinstance(node, ast.ImportFrom)} <= {
        "__future__", "json", "sys", "time", "collections.abc", "importlib", "pathlib", "typing",
    }  # fmt: skip


def test_a_contestant_that_skips_steps_is_noticed(tmp_path: Path) -> None:
    work = Work("m", 1, "r", "h", 64, steps=4, rows_per_step=1, warm_up_steps=1, tokens=40, trained_tokens=8,
                timed_tokens=30, threads=1, learning_rate=1e-3, seed=0)  # fmt: skip
    clock = [(n, 2.0 * n) for n in range(6)]
    run = {"clock": clock, "losses": [4.0, 3.0, 2.0, 1.0], "peak_memory_bytes": 9, "memory_before_bytes": 4, "versions": {}, "options": {}}  # fmt: skip
    figures = _rounds.figures([run], work, 1.5)
    assert (figures["tokens_per_cpu_second"], figures["tokens_per_second"]) == (
        7.5,
        3.75,
    )  # 30 tokens, from step 1's end
    assert (figures["first_loss"], figures["last_loss"], figures["training_memory_bytes"]) == (4.0, 1.0, 5)
    with pytest.raises(RuntimeError, match="3 steps were taken, 4 were planned"):
        _rounds.figures([run | {"clock": clock[:-1]}], work, 1.5)


# ---------------------------------------------------------------- what the user can mend


def test_missing_libraries_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = failed("--peers", "trl_tuned")
    assert isinstance(error, ConfigError) and "trl and datasets not installed" in str(error)
    assert "pip install 'groundtune[bench]'" in str(error)


def test_wrong_names_and_numbers(tmp_path: Path, tiny_model_path: Path, data: Path) -> None:
    assert isinstance(failed("--peers", "trl_tunned"), UnknownNameError)
    assert isinstance(failed("--peers", "transformers", "--shape", "21m"), UnknownNameError)
    assert "no such file" in str(failed("--peers", "transformers", "--unsloth-python", tmp_path / "none"))
    few = failed(
        "--peers", "transformers", "--model", tiny_model_path, "--data", data, "--rows", 12, "--rows-per-step", 4
    )
    assert "12 rows are 3 steps, 3 of them for warming up" in str(few)


@pytest.mark.slow
def test_a_contestant_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"transformers failed: .*rows\.jsonl"):
        _rounds._run({"contestant": "transformers", "folder": str(tmp_path / "job"), "rows": str(tmp_path / "rows.jsonl"), "threads": 1, "model": str(tmp_path)})  # fmt: skip
