"""Keys: what is kept of them, who finds them, what makes them void."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from typing import Any

import pytest

from groundtune.errors import ConfigError, GroundtuneError, UnknownNameError
from groundtune.serving.callers import keys
from groundtune.serving.callers.keys import Limits, NewKey, make_keys
from groundtune.serving.state import Serving


def test_a_key_is_random_and_only_its_digest_is_kept(serving: Serving) -> None:
    made = make_keys(serving.store, [NewKey(f"student {n}") for n in range(30)])
    given = [key for _, key in made]
    assert len(set(given)) == 30
    assert all(re.fullmatch(r"gt-[A-Za-z0-9_-]{43}", key) for key in given)  # 256 bits
    serving.store.close()
    kept = b"".join(path.read_bytes() for path in serving.folder.iterdir() if path.is_file())
    assert not [key for key in given if key.encode() in kept]
    assert keys.digest_of(given[0]).encode() in kept  # it is there that we looked
    for body, key in made:
        assert body["digest"] not in json.dumps(keys.shown_key(body)) and key not in json.dumps(body)


def test_a_key_is_found_by_itself_alone(anywhere: Serving) -> None:
    (body, key), (other, _) = make_keys(anywhere.store, [NewKey("a"), NewKey("b")])
    assert keys.find_key(anywhere.store, key) == body != other
    for wrong in ("", key[:-1], key + "x", key.swapcase(), body["digest"], body["id"], "gt-" + "A" * 43, "\udcff"):
        assert keys.find_key(anywhere.store, wrong) is None


def test_the_digest_is_compared_once_more(anywhere: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that compares without regard to case must open nothing."""
    ((body, _key),) = make_keys(anywhere.store, [NewKey("a")])
    monkeypatch.setattr(anywhere.store, "all", lambda *_, **__: [body])
    assert keys.find_key(anywhere.store, "gt-something-else-altogether") is None


def test_names_are_given_once_whatever_the_case(anywhere: Serving) -> None:
    make_keys(anywhere.store, [NewKey("Zoë")])
    for again in (["ZOË"], ["zoe\u0308"], ["New", "zoë"], ["x", "X"]):
        with pytest.raises(ConfigError, match="there is a key of the name"):
            make_keys(anywhere.store, [NewKey(name) for name in again])
    assert [body["name"] for body in keys.all_keys(anywhere.store)] == ["Zoë"]


def test_two_processes_cannot_take_one_name(anywhere: Serving) -> None:
    """All of a call's keys or none, also where somebody else is at it."""
    results: list[object] = []

    def make(mark: str) -> None:
        try:
            results.append(make_keys(anywhere.store, [NewKey(f"{mark}1"), NewKey("same"), NewKey(f"{mark}2")]))
        except ConfigError as error:
            results.append(error)

    threads = [threading.Thread(target=make, args=(f"t{n}-",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, list) for result in results) == 1
    names = [body["name"] for body in keys.all_keys(anywhere.store)]
    assert len(names) == 3 and "same" in names


@pytest.mark.parametrize("name", ["", "  ", "=1+1", "+cmd", "-x", "@a", "a\nb", "x" * 81, "\x00"])
def test_names_that_a_spreadsheet_would_run_are_refused(name: str, anywhere: Serving) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        make_keys(anywhere.store, [NewKey(name)])


def test_revoked_and_expired_keys_open_nothing_and_free_the_name(anywhere: Serving) -> None:
    ((body, key),) = make_keys(anywhere.store, [NewKey("a", expires_at=int(time.time()) + 100)])
    assert keys.in_force(body, time.time()) and not keys.in_force(body, time.time() + 101)
    assert keys.revoke_key(anywhere.store, "A")["id"] == body["id"]
    found = keys.find_key(anywhere.store, key)
    assert found is not None and not keys.in_force(found, time.time())
    with pytest.raises(UnknownNameError):
        keys.revoke_key(anywhere.store, body["id"])
    ((again, _),) = make_keys(anywhere.store, [NewKey("a")])
    assert again["id"] != body["id"] and keys.any_key(anywhere.store)
    assert keys.revoke_key(anywhere.store, again["id"])["id"] == again["id"]
    assert keys.any_key(anywhere.store)  # a server whose keys are all revoked does not stand open


def test_an_unknown_key_suggests_the_nearest(anywhere: Serving) -> None:
    make_keys(anywhere.store, [NewKey("anna.berg")])
    with pytest.raises(UnknownNameError, match=r"did you mean 'anna\.berg'"):
        keys.revoke_key(anywhere.store, "anna.burg")


def test_groups_are_made_changed_and_needed(anywhere: Serving) -> None:
    with pytest.raises(GroundtuneError, match="unknown group of keys 'class'"):
        make_keys(anywhere.store, [NewKey("a"), NewKey("b", group="class")])
    assert keys.all_keys(anywhere.store) == []
    keys.set_group(anywhere.store, "class", budget_tokens=10, budget_usd=None)
    make_keys(anywhere.store, [NewKey("b", group="class", limits=Limits(models=("gpt-*",), budget_usd=0.5))])
    keys.set_group(anywhere.store, "class", budget_tokens=20, budget_usd=1.5)
    (group,) = keys.all_groups(anywhere.store)
    assert Limits.of(group) == Limits(budget_tokens=20, budget_usd=1.5)
    assert Limits.of(keys.all_keys(anywhere.store)[0]) == Limits(models=("gpt-*",), budget_usd=0.5)


def test_the_database_is_for_its_owner_alone(serving: Serving) -> None:
    make_keys(serving.store, [NewKey("a")])
    assert serving.folder.stat().st_mode & 0o077 == 0
    with sqlite3.connect(serving.folder / "serving.db") as database:
        rows: list[Any] = database.execute("select kind, count(*) from objects group by kind").fetchall()
    assert dict(rows) == {"key": 1, "key_name": 1}
