"""The server's objects: order, pages, changes of several processes at once, a database that is there already."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from groundtune.errors import ConfigError, WorkspaceError
from groundtune.serving.errors import ApiError
from groundtune.serving.storage import migrations
from groundtune.serving.storage.owners import Scope
from groundtune.serving.storage.store import Base, New, Store


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url)
    yield opened
    opened.close()


def ids(store: Store, **how: object) -> list[str]:
    return [body["id"] for body in store.page("file", **how).items]  # type: ignore[arg-type]


def test_what_was_added_is_there_after_reopening(url: str) -> None:
    first = Store(url)
    made = first.add("file", {"filename": "a.jsonl"})
    first.close()
    assert Store(url).get("file", made["id"]) == made
    assert made["id"].startswith("file-") and made["created_at"] > 1e9


def test_an_id_is_taken_once_in_its_kind(store: Store) -> None:
    store.add("file", {}, id="x")
    store.add("batch", {}, id="x")
    with pytest.raises(KeyError):
        store.add("file", {}, id="x")


def test_pages_in_both_orders_from_both_ends(store: Store) -> None:
    for name in "abcde":
        store.add("file", {"created_at": 7}, id=name)  # all in one second: the order is that of adding
    assert ids(store) == list("edcba") and ids(store, order="asc") == list("abcde")
    page = store.page("file", after="d", limit=2)
    assert [b["id"] for b in page.items] == ["c", "b"] and page.has_more
    assert ids(store, before="c") == ["e", "d"]
    assert ids(store, order="asc", after="b", before="e") == ["c", "d"]
    assert not store.page("file", after="c", limit=2).has_more
    assert ids(store, after="unknown") == list("edcba") and ids(store, limit=0) == []
    kept = store.page("file", fits=lambda body: body["id"] in "ace", limit=2)
    assert [b["id"] for b in kept.items] == ["e", "c"] and kept.has_more


def test_parents_hold_their_own(store: Store) -> None:
    for parent in ("one", "two"):
        for name in "ab":
            store.add("event", {}, id=name, parent=parent)
    assert store.get("event", "a") is None and store.get("event", "a", parent="one") is not None
    assert store.remove_all("event", parent="one") == 2
    assert store.count("event") == 2 and store.count("event", parent="one") == 0


def test_a_change_that_raises_changes_nothing(store: Store) -> None:
    store.add("job", {"status": "queued", "n": 1}, id="j", state="queued")

    def fails(body: dict[str, object]) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.change("job", "j", fails)
    assert store.change("job", "j", lambda body: {"status": "running"}) == {**(store.get("job", "j") or {})}
    assert [b["id"] for b in store.all("job", states=["running"])] == ["j"] and not store.all("job", states=["queued"])
    assert store.change("job", "none", lambda body: {}) is None


def count_up(url: str, times: int) -> None:
    store = Store(url)
    for _ in range(times):
        store.change("job", "j", lambda body: {"n": body["n"] + 1})


def test_processes_do_not_overwrite_each_other(url: str) -> None:
    Store(url).add("job", {"n": 0}, id="j")
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=count_up, args=(url, 25)) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert (Store(url).get("job", "j") or {})["n"] == 75


def add_events(url: str, mark: str) -> None:
    store = Store(url)
    for n in range(20):
        store.change(
            "job", "j", lambda body: {"n": body["n"] + 1}, also=[New("event", f"e{n}", {"by": mark}, parent="j")]
        )
        store.add_all([New("note", f"n{n}", {"by": mark})])


def test_processes_that_tell_the_same_tell_it_once(url: str) -> None:
    Store(url).add("job", {"n": 0}, id="j")
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=add_events, args=(url, mark)) for mark in "abc"]
    for other in others:
        other.start()
    for other in others:
        other.join()
    store = Store(url)
    assert [other.exitcode for other in others] == [0, 0, 0] and (store.get("job", "j") or {})["n"] == 60
    assert sorted(b["id"] for b in store.all("event")) == sorted(f"e{n}" for n in range(20))
    assert store.count("note") == 20


def open_it(url: str) -> None:
    Store(url).add("file", {})


def test_processes_that_start_at_once_make_the_tables_once(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=open_it, args=(url,)) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0] * 4 and Store(url).count("file") == 4


@pytest.mark.parametrize("id", ["\ud83d", "a\0b", "é" * 100, "'; drop table objects; --", "x" * 300])
def test_ids_that_nothing_has(id: str, store: Store) -> None:
    store.add("file", {}, id="a")
    assert store.get("file", id) is None and not store.remove("file", id) and store.get("file", "a", parent=id) is None
    assert store.change("file", id, lambda body: {}) is None and [
        b["id"] for b in store.page("file", after=id).items
    ] == ["a"]


def test_what_bodies_may_hold(store: Store) -> None:
    body = {
        "text": "a\0b \U0001f600 'quoted' \\u0000",
        "number": 1.5,
        "none": None,
        "deep": [{"": [True]}],
        "big": 2**60,
    }
    made = store.add("file", body, id="é'\\")
    assert store.get("file", "é'\\") == made == {"id": "é'\\", **body, "created_at": made["created_at"]}


@pytest.mark.parametrize("address", ["nonsense", "sqlserver://x/y", "oracle://a@b/c"])
def test_a_database_there_is_no_driver_for(address: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.database"):
        Store(address)


def test_a_password_is_in_no_message() -> None:
    with pytest.raises(ConfigError) as caught:
        Store("mysql+nodriver://me:secret@host/name")
    assert "secret" not in str(caught.value) and "me" in str(caught.value)


def test_who_sees_and_changes_what(store: Store) -> None:
    anna, ben, teacher = store.of(Scope("key_a")), store.of(Scope("key_b")), store.of(Scope("key_t", everything=True))
    for view, id in ((anna, "a"), (ben, "b"), (teacher, "t"), (store, "s")):
        view.add("file", {"n": 0}, id=id)
    assert [ids(v, order="asc") for v in (anna, ben, teacher, store)] == [
        ["a", "s"],
        ["b", "s"],
        list("abts"),
        list("abts"),
    ]
    assert [b["id"] for b in anna.all("file")] == ["a", "s"] and (anna.count("file"), store.count("file")) == (2, 4)
    assert anna.get("file", "b") is None and anna.owned("file", "b") is None and anna.get("file", "s") is not None
    assert anna.change("file", "b", lambda body: {"n": 1}) is None and not anna.remove("file", "b")
    for forbidden in (
        lambda: anna.change("file", "s", lambda body: {"n": 1}),
        lambda: anna.remove("file", "s"),
        lambda: anna.owned("file", "s"),
    ):
        with pytest.raises(ApiError) as caught:
            forbidden()
        assert caught.value.status == 403
    assert teacher.change("file", "a", lambda body: {"n": 1}, also=[New("event", "e", {}, parent="a")])
    assert anna.get("event", "e", parent="a") is not None and ben.get("event", "e", parent="a") is None
    store.add("event", {}, id="f", parent="a")
    assert ben.remove_all("event", parent="a") == 0 and anna.remove_all("event", parent="a") == 1
    with pytest.raises(KeyError):
        ben.add("file", {}, id="a")  # it is taken, even where it is not seen
    ben.add_all([New("file", "a", {"n": 9}), New("file", "c", {})])
    assert (store.get("file", "a") or {})["n"] == 1 and ben.get("file", "c") is not None
    assert store.of(Scope("")).page("file").items == [store.get("file", "s")]


def at_first_revision(url: str) -> Any:
    """A database as the first version of the server made it."""
    from alembic import command
    from alembic.config import Config

    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    return engine


def test_a_database_of_an_older_version_is_brought_on_with_its_data(url: str, tmp_path: Path) -> None:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    engine = at_first_revision(url)
    assert "owner" not in {column["name"] for column in inspect(engine).get_columns("objects")}
    with engine.begin() as connection:
        for n in range(3):
            connection.execute(
                text(
                    "INSERT INTO objects (id, kind, parent, state, created_at, body) VALUES (:id, 'file', '', '', 7, :body)"
                ),
                {"id": f"f{n}", "body": json.dumps({"id": f"f{n}", "filename": "é"})},
            )
    engine.dispose()
    for _ in range(2):  # and again: nothing happens
        store = Store(url)
        assert [(b["id"], b["filename"]) for b in store.all("file")] == [(f"f{n}", "é") for n in range(3)]
        assert store.of(Scope("key_a")).get("file", "f1") is not None  # the server's
        store.close()
    added = store.of(Scope("key_a")).add("file", {})
    assert ids(store)[0] == added["id"] and store.count("file") == 4
    with store.session(reads=True) as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "0002"
    indexes = {index["name"]: index["unique"] for index in inspect(store.engine).get_indexes("objects")}
    assert indexes == {"objects_by_id": 1, "objects_in_order": 0}
    assert compared(store) == []


def compared(store: Store) -> list[Any]:
    """Where the tables differ from what the code says."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "serving.db").mkdir()
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path}/serving.db")
