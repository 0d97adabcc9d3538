"""``groundtune export`` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sample_project import run, run_json


@pytest.fixture(scope="module")
def tuned(indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with documents and a finished LoRA run. Not to be written to."""
    folder = tmp_path_factory.mktemp("tuned") / "project"
    shutil.copytree(indexed, folder)
    run_json("tune", "--method", "lora", "--project", folder)
    return folder


def run_name(project: Path) -> str:
    """The finished run's name, which is the method's or ``tuned``."""
    (manifest,) = (project / ".groundtune" / "runs").glob("*/manifest.json")
    return manifest.parent.name


@pytest.mark.parametrize("format", ["merged", "int4"])
def test_a_run_is_exported_and_answers(format: str, tuned: Path, tmp_path: Path) -> None:
    name = run_name(tuned)
    said = run_json("export", "--run", name, "--format", format, "--out", tmp_path / "out", "--project", tuned)
    assert said.keys() >= {
        "folder",
        "base",
        "adapter",
        "format",
        "bytes_before",
        "bytes_after",
        "perplexity",
        "agreement",
    }
    assert (said["format"], said["folder"]) == (format, str(tmp_path / "out"))
    assert said["adapter"].endswith(f"{name}/weights")
    assert said["perplexity"]["text"] == "a sample of the ingested documents"
    assert said["perplexity"]["tokens"] > 100
    assert said["agreement"]["error"] <= said["limit"]
    answered = run_json(
        "ask", "When do you open?", "--system", "prompt", "--model", tmp_path / "out", "--project", tuned
    )
    assert answered["usage"]["completion_tokens"] >= 1


def test_people_read_size_perplexity_and_agreement(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "[t] x.txt").write_text("The reading rooms open at 9:30 on weekdays.", encoding="utf-8")
    done = run(
        "export", "--model", "./tiny", "--format", "int8", "--out", tmp_path / "[o]", "--evaluate",
        tmp_path / "[t] x.txt", "--project", tuned,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path}/[o]: int8, stored as int8"
    assert "size" in lines[1]
    assert "MB ->" in lines[1]
    assert "perplexity" in lines[2]
    assert "[t] x.txt, windows of 512" in lines[2]
    assert "standard deviations off (limit 0.08)" in lines[3]


def test_gguf_says_what_llama_cpp_cuts_otherwise(tuned: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    (tmp_path / "text.txt").write_text("Two  blanks  here, and  there.\n\n\n  And here.", encoding="utf-8")
    done = run(
        "export", "--model", "./tiny", "--format", "gguf", "--out", tmp_path / "out", "--evaluate",
        tmp_path / "text.txt", "--project", tuned, "--json",
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["file"] == "tiny-q8_0.gguf"
    assert f"{said['tokens_cut_otherwise']:.2%} of the tokens" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run", "tuned", "--model", "pebble"], "both given"),
        (["--run", "scratched"], "unknown finished run 'scratched'"),
        (["--model", "echo:x"], "no weights on this machine"),
        (["--model", "./nowhere"], "cannot be loaded"),
        (["--model", "./tiny", "--evaluate", "nowhere.txt"], "cannot be read"),
        (["--model", "./tiny", "--format", "onnx"], "format 'onnx'"),
        (["--model", "./tiny", "--dtype", "int3"], "dtype 'int3'"),
    ],
)
def test_mistakes_get_one_message(arguments: list[str], said: str, tuned: Path, tmp_path: Path) -> None:
    format = [] if "--format" in arguments else ["--format", "merged"]
    done = run("export", *arguments, *format, "--out", tmp_path / "out", "--project", tuned, cwd=tuned)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_name_it_is_what_tune_made_last(tuned: Path, project: Path, tmp_path: Path) -> None:
    done = run("export", "--format", "merged", "--out", tmp_path / "out", "--project", tuned, "--json")
    named = run(
        "export", "--run", "tuned", "--format", "merged", "--out", tmp_path / "named", "--project", tuned, "--json"
    )
    assert done.returncode == named.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "named" / "model.safetensors"
    ).read_bytes()
    nothing = run("export", "--format", "merged", "--out", tmp_path / "none", "--project", project)
    assert nothing.returncode == 2
    assert "nothing to export: no run" in nothing.stderr


def test_without_documents_nothing_is_measured(project: Path, tmp_path: Path) -> None:
    done = run("export", "--model", "./tiny", "--format", "merged", "--out", tmp_path / "out", "--project", project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not measured: name a text with --evaluate" in done.stdout
