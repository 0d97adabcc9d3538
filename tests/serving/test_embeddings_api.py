"""Embeddings through the official client: values, windows of long texts, token ids, formats, what is refused."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import openai
import pytest
from fastapi import FastAPI, Request

from groundtune.config import AliasConfig, Config, ServeConfig
from groundtune.methods._setup import Setup
from groundtune.retrieval.embedders import minilm
from groundtune.serving.app import create_app
from groundtune.serving.callers import usage
from groundtune.serving.callers.keys import Limits, NewKey, make_keys
from groundtune.serving.state import Serving
from groundtune.serving.vectors import cl100k, encoding
from groundtune.workspace import Workspace
from live_server import live

MODEL = "text-embedding-3-small"
TEXTS = ["The ferry to Ostwick leaves at nine.", "Der Käse ist 🧀 alt.", "x"]


def vectors(answer: Any) -> Any:
    return np.asarray([row.embedding for row in answer.data], dtype=np.float32)


def test_values_are_the_encoders(client: Any) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    assert (answer.object, answer.model, [row.index for row in answer.data]) == ("list", MODEL, [0, 1, 2])
    assert np.allclose(vectors(answer), minilm.embed(TEXTS), atol=1e-6)
    tokens = sum(map(minilm.count_tokens, TEXTS))
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)
    one = client.embeddings.create(model="minilm", input=TEXTS[0])
    assert np.allclose(vectors(one)[0], vectors(answer)[0], atol=1e-6)


def test_both_formats_hold_the_same_bits(client: Any) -> None:
    raw = client.embeddings.with_raw_response
    floats = raw.create(model=MODEL, input=TEXTS, encoding_format="float").http_response.json()
    coded = raw.create(model=MODEL, input=TEXTS, encoding_format="base64").http_response.json()
    for a, b in zip(floats["data"], coded["data"], strict=True):
        assert np.array_equal(np.asarray(a["embedding"], "<f4"), np.frombuffer(base64.b64decode(b["embedding"]), "<f4"))


def test_fewer_dimensions_are_the_first_ones_at_length_one(client: Any) -> None:
    whole = vectors(client.embeddings.create(model=MODEL, input=TEXTS))
    cut = vectors(client.embeddings.create(model=MODEL, input=TEXTS, dimensions=64))
    assert cut.shape == (3, 64)
    assert np.allclose(cut, whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(openai.BadRequestError, match="384 at most") as caught:
        client.embeddings.create(model=MODEL, input="x", dimensions=385)
    assert caught.value.param == "dimensions"


def test_token_ids_are_the_text_they_stand_for(client: Any) -> None:
    # ids by tiktoken 0.14.0, cl100k_base; the cheese is three tokens, none of them UTF-8 alone
    hello, cafe = [15339, 1917], [53050, 11410, 100, 222]
    assert cl100k.decode(hello) == "hello world" and cl100k.decode(cafe) == " café 🧀"
    answer = client.embeddings.create(model="text-embedding-ada-002", input=[hello, cafe])
    assert np.allclose(vectors(answer), minilm.embed(["hello world", cl100k.decode(cafe)]), atol=1e-6)
    assert answer.usage.prompt_tokens == 6
    assert np.allclose(vectors(client.embeddings.create(model=MODEL, input=hello))[0], vectors(answer)[0], atol=1e-6)
    for wrong in ([100_256], [5, 100_276], [-1]):
        with pytest.raises(openai.BadRequestError, match=f"{wrong[-1]} is no token id"):
            client.embeddings.create(model=MODEL, input=wrong)


def test_the_table_is_whole() -> None:
    text, starts = cl100k._table()
    assert len(starts) == cl100k.SIZE + 1 and starts[-1] == len(text)
    singles = {text[a:b] for a, b in pairwise(starts) if b - a == 1}
    assert len(singles) == 256  # every byte can be said
    assert cl100k.decode(range(cl100k.SIZE)).encode("utf-8", "replace")


def test_a_long_text_counts_to_its_end(client: Any) -> None:
    front, back = "The harbour was busy. " * 60, "Cats sleep all day in the sun. " * 60
    answer = client.embeddings.create(model=MODEL, input=[front + back, front, back])
    long, first, second = vectors(answer)
    assert np.linalg.norm(long) == pytest.approx(1, abs=1e-5)
    assert float(long @ second) > 0.6 > float(first @ second)  # cut at 256 pieces it would be the harbour alone
    parts = encoding.windows(front + back, minilm)  # type: ignore[arg-type]
    assert "".join(text for text, _ in parts) == front + back
    assert all(minilm.count_tokens(text) == size <= 254 for text, size in parts) and len(parts) > 2
    weights = np.asarray([size for _, size in parts], dtype=np.float32)
    mean = (minilm.embed([text for text, _ in parts]) * weights[:, None]).sum(0)
    assert np.allclose(long, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize(
    "text", ["漢" * 3000, "a" * 5000, "-" * 3000, "😀 " * 900], ids=["chinese", "a", "dashes", "faces"]
)
def test_a_text_without_words_is_cut_between_characters(text: str) -> None:
    parts = encoding.windows(text, minilm)  # type: ignore[arg-type]
    assert "".join(part for part, _ in parts) == text
    assert max(size for _, size in parts) <= 254


def test_the_longest_and_the_longer(client: Any) -> None:
    assert client.embeddings.create(model=MODEL, input=[15339] * 8192).usage.prompt_tokens == 8192
    said = "maximum context length is 8192 tokens, however you requested 10001 tokens"
    for long in ([15339] * 10_001, "AGI " * 10_001):
        with pytest.raises(openai.BadRequestError, match="maximum context length") as caught:
            client.embeddings.create(model=MODEL, input=long)
        assert (said in str(caught.value)) == isinstance(long, list)
        assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="300000 tokens"):
        client.embeddings.create(model=MODEL, input=[[15339] * 8000] * 38)


def test_what_is_wrong_is_named(client: Any) -> None:
    wrong: list[tuple[dict[str, Any], str | None]] = [
        ({"input": ""}, "input"), ({"input": []}, "input"), ({"input": ["a", ""]}, "input"), ({"input": [[]]}, "input"),
        ({"input": [["a"]]}, "input"), ({"input": ["a", [1]]}, "input"), ({"input": [True]}, "input"), ({"input": 5}, "input"),
        ({"input": ["a"] * 2049}, "input"), ({"input": {"text": "a"}}, "input"), ({"input": [1.5]}, "input"), ({}, "input"),
        ({"input": None}, "input"), ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"), ({"input": "a", "dimensions": "5"}, "dimensions"),
        ({"input": "a", "colour": "red"}, "colour"),
    ]  # fmt: skip
    for body, param in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            client.post("/embeddings", body={"model": MODEL, **body}, cast_to=object)
        assert caught.value.param == param, body
    answer = client._client.post(
        f"{client.base_url}embeddings", content=b'{"model": "minilm", "input": "\\ud800"}', headers={"content-type": "application/json"}
    )  # fmt: skip
    assert answer.status_code == 400 and "surrogate" in answer.json()["error"]["message"]
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="nobody", input="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="no embedder"):
        client.embeddings.create(model="gpt-4o", input="a")


def test_an_alias_of_another_endpoint_is_not_answered_by_our_encoder(tmp_path: Path) -> None:
    """It goes there, and what comes back is that endpoint's; who may not is refused before."""
    seen: list[tuple[str, dict[str, Any]]] = []
    there = FastAPI()

    @there.post("/v1/{path:path}")
    async def answer(path: str, request: Request) -> dict[str, Any]:
        seen.append((path, await request.json()))
        row = {"object": "embedding", "index": 0, "embedding": [1.0, 2.0]}
        return {"object": "list", "model": "bge-large", "data": [row], "usage": {"prompt_tokens": 5, "total_tokens": 5}}

    with live(there) as far:
        alias = AliasConfig(model="bge-large", base_url=f"{far}/v1")
        serving = Serving.open(Setup(Workspace(tmp_path), Config(serve=ServeConfig(aliases={"far": alias}))))
        ((_, key), (_, other)) = make_keys(serving.store, [NewKey("a"), NewKey("b", limits=Limits(models=("minilm",)))])
        with live(app := create_app(serving)) as url:
            for path in ("embeddings", "moderations"):
                body = {"model": "far", "input": ["x"], "dimensions": 9999}
                told = httpx.post(f"{url}/v1/{path}", json=body, headers={"Authorization": f"Bearer {key}"})
                assert (told.status_code, told.json()["model"], told.json()["data"][0]["embedding"]) == (
                    200,
                    "far",
                    [1.0, 2.0],
                )
                assert seen.pop() == (path, {**body, "model": "bge-large"})
                told = httpx.post(f"{url}/v1/{path}", json=body, headers={"Authorization": f"Bearer {other}"})
                assert (told.status_code, told.json()["error"]["code"], seen) == (403, "model_not_allowed", [])
            while app.state.access.in_flight:
                time.sleep(0.01)
    (row,) = usage.rows(serving.store)
    assert (row["model"], row["requests"], row["prompt_tokens"], row["completion_tokens"]) == ("far", 2, 10, 0)


