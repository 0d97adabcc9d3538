"""``groundtune serve`` and ``groundtune serve keys`` as commands: a class of thirty, and what goes wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sample_project import command, environment, run, run_json


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A project folder without a config."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@contextmanager
def server(project: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``groundtune serve --port 0``, its URL up to /v1, and the process."""
    process = subprocess.Popen(
        command("serve", "--port", "0", "--project", project, *options),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(PYTHONUNBUFFERED="1"),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r"http://\S+/v1", first)
        assert found, first + (process.stderr.read() if process.stderr else "")
        for _ in range(1000):
            try:
                httpx.get(found[0].removesuffix("/v1") + "/healthz", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield found[0], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def table(folder: Path, text: str | bytes, name: str = "students.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def listed(project: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run_json("serve", "keys", "list", "--project", project)
    return found


# ---------------------------------------------------------------- the server


def test_it_serves_and_ctrl_c_stops_it(empty: Path) -> None:
    with server(empty) as (url, process):
        assert httpx.get(f"{url}/files").json()["data"] == []
        assert httpx.get(url.removesuffix("/v1") + "/healthz").json() == {"status": "ok"}
        httpx.get(f"{url}/files/file-1")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0 and time.monotonic() - began < 5
        assert process.stdout is not None and process.stderr is not None
        # communicate() would lose what came along with the line that was read
        out, err = process.stdout.read(), process.stderr.read()
    assert f"export OPENAI_BASE_URL={url}" in out and "gpt-*" in out and "pebble" in out and "stopped" in out
    logged = [json.loads(line) for line in err.splitlines()]
    assert [line["status"] for line in logged if line["route"] != "/healthz"] == [200, 404]
    assert "Traceback" not in err


def test_ctrl_c_stops_it_while_a_client_keeps_its_line_open(empty: Path) -> None:
    with server(empty) as (url, process), httpx.Client() as client:
        client.get(f"{url}/files")
        host, port = url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as line:
            line.sendall(b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx")
            time.sleep(0.2)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
            assert process.returncode == 0 and time.monotonic() - began < 8


def test_a_thread_that_still_generates_does_not_keep_the_process() -> None:
    code = "import threading, time; from groundtune.cli.serve import leave; "
    code += "threading.Thread(target=time.sleep, args=(60,)).start(); print('stopped'); leave()"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, b"stopped\n")


def test_a_taken_port_is_one_message(empty: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), "--project", empty)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr and f"--port {port + 1}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_other_machines_need_keys(host: str, empty: Path) -> None:
    done = run("serve", "--host", host, "--port", "0", "--project", empty)
    assert done.returncode == 2
    assert "reached from other machines" in done.stderr and "groundtune serve keys create NAME" in done.stderr


def test_a_host_name_of_the_network_needs_keys_too(empty: Path) -> None:
    name = socket.gethostname()
    found = {info[4][0] for info in socket.getaddrinfo(name, None)}
    if all(str(address).startswith("127.") or address == "::1" for address in found):
        pytest.skip("this machine's own name is loopback")
    assert run("serve", "--host", name, "--port", "0", "--project", empty).returncode == 2


def test_with_a_key_in_force_it_listens_everywhere(empty: Path) -> None:
    (made,) = run_json("serve", "keys", "create", "anna", "--project", empty)
    with server(empty, "--host", "0.0.0.0") as (url, _):
        assert httpx.get(f"{url}/files").status_code == 401
        assert httpx.get(f"{url}/files", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    assert run("serve", "keys", "revoke", "anna", "--project", empty).returncode == 0
    done = run("serve", "--host", "0.0.0.0", "--port", "0", "--project", empty)
    assert done.returncode == 2 and "no key in force" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--backend", "vlm"), "did you mean 'vllm'?"),
        (("--host", "no.such.host.invalid"), "serve.host 'no.such.host.invalid' is no address"),
        (("--database", "mysql+nothing://x/y"), "serve.database"),
        (("--port", "70000"), "65535"),
        (("--port", "1", "keys", "list"), "--port stands before 'keys'"),
    ],
)
def test_what_cannot_be_served_is_one_message(options: tuple[str, ...], says: str, empty: Path) -> None:
    project = () if "keys" in options else ("--project", str(empty))
    done = run("serve", *options, *project)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


