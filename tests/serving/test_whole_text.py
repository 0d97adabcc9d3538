"""Half characters reach nothing: neither a model nor the database nor whoever lists what is in it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

BODIES = {
    "chat/completions": '{"model": "pebble", "messages": [{"role": "user", "content": "a%s"}]}',
    "completions": '{"model": "pebble", "prompt": "%s"}',
    "responses": '{"model": "pebble", "input": "a", "instructions": "%s"}',
    "embeddings": '{"model": "minilm", "input": "%s"}',
    "vector_stores": '{"name": "%s"}',
    "uploads": '{"filename": "%s", "purpose": "batch", "bytes": 1, "mime_type": "a"}',
    "fine_tuning/jobs": '{"model": "pebble", "training_file": "%s"}',
}
HALVES = {"escaped": rb"\ud83d", "other half": rb"\uDC00", "raw": b"\xed\xa0\xbd"}


@pytest.mark.parametrize("path", BODIES)
def test_half_a_character_is_refused(path: str, base_url: str) -> None:
    for half in HALVES.values():
        told = _post(f"{base_url}/{path}", BODIES[path].encode().replace(b"%s", half))
        assert (told.status_code, told.json()["error"]["code"]) == (400, "invalid_json")
    wide = (BODIES[path] % "x").encode("utf-16-le").replace(b"x\0", b"\x3d\xd8")
    assert _post(f"{base_url}/{path}", wide).status_code == 400


def test_whole_characters_pass(client: Any, base_url: str) -> None:
    made = _post(f"{base_url}/vector_stores", rb'{"name": "\ud83d\ude00 \\ud83d \ud7ff"}')
    assert (made.status_code, made.json()["name"]) == (200, "\U0001f600 \\ud83d \ud7ff")
    assert [store.name for store in client.vector_stores.list()] == ["\U0001f600 \\ud83d \ud7ff"]


def _post(url: str, body: bytes) -> httpx.Response:
    return httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=60)