def test_embeddings_and_moderations_are_counted(client: Any, serving: Serving) -> None:
    tokens = client.embeddings.create(model=MODEL, input=TEXTS).usage.prompt_tokens
    client.moderations.create(input="a nice day")
    rows = {row["model"]: (row["requests"], row["prompt_tokens"]) for row in usage.rows(serving.store)}
    assert rows == {MODEL: (1, tokens), "omni-moderation-latest": (1, 0)}


def test_one_who_goes_away_is_not_worked_for(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slices: list[int] = []

    def slowly(texts: list[str]) -> Any:
        slices.append(len(texts))
        time.sleep(0.1)
        return np.ones((len(texts), minilm.DIMENSIONS), dtype=np.float32)

    monkeypatch.setattr(minilm, "embed", slowly)
    monkeypatch.setattr(encoding, "SLICE", 1)
    address = urlsplit(base_url)
    line = HTTPConnection(address.hostname or "", address.port)
    body = json.dumps({"model": MODEL, "input": ["x"] * 100})
    line.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
    while not slices:
        time.sleep(0.01)
    line.close()
    time.sleep(0.5)
    so_far = len(slices)
    time.sleep(0.5)
    assert len(slices) == so_far < 20


def test_many_at_once_get_their_own(client: Any, tmp_path: Path) -> None:
    texts = [[f"{name} {n}" for n in range(40)] for name in ("apples", "boats", "candles", "drums")]
    found: dict[int, Any] = {}

    def ask(n: int) -> None:
        found[n] = vectors(client.embeddings.create(model=MODEL, input=texts[n]))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for n, own in enumerate(texts):
        assert np.allclose(found[n], minilm.embed(own), atol=1e-5)
