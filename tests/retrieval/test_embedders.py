"""Embedders: onnxruntime's vectors against transformers', parts of texts, int8, and an endpoint with its faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from groundtune.endpoint import EndpointError
from groundtune.nn.encoder_models import minilm_folder
from groundtune.nn.encoders import encode, hidden_states, open_encoder
from groundtune.nn.onnx import bert
from groundtune.nn.onnx.bert import ahead
from groundtune.retrieval.embedders import minilm, minilm_int8
from groundtune.retrieval.embedding import open_embedder
from groundtune.retrieval.encoding import FolderEmbedder
from groundtune.retrieval.endpoint_embedder import EndpointEmbedder
from groundtune.workspace import Workspace
from sample_project import HOURS, MEMBERSHIP

TEXTS = [HOURS, MEMBERSHIP, "", "a", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.", "x " * 400]


def test_float32_gives_the_vectors_of_transformers() -> None:
    reference = encode(open_encoder(minilm_folder()), TEXTS)
    assert np.abs(minilm.embed(TEXTS) - reference).max() < 1e-5
    assert np.abs(minilm.embed(TEXTS[1:2])[0] - reference[1]).max() < 1e-5  # whatever shares the batch


def test_int8_is_near_and_is_not_the_same() -> None:
    exact, rounded = minilm.embed(TEXTS), minilm_int8.embed(TEXTS)
    assert (exact * rounded).sum(1).min() > 0.95
    assert np.abs(exact - rounded).max() > 1e-3


def test_a_part_is_the_mean_of_its_own_tokens_after_the_whole_was_read() -> None:
    text = "The pool opens at seven. It closes at ten. The porter sleeps."
    first, second = (0, 24), (25, 42)
    whole, (parts,) = minilm.embed_parts([text], [[[first], [second], [first, second], [(500, 600)]]])
    assert np.abs(whole - minilm.embed([text])).max() < 1e-6
    encoder = open_encoder(minilm_folder())
    ((_, states),) = hidden_states(encoder, encoder.ids([text]))
    tokens = encoder.tokenizer.encode(text).tokens
    one, two = tokens.index("."), tokens.index(".", tokens.index(".") + 1)
    expected = np.stack([states[1 : one + 1].mean(0), states[one + 1 : two + 1].mean(0), states[1 : two + 1].mean(0)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(parts[:3] - expected).max() < 1e-5
    assert not parts[3].any()


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(1, 300, 500)]
    found = list(bert.batches(lengths))
    assert sorted(i for batch in found for i in batch) == list(range(500))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= bert.BATCH_TOKENS for b in found)


def test_a_bert_in_bfloat16_is_left_to_transformers(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    settings = {"model_type": "bert", "hidden_act": "gelu"}
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    for kind, ours in ((torch.float32, True), (torch.bfloat16, False)):
        save_file({"w": torch.zeros(2, dtype=kind), "ids": torch.zeros(1)}, tmp_path / "model.safetensors")
        assert bert.can_open(tmp_path) is ours


def test_another_architecture_runs_through_transformers(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    words = {word: n for n, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "open", "closed", "pool"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    settings = RobertaConfig(vocab_size=7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=40)  # fmt: skip
    RobertaModel(settings).save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert not bert.can_open(tmp_path)
    opened = FolderEmbedder("roberta", tmp_path)
    vectors, (parts,) = opened.embed_parts(["pool open"], [[[(0, 9)]]])
    assert vectors.shape == (1, opened.DIMENSIONS) == (1, 16)
    assert np.allclose(vectors, parts, atol=1e-6)


class _Endpoint(BaseHTTPRequestHandler):
    faults: ClassVar[list[int]] = []
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
        status = self.faults.pop(0) if self.faults else 200
        rows = [{"index": n, "embedding": [float(len(t)), 1.0, 0.0]} for n, t in enumerate(body["input"])]
        answer = {"data": rows[::-1]} if status == 200 else {"error": {"message": "later"}}
        if body["model"] == "chatty":
            answer = {"choices": []}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    _Endpoint.faults, _Endpoint.asked = [], []
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_an_endpoint_embeds_in_order_and_after_passing_faults(address: str, tmp_path: Path) -> None:
    waited: list[float] = []
    embedder = EndpointEmbedder(f"openai:small@{address}", sleep=waited.append)
    _Endpoint.faults = [429, 503]
    vectors = embedder.embed(["a", "bbb"])
    assert len(waited) == 2
    assert np.allclose(vectors, [[2**-0.5, 2**-0.5, 0], [3 / 10**0.5, 1 / 10**0.5, 0]], atol=1e-6)
    assert embedder.embed([]).shape == (0, 3)
    assert _Endpoint.asked[0]["path"] == "/v1/embeddings" and _Endpoint.asked[0]["key"] == "Bearer sk-test"
    _Endpoint.asked.clear()
    assert len(embedder.embed(["x"] * 300)) == 300
    assert [len(a["input"]) for a in _Endpoint.asked] == [256, 44]
    assert open_embedder(Workspace(tmp_path), f"openai:small@{address}").DIMENSIONS == 3


def test_an_endpoint_that_gives_no_vectors_is_said_so(address: str) -> None:
    with pytest.raises(EndpointError, match="no vectors for 1 texts"):
        EndpointEmbedder(f"openai:chatty@{address}").embed(["a"])


def test_batches_that_run_ahead_come_in_order_and_their_fault_comes_through() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 30:
            raise ValueError("thirty")
        return number * number

    taken = ahead(work, range(20))
    assert next(taken) == 0
    time.sleep(0.05)
    assert 1 < len(begun) <= 3  # the next ones are under way, and not all of them
    assert list(taken) == [n * n for n in range(1, 20)]
    with pytest.raises(ValueError, match="thirty"):
        list(ahead(work, range(60)))
    assert list(ahead(work, [])) == [] and list(ahead(work, [3])) == [9]