# ---------------------------------------------------------------- keys


def test_a_key_is_shown_once(empty: Path) -> None:
    done = run("serve", "keys", "create", "anna", "--budget-tokens", "500", "--models", "gpt-*,rag", "--rpm", "6",
               "--tpm", "700", "--expires", "30d", "--project", empty)  # fmt: skip
    assert done.returncode == 0
    key = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"gt-[\w-]{43}", key)
    (body,) = listed(empty)
    assert body["limits"] == {
        "models": ["gpt-*", "rag"], "budget_tokens": 500, "budget_usd": None, "requests_per_minute": 6, "tokens_per_minute": 700,
    }  # fmt: skip
    assert abs(body["expires_at"] - time.time() - 30 * 86_400) < 100
    plain = run("serve", "keys", "list", "--project", empty).stdout
    assert key not in plain + json.dumps(body) and "digest" not in body and "anna" in plain


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create",), "NAME or --csv FILE"),
        (("create", "a", "--csv", "x.csv"), "NAME or --csv FILE"),
        (("create", "a", "--out", "x.csv"), "--out goes with --csv"),
        (("create", "a", "--expires", "2020-01-01"), "a day to come"),
        (("create", "a", "--expires", "soon"), "a day to come"),
        (("create", "a", "--budget-usd", "nan"), "a number over 0"),
        (("create", "a", "--group", "class"), "unknown group of keys 'class'"),
        (("create", "=cmd"), "the first a letter or a digit"),
        (("create", "--csv", "nothing.csv"), "nothing.csv: cannot be read"),
        (("revoke", "nobody"), "unknown key 'nobody'"),
    ],
)
def test_what_the_user_can_mend(arguments: tuple[str, ...], says: str, empty: Path) -> None:
    done = run("serve", "keys", *arguments, "--project", empty)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
    assert listed(empty) == []


def test_a_name_is_given_once_until_it_is_revoked(empty: Path) -> None:
    assert run("serve", "keys", "create", "anna", "--project", empty).returncode == 0
    again = run("serve", "keys", "create", "Anna", "--project", empty)
    assert again.returncode == 2 and "there is a key of the name 'Anna' already" in again.stderr
    assert run("serve", "keys", "revoke", "anna", "--project", empty).returncode == 0
    assert run("serve", "keys", "create", "Anna", "--project", empty).returncode == 0
    assert [body["revoked_at"] is None for body in listed(empty)] == [False, True]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("name,budget_tokens\nanna,ten\nbob,5\n", ["students.csv:2: column 'budget_tokens': 'ten', expected a whole number"]),
        ("name;budget_usd\nanna;1,5\n", ["students.csv:2: column 'budget_usd': '1,5', expected a number over 0"]),
        ('name,group\n"an\nna",x\nbob,\nBOB,\n', ["students.csv:2: column 'name'", "students.csv:5: name 'BOB' stands in line 4 already"]),
        ("name,expires\nanna,2001-01-01\n", ["students.csv:2: column 'expires': '2001-01-01', expected a day"]),
        ("email\n\n=SUM(A1)\n", ["students.csv:3: column 'email': '=SUM(A1)'"]),
        ("name\nanna,1,2\n", ["students.csv:2: 3 values, expected at most 1"]),
        ("name,rpm\nanna,0\n", ["students.csv:2: column 'requests_per_minute': '0'"]),
        ("name,budget_token\nanna,5\n", ["students.csv:1: unknown column 'budget_token'", "did you mean 'budget_tokens'?"]),
        ("name,name\nanna,5\n", ["students.csv:1: column 'name' stands there twice"]),
        ("person\nanna\n", ["students.csv:1: no column 'name' or 'email' among 'person'"]),
        ("name\n", ["students.csv: has no rows"]),
        ("", ["students.csv: is empty"]),
        ('name\n"anna\n', ["students.csv:2: is no CSV"]),
        (b"name\nJos\xe9\n", ["students.csv: byte 8 is not UTF-8"]),
        ("name,group\nanna,nowhere\n", ["unknown group of keys 'nowhere'"]),
    ],
)  # fmt: skip
def test_a_faulty_table_makes_no_key(text: str | bytes, faults: list[str], empty: Path, tmp_path: Path) -> None:
    path = table(tmp_path, text)
    done = run("serve", "keys", "create", "--csv", path, "--out", tmp_path / "keys.csv", "--project", empty)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for fault in faults:
        assert fault in done.stderr, done.stderr
    assert listed(empty) == [] and not (tmp_path / "keys.csv").exists()


