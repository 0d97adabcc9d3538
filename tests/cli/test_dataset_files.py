"""`groundtune dataset check`, `convert` and `split`, and `groundtune bench dataset`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import sample_project
from groundtune.cli.bench import dataset as bench
from groundtune.cli.dataset import check, convert, split
from groundtune.errors import GroundtuneError

app = typer.Typer()
app.command("check")(check.check)
app.command("convert")(convert.convert)
app.command("split")(split.split)
app.command("bench")(bench.dataset)


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    names = "tea salt harbour winter tax violin garden copper lantern meadow railway chess".split()
    path.write_text("".join(json.dumps(chat(f"What about {n}?", f"{n} it is.")) + "\n" for n in names))
    return path


def typed(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words])
    if isinstance(result.exception, GroundtuneError):
        assert code == result.exception.exit_code, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_check_says_so_and_exits_0(data: Path) -> None:
    text = typed("check", data)
    assert "12 rows, read as openai_chat" in text and "no errors" in text and "tokens with pebble" in text


def test_check_names_defects_and_exits_2(data: Path, tmp_path: Path) -> None:
    with data.open("a") as file:
        file.write("{broken\n" + json.dumps(chat("And {{name}}?", "Yes.")) + "\n")
    text = typed("check", data, "--quarantine", tmp_path / "bad.jsonl", code=2)
    assert f"{data}:13: not JSON" in text and "1 rows put aside" in text
    found = json.loads(typed("check", data, "--json", code=2))
    assert {f["code"]: f["severity"] for f in found["findings"]} == {
        "not_json": "error", "template_placeholder": "warning", "missing_system_message": "note",
    }  # fmt: skip
    assert found["rows"] == 14 and found["tokens"] > 0 and all(f["next"] and f["means"] for f in found["findings"])


def test_strict_counts_warnings(data: Path) -> None:
    with data.open("a") as file:
        file.write(json.dumps(chat("And {{name}}?", "Yes.")) + "\n")
    typed("check", data)
    typed("check", data, "--strict", code=2)


def test_truncation_and_context(data: Path) -> None:
    assert "too_long" in typed("check", data, "--context-tokens", 8, code=2)
    assert "too_long" in typed("check", data, "--context-tokens", 8, "--truncation", "drop")


def test_split_convert_and_check_against(data: Path, tmp_path: Path) -> None:
    assert "held out" in typed("split", data, "--share", 0.25)
    train, held = tmp_path / "data-train.jsonl", tmp_path / "data-held-out.jsonl"
    assert len(train.read_text().splitlines()) == 9 and len(held.read_text().splitlines()) == 3
    typed("check", train, "--against", held, "--no-reworded")
    with train.open("a") as file:
        file.write(held.read_text().splitlines()[0] + "\n")
    assert "leak_exact" in typed("check", train, "--against", held, "--no-reworded", code=2)
    report = json.loads(typed("convert", data, "--to", "alpaca", "--out", tmp_path / "a.csv", "--json"))
    assert report["converted"] == 12 and (tmp_path / "a.csv").read_text().startswith("instruction,input,output")


def test_convert_exits_2_and_keeps_the_rest(data: Path, tmp_path: Path) -> None:
    with data.open("a") as file:
        file.write("{broken\n")
    typed("convert", data, "--to", "alpaca", "--out", tmp_path / "a.jsonl", code=2)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "missing.jsonl"), "no file missing.jsonl"),
        (
            ("check", "."),
            ". is a folder\n  expected: one dataset file: .jsonl, .json, .csv, .tsv, .parquet or .txt\n  next: name a file",
        ),
        (("check", "{data}", "--against", "."), ". is a folder"),
        (("check", "{data}", "--format", "sharegtp"), "did you mean 'sharegpt'"),
        (("check", "{data}", "--map", "question"), "--map: 'question'"),
        (("check", "{data}", "--map", "question=a"), "no column for 'answer'"),
        (("check", "{data}", "--quarantine", "bad.csv"), "ends in .jsonl"),
        (("check", "{data}", "--model", "no/such-model"), "no/such-model"),
        (("convert", "{data}", "--to", "alpaca", "--out", "no/folder/a.jsonl"), "no folder"),
        (("convert", "{data}", "--to", "alpaca", "--out", "a.docx"), "unknown kind of file"),
        (("split", "{data}", "--share", "2"), "between 0 and 1"),
        (("split", "{data}", "--train", "{data}"), "three different files"),
    ],
)
def test_a_mistake_is_one_message(
    words: tuple[str, ...], said: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert said in typed(*[w.format(data=data) for w in words], code=2)


def test_split_replaces_no_file_unasked(data: Path, tmp_path: Path) -> None:
    train, held = tmp_path / "data-train.jsonl", tmp_path / "data-held-out.jsonl"
    typed("split", data)
    rows = train.read_text() + held.read_text()
    train.write_text("mine\n")
    said = typed("split", data, code=2)
    assert f"{train} and {held} are there already" in said
    assert "next: name others with --train and --held-out, or add --force" in said
    other = tmp_path / "other.jsonl"
    said = typed("split", data, "--held-out", other, code=2)
    assert f"{train} is there already" in said and "name another with --train, or add --force" in said
    assert train.read_text() == "mine\n" and not other.exists()
    typed("split", data, "--force")
    assert train.read_text() + held.read_text() == rows


def test_convert_replaces_no_file_unasked(data: Path, tmp_path: Path) -> None:
    out, aside = tmp_path / "new.jsonl", tmp_path / "aside.jsonl"
    words = ("convert", data, "--to", "alpaca", "--out", out)
    out.write_text("mine\n")
    said = typed(*words, code=2)
    assert f"{out} is there already" in said and "name another with --out, or add --force" in said
    aside.write_text("mine too\n")
    assert f"{out} and {aside} are there already" in typed(*words, "--quarantine", aside, code=2)
    out.unlink()
    assert "name another with --quarantine, or add --force" in typed(*words, "--quarantine", aside, code=2)
    assert not out.exists() and aside.read_text() == "mine too\n"
    typed(*words, "--quarantine", aside, "--force")
    assert len(out.read_text().splitlines()) == 12 and aside.read_text() == ""


def test_bench_prints_what_design_promises() -> None:
    found = json.loads(typed("bench", "--rows", 300, "--json"))
    assert set(found) == {"name", "machine", "ours", "peers", "ratios"} and found["name"] == "dataset"
    ours = found["ours"]
    assert ours["rows"] == 300 == ours["train_rows"] + ours["held_out_rows"]
    assert ours["tokens"] > 300 and ours["rows_per_second"] > 0 and ours["peak_memory_bytes"] > 1e6
    assert "error" not in ours["findings"] and found["machine"]["cores"]


def test_generated_chats_are_the_same_every_time(tmp_path: Path) -> None:
    assert list(bench.chats(50)) == list(bench.chats(50))
    assert [m["role"] for m in next(iter(bench.chats(1)))["messages"]][-1] == "assistant"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jsonl", "a-train.jsonl"), ("a.jsonl.gz", "a-train.jsonl.gz"), ("plain", "plain-train.jsonl")],
)
def test_default_names(name: str, expected: str) -> None:
    assert split.named(Path("x") / name, "train") == Path("x") / expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "train.jsonl", "--quarantine", "train.jsonl"),
        ("check", "train.jsonl", "--against", "held.jsonl", "--quarantine", "held.jsonl"),
        ("convert", "train.jsonl", "--to", "alpaca", "--out", "new.jsonl", "--quarantine", "train.jsonl"),
        ("convert", "train.jsonl", "--to", "alpaca", "--out", "new.jsonl", "--quarantine", "new.jsonl"),
        ("convert", "train.jsonl", "--to", "alpaca", "--out", "new.jsonl", "--quarantine", "aside.csv"),
    ],
)
def test_a_quarantine_never_replaces_what_is_read_or_written(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    row = '{"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "9:30"}]}\n'
    for name in ("train.jsonl", "held.jsonl"):
        (tmp_path / name).write_text(row + "{broken\n", encoding="utf-8")
    done = sample_project.run("dataset", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "quarantine" in done.stderr and "Traceback" not in done.stderr
    for name in ("train.jsonl", "held.jsonl"):
        assert (tmp_path / name).read_text(encoding="utf-8") == row + "{broken\n"
