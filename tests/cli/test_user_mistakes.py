"""What users do wrong and what machines do to them: one clear message, exit 2, no traceback, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from groundtune.workspace import Workspace
from sample_project import command, environment, run, run_json

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256))


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder but the lock, with its hash."""
    files = (
        p
        for p in folder.rglob("*")
        if p.is_file() and p.name != "writing.lock" and ".part" not in str(p.relative_to(folder))
    )
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def check_message(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("groundtune: ")
    assert done.stderr.count("groundtune: ") == 1  # one message
    assert len(done.stderr.splitlines()) <= 8
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def mistake(folder: Path, arguments: tuple[str | Path, ...], *words: str, **options: Any) -> None:
    """Run a command that must be refused with these words and leave every file as it is."""
    before = contents(folder)
    check_message(run(*arguments, "--project", folder, **options), *words)
    assert contents(folder) == before


def replace_documents(project: Path, files: dict[str, bytes]) -> Path:
    for path in (project / "documents").iterdir():
        path.unlink()
    for name, content in files.items():
        (project / "documents" / name).write_bytes(content)
    return project


def texts(project: Path) -> str:
    return "\n".join(
        p.read_text(encoding="utf-8") for p in sorted((project / ".groundtune" / "documents").glob("*.jsonl"))
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", ("is empty",)),
        ("blank.txt", b" \n\n\t\n", ("empty but for white space",)),
        ("photo.pdf", JPEG, ("is a JPEG image, not a PDF",)),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj\n<<", ("cut off",)),
        ("rows.csv", b'a,b\n1,2\n3,"4\n', (":3", "end of data")),
        ("program.txt", b"\x7fELF\x02\x01", ("a program",)),
        ("song.mp3", b"ID3", ("no loader for .mp3",)),
    ],
)
def test_a_single_file_that_cannot_be_read(project: Path, name: str, content: bytes, words: tuple[str, ...]) -> None:
    mistake(
        replace_documents(project, {name: content}),
        ("ingest",),
        "no document came in",
        name,
        *words,
        "groundtune list loaders",
    )


