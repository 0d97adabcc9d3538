"""Vector stores through the official client: life of stores, files and batches; what search finds; what is refused."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import openai
import pytest

from groundtune.retrieval.embedders.minilm import count_tokens
from groundtune.serving.state import Serving

DOCS = {
    "ferries.md": "# Ferries\n\n## Dogs\n\nDogs over 25 kg travel in Zone Amber. Zone Amber has room for six dogs.\n\n"
    "## Times\n\nThe last ferry to Ostwick leaves at 22:40 on weekdays.",
    "leave.txt": "Employees have 27 days of paid holiday a year. Unused days expire at the end of March.",
    "it.html": "<html><body><article><h1>Passwords</h1><p>A password is changed every ninety days and has at least "
    "fourteen characters. Ask the service desk in room K4 for a new smart card.</p></article></body></html>",
}


def upload(client: Any, name: str, content: bytes | str | None = None) -> str:
    body = DOCS[name] if content is None else content
    data = body.encode() if isinstance(body, str) else body
    return str(client.files.create(file=(name, data), purpose="assistants").id)


@pytest.fixture
def filled(client: Any) -> Any:
    """A store with the three documents read in."""
    store = client.vector_stores.create(name="handbook")
    for number, name in enumerate(DOCS):
        file = client.vector_stores.files.create_and_poll(
            vector_store_id=store.id, file_id=upload(client, name), attributes={"name": name, "number": number, "new": number > 0}
        )  # fmt: skip
        assert (file.status, file.last_error) == ("completed", None)
    return store


def found(client: Any, store: Any, query: Any, **more: Any) -> list[tuple[str, float]]:
    answer = client.vector_stores.search(store.id, query=query, **more)
    return [(hit.filename, hit.score) for hit in answer.data]


# ---------------------------------------------------------------- stores


def test_the_life_of_a_store(client: Any, serving: Serving) -> None:
    store = client.vector_stores.create(
        name="a", metadata={"team": "x"}, expires_after={"anchor": "last_active_at", "days": 2}
    )
    assert store.id.startswith("vs_") and (store.object, store.status, store.usage_bytes) == (
        "vector_store",
        "completed",
        0,
    )
    assert store.expires_at == store.last_active_at + 2 * 86_400 and store.file_counts.total == 0
    assert client.vector_stores.retrieve(store.id) == store
    changed = client.vector_stores.update(store.id, name="b", metadata={"team": "y"})
    assert (changed.name, changed.metadata, changed.expires_after.days) == ("b", {"team": "y"}, 2)
    forever = client.vector_stores.update(store.id, expires_after=None)
    assert (forever.name, forever.expires_after, forever.expires_at) == ("b", None, None)
    gone = client.vector_stores.delete(store.id)
    assert (gone.id, gone.object, gone.deleted) == (store.id, "vector_store.deleted", True)
    with pytest.raises(openai.NotFoundError, match="No such VectorStore"):
        client.vector_stores.retrieve(store.id)
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.delete(store.id)


def test_stores_are_listed_in_pages(client: Any) -> None:
    made = [client.vector_stores.create(name=str(n)).id for n in range(5)]
    assert [s.id for s in client.vector_stores.list(limit=2)] == made[::-1]
    assert [s.id for s in client.vector_stores.list(limit=2, order="asc")] == made
    assert [s.id for s in client.vector_stores.list(order="asc", before=made[2]).data] == made[:2]
    assert client.vector_stores.list(limit=0).data == []
    assert len(client.vector_stores.list(after="nobody", before="nobody").data) == 5


def test_an_expired_store_is_not_searched(client: Any, serving: Serving, filled: Any) -> None:
    client.vector_stores.update(filled.id, expires_after={"anchor": "last_active_at", "days": 1})
    serving.store.change("vector_store", filled.id, lambda _: {"last_active_at": int(time.time()) - 90_000})
    assert client.vector_stores.retrieve(filled.id).status == "expired"
    for attempt in (
        lambda: client.vector_stores.search(filled.id, query="dogs"),
        lambda: client.vector_stores.files.create(filled.id, file_id=upload(client, "leave.txt")),
    ):
        with pytest.raises(openai.BadRequestError, match="expired"):
            attempt()
    client.vector_stores.update(filled.id, expires_after={"anchor": "last_active_at", "days": 3})
    assert found(client, filled, "dogs")[0][0] == "ferries.md"


def test_use_puts_the_end_off(client: Any, serving: Serving, filled: Any) -> None:
    client.vector_stores.update(filled.id, expires_after={"anchor": "last_active_at", "days": 1})
    before = int(time.time()) - 80_000
    serving.store.change("vector_store", filled.id, lambda _: {"last_active_at": before})
    assert client.vector_stores.retrieve(filled.id).last_active_at == before
    client.vector_stores.search(filled.id, query="dogs")
    assert client.vector_stores.retrieve(filled.id).last_active_at > before + 70_000


# ---------------------------------------------------------------- files


def test_files_are_read_in_and_counted(client: Any, serving: Serving, filled: Any) -> None:
    store = client.vector_stores.retrieve(filled.id)
    assert (store.status, store.file_counts.completed, store.file_counts.total) == ("completed", 3, 3)
    files = client.vector_stores.files.list(filled.id, order="asc").data
    assert [f.attributes["name"] for f in files] == list(DOCS)
    assert all(f.object == "vector_store.file" and f.vector_store_id == filled.id and f.usage_bytes > 0 for f in files)
    assert store.usage_bytes == sum(f.usage_bytes for f in files)
    assert files[0].chunking_strategy.static.max_chunk_size_tokens == 800
    assert client.vector_stores.files.retrieve(files[0].id, vector_store_id=filled.id) == files[0]
    content = client.vector_stores.files.content(files[0].id, vector_store_id=filled.id).data
    text = "\n".join(part.text for part in content)
    assert (
        "Dogs over 25 kg travel in Zone Amber." in text
        and "Ferries > Dogs" in text
        and {p.type for p in content} == {"text"}
    )


def test_a_file_taken_out_is_found_no_more(client: Any, serving: Serving, filled: Any) -> None:
    first, second, third = client.vector_stores.files.list(filled.id, order="asc").data
    gone = client.vector_stores.files.delete(first.id, vector_store_id=filled.id)
    assert (gone.id, gone.object, gone.deleted) == (first.id, "vector_store.file.deleted", True)
    assert "ferries.md" not in dict(found(client, filled, "dogs in Zone Amber", max_num_results=50))
    assert client.files.retrieve(first.id).filename == "ferries.md"
    client.files.delete(second.id)  # the file itself
    assert "leave.txt" not in dict(found(client, filled, "days of paid holiday", max_num_results=50))
    assert client.vector_stores.retrieve(filled.id).file_counts.total == 1
    assert len(list((serving.folder / "vector_stores" / filled.id).iterdir())) == 1
    client.vector_stores.delete(filled.id)
    assert not (serving.folder / "vector_stores" / filled.id).exists()
    assert client.files.retrieve(third.id).id == third.id
    assert serving.store.all("vector_store_file") == []


def test_attributes_can_be_changed(client: Any, filled: Any) -> None:
    file = client.vector_stores.files.list(filled.id).data[0]
    changed = client.vector_stores.files.update(
        file.id, vector_store_id=filled.id, attributes={"year": 2026, "ok": True, "x": 1.5, "s": "t"}
    )
    assert changed.attributes == {"year": 2026, "ok": True, "x": 1.5, "s": "t"}
    hits = found(client, filled, "password", filters={"type": "eq", "key": "year", "value": 2026})
    assert {name for name, _ in hits} == {"it.html"}
    assert client.vector_stores.files.update(file.id, vector_store_id=filled.id, attributes=None).attributes == {}


def test_what_cannot_be_read_fails_with_its_reason(client: Any) -> None:
    store = client.vector_stores.create()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.txt", "x")
    cases = {
        ("song.mp3", b"ID3"): "unsupported_file", ("query.sql", b"-- groundtune: sqlite:///x.db\nSELECT 1"): "unsupported_file",
        ("none", b"text"): "unsupported_file", ("broken.pdf", b"%PDF-1.4 broken"): "invalid_file", ("empty.txt", b""): "invalid_file",
        ("zip.docx", zipped.getvalue()): "invalid_file", ("picture.txt", b"\x89PNG\r\n\x1a\n0000"): "invalid_file",
    }  # fmt: skip
    for (name, content), code in cases.items():
        file = client.vector_stores.files.create_and_poll(
            vector_store_id=store.id, file_id=upload(client, name, content)
        )
        assert (file.status, file.last_error.code, file.usage_bytes) == ("failed", code, 0), name
        assert str(store.id) not in file.last_error.message and "/" not in file.last_error.message, (
            file.last_error.message
        )
        with pytest.raises(openai.BadRequestError, match="is failed"):
            client.vector_stores.files.content(file.id, vector_store_id=store.id)
    counts = client.vector_stores.retrieve(store.id).file_counts
    assert (counts.failed, counts.total) == (len(cases), len(cases))
    assert len(client.vector_stores.files.list(store.id, filter="failed").data) == len(cases)
    assert client.vector_stores.files.list(store.id, filter="completed").data == []
    assert found(client, store, "x") == []


def test_program_text_is_read(client: Any) -> None:
    store = client.vector_stores.create()
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("ferry.py", b"def board(dog):\n    return 'Zone Amber'\n")
    )
    assert file.status == "completed" and found(client, store, "board the dog")[0][0] == "ferry.py"


@pytest.mark.parametrize(("most", "overlap"), [(100, 0), (100, 50), (300, 100)])
def test_chunks_keep_to_their_sizes(most: int, overlap: int, client: Any) -> None:
    text = "# Report\n\n" + " ".join(
        f"Sentence number {n} of the harbour report says something plain." for n in range(200)
    )
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": most, "chunk_overlap_tokens": overlap}}
    store = client.vector_stores.create(file_ids=[upload(client, "report.md", text)], chunking_strategy=strategy)
    file = wait(client, store)[0]
    assert file.status == "completed" and file.chunking_strategy.model_dump() == strategy
    parts = [part.text for part in client.vector_stores.files.content(file.id, vector_store_id=store.id).data]
    assert most // 2 < max(map(count_tokens, parts)) <= most
    for n in range(200):
        assert any(f"number {n} of" in part for part in parts)
    repeated = sum(map(count_tokens, parts)) > 1.2 * count_tokens(text)
    assert repeated == (overlap > 0)


def wait(client: Any, store: Any) -> Any:
    """The files of a store, once all are read in."""
    for _ in range(600):
        if client.vector_stores.retrieve(store.id).status != "in_progress":
            return client.vector_stores.files.list(store.id, order="asc").data
        time.sleep(0.05)
    raise AssertionError("still in progress after 30 seconds")


def test_a_file_put_in_again_is_there_once(client: Any, serving: Serving) -> None:
    store, id = client.vector_stores.create(), upload(client, "leave.txt")
    client.vector_stores.files.create_and_poll(vector_store_id=store.id, file_id=id)
    client.vector_stores.files.create_and_poll(vector_store_id=store.id, file_id=id, attributes={"second": True})
    assert len(found(client, store, "holiday", max_num_results=50)) == 1
    assert [f.attributes for f in client.vector_stores.files.list(store.id).data] == [{"second": True}]
    assert len(list((serving.folder / "vector_stores" / store.id).iterdir())) == 1


# ---------------------------------------------------------------- batches


def test_batches(client: Any) -> None:
    store = client.vector_stores.create()
    ids = [upload(client, name) for name in DOCS]
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=ids[:2], attributes={"part": 1})
    assert batch.id.startswith("vsfb_") and (batch.object, batch.status) == ("vector_store.files_batch", "completed")
    assert (batch.file_counts.completed, batch.file_counts.total) == (2, 2)
    own = client.vector_stores.file_batches.create_and_poll(
        store.id,
        files=[{"file_id": ids[2], "attributes": {"part": 2}}, {"file_id": upload(client, "song.mp3", b"ID3")}],
    )
    assert (own.status, own.file_counts.completed, own.file_counts.failed) == ("completed", 1, 1)
    listed = client.vector_stores.file_batches.list_files(own.id, vector_store_id=store.id, filter="completed").data
    assert [f.attributes for f in listed] == [{"part": 2}]
    assert len(client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=1).data) == 1
    assert len(list(client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=1))) == 2
    uploaded = client.vector_stores.file_batches.upload_and_poll(
        store.id, files=[("more.txt", b"The canteen opens at noon.")]
    )
    assert uploaded.status == "completed" and found(client, store, "canteen")[0][0] == "more.txt"
    empty = client.vector_stores.file_batches.create(store.id)
    assert (empty.status, empty.file_counts.total) == ("completed", 0)
    assert client.vector_stores.file_batches.cancel(empty.id, vector_store_id=store.id).status == "completed"


def test_a_batch_can_be_given_up(client: Any, serving: Serving) -> None:
    long = " ".join(f"Sentence number {n} of the harbour report says something plain." for n in range(3000))
    ids = [upload(client, f"{n}.txt", f"{n} {long}") for n in range(6)]
    store = client.vector_stores.create()
    batch = client.vector_stores.file_batches.create(store.id, file_ids=ids)
    assert batch.status == "in_progress" and client.vector_stores.retrieve(store.id).status == "in_progress"
    given_up = client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    counts = given_up.file_counts
    assert given_up.status == "cancelled" and counts.in_progress == 0 and counts.cancelled > 3 and counts.total == 6
    time.sleep(1.5)
    after = client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    assert after.file_counts == counts
    assert len(list((serving.folder / "vector_stores" / store.id).glob("*.parquet"))) == counts.completed


# ---------------------------------------------------------------- search


def test_search_finds_the_place(client: Any, filled: Any) -> None:
    for query, name, words in (
        ("Where do big dogs travel?", "ferries.md", "Zone Amber"),
        ("How much vacation do I get?", "leave.txt", "27 days"),
        ("When must I renew my password?", "it.html", "ninety days"),
        ("K4", "it.html", "room K4"),
    ):
        answer = client.vector_stores.search(filled.id, query=query)
        best = answer.data[0]
        assert (best.filename, best.attributes["name"]) == (name, name) and words in best.content[0].text, query
        scores = [hit.score for hit in answer.data]
        assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
        assert answer.object == "vector_store.search_results.page"


def test_every_option_changes_the_result(client: Any, filled: Any) -> None:
    query = "the last ferry on weekdays"
    every = found(client, filled, query)
    assert len(every) == 4 and len(found(client, filled, query, max_num_results=2)) == 2
    plain = found(client, filled, query, ranking_options={"ranker": "none"})
    assert plain[0][0] == every[0][0] and plain[0][1] != every[0][1]
    assert found(client, filled, query, ranking_options={"ranker": "default-2024-11-15"}) == every
    limit = (every[0][1] + every[1][1]) / 2
    assert found(client, filled, query, ranking_options={"score_threshold": limit}) == every[:1]
    both = client.vector_stores.with_raw_response.search(
        filled.id, query=["dogs in Zone Amber", "days of paid holiday"]
    ).http_response.json()
    assert both["search_query"] == ["dogs in Zone Amber", "days of paid holiday"]
    assert {hit["filename"] for hit in both["data"][:2]} == {"ferries.md", "leave.txt"}
    asked = client.vector_stores.with_raw_response.search(
        filled.id, query="What is the room of the service desk?", rewrite_query=True
    )
    assert asked.http_response.json()["search_query"] == ["room service desk"]


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"type": "eq", "key": "name", "value": "it.html"}, {"it.html"}),
    ({"type": "ne", "key": "name", "value": "it.html"}, {"ferries.md", "leave.txt"}),
    ({"type": "ne", "key": "nothing", "value": 1}, set(DOCS)),
    ({"type": "gt", "key": "number", "value": 0}, {"it.html", "leave.txt"}),
    ({"type": "gte", "key": "number", "value": 1.0}, {"it.html", "leave.txt"}),
    ({"type": "lt", "key": "number", "value": 1}, {"ferries.md"}),
    ({"type": "lte", "key": "number", "value": 1}, {"ferries.md", "leave.txt"}),
    ({"type": "lt", "key": "name", "value": "g"}, {"ferries.md"}),
    ({"type": "lt", "key": "name", "value": 5}, set()),
    ({"type": "eq", "key": "number", "value": True}, set()),
    ({"type": "eq", "key": "new", "value": True}, {"it.html", "leave.txt"}),
    ({"type": "in", "key": "number", "value": [0, 2]}, {"ferries.md", "it.html"}),
    ({"type": "nin", "key": "number", "value": [0, 2]}, {"leave.txt"}),
    ({"type": "and", "filters": [{"type": "eq", "key": "new", "value": True}, {"type": "lt", "key": "number", "value": 2}]}, {"leave.txt"}),
    ({"type": "or", "filters": [{"type": "eq", "key": "number", "value": 0}, {"type": "and", "filters": [{"type": "gt", "key": "number", "value": 1}]}]}, {"ferries.md", "it.html"}),
]  # fmt: skip


def test_filters(client: Any, filled: Any) -> None:
    for filter, names in FILTERS:
        assert {name for name, _ in found(client, filled, "x", filters=filter, max_num_results=50)} == names, filter


# ---------------------------------------------------------------- refused


def test_what_is_wrong_is_refused(client: Any, filled: Any) -> None:
    id, file = upload(client, "leave.txt"), f"/vector_stores/{filled.id}/files"
    search, batches = f"/vector_stores/{filled.id}/search", f"/vector_stores/{filled.id}/file_batches"

    def sizes(most: int, overlap: int) -> dict[str, Any]:
        return {"type": "static", "static": {"max_chunk_size_tokens": most, "chunk_overlap_tokens": overlap}}

    deep: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(20):
        deep = {"type": "and", "filters": [deep]}
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("/vector_stores", {"colour": "red"}), ("/vector_stores", {"expires_after": {"anchor": "created_at", "days": 1}}),
        ("/vector_stores", {"expires_after": {"anchor": "last_active_at", "days": 366}}), ("/vector_stores", {"metadata": {"a": "x" * 513}}),
        ("/vector_stores", {"metadata": {str(n): "" for n in range(17)}}), ("/vector_stores", {"file_ids": [id] * 501}),
        (file, {}), (file, {"file_id": id, "colour": 1}), (file, {"file_id": id, "chunking_strategy": sizes(99, 0)}),
        (file, {"file_id": id, "chunking_strategy": sizes(4097, 0)}), (file, {"file_id": id, "chunking_strategy": sizes(100, 51)}),
        (file, {"file_id": id, "chunking_strategy": {"type": "other"}}), (file, {"file_id": id, "attributes": {"a": "x" * 513}}),
        (file, {"file_id": id, "attributes": {"a": [1]}}), (file, {"file_id": id, "attributes": {"k" * 65: 1}}),
        (file, {"file_id": id, "attributes": {str(n): 1 for n in range(17)}}),
        (batches, {"file_ids": [id] * 2001}), (batches, {"files": [{"file_id": id, "colour": 1}]}),
        (search, {}), (search, {"query": ""}), (search, {"query": []}), (search, {"query": "x", "max_num_results": 0}),
        (search, {"query": "x", "max_num_results": 51}), (search, {"query": "x", "ranking_options": {"ranker": "best"}}),
        (search, {"query": "x", "ranking_options": {"score_threshold": 1.1}}), (search, {"query": "x", "page": 2}),
        *((search, {"query": "x", "filters": filter}) for filter in (
            {}, {"type": "like", "key": "a", "value": "b"}, {"type": "eq", "key": "a"}, {"type": "eq", "key": 1, "value": 1},
            {"type": "in", "key": "a", "value": 1}, {"type": "eq", "key": "a", "value": [1]}, {"type": "gt", "key": "a", "value": True},
            {"type": "and", "filters": []}, {"type": "and", "filters": [5]}, {"type": "eq", "key": "a", "value": None}, deep,
            {"type": "or", "filters": [{"type": "eq", "key": "a", "value": 1}] * 300},
        )),
    ]  # fmt: skip
    for path, body in wrong:
        with pytest.raises(openai.BadRequestError):
            client.post(path, body=body, cast_to=object)
    answer = client._client.post(
        f"{client.base_url}vector_stores/{filled.id}/files", content=b'{"file_id": "%s", "attributes": {"a": NaN}}' % id.encode(),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 400
    for missing in (
        lambda: client.vector_stores.files.create("vs_none", file_id=id),
        lambda: client.vector_stores.files.create(filled.id, file_id="file-none"),
        lambda: client.vector_stores.create(file_ids=["file-none"]),
        lambda: client.vector_stores.search("vs_none", query="x"),
        lambda: client.vector_stores.files.retrieve("file-none", vector_store_id=filled.id),
        lambda: client.vector_stores.file_batches.retrieve("vsfb_none", vector_store_id=filled.id),
        lambda: client.vector_stores.files.list("vs_none"),
    ):
        with pytest.raises(openai.NotFoundError):
            missing()
    assert client.vector_stores.retrieve(filled.id).file_counts.total == 3


def test_a_batch_with_a_wrong_file_changes_nothing(client: Any, filled: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="file-none"):
        client.vector_stores.file_batches.create(filled.id, file_ids=[upload(client, "leave.txt"), "file-none"])
    assert client.vector_stores.retrieve(filled.id).file_counts.total == 3


def test_a_hostile_file_name_stays_a_name(client: Any, serving: Serving, tmp_path: Path) -> None:
    store = client.vector_stores.create()
    name = "../../../../tmp/evil\x00 > x.txt"
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=(name, b"The canteen opens at noon.")
    )
    assert file.status == "completed"
    folder = serving.folder / "vector_stores" / store.id
    assert [p.suffix for p in folder.iterdir()] == [".parquet"]
    assert found(client, store, "canteen")


def test_a_batch_of_ids_and_of_files_with_settings_of_their_own(client: Any) -> None:
    ids = [upload(client, name) for name in DOCS]
    store = client.vector_stores.create()
    own = {"file_id": ids[1], "attributes": {"from": "file"}}
    batch = client.vector_stores.file_batches.create(
        store.id, file_ids=ids[:2], files=[own, {"file_id": ids[2]}], attributes={"from": "batch"}
    )
    assert batch.file_counts.total == 3
    found = {f.id: f.attributes["from"] for f in client.vector_stores.files.list(store.id)}
    assert found == {ids[0]: "batch", ids[1]: "file", ids[2]: "batch"}
