"""A class of thirty on one server: keys from one table, an allow-list, budgets, a hard stop, usage, revocation from outside."""

from __future__ import annotations

import csv
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from counting_route import written

from groundtune.serving.app import create_app
from groundtune.serving.callers import usage
from groundtune.serving.callers.key_table import KeyFile, read_people
from groundtune.serving.callers.keys import Limits, NewKey, make_keys, set_group
from groundtune.serving.state import Serving
from live_server import live
from sample_project import run

STUDENTS, BUDGET, GROUP = 30, 50, 1200


def test_a_class_shares_a_server(serving: Serving, tmp_path: Path) -> None:
    """Every student has 50 tokens, the class 1,200 for its 30 x 50: who comes late gets less, nobody more."""
    given, made, teacher = _keys(serving, tmp_path)
    got: dict[str, tuple[int, int]] = {}
    with live(app := create_app(serving)) as url:
        prompt = _prompt_tokens(url, teacher)

        def study(name: str) -> None:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=given[name], max_retries=0)
            read = [_read(client) for _ in range(4)]
            got[name] = sum(tokens for tokens, _ in read), sum(broken for _, broken in read)

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
        assert {name: total.completion_tokens for name, total in by_key.items()} == {n: t for n, (t, _) in got.items()}
        assert by_key[early].tokens == BUDGET == max(total.tokens for total in by_key.values())
        assert got[early][1] == 1  # a stream broken off in its middle; what came after was refused at once
        whole = usage.total_of(serving.store, "group:class").tokens
        assert whole == sum(total.tokens for total in by_key.values())
        assert GROUP - prompt < whole <= GROUP  # what is left is less than the prompt of one more request
        assert app.state.generators.engines.load[1:] == (0, 0)  # nothing is computed for a stream that was stopped
        _the_list_holds(url, given)
        _the_page_shows_it(url, teacher, given)
        _revoking_works_from_outside(url, serving, given)


def _keys(serving: Serving, folder: Path) -> tuple[dict[str, str], list[Any], str]:
    """Name -> key of the students, what was made, the teacher's key."""
    people = folder / "students.csv"
    people.write_text("email,models\n" + "".join(f"s{n}@school.example,gpt-4o*\n" for n in range(STUDENTS)))
    set_group(serving.store, "class", budget_tokens=GROUP, budget_usd=None)
    wanted, others = read_people(people, NewKey("", Limits(budget_tokens=BUDGET), group="class"))
    assert not others
    made = make_keys(serving.store, wanted)
    ((_, teacher),) = make_keys(serving.store, [NewKey("teacher", admin=True)])
    KeyFile(folder / "keys.csv").write(made)
    with (folder / "keys.csv").open(encoding="utf-8", newline="") as table:
        return {row["name"]: row["key"] for row in csv.DictReader(table)}, made, teacher


def _prompt_tokens(url: str, key: str) -> int:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    asked = [{"role": "user", "content": "a"}]
    usage = client.chat.completions.create(model="pebble", messages=asked, max_tokens=1).usage  # type: ignore[arg-type]
    assert usage is not None
    return usage.prompt_tokens


def _read(client: Any) -> tuple[int, bool]:
    """Ask for more than the budget has; how many tokens came before the stop, and whether it was in mid-stream."""
    tokens = 0
    try:
        for _ in written(client, 15, model="gpt-4o-mini"):
            tokens += 1
    except openai.APIError as error:
        assert error.code == "insufficient_quota"
        return tokens, not isinstance(error, openai.RateLimitError)
    assert tokens == 15
    return tokens, False


def _the_list_holds(url: str, given: dict[str, str]) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=given["s0@school.example"], max_retries=0)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="pebble", messages=[{"role": "user", "content": "a"}], max_tokens=1)
    assert caught.value.code == "model_not_allowed"


def _the_page_shows_it(url: str, teacher: str, given: dict[str, str]) -> None:
    page = httpx.get(f"{url}/usage", auth=("", teacher)).text
    assert all(name in page for name in given) and f"{BUDGET} tokens<small>100 % used" in page
    own = httpx.get(f"{url}/usage", auth=("", given["s1@school.example"])).text
    assert "s1@school.example" in own and "s2@school.example" not in own


def _revoking_works_from_outside(url: str, serving: Serving, given: dict[str, str]) -> None:
    def status(name: str) -> int:
        return httpx.get(f"{url}/v1/files", headers={"Authorization": f"Bearer {given[name]}"}).status_code

    assert status("s7@school.example") == 200
    done = run("serve", "keys", "revoke", "s7@school.example", "--project", serving.setup.workspace.root)
    assert done.returncode == 0, done.stderr
    assert (status("s7@school.example"), status("s8@school.example")) == (401, 200)
