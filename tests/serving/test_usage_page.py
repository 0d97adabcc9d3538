"""The usage page: what it shows, to whom, in a real browser's terms: no script, nothing fetched, everything escaped."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from counting_route import counting_app

from groundtune.serving.callers import usage
from groundtune.serving.callers.keys import Limits, NewKey, make_keys, revoke_key, set_group
from groundtune.serving.callers.usage import Entry
from groundtune.serving.callers.usage_figures import figures
from groundtune.serving.state import Serving
from html_page import Page
from live_server import live


@pytest.fixture
def url(serving: Serving) -> Iterator[str]:
    with live(counting_app(serving)) as found:
        yield found


def entry(key: str, model: str = "gpt-4o", prompt: int = 10, completion: int = 5, **more: object) -> Entry:
    values = {"group": None, "usd": 0.0, "at": time.time(), **more}
    return Entry(key=key, model=model, prompt_tokens=prompt, completion_tokens=completion, **values)  # type: ignore[arg-type]


@pytest.fixture
def keys(serving: Serving) -> dict[str, tuple[str, str]]:
    """Name -> (id, key): two students of one class, a teacher."""
    set_group(serving.store, "class", budget_tokens=1000, budget_usd=None)
    made = make_keys(
        serving.store,
        [
            NewKey("anna", Limits(budget_tokens=100), group="class"),
            NewKey("bob <script>alert(1)</script>", Limits(budget_usd=2.0), group="class"),
            NewKey("teacher", admin=True),
        ],
    )
    ids = {body["name"].split()[0]: (body["id"], key) for body, key in made}
    day = 86_400
    usage.record(serving.store, [
        entry(ids["anna"][0], prompt=60, completion=30, group="class"),
        entry(ids["anna"][0], model="rag<b>", prompt=5, completion=0, group="class", at=time.time() - day),
        entry(ids["bob"][0], prompt=200, completion=100, usd=0.5, group="class"),
    ])  # fmt: skip
    return ids


def test_the_teacher_sees_everybody_and_the_groups(url: str, keys: dict[str, tuple[str, str]]) -> None:
    answer = httpx.get(f"{url}/usage", auth=("", keys["teacher"][1]))
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    text = answer.text
    for expected in ("anna", "bob &lt;script&gt;", "teacher", "100 tokens", "95 % used", "25 % used", "1,000 tokens",
                     "40 % used", "$0.50", "rag&lt;b&gt;", "3 requests, 395 tokens"):  # fmt: skip
        assert expected in text, expected
    assert "<script" not in text and "rag<b>" not in text
    assert "script-src 'none'" in text
    bars = re.findall(r'class="part (\w+)" x="0.00%" width="([\d.]+)%"', text)
    assert bars == [("near", "95.00"), ("used", "25.00"), ("used", "39.50")]


def test_a_student_sees_their_own_row_alone(url: str, keys: dict[str, tuple[str, str]]) -> None:
    text = httpx.get(f"{url}/usage", headers={"Authorization": f"Bearer {keys['anna'][1]}"}).text
    assert "anna" in text and "2 requests, 95 tokens" in text
    for hidden in ("bob", "teacher", "1,000 tokens", "$0.50", keys["anna"][1]):
        assert hidden not in text, hidden


def test_it_needs_a_key_once_there_are_any(url: str, keys: dict[str, tuple[str, str]]) -> None:
    assert httpx.get(f"{url}/usage").status_code == 401
    assert httpx.get(f"{url}/usage", auth=("teacher", "gt-wrong")).status_code == 401
    assert httpx.get(f"{url}/usage", headers={"Authorization": "Basic %%%"}).status_code == 401


def test_an_open_server_shows_what_everybody_used(url: str, serving: Serving) -> None:
    assert "Nothing has been used yet." in httpx.get(f"{url}/usage").text
    usage.record(serving.store, [entry("anonymous")])
    text = httpx.get(f"{url}/usage").text
    assert "anonymous" in text and "1 requests, 15 tokens" in text


def test_revoked_keys_stay_on_the_page(url: str, serving: Serving, keys: dict[str, tuple[str, str]]) -> None:
    revoke_key(serving.store, "anna")
    text = httpx.get(f"{url}/usage", auth=("", keys["teacher"][1])).text
    assert text.count("not in force") == 1 and "395 tokens" in text


def test_days_and_models_are_summed(serving: Serving, keys: dict[str, tuple[str, str]]) -> None:
    found = figures(serving.store, now=time.time())
    assert (found["use"][0]["model"], found["use"][0]["prompt_tokens"]) == ("rag<b>", 5)  # the oldest day first
    assert {line["name"]: line["requests"] for line in found["groups"]} == {"class": 3}
    assert sum(row["requests"] for row in found["use"]) == 3
    assert found["keys"][1]["usd"] == 0.5 and found["keys"][2]["last_seen"] is None


def test_the_page_is_well_formed_and_needs_nothing_else(url: str, keys: dict[str, tuple[str, str]]) -> None:
    page = Page(httpx.get(f"{url}/usage", auth=("", keys["teacher"][1])).text)
    assert not page.faults and not page.open
    assert "script" not in page.tags and not page.values("src") and all(h.startswith("#") for h in page.values("href"))
    assert "Nothing has been used" not in page.text and "Use by model" in page.text
