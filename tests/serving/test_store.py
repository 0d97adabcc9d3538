"""The server's objects: order, pages, changes of several processes at once, a database that is there already."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from groundtune.errors import ConfigError, WorkspaceError
from groundtune.serving.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/serving.db")


def ids(store: Store, **how: object) -> list[str]:
    return [body["id"] for body in store.page("file", **how).items]  # type: ignore[arg-type]


def test_what_was_added_is_there_after_reopening(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deep/serving.db"
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


def test_processes_do_not_overwrite_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/serving.db"
    Store(url).add("job", {"n": 0}, id="j")
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=count_up, args=(url, 25)) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert (Store(url).get("job", "j") or {})["n"] == 75


@pytest.mark.parametrize("url", ["nonsense", "sqlserver://x/y", "oracle://a@b/c"])
def test_a_database_there_is_no_driver_for(url: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.database"):
        Store(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "serving.db").mkdir()
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path}/serving.db")
