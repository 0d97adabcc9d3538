"""The prompting lessons, each run: the exact prompt of each through a model that writes it back, pebble on all of them,
and the ReAct loop against an OpenAI-compatible server, on a project of files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import AnswerConfig, Config, IndexConfig, RetrievalConfig
from groundtune.dataset.examples import write_examples
from groundtune.ingest.ingest import ingest
from groundtune.methods import long_context
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.records import Completion, Example
from groundtune.retrieval.index import build_index
from groundtune.system import as_messages
from groundtune.workspace import Workspace

PAIRS = (
    ("The dog sees the bird.", "Miran telo vak."),
    ("The bird sees the dog.", "Miran vak telo."),
    ("The dog hears the child.", "Suvan piro vak."),
    ("The child hears the bird.", "Suvan telo piro."),
)
SENTENCE = "The child sees the dog."
BOATS = "item,price,deposit\nkayak,17 crowns,80 crowns\ncanoe,31 crowns,60 crowns\n"
RULES = "Rules of the boat house\n\nThe boat house opens at 9:30. It is shut on Friday.\n"


def lesson(folder: Path, template: str = "", **config: Any) -> Setup:
    rows = [Example(str(n), str(n), "train", asked, (said,)) for n, (asked, said) in enumerate(PAIRS)]
    write_examples(folder / "questions.jsonl", rows)
    if template:
        (folder / "prompts").mkdir()
        (folder / "prompts" / "closed_book.txt").write_text(f"[user]\n{template}\n", encoding="utf-8")
    return Setup(Workspace(folder), Config(**{"model": "echo:{prompt}", **config}))


@pytest.fixture(scope="module")
def boat_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boat-house")
    (folder / "documents").mkdir()
    (folder / "documents" / "boats.csv").write_text(BOATS, encoding="utf-8")
    (folder / "documents" / "rules.txt").write_text(RULES, encoding="utf-8")
    workspace = Workspace(folder)
    ingest(workspace, ("documents",), config=Config())
    build_index(workspace, IndexConfig())
    return folder


def test_an_invented_language_from_four_sentence_pairs(tmp_path: Path) -> None:
    setup = lesson(tmp_path, "English: '{x}' | Miranese: {y}", answer=AnswerConfig(shots=4))
    turns = build_system("few_shot", setup).answer(as_messages(SENTENCE)).text.split("\n")
    pairs = list(zip(turns[1::4], turns[3::4], strict=False))
    assert sorted(pairs) == sorted((f"English: '{a}' | Miranese:", b) for a, b in PAIRS)
    assert turns[-2:] == ["[user]", f"English: '{SENTENCE}' | Miranese:"] and len(turns) == 18
    nearest = build_system("few_shot_nearest", setup).answer(as_messages(PAIRS[2][0])).text.split("\n")
    assert nearest[-5] == f"English: '{PAIRS[2][0]}' | Miranese:"  # the pair that is nearest stands last
    zero = build_system("prompt", setup).answer(as_messages(SENTENCE)).text
    assert zero == f"[user]\nEnglish: '{SENTENCE}' | Miranese:"


def test_every_lesson_runs_with_the_bundled_model(tmp_path: Path, boat_house: Path) -> None:
    closed = lesson(tmp_path, model="pebble", answer=AnswerConfig(shots=4, samples=2, reasoning_tokens=24))
    for name in (
        "prompt",
        "few_shot",
        "few_shot_nearest",
        "chain_of_thought",
        "self_consistency",
        "directional_stimulus",
    ):
        assert isinstance(build_system(name, closed).answer(as_messages(SENTENCE)), Completion)
    small = Config(answer=AnswerConfig(samples=2, reasoning_tokens=24, steps=2))
    setup = Setup(Workspace(boat_house), small, _backends=closed._backends)
    for name in ("react", "demonstrate_search_predict", "directional_stimulus+rag", "self_consistency+rag", "hyde"):
        completion = build_system(name, setup).answer(as_messages("When does the boat house open?"))
        assert completion.retrieved and (completion.abstained or completion.sources), name


def test_long_context_reads_everything_where_it_fits_and_says_so_where_not(boat_house: Path) -> None:
    setup = Setup(Workspace(boat_house), Config(model="echo:{prompt}"))
    system = build_system("long_context", setup)
    told = system.answer(as_messages("When is it shut?"))
    assert "# boats.csv\nitem: kayak; price: 17 crowns; deposit: 80 crowns\nitem: canoe" in told.text
    assert "# rules.txt\n" in told.text and told.text.count("When is it shut?") == 2
    assert "all 2 documents in the prompt: " in system.description and "tokens a question" in system.description
    some = Config(model="echo:{prompt}", retrieval=RetrievalConfig(where="document like 'rules%' or row = 1"))
    told = build_system("long_context", Setup(Workspace(boat_house), some)).answer(as_messages("When is it shut?"))
    assert "kayak" in told.text and "# rules.txt\n" in told.text and "canoe" not in told.text
    friday = Setup(Workspace(boat_house), Config(model="echo:Friday"))
    source = build_system("long_context", friday).answer(as_messages("When is it shut?")).sources[0]
    assert (source.document, source.quote) == ("rules.txt", "It is shut on Friday.")
    friday.backend().context_tokens = 40  # type: ignore[misc]
    refused = build_system("long_context", friday).answer(as_messages("When is it shut?"))
    assert refused.abstained and refused.text.startswith("The documents do not fit: with the question they are ")
    assert "echo:Friday reads 16" in refused.text and not refused.sources
    one = Setup(Workspace(boat_house), Config(model="echo:{prompt}"), document="rules.txt")
    one.passage_filter = lambda chunks: chunks[:0]
    guarded = long_context.build(one).answer(as_messages("When?")).text
    assert "kayak" not in guarded and "Friday" not in guarded


class Server:
    """An OpenAI-compatible server that follows a script, and keeps what it was sent."""

    def __init__(self, script: list[str]) -> None:
        self.sent: list[Any] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                text = script[min(len(server.sent), len(script)) - 1]
                self._say(
                    {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
                )

            def do_GET(self) -> None:
                self._say({"data": [{"id": "agent", "max_model_len": 4096}]})

            def _say(self, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL", "OPENAI_CONTEXT_TOKENS"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Server(
        [
            "Thought: Prices first.\nAction: lookup[item=kayak]",
            "I will just think aloud.",
            "Thought: The other.\nAction: lookup[item=canoe]\nObservation: 99",
            "Action: calculate[17 + 31]",
            "Action: search[when is the boat house shut]",
            "Action: finish[48 crowns, not on Friday]",
        ]
    )
    yield served
    served.http.shutdown()
    served.http.server_close()


def test_react_against_an_openai_compatible_server(agent: Server, boat_house: Path) -> None:
    model = f"openai:agent@http://127.0.0.1:{agent.http.server_port}/v1"
    setup = Setup(Workspace(boat_house), Config(model=model))
    question = "What do a kayak and a canoe cost together, and when can I not have them?"
    completion = build_system("react", setup).answer(as_messages(question))
    assert completion.text == "48 crowns, not on Friday"
    assert completion.sources and {s.document for s in completion.retrieved} == {"boats.csv", "rules.txt"}
    assert completion.usage.prompt_tokens == 30 and len(agent.sent) == 6
    last = [(m["role"], m["content"]) for m in agent.sent[-1]["messages"]]
    assert last[1] == ("user", f"Question: {question}")
    assert last[3] == ("user", "Observation: [1] boats.csv\nitem: kayak; price: 17 crowns; deposit: 80 crowns")
    assert last[5][1].startswith("Observation: No action was understood.")
    assert last[6] == ("assistant", "Thought: The other.\nAction: lookup[item=canoe]")
    assert last[9] == ("user", "Observation: 48") and "It is shut on Friday." in last[11][1]
    assert agent.sent[0]["temperature"] == 0
