"""Files and uploads through the official client: what comes back, what is refused, what a kill leaves."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from groundtune.config import Config, ServeConfig
from groundtune.methods._setup import Setup
from groundtune.serving.app import create_app
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace

CONTENT = b'{"messages": []}\n' * 100


def upload(client: Any, name: str = "train.jsonl", **more: Any) -> Any:
    return client.files.create(file=(name, CONTENT), purpose="fine-tune", **more)


def test_a_file_comes_back_as_it_went(client: Any) -> None:
    file = upload(client)
    assert (file.bytes, file.filename, file.purpose, file.status, file.object) == (
        len(CONTENT), "train.jsonl", "fine-tune", "processed", "file",
    )  # fmt: skip
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == CONTENT
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as caught:
        client.files.retrieve(file.id)
    assert caught.value.body == {
        "message": f"No such File object: {file.id}", "type": "invalid_request_error", "param": "id", "code": None,
    }  # fmt: skip
    assert caught.value.request_id.startswith("req_")


def test_lists_page_in_both_orders_and_by_purpose(client: Any) -> None:
    made = [upload(client, f"{n}.jsonl").id for n in range(5)]
    other = client.files.create(file=io.BytesIO(b"x"), purpose="assistants").id
    assert [f.id for f in client.files.list(limit=2)] == [other, *made[::-1]]
    assert [f.id for f in client.files.list(limit=2, order="asc", purpose="fine-tune")] == made
    assert client.files.list(purpose="vision").data == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\a", "/abs", "a\x00b", "ü" * 300, "con.jsonl", ""])
def test_a_file_name_is_never_a_path(name: str, client: Any, serving: Serving) -> None:
    before = {p for p in serving.folder.parent.rglob("*") if p.parent != serving.files.folder}
    file = upload(client, name or "x")
    assert client.files.content(file.id).read() == CONTENT
    assert [p.name for p in serving.files.folder.iterdir()] == [file.id]
    assert {p for p in serving.folder.parent.rglob("*") if p.parent != serving.files.folder} == before


def test_what_is_wrong_is_named(client: Any) -> None:
    for form, param in (
        ({"purpose": "homework"}, "purpose"),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "5"},
            "expires_after.seconds",
        ),
        ({"purpose": "batch", "expires_after[anchor]": "now", "expires_after[seconds]": "5000"}, "expires_after"),
        ({"purpose": "batch", "colour": "red"}, "colour"),
        ({}, "purpose"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.post(
                "/files",
                body=form,
                files={"file": ("a", b"x")},
                cast_to=object,
                options={"headers": {"Content-Type": "multipart/form-data"}},
            )
        assert caught.value.param == param
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(
            "/files",
            body={"purpose": "batch"},
            files={"other": ("a", b"x")},
            cast_to=object,
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
    assert caught.value.param in {"file", "other"}


def test_a_file_expires(client: Any, serving: Serving) -> None:
    file = upload(client, expires_after={"anchor": "created_at", "seconds": 3600})
    assert file.expires_at == file.created_at + 3600
    serving.store.change("file", file.id, lambda body: {"expires_at": int(time.time()) - 1})
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    serving.files.tidy()
    assert list(serving.files.folder.iterdir()) == []


def test_what_a_kill_left_half_is_gone_at_the_next_start(client: Any, serving: Serving) -> None:
    file = upload(client)
    (serving.files.folder / "file-half.part").write_bytes(b"half")
    (serving.files.folder / "file-unknown").write_bytes(b"written, not known")
    create_app(Serving.open(serving.setup))
    assert len(list(serving.files.folder.iterdir())) == 3  # another server may be taking them in
    for name in ("file-half.part", "file-unknown"):
        os.utime(serving.files.folder / name, (time.time() - 3700,) * 2)
    create_app(Serving.open(serving.setup))
    assert [p.name for p in serving.files.folder.iterdir()] == [file.id]
    assert serving.files.path(file.id).read_bytes() == CONTENT


def test_bodies_over_the_limit_are_refused(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    config = Config(serve=ServeConfig(body_megabytes=1, upload_megabytes=2))
    small = Serving.open(Setup(Workspace(tmp_path), config))
    client = TestClient(create_app(small), "http://localhost", raise_server_exceptions=False)
    answer = client.post("/v1/files", files={"file": ("a", b"x" * (2 << 20))}, data={"purpose": "batch"})
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"
    streamed = client.post(
        "/v1/uploads", content=iter([b" " * 600_000] * 2), headers={"content-type": "application/json"}
    )
    assert streamed.status_code == 413, streamed.text
    assert not list(small.files.folder.iterdir())


def test_unknown_urls_and_methods(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.get("/assistants", cast_to=object)
    assert caught.value.code == "unknown_url"


# ---------------------------------------------------------------- uploads


def test_an_upload_in_parts_is_one_file(client: Any) -> None:
    pieces = [b"first ", b"second ", b"third"]
    whole = b"".join(pieces)
    opened = client.uploads.create(filename="big.txt", purpose="assistants", bytes=len(whole), mime_type="text/plain")
    parts = [client.uploads.parts.create(opened.id, data=piece).id for piece in reversed(pieces)][::-1]
    done = client.uploads.complete(opened.id, part_ids=parts, md5=hashlib.md5(whole).hexdigest())
    assert done.status == "completed" and done.file is not None
    assert client.files.content(done.file.id).read() == whole
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.uploads.complete(opened.id, part_ids=parts)


def test_an_upload_that_is_not_what_was_said(client: Any, serving: Serving) -> None:
    opened = client.uploads.create(filename="a", purpose="batch", bytes=5, mime_type="text/plain")
    part = client.uploads.parts.create(opened.id, data=b"four").id
    with pytest.raises(openai.BadRequestError, match="4 bytes"):
        client.uploads.complete(opened.id, part_ids=[part])
    with pytest.raises(openai.NotFoundError):
        client.uploads.complete(opened.id, part_ids=["part_none"])
    more = client.uploads.parts.create(opened.id, data=b"!").id
    with pytest.raises(openai.BadRequestError, match="md5"):
        client.uploads.complete(opened.id, part_ids=[part, more], md5="0" * 32)
    assert client.uploads.cancel(opened.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        client.uploads.parts.create(opened.id, data=b"late")
    assert not list((serving.folder / "uploads").iterdir()) and not list(serving.files.folder.iterdir())


def test_parts_of_an_upload_that_nobody_completed_go(client: Any, serving: Serving) -> None:
    left, open_ = (client.uploads.create(filename="a", bytes=2, mime_type="a/b", purpose="batch") for _ in range(2))
    for one in (left, open_):
        client.uploads.parts.create(one.id, data=b"{}")
    serving.store.change("upload", left.id, lambda _: {"expires_at": int(time.time()) - 1})
    create_app(Serving.open(serving.setup))
    assert [path.name for path in (serving.folder / "uploads").iterdir()] == [open_.id]
    with pytest.raises(openai.BadRequestError, match="expired"):
        client.uploads.complete(left.id, part_ids=[])
