"""LangChain and LlamaIndex, told of the server by environment variables alone.

They have a virtual environment of their own (``make clients``), whose Python ``GROUNDTUNE_CLIENTS_PYTHON`` may name.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from job_material import chat, lines

from groundtune.serving.vectors import cl100k

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("GROUNDTUNE_CLIENTS_PYTHON", HERE.parent.parent / ".venv" / "clients" / "bin" / "python"))
#: where tiktoken looks for OpenAI's table: the SHA-1 of the address that it would fetch it from
TABLE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no {PYTHON} (make clients makes it)"),
]


def answers_of(script: str, url: str, folder: Path, *arguments: str, **more: str) -> Any:
    """What a client's script prints; ``more`` is for its environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PYTHON", "TIKTOKEN"))}
    environment = {
        **own, "OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": "nobody",
        "LANGSMITH_TRACING": "false", **more,
    }  # fmt: skip
    done = subprocess.run(
        [str(PYTHON), str(HERE / "clients" / script), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_table(folder: Path) -> None:
    """OpenAI's table as tiktoken caches it, out of ours; tiktoken checks it by its SHA-256."""
    content, starts = cl100k._table()
    rows = [base64.b64encode(content[a:b]) + f" {n}\n".encode() for n, (a, b) in enumerate(pairwise(starts))]
    folder.mkdir()
    (folder / TABLE).write_bytes(b"".join(rows))


def test_langchain(base_url: str, client: Any, tmp_path: Path) -> None:
    write_table(tmp_path / "tiktoken")
    found = answers_of("langchain_client.py", base_url, tmp_path, TIKTOKEN_CACHE_DIR=str(tmp_path / "tiktoken"))
    asked = {"role": "user", "content": "When does the library open?"}
    own = (
        client.chat.completions.create(model="gpt-4o-mini", messages=[asked], temperature=0).choices[0].message.content
    )
    assert found["invoke"] == own == "".join(found["stream"]) == found["responses"]
    assert found["batch"] == [own, own] and len(found["stream"]) > 3 and found["usage"] > 1
    tools = found["tools"]
    assert tools["call"]["name"] == "Weather" and tools["call"]["args"]["place"] in ("Bern", "Oslo")
    assert tools["finish_reason"] == "tool_calls" and tools["streamed"] == [tools["call"]] and tools["then"]
    assert set(found["structured"]) == {"json_schema", "function_calling"}
    assert set(found["structured"].values()) <= {"Bern", "Oslo"}
    assert found["embeddings"]["sent_ids"] and found["embeddings"]["dimensions"] == 384
    assert found["embeddings"]["apart"] < 1e-5


def test_llama_index(base_url: str, client: Any, tmp_path: Path) -> None:
    training = tmp_path / "training.jsonl"
    training.write_bytes(lines([chat(n) for n in range(10)]))
    found = answers_of("llama_index_client.py", base_url, tmp_path, str(training))
    assert found["complete"] == found["chat"] == found["stream_chat"] != ""
    assert found["dimensions"] == [384, 384, 384]
    assert found["index"]["source"] == "Dogs travel in Zone Amber." and found["index"]["answer"]
    model = found["finetuned"]["model"]
    assert model.startswith("ft:gpt-4o-mini-2024-07-18:groundtune::")
    asked = [{"role": "user", "content": "How tall is tower 3?"}]
    own = client.chat.completions.create(model=model, messages=asked, temperature=0, max_tokens=20).choices[0].message
    assert found["finetuned"]["answer"] == own.content != found["complete"]
