"""Batches through the official client: from the file to the answers, faults by line, cancelling, going on after a kill."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from groundtune.serving.batches import BATCH, check_file
from groundtune.serving.state import Serving


def line(n: int, **body: Any) -> dict[str, Any]:
    chat = {
        "model": "pebble",
        "messages": [{"role": "user", "content": f"Number {n}?"}],
        "max_tokens": 3,
        "temperature": 0,
    }
    return {"custom_id": f"ask-{n}", "method": "POST", "url": "/v1/chat/completions", "body": {**chat, **body}}


def upload(client: Any, rows: list[Any], purpose: str = "batch") -> str:
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows)
    return str(client.files.create(file=("in.jsonl", text.encode()), purpose=purpose).id)


def create(client: Any, rows: list[Any], **more: Any) -> Any:
    return client.batches.create(
        input_file_id=upload(client, rows), endpoint="/v1/chat/completions", completion_window="24h", **more
    )


def ended(client: Any, id: str) -> Any:
    deadline = time.monotonic() + 60
    while (found := client.batches.retrieve(id)).status not in ("completed", "failed", "cancelled", "expired"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def lines_of(client: Any, file_id: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in client.files.content(file_id).text.splitlines()]


def test_from_the_file_to_the_answers(client: Any) -> None:
    made = create(client, [*(line(n) for n in range(9)), line(9, temperature=7)], metadata={"a": "b"})
    assert made.status == "validating" and made.metadata == {"a": "b"}
    done = ended(client, made.id)
    assert done.status == "completed" and done.completed_at >= done.in_progress_at
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (10, 9, 1)
    rows = lines_of(client, done.output_file_id)
    assert sorted(r["custom_id"] for r in rows) == [f"ask-{n}" for n in range(9)]
    alone = client.chat.completions.create(**line(4)["body"]).choices[0].message.content
    own = next(r for r in rows if r["custom_id"] == "ask-4")
    assert own["response"]["status_code"] == 200 and own["error"] is None
    assert own["response"]["body"]["choices"][0]["message"]["content"] == alone
    (wrong,) = lines_of(client, done.error_file_id)
    assert wrong["custom_id"] == "ask-9" and wrong["response"]["status_code"] == 400
    assert client.files.retrieve(done.output_file_id).purpose == "batch_output"
    assert [b.id for b in client.batches.list()] == [made.id]
    with pytest.raises(openai.BadRequestError, match="completed"):
        client.batches.cancel(made.id)


def test_faults_of_the_file_name_their_line(client: Any) -> None:
    twice, other = line(1), {**line(3), "url": "/v1/embeddings"}
    done = ended(
        client,
        create(client, [line(1), "no json", twice, other, line(4, stream=True), {**line(5), "method": "GET"}]).id,
    )
    assert done.status == "failed" and done.output_file_id is None
    assert [(e.line, e.code) for e in done.errors.data] == [
        (2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "mismatched_url"), (5, "invalid_request"), (6, "invalid_method"),
    ]  # fmt: skip
    assert ended(client, create(client, []).id).errors.data[0].code == "empty_file"


def test_what_cannot_be_a_batch_is_refused(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        client.batches.create(input_file_id=upload(client, [line(1)]), endpoint="/v1/files", completion_window="24h")  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(input_file_id=upload(client, [line(1)], "assistants"), endpoint="/v1/embeddings", completion_window="24h")  # fmt: skip
    for call in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call("batch_none")


def test_a_batch_is_cancelled(client: Any) -> None:
    made = create(client, [line(n, max_tokens=300, logit_bias={"0": -100}) for n in range(60)])
    while client.batches.retrieve(made.id).request_counts.completed < 2:
        time.sleep(0.02)
    assert client.batches.cancel(made.id).status in ("cancelling", "cancelled")
    done = ended(client, made.id)
    assert done.status == "cancelled" and 2 <= done.request_counts.completed < 60
    assert len(lines_of(client, done.output_file_id)) == done.request_counts.completed


def test_a_server_that_died_goes_on_behind_the_last_whole_line(client: Any, serving: Serving) -> None:
    """The batch as a kill leaves it: some lines answered, one written half."""
    file = upload(client, [line(n) for n in range(5)])
    body = client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
    ended(client, body.id)
    kept = {"id": "batch_req_x", "custom_id": "ask-1", "response": {"status_code": 200, "body": "kept"}, "error": None}
    folder = serving.folder / "batches" / "batch_killed"
    folder.mkdir(parents=True)
    (folder / "output.jsonl").write_bytes(json.dumps(kept).encode() + b'\n{"custom_id": "ask-2", "resp')
    stored = serving.store.get(BATCH, body.id)
    assert stored is not None
    fresh = {
        "status": "in_progress",
        "output_file_id": None,
        "request_counts": {"total": 5, "completed": 1, "failed": 0},
    }
    serving.store.add(BATCH, {**stored, **fresh, "id": "batch_killed"}, id="batch_killed", state="in_progress")
    done = ended(client, "batch_killed")
    rows = {r["custom_id"]: r for r in lines_of(client, done.output_file_id)}
    assert done.request_counts.completed == 5 and sorted(rows) == [f"ask-{n}" for n in range(5)]
    assert (
        rows["ask-1"]["response"]["body"] == "kept" and rows["ask-2"]["response"]["body"]["object"] == "chat.completion"
    )
    assert not folder.exists()


def test_a_key_that_was_revoked_gets_no_more_answers(client: Any, serving: Serving) -> None:
    from groundtune.serving.callers.gate import caller_by_id
    from groundtune.serving.callers.keys import NewKey, make_keys, revoke_key

    (made,) = make_keys(serving.store, [NewKey(name="ann")])
    id = made[0]["id"] if isinstance(made, tuple) else made["id"]
    assert caller_by_id(serving.store, id) is not None and caller_by_id(serving.store, "anonymous") is None
    revoke_key(serving.store, id)
    assert caller_by_id(serving.store, id) is None


def test_a_large_file_is_read_by_the_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"".join(json.dumps(line(n)).encode() + b"\n" for n in range(50_001)))
    faults, total = check_file(path, "/v1/chat/completions")
    assert total == 50_001 and [f["code"] for f in faults] == ["too_many_tasks"]
