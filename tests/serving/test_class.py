"""A class of thirty on one server: keys from one table, an allow-list, budgets, a hard stop, usage, revocation from outside."""

from __future__ import annotations

import csv
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import openai
from counting_route import counting_app

from groundtune.serving import usage
from groundtune.serving.key_table import KeyFile, read_people
from groundtune.serving.keys import Limits, NewKey, make_keys, set_group
from groundtune.serving.state import Serving
from live_server import live
from sample_project import run

STUDENTS, BUDGET = 30, 40


def test_a_class_shares_a_server(serving: Serving, tmp_path: Path) -> None:
    """Every student has 40 tokens, the class 1,000 for its 30 x 40: who comes late gets less, nobody more."""
    people = tmp_path / "students.csv"
    people.write_text("email,models\n" + "".join(f"s{n}@school.example,gpt-4o*\n" for n in range(STUDENTS)))
    set_group(serving.store, "class", budget_tokens=1000, budget_usd=None)
    wanted, others = read_people(people, NewKey("", Limits(budget_tokens=BUDGET), group="class"))
    assert not others
    made = make_keys(serving.store, wanted)
    ((_, teacher),) = make_keys(serving.store, [NewKey("teacher", admin=True)])
    file = KeyFile(tmp_path / "keys.csv")
    file.write(made)
    with (tmp_path / "keys.csv").open(encoding="utf-8", newline="") as table:
        given = {row["name"]: row["key"] for row in csv.DictReader(table)}
    words: dict[str, int] = {}
    with live(app := counting_app(serving)) as url:

        def study(name: str) -> None:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=given[name], max_retries=0)
            words[name] = 0
            for _ in range(4):
                words[name] += _read(client)

        early, *rest = given
        study(early)
        threads = [threading.Thread(target=study, args=(name,)) for name in rest]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        while app.state.access.in_flight:
            time.sleep(0.01)

        by_key = {body["name"]: usage.total_of(serving.store, body["id"]) for body, _ in made}
        assert {name: total.completion_tokens for name, total in by_key.items()} == words
        assert by_key[early].tokens == BUDGET == max(total.tokens for total in by_key.values())
        assert usage.total_of(serving.store, "group:class").tokens == sum(t.tokens for t in by_key.values()) == 1000
        _the_list_holds(url, given)
        _the_page_shows_it(url, teacher, given)
        _revoking_works_from_outside(url, serving, given)


def _read(client: Any) -> int:
    """Ask for more than the budget has; how many words came before the stop."""
    words = 0
    try:
        stream = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "a"}], max_tokens=15, stream=True,
            metadata={"pause": "0.002"},
        )  # fmt: skip
        for _ in stream:
            words += 1
    except openai.APIError as error:
        assert error.code == "insufficient_quota"
    return words


def _the_list_holds(url: str, given: dict[str, str]) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=given["s0@school.example"], max_retries=0)
    try:
        client.chat.completions.create(model="pebble", messages=[{"role": "user", "content": "a"}], max_tokens=1)
    except openai.PermissionDeniedError as error:
        assert error.code == "model_not_allowed"
    else:
        raise AssertionError("a model outside the list answered")


def _the_page_shows_it(url: str, teacher: str, given: dict[str, str]) -> None:
    page = httpx.get(f"{url}/usage", auth=("", teacher)).text
    assert all(name in page for name in given) and "1,000 tokens<small>100 % used" in page
    own = httpx.get(f"{url}/usage", auth=("", given["s1@school.example"])).text
    assert "s1@school.example" in own and "s2@school.example" not in own


def _revoking_works_from_outside(url: str, serving: Serving, given: dict[str, str]) -> None:
    def status(name: str) -> int:
        return httpx.get(f"{url}/v1/files", headers={"Authorization": f"Bearer {given[name]}"}).status_code

    assert status("s7@school.example") == 200
    done = run("serve", "keys", "revoke", "s7@school.example", "--project", serving.setup.workspace.root)
    assert done.returncode == 0, done.stderr
    assert (status("s7@school.example"), status("s8@school.example")) == (401, 200)
