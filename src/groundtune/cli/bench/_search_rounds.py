"""What ``bench index`` and ``bench query`` share: who takes part, their processes, and real chunks to work on."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.records import Document, Section

#: name -> what it is, in the order in which they are told
PEERS = {"llama_index": "LlamaIndex + Chroma", "langchain": "LangChain + Chroma"}
#: where `make peers` puts them
PYTHON = Path(".venv/peers/bin/python")
#: texts of a JSONL row, the first that is there
_TEXTS = ("text", "context", "document", "content")


def peers_of(named: str, python: Path | None) -> tuple[list[str], str | None]:
    """The peers asked for, and the Python that has them.

    Raises:
        UnknownNameError: no such peer. ConfigError: there is no environment that has them.
    """
    asked = [name.strip() for name in named.split(",") if name.strip()]
    for name in asked:
        if name not in PEERS:
            raise UnknownNameError("peer", name, PEERS)
    found = python or PYTHON
    if asked and not found.is_file():
        raise ConfigError(
            f"no environment with LlamaIndex and LangChain: {found} is not there",
            expected="the Python of one that has them",
            next_step="make peers, or --peers-python PATH, or --peers '' to run alone",
        )
    return asked, str(found) if asked else None


def run_job(folder: Path, job: dict[str, Any], python: str | None) -> dict[str, Any]:
    """Run a job of ``_search_contestants`` in a process of its own.

    Args:
        folder: for its files; made here.
        job: its contestant, its task and what that needs; ``folder`` is where its store is.
        python: the peers' interpreter; ours needs none.

    Raises:
        InputError: it failed; with the last line of what it said.
    """
    import groundtune
    from groundtune.cli.bench import _search_contestants

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    threads = str(job["threads"])
    variables = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), threads),
        **dict.fromkeys(("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"), "1"),
        "TOKENIZERS_PARALLELISM": "true" if job["threads"] > 1 else "false",
        "LANCE_CPU_THREADS": threads,
        "ANONYMIZED_TELEMETRY": "False",
    }
    variables.pop("PYTHONPATH", None)
    ours = job["contestant"].startswith("ours")
    if ours:
        variables["PYTHONPATH"] = os.pathsep.join([str(Path(groundtune.__file__).parent.parent), *sys.path])
    command = [sys.executable if ours else python or sys.executable, "-P", str(Path(_search_contestants.__file__)), "job.json", "result.json"]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise InputError(
            f"{job['contestant']} failed: {said[-1].strip()}",
            expected="a run to its end",
            next_step="leave it out with --peers, or mend its environment (make peers)",
        )
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def real_chunks(data: Path | None, wanted: int) -> list[dict[str, Any]]:
    """Chunks of real documents as the index cuts them: ``id``, ``document``, ``heading``, ``text``, ``searched``.

    Args:
        data: a JSONL file (also .xz) whose rows have a text, or a folder of text files; default: the example's documents.
        wanted: most chunks.

    Raises:
        InputError: no texts there.
    """
    from groundtune.config import IndexConfig
    from groundtune.retrieval.chunking import chunk_document
    from groundtune.retrieval.embedders import minilm
    from groundtune.retrieval.entries import search_text

    config = IndexConfig()

    def chunks() -> Iterator[dict[str, Any]]:
        for number, (name, text) in enumerate(_documents(data)):
            document = Document(f"d{number}", name, "", "text", name, len(text), "en")
            for chunk in chunk_document(
                document,
                [Section(text)],
                count=minilm.count_tokens,
                chunk_tokens=config.chunk_tokens,
                overlap_tokens=config.overlap_tokens,
            ):
                yield {"id": chunk.id, "document": name, "text": chunk.text, "searched": search_text(chunk)}

    found = list(islice(chunks(), wanted))
    if not found:
        raise InputError(f"{data}: no texts", expected=f"JSONL rows with one of {', '.join(_TEXTS)}, or text files")
    return found


def _documents(data: Path | None) -> Iterator[tuple[str, str]]:
    """(name, text) of every document."""
    from groundtune.cli.demo import EXAMPLE

    source = data or EXAMPLE / "documents"
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix in {".txt", ".md", ".html"}):
            yield path.relative_to(source).as_posix(), path.read_text(encoding="utf-8", errors="replace")
        return
    opened = lzma.open if source.suffix == ".xz" else open
    try:
        with opened(source, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                row = json.loads(line)
                text = next((row[key] for key in _TEXTS if isinstance(row.get(key), str)), "")
                if text.strip():
                    yield f"{source.name.partition('.')[0]}/{number}.txt", text
    except (OSError, ValueError) as error:
        raise InputError(f"{source}: cannot be read: {error}", expected="JSONL, or a folder of text files") from None
