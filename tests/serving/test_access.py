"""Who may call, and what they may have generated: through the official client, over a real server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from counting_route import counting_app, opened, words, written
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers

from groundtune.errors import ConfigError
from groundtune.serving.callers import usage
from groundtune.serving.callers.access import Access, Caller
from groundtune.serving.callers.gate import Gate, is_loopback
from groundtune.serving.callers.keys import Limits, NewKey, make_keys, revoke_key, set_group
from groundtune.serving.callers.rates import LastMinute
from groundtune.serving.callers.ticketed import TicketedStream
from groundtune.serving.catalog import Model
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving
from live_server import live
from sample_project import environment

MODEL = Model("gpt-4o", "weights", "pebble")


@pytest.fixture
def app(serving: Serving) -> FastAPI:
    return counting_app(serving)


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with live(app) as found:
        yield found


def wait_for_the_end(app: FastAPI) -> None:
    """Until what runs is written down: a client has the last word of a stream a moment before."""
    deadline = time.monotonic() + 10
    while app.state.access.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert app.state.access.in_flight == 0


def key_of(serving: Serving, name: str = "a", **more: Any) -> str:
    ((_, key),) = make_keys(serving.store, [NewKey(name, **more)])
    return key


def client_of(url: str, key: str) -> Any:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def ask(client: Any, tokens: int = 3, **more: Any) -> list[str]:
    """The words of a streamed answer of the counting route."""
    return list(words(client, tokens, **more))


# ---------------------------------------------------------------- who


def test_without_keys_a_server_on_loopback_is_open(serving: Serving, url: str) -> None:
    assert len(list(written(client_of(url, "whatever"), 3))) == 3
    assert httpx.get(f"{url}/usage").status_code == httpx.get(f"{url}/metrics").status_code == 200


def test_from_the_first_key_on_every_path_needs_one(serving: Serving, url: str) -> None:
    assert httpx.get(f"{url}/v1/files").status_code == 200
    key = key_of(serving)
    for path in (
        "/v1/files",
        "/v1/nothing",
        "/usage",
        "/metrics",
        "/docs",
        "/openapi.json",
        "//v1/files",
        "/v1/%66iles",
    ):
        assert httpx.get(url + path).status_code == 401, path
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{url}/v1/files", headers={"Authorization": f"bearer {key}"}).status_code == 200
    for wrong in (f"Basic {key}", key, "Bearer", f"Token {key}", "Bearer \x80\xff"):
        assert httpx.get(f"{url}/v1/files", headers={"Authorization": wrong.encode("latin-1")}).status_code == 401, (
            wrong
        )
    assert httpx.get(f"{url}/usage", auth=("anybody", key)).status_code == 200
    assert httpx.get(f"{url}/v1/files", auth=("anybody", key)).status_code == 401  # a browser sends it unasked


def test_a_wrong_key_is_refused_in_openais_form_and_not_repeated(serving: Serving, url: str) -> None:
    key_of(serving)
    wrong = "gt-" + "Q" * 41 + "xy"
    with pytest.raises(openai.AuthenticationError) as caught:
        client_of(url, wrong).files.list()
    assert caught.value.body == {
        "message": "Incorrect API key provided: gt-Q...xy.", "type": "invalid_request_error", "param": None,
        "code": "invalid_api_key",
    }  # fmt: skip
    assert caught.value.request_id.startswith("req_")
    assert "secret" not in httpx.get(f"{url}/v1/files", headers={"Authorization": "Bearer secret"}).text
    assert httpx.get(f"{url}/usage").headers["www-authenticate"].startswith("Basic ")


def test_a_revoked_key_opens_nothing_at_once_and_the_server_stays_shut(serving: Serving, url: str) -> None:
    client = client_of(url, key_of(serving))
    client.files.list()
    revoke_key(serving.store, "a")
    with pytest.raises(openai.AuthenticationError, match="has been revoked"):
        client.files.list()
    assert httpx.get(f"{url}/v1/files").status_code == 401
    expired = client_of(url, key_of(serving, "b", expires_at=int(time.time()) - 1))
    with pytest.raises(openai.AuthenticationError, match="has expired"):
        expired.files.list()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("", False), ("192.0.2.7", False), ("10.0.0.1", False), ("fe80::1%lo", False)],
)  # fmt: skip
def test_which_addresses_are_this_machines_own(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_host_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"serve\.host 'no such host'"):
        is_loopback("no such host")


def test_on_another_address_nothing_is_open_without_keys(tmp_path: Path) -> None:
    gate = Gate(lambda *_: None, opened(tmp_path, host="0.0.0.0"))  # type: ignore[arg-type, return-value]
    with pytest.raises(ApiError) as caught:
        gate.caller(Headers({"host": "localhost"}), "GET")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9999"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example:8000"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "localhost:x"}, 403),
        ({"Host": "192.0.2.1"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000", "Host": "localhost:8000"}, 403),
        ({"Origin": "http://localhost:8000", "Host": "localhost:8000"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
)
def test_a_web_page_of_another_site_reaches_nothing(headers: dict[str, str], status: int, url: str) -> None:
    answer = httpx.get(f"{url}/v1/files", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    if status == 403:
        assert answer.json()["error"]["code"] in ("host_not_allowed", "origin_not_allowed")


def test_a_form_of_another_site_starts_nothing(url: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}  # a form that is sent by itself
    answer = httpx.post(f"{url}/v1/files", headers=headers, files={"file": b"x"}, data={"purpose": "batch"})
    assert answer.status_code == 403 and httpx.get(f"{url}/v1/files").json()["data"] == []


# ---------------------------------------------------------------- what


def test_models_outside_the_list_are_refused(serving: Serving, url: str) -> None:
    client = client_of(url, key_of(serving, limits=Limits(models=("gpt-4o*", "rag"))))
    assert len(list(written(client, 3, model="gpt-4o-mini"))) == 3
    create = (
        lambda model: client.completions.create(model=model, prompt="a"),
        lambda model: client.responses.create(model=model, input="a"),
        lambda model: client.chat.completions.create(model=model, messages=[{"role": "user", "content": "a"}]),
        lambda model: client.embeddings.create(model=model, input="a"),
        lambda model: client.moderations.create(model=model, input="a"),
    )
    for n, call in enumerate(create):
        refused = {3: "text-embedding-3-small", 4: "omni-moderation-latest"}.get(n, "gpt-3.5-turbo")
        with pytest.raises(openai.PermissionDeniedError) as caught:
            call(refused)
        assert (caught.value.code, caught.value.param) == ("model_not_allowed", "model")


def test_requests_a_minute(serving: Serving, url: str) -> None:
    client = client_of(url, key_of(serving, limits=Limits(requests_per_minute=2)))
    ask(client), ask(client)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.code == "rate_limit_exceeded"
    assert 50 <= int(caught.value.response.headers["retry-after"]) <= 61  # counted in tenths, said in whole seconds
    assert len(ask(client_of(url, key_of(serving, "b")))) == 3  # another key is not touched


def test_tokens_a_minute_count_prompt_and_completion(serving: Serving, url: str) -> None:
    client = client_of(url, key_of(serving, limits=Limits(tokens_per_minute=10)))
    ask(client, 5, prompt="a b c")  # 8
    with pytest.raises(openai.RateLimitError, match="10 tokens a minute"):
        ask(client, 1, prompt="a b c")
    with pytest.raises(openai.RateLimitError, match="too large") as caught:
        ask(client, 1, prompt="a " * 11)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_minute_slides() -> None:
    window = LastMinute()
    for second in (0.0, 10.0, 20.0):
        window.add(1, second)
    assert window.wait(1, 3, 30.0) == pytest.approx(30.0)  # until the first is a minute old
    assert window.wait(2, 3, 30.0) == pytest.approx(40.0)
    assert window.wait(4, 3, 30.0) == float("inf")
    assert window.wait(1, 3, 60.1) == 0.0 and window.total == 2
    for n in range(100_000):
        window.add(1, 100 + n / 1000)
    assert len(window._parts) <= 1003
    window.wait(0, 1, 200.0)
    assert len(window._parts) <= 601


def test_a_budget_stops_in_mid_stream_at_its_last_token(serving: Serving, app: FastAPI, url: str) -> None:
    key = key_of(serving, limits=Limits(budget_tokens=20))
    client = client_of(url, key)
    got: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        got.extend(words(client, 500, prompt="a b c d e"))
    assert caught.value.code == "insufficient_quota" and len(got) == 15  # 20 less the prompt's 5
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client)
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    wait_for_the_end(app)
    (total,) = [usage.total_of(serving.store, k["id"]) for k in serving.store.all("key")]
    assert (total.tokens, total.requests) == (20, 1)


def test_the_real_route_stops_at_the_budgets_last_token(serving: Serving, app: FastAPI, url: str) -> None:
    client = client_of(url, key_of(serving, limits=Limits(budget_tokens=20)))
    prompt = client_of(url, key_of(serving, "b")).chat.completions.create(
        model="pebble", messages=[{"role": "user", "content": "a"}], max_tokens=1
    ).usage.prompt_tokens  # fmt: skip
    got: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        got.extend(written(client, 400))
    assert caught.value.code == "insufficient_quota" and len(got) == 20 - prompt
    with pytest.raises(openai.RateLimitError):
        list(written(client, 1))
    wait_for_the_end(app)
    assert usage.total_of(serving.store, serving.store.all("key")[0]["id"]).tokens == 20
    end = time.monotonic() + 20
    while app.state.generators.engines.load[1:] != (0, 0) and time.monotonic() < end:
        time.sleep(0.02)
    assert app.state.generators.engines.load[1:] == (0, 0)


def test_a_request_refused_for_its_parameters_is_not_charged(serving: Serving, app: FastAPI, url: str) -> None:
    long = [{"role": "user", "content": "word " * 600}]
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client_of(url, key_of(serving)).chat.completions.create(model="pebble", messages=long)  # type: ignore[arg-type]
    wait_for_the_end(app)
    (total,) = usage.totals(serving.store).values()
    assert (total.requests, total.tokens) == (1, 0)


def test_a_systems_prompt_is_charged(serving: Serving, app: FastAPI, url: str) -> None:
    client = client_of(url, key_of(serving))
    said = client.chat.completions.create(model="prompt", messages=[{"role": "user", "content": "a"}], max_tokens=5)
    wait_for_the_end(app)
    (total,) = usage.totals(serving.store).values()
    assert (total.prompt_tokens, total.completion_tokens) == (said.usage.prompt_tokens, said.usage.completion_tokens)
    assert total.prompt_tokens > 0


def test_a_prompt_that_does_not_fit_is_refused_before_any_work(serving: Serving, url: str) -> None:
    client = client_of(url, key_of(serving, limits=Limits(budget_tokens=4)))
    with pytest.raises(openai.RateLimitError, match="4 of 5 more tokens"):
        ask(client, prompt="a b c d e")
    assert serving.store.count("usage") == 0
    assert len(ask(client, 2, prompt="a b")) == 2


def test_streams_of_one_key_and_of_one_group_share_the_budget(serving: Serving, app: FastAPI, url: str) -> None:
    """Eight streams of two keys at once write exactly what the group has, to the token."""
    set_group(serving.store, "class", budget_tokens=100, budget_usd=None)
    clients = [client_of(url, key_of(serving, name, group="class")) for name in ("a", "b")]
    got: list[int] = []

    def read(client: Any) -> None:
        count = 0
        try:
            for _ in words(client, 500, prompt="a b", pause=0.001):
                count += 1
        except openai.APIError as error:
            assert error.code == "insufficient_quota"
        got.append(count)

    threads = [threading.Thread(target=read, args=(clients[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wait_for_the_end(app)
    admitted = serving.store.all("usage")
    prompts = sum(row["prompt_tokens"] for row in admitted)
    assert len(got) == 8 and sum(got) + prompts == 100
    assert usage.total_of(serving.store, "group:class").tokens == 100
    assert sum(row["completion_tokens"] for row in admitted) == sum(got)


def test_dollars_are_counted_by_the_aliass_prices(tmp_path: Path) -> None:
    alias = {"model": "pebble", "usd_per_million_prompt_tokens": 1000, "usd_per_million_completion_tokens": 10_000}
    serving = opened(tmp_path, aliases={"dear": alias})
    with live(app := counting_app(serving)) as url:
        client = client_of(url, key_of(serving, limits=Limits(budget_usd=0.105)))
        with pytest.raises(openai.APIError, match="used up"):
            ask(client, 100, prompt="a b c d e", model="dear")  # 5 x 0.001 + 10 x 0.01
        wait_for_the_end(app)
    (row,) = serving.store.all("usage")
    assert (row["prompt_tokens"], row["completion_tokens"], row["model"]) == (5, 10, "dear")
    assert row["usd"] == pytest.approx(0.105)


def test_more_at_once_than_run_and_wait_are_refused(tmp_path: Path) -> None:
    serving = opened(tmp_path, concurrency=1, waiting=1)
    access = Access(serving)
    caller = Caller("anonymous", "anonymous")
    first, second = access.admit(caller, MODEL, 1), access.admit(caller, MODEL, 1)
    with pytest.raises(ApiError) as caught:
        access.admit(caller, MODEL, 1)
    assert (caught.value.status, caught.value.code) == (429, "engine_overloaded")
    assert int(caught.value.headers["retry-after"]) >= 1
    first.close(), first.close()  # twice is once
    with access.admit(caller, MODEL, 1):
        assert access.in_flight == 2
    second.close()
    assert access.in_flight == 0


def test_what_is_written_after_the_end_is_refused_and_counts_nowhere(anywhere: Serving) -> None:
    """A thread that goes on generating for a client that has gone is told to stop, and takes nothing from the budget."""
    access = Access(anywhere)
    ticket = access.admit(Caller("key_1", "a", limits=Limits(budget_tokens=9)), MODEL, 1)
    ticket.wrote(2)
    ticket.close()
    with pytest.raises(ApiError) as caught:
        ticket.wrote(1)
    ticket.settle(500, 500)
    assert caught.value.status == 499 and usage.total_of(anywhere.store, "key_1").tokens == 3
    assert access._accounts["key_1"].open_tokens == 0


def test_what_failed_before_its_first_token_is_not_charged(anywhere: Serving) -> None:
    access = Access(anywhere)
    caller = Caller("key_1", "a")
    with pytest.raises(ApiError), access.admit(caller, MODEL, 50):
        raise ApiError(503, "no")
    assert usage.total_of(anywhere.store, "key_1").tokens == 0
    with pytest.raises(ApiError), access.admit(caller, MODEL, 50) as ticket:
        ticket.wrote(1)
        raise ApiError(503, "no")
    with pytest.raises(KeyboardInterrupt), access.admit(caller, MODEL, 50):
        raise KeyboardInterrupt  # work was done on the prompt
    total = usage.total_of(anywhere.store, "key_1")
    assert (total.tokens, total.requests) == (101, 3)


def test_use_is_written_by_day_and_model_and_models_without_end_are_one(anywhere: Serving) -> None:
    access = Access(anywhere)
    for n in range(usage.MODELS_A_DAY + 5):
        access.admit(Caller("key_1", "a"), Model(f"gpt-{n}", "weights", "pebble"), 1).close()
    rows = usage.rows(anywhere.store, "key_1")
    assert len(rows) == usage.MODELS_A_DAY + 1
    assert next(row for row in rows if row["model"] == usage.OTHER)["requests"] == 5
    assert sum(row["requests"] for row in rows) == usage.total_of(anywhere.store, "key_1").requests == 55


def test_use_that_the_database_did_not_take_still_counts(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(serving)
    caller = Caller("key_1", "a", limits=Limits(budget_tokens=10))
    kept = usage.record

    def full(*_: Any) -> Any:
        raise OperationalError("insert", {}, Exception("database or disk is full"))

    monkeypatch.setattr(usage, "record", full)
    access.admit(caller, MODEL, 6).close()
    with pytest.raises(ApiError, match="4 of 5 more tokens"):
        access.admit(caller, MODEL, 5)
    monkeypatch.setattr(usage, "record", kept)
    access.admit(caller, MODEL, 4).close()
    total = usage.total_of(serving.store, "key_1")
    assert (total.tokens, total.requests) == (10, 2)
    with pytest.raises(ApiError, match="0 of 1"):
        access.admit(caller, MODEL, 1)


def test_two_servers_on_one_database_share_what_is_written_down(anywhere: Serving) -> None:
    caller = Caller("key_1", "a", limits=Limits(budget_tokens=10))
    one, two = Access(anywhere), Access(anywhere)
    one.admit(caller, MODEL, 7).close()
    with pytest.raises(ApiError, match="3 of 4"):
        two.admit(caller, MODEL, 4)
    two.admit(caller, MODEL, 3).close()
    with pytest.raises(ApiError, match="0 of 1"):
        one.admit(caller, MODEL, 1)


def test_a_client_that_goes_away_gives_its_place_back(serving: Serving) -> None:
    app = counting_app(serving)
    with live(app) as url:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a"}], "max_tokens": 10_000,
                "metadata": {"pause": "0.01"}}  # fmt: skip
        with httpx.stream("POST", f"{url}/v1/test/words", json=body) as stream:
            next(stream.iter_lines())
            assert app.state.access.in_flight == 1
        wait_for_the_end(app)
    (row,) = serving.store.all("usage")
    assert 1 <= row["completion_tokens"] < 5000 and row["prompt_tokens"] == 1


def test_an_answer_that_never_began_gives_its_place_back(serving: Serving) -> None:
    import anyio

    access = Access(serving)
    ticket = access.admit(Caller("key_1", "a"), MODEL, 1)
    closed: list[str] = []

    async def finish() -> None:
        closed.append("connection")

    async def gone(_: Any) -> None:
        raise OSError("gone")

    answer = TicketedStream(iter([b"x"]), ticket, finish=finish)
    with pytest.raises(OSError, match="gone"):
        anyio.run(answer, {"type": "http", "asgi": {"spec_version": "2.3"}}, _never, gone)
    assert access.in_flight == 0 and closed == ["connection"]


async def _never() -> Any:
    import anyio

    await anyio.sleep_forever()


def test_limits_are_counted_exactly_over_many_threads(anywhere: Serving) -> None:
    """Forty threads, one budget: what they wrote and what is written down are the budget, to the token."""
    access = Access(anywhere)
    caller = Caller("key_1", "a", limits=Limits(budget_tokens=1000))
    wrote: list[int] = []

    def work() -> None:
        for _ in range(4):
            try:
                with access.admit(caller, MODEL, 3) as ticket:
                    for _ in range(20):
                        ticket.wrote(1)
            except ApiError as error:
                assert json.dumps(error.body).count("insufficient_quota") == 2
            finally:
                wrote.append(1)

    threads = [threading.Thread(target=work) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    total = usage.total_of(anywhere.store, "key_1")
    assert len(wrote) == 160 and 998 <= total.tokens <= 1000  # a prompt of 3 that no longer fits may leave 2
    assert access.in_flight == 0 and access._accounts["key_1"].open_tokens == 0


def test_a_kill_loses_no_request_that_ended(anywhere: Serving) -> None:
    """kill -9 with one request in flight and four ended: four are written down."""
    code = f"""
import os, signal
from pathlib import Path
from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving.callers.access import Access, Caller
from groundtune.serving.catalog import Model
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace
config = Config.model_validate({{"serve": {{"database": {anywhere.config.database!r}}}}})
access = Access(Serving.open(Setup(Workspace(Path({str(anywhere.setup.workspace.root)!r})), config)))
for n in range(5):
    ticket = access.admit(Caller("key_1", "a"), Model("gpt-4o", "weights", "pebble"), 10)
    ticket.wrote(3)
    if n < 4:
        ticket.close()
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    total = usage.total_of(anywhere.store, "key_1")
    assert (total.requests, total.prompt_tokens, total.completion_tokens) == (4, 40, 12)
    assert [row["requests"] for row in usage.rows(anywhere.store)] == [4]