def test_unreadable_files_do_not_stop_the_others(project: Path) -> None:
    for name, content in {"empty.txt": b"", "photo.pdf": JPEG}.items():
        (project / "documents" / name).write_bytes(content)
    said = run_json("ingest", "--project", project)
    assert said["documents"] == 4
    assert {s["path"]: s["reason"].split(str(project))[-1] for s in said["skipped"]} == {
        "empty.txt": "/documents/empty.txt is empty",
        "photo.pdf": "/documents/photo.pdf is a JPEG image, not a PDF",
    }


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "cp1252"])
def test_files_in_other_encodings_are_read_right(project: Path, encoding: str) -> None:
    sentence = "Die Öffnungszeiten des Lesesaals stehen über der Tür, außer während der großen Sommerferien."
    replace_documents(
        project,
        {
            "zeiten.txt": (sentence + "\n").encode(encoding),
            "preise.csv": "Gerät;Gebühr\nBücherwagen;fünf Kronen\n".encode(encoding),
        },
    )
    assert run_json("ingest", "--project", project)["documents"] == 2
    assert sentence in texts(project)
    assert "Gerät: Bücherwagen; Gebühr: fünf Kronen" in texts(project)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ask", "When?", "--system", "rga"), ("unknown system 'rga'", "did you mean 'rag'")),
        (("ask", "When?", "--system", "prompt+rag"), ("unknown system 'prompt+rag'", "tuned+rag")),
        (("ask", "When?", "--document", "hour.txt"), ("unknown document 'hour.txt'", "did you mean 'hours.txt'")),
        (("ask", "   "), ("question is empty",)),
        (("ask", "When?", "--model", "./nowhere"), ("model './nowhere'", "--model")),
        (("ask", "When?", "--system", "tuned"), ("no runs/tuned", "groundtune tune")),
        (("ask", "When?", "--system", "scratch"), ("no runs/scratch", "groundtune compare")),
        (("ask", "When?", "--config", "nowhere.yaml"), ("no config file nowhere.yaml",)),
        (("ask",), ("Missing argument", "groundtune --help")),
        (("asq", "When?"), ("No such command 'asq'",)),
        (("ask", "When?", "--sistem", "rag"), ("--sistem",)),
        (("tune", "--method", "lore"), ("unknown tuning method 'lore'", "did you mean 'lora'")),
        (("tune", "--model", "echo:no weights"), ("cannot be fine-tuned here",)),
        (("evaluate", "--system", "bassline"), ("unknown system 'bassline'", "did you mean 'baseline'")),
        (("compare", "--systems", "tuned,tunde"), ("unknown system 'tunde'", "did you mean 'tuned'")),
        (("compare", "--systems", ","), ("no system to compare",)),
        (("compare", "--questions", "0"), ("--questions",)),
        (("compare", "--systems", "baseline", "--report", "."), (". is a folder", "--report report.html")),
        (("compare", "--systems", "baseline", "--report", sys.executable + "/report.html"), ("is a file, not a folder",)),
        (("ingest", "nowhere.txt"), ("no file or folder", "nowhere.txt")),
        (("ingest", "ftp://example.org/"), ("addresses of this kind",)),
        (("ingest", "http://127.0.0.1/"), ("loopback", "--allow-private")),
    ],
)  # fmt: skip
def test_a_wrong_argument(indexed: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    mistake(indexed, arguments, *words)


def test_an_unknown_kind_of_thing() -> None:
    check_message(run("list", "metrc"), "unknown kind 'metrc'", "did you mean 'metrics'")


@pytest.mark.parametrize("name", ["ingest", "index", "tune", "compare"])
def test_a_project_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    check_message(run(name, "--project", tmp_path / "nowhere"), "no folder", "nowhere", "--project")
    assert list(tmp_path.iterdir()) == []


def test_init_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    check_message(run("init", tmp_path / "nowhere"), "no folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("model: [a\nseed: 1\n", ("groundtune.yaml:2", "not YAML")),
        ("documents: [nowhere]\n", ("no file or folder", "nowhere", "documents:")),
        (
            "documents: here\nmodle: x\ntune: {epocs: 3, epochs: 0}\n",
            ("documents:", "did you mean 'model'", "did you mean 'tune.epochs'", "tune.epochs: "),
        ),
        ("- a\n", ("list at the top",)),
    ],
)
def test_a_faulty_config(project: Path, yaml: str, words: tuple[str, ...]) -> None:
    (project / "groundtune.yaml").write_text(yaml, encoding="utf-8")
    mistake(project, ("ingest",), *words)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (None, ("no questions file", "questions.jsonl", "questions:")),
        ("", ("holds no question",)),
        ('{"question": "Why?", "answer": "So."}\n{"question": "Why', ("questions.jsonl:2", "not JSON")),
        (
            '{"question": "Why?", "answer": "So.", "id": 1}\n\n{"question": "When?", "answer": "Now.", "id": 1}',
            ("questions.jsonl:3", "again"),
        ),
        ('{"answer": "So."}', ("questions.jsonl:1", "question")),
        ('{"question": "Why?", "answer": "So.", "split": "train"}', ("every question is in the split 'train'",)),
    ],
)
def test_a_faulty_questions_file(indexed: Path, tmp_path: Path, rows: str | None, words: tuple[str, ...]) -> None:
    if rows is not None:
        (tmp_path / "questions.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "other.yaml").write_text(f"questions: {tmp_path / 'questions.jsonl'}\n", encoding="utf-8")
    mistake(indexed, ("evaluate", "--system", "baseline", "--config", tmp_path / "other.yaml"), *words)


def test_tuning_without_training_questions(project: Path) -> None:
    (project / "questions.jsonl").write_text(
        '{"question": "Why?", "answer": "So.", "split": "held_out_facts"}', encoding="utf-8"
    )
    mistake(project, ("tune",), "no question in the split 'train'")


def test_asking_before_there_is_an_index(project: Path) -> None:
    mistake(project, ("ask", "When do you open?"), "no index", "groundtune index")
    mistake(project, ("ask", "When?", "--document", "hours.txt"), "no documents", "groundtune ingest")
    mistake(project, ("index",), "no documents", "groundtune ingest")


def test_a_model_folder_that_was_copied_half(project: Path) -> None:
    weights = project / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    mistake(project, ("ask", "When?", "--system", "prompt"), "tiny", "cannot be loaded")


def test_a_second_writer_is_told_so(indexed: Path) -> None:
    with Workspace(indexed).writing():
        mistake(indexed, ("index",), "another groundtune is writing", "wait until it ends")
    assert run("index", "--project", indexed).returncode == 0


# --- a disk that is full -------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A disk of 16 MB, or None where this user may not make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    may = os.geteuid() == 0 and "GROUNDTUNE_TEST_NO_MOUNT" not in os.environ
    mounted = (
        may
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def limited(bytes_: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


@pytest.mark.parametrize(
    ("name", "free_bytes", "largest_file"),
    [("ingest", 900_000, 900_000), ("index", 60_000, 20_000), ("tune", 90_000, 90_000), ("tune", 350_000, 180_000)],
)
def test_a_full_disk(made: Path, small_disk: Path | None, name: str, free_bytes: int, largest_file: int) -> None:
    folder, options, filler = made, {}, None
    (made / "documents" / "zz.txt").write_text(
        "".join(f"Sentence {i} of a long text says little.\n\n" for i in range(80_000 if name == "ingest" else 40)),
        encoding="utf-8",
    )
    if name == "index":
        run_json("ingest", "--project", made)
    if small_disk:
        folder = small_disk / "project"
        subprocess.run(["cp", "-r", str(made), str(folder)], check=True)
        filler = small_disk / "filler"
        room = os.statvfs(small_disk)
        filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize - free_bytes))
    else:
        options = {"preexec_fn": limited(largest_file)}
    before = contents(folder)
    done = run(name, "--project", folder, **options)
    check_message(done, "the disk is full" if small_disk else "", "What was finished is kept", "make room")
    assert contents(folder) == before  # what was finished is there as it was
    if filler:
        filler.unlink()
    if (name, free_bytes) in {("ingest", 900_000), ("tune", 350_000)}:  # killed index runs: end_to_end/test_kill.py
        assert run(name, "--project", folder).returncode == 0


# --- stopped by hand -----------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_what_the_next_run_goes_on_from(project: Path) -> None:
    rows = "".join(f"boat {i},{i} crowns,quay {i % 7}\n" for i in range(320))
    (project / "documents" / "boats.csv").write_text("name,price,place\n" + rows, encoding="utf-8")
    run_json("ingest", "--project", project)
    process = subprocess.Popen(
        command("index", "--project", project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        # where the tests themselves run in the background, the shell has told them to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    vectors: list[Path] = []
    while not vectors and process.poll() is None:
        time.sleep(0.01)
        vectors = list((project / ".groundtune").glob("index.part-*/vectors/*.npy"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert err.strip() == "groundtune: stopped. What was finished is kept; the same command goes on from there."
    assert out == ""
    assert {p: p.stat().st_mtime_ns for p in vectors}  # still there
    assert not (project / ".groundtune" / "index").exists()
    assert run_json("index", "--project", project)["chunks"] == 329


# --- sizes ---------------------------------------------------------------------------------------------------------


#: a process' peak counts what its parent held before exec, so the parent that is asked must be a small one
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


def ingest_one_line(folder: Path, megabytes: int) -> tuple[int, dict[str, Any]]:
    """Ingest a file that is one line; the process' largest memory in bytes, and what it said."""
    block = ("one line without an end, word after word, 12 of them; " * 20_000).encode()[:1_000_000]
    with (folder / "line.txt").open("wb") as file:
        for _ in range(megabytes):
            file.write(block)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command("ingest", "line.txt", "--json")],
        cwd=folder,
        capture_output=True,
        env=environment(),
        check=True,
    )
    said, peak_kilobytes = done.stdout.rsplit(b"\n", 1)
    documents = list((folder / ".groundtune" / "documents").glob("*.jsonl"))
    assert sum(p.stat().st_size for p in documents) > 0.98e6 * megabytes  # nothing lost on the way
    for path in [*documents, folder / "line.txt"]:
        path.unlink()
    return int(peak_kilobytes) * 1024, json.loads(said)


@pytest.mark.slow
def test_one_line_of_100_megabytes_comes_in_with_little_memory(tmp_path: Path) -> None:
    peak_bytes, said = ingest_one_line(tmp_path, 100)
    assert (said["documents"], said["bytes"]) == (1, 100_000_000)
    assert peak_bytes < 200_000_000  # Python, the loaders and what cleaning holds; the file adds nothing


@pytest.mark.slow
@pytest.mark.skipif(
    "GROUNDTUNE_PROVE" not in os.environ, reason="writes four gigabytes; set GROUNDTUNE_PROVE=1 to run it"
)
def test_one_line_of_two_gigabytes_comes_in_with_little_memory(tmp_path: Path) -> None:
    peak_bytes, said = ingest_one_line(tmp_path, 2000)
    assert said["documents"] == 1
    assert peak_bytes < 200_000_000