def test_a_file_with_keys_is_never_overwritten(empty: Path, tmp_path: Path) -> None:
    path = table(tmp_path, "name\nanna\n")
    (tmp_path / "keys.csv").write_text("the keys of last year")
    done = run("serve", "keys", "create", "--csv", path, "--project", empty, cwd=tmp_path)
    assert done.returncode == 2 and "may hold keys that are nowhere else" in done.stderr
    assert (tmp_path / "keys.csv").read_text() == "the keys of last year" and listed(empty) == []


def test_a_class_of_thirty_from_one_table(empty: Path, tmp_path: Path) -> None:
    """As Excel saves it: a mark at the beginning, semicolons, CR LF, a column of its own."""
    assert run("serve", "keys", "group", "class", "--budget-tokens", "90000", "--project", empty).returncode == 0
    rows = "".join(f"Élise {n};m{n:05};{1000 + n if n % 2 else ''}\r\n" for n in range(30))
    path = table(tmp_path, "\ufeffName;Matriculation;Budget tokens\r\n" + rows)
    done = run("serve", "keys", "create", "--csv", path, "--out", tmp_path / "keys.csv", "--group", "class",
               "--budget-tokens", "500", "--models", "gpt-4o*", "--project", empty)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "columns that mean nothing here: Matriculation" in done.stderr
    assert stat.S_IMODE((tmp_path / "keys.csv").stat().st_mode) == 0o600
    with (tmp_path / "keys.csv").open(encoding="utf-8", newline="") as file:
        keys = list(csv.DictReader(file))
    assert [row["name"] for row in keys] == [f"Élise {n}" for n in range(30)]
    assert len({row["key"] for row in keys}) == 30 and {row["group"] for row in keys} == {"class"}
    assert not [row for row in keys if row["key"] in done.stdout + done.stderr]
    found = listed(empty)
    assert [body["limits"]["budget_tokens"] for body in found[:4]] == [500, 1001, 500, 1003]
    assert {tuple(body["limits"]["models"]) for body in found} == {("gpt-4o*",)}


def test_revoking_takes_effect_while_the_server_runs(empty: Path) -> None:
    anna, teacher = (run_json("serve", "keys", "create", name, *more, "--project", empty)[0]["key"]
                     for name, more in (("anna", ()), ("teacher", ("--admin",))))  # fmt: skip
    with server(empty) as (url, process):

        def status(key: str) -> int:
            return httpx.get(f"{url}/files", headers={"Authorization": f"Bearer {key}"}).status_code

        assert (status(anna), status(teacher), status("gt-none")) == (200, 200, 401)
        assert run("serve", "keys", "revoke", "anna", "--project", empty).returncode == 0
        assert (status(anna), status(teacher)) == (401, 200)
        page = httpx.get(url.removesuffix("/v1") + "/usage", auth=("x", teacher)).text
        assert "anna" in page and "not in force" in page
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert anna not in err and teacher not in err
    names = {line["key_name"] for line in map(json.loads, err.splitlines()) if line["status"] == 200 and line["key"]}
    assert names == {"anna", "teacher"}


def test_usage_by_key(empty: Path) -> None:
    run_json("serve", "keys", "create", "anna", "--budget-tokens", "50", "--project", empty)
    found = run_json("serve", "keys", "usage", "--project", empty)
    assert [(line["name"], line["requests"], line["budget_tokens"]) for line in found["keys"]] == [("anna", 0, 50)]
    assert found["use"] == [] and "anna" in run("serve", "keys", "usage", "--project", empty).stdout


def test_a_budget_in_dollars_without_prices_is_pointed_out(empty: Path) -> None:
    done = run("serve", "keys", "create", "a", "--budget-usd", "1", "--project", empty)
    assert done.returncode == 0 and "no alias under serve.aliases has a price" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_named(empty: Path) -> None:
    empty.chmod(0o500)
    try:
        assert run("serve", "keys", "create", "a", "--project", empty).returncode == 2
    finally:
        empty.chmod(0o700)
