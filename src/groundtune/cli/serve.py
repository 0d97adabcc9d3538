"""``groundtune serve``: the OpenAI API over the project, until Ctrl-C."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundtune.cli import serve_keys
from groundtune.cli._common import ConfigOption, ModelOption, ProjectOption, open_project, say
from groundtune.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup
    from groundtune.serving.state import Serving

app = typer.Typer(add_completion=False)
app.add_typer(serve_keys.app, name="keys")
#: what may generate
BACKENDS = ("local", "vllm")
#: seconds that answers still running have after Ctrl-C
_GRACE = 3


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; any other than loopback needs keys.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = None,
    database: serve_keys.DatabaseOption = None,
    backend: Annotated[str | None, typer.Option("--backend", help="What generates: local or vllm.")] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    log_prompts: Annotated[
        bool, typer.Option("--log-prompts", help="Write prompts and answers into the log, too.")
    ] = False,
) -> None:
    """Serve the OpenAI API: chat, embeddings, files and fine-tuning jobs; what a client needs is a base URL.

    Listens on this machine only, unless there are keys: `groundtune serve keys create NAME`.
    """
    if context.invoked_subcommand:
        sources = {name: context.get_parameter_source(name) for name in context.params}
        given = [name for name, source in sources.items() if source and source.name not in ("DEFAULT", "DEFAULT_MAP")]
        if given:
            raise ConfigError(
                f"--{given[0].replace('_', '-')} stands before {context.invoked_subcommand!r}",
                next_step=f"put it behind: groundtune serve {context.invoked_subcommand} ... --{given[0].replace('_', '-')} ...",
            )
        return
    if backend is not None and backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    setup = open_project(project, config, model=model)
    given_here = {
        "host": host, "port": port, "database": database, "backend": backend, "log_prompts": log_prompts or None
    }  # fmt: skip
    changes = {name: value for name, value in given_here.items() if value is not None}
    settings = setup.config.serve.model_copy(update=changes)
    setup.config = setup.config.model_copy(update={"serve": settings})
    _serve(setup)


def _serve(setup: Setup) -> None:
    settings = setup.config.serve
    from groundtune.serving.callers.gate import is_loopback
    from groundtune.serving.callers.keys import all_keys, in_force
    from groundtune.serving.state import Serving

    local = is_loopback(settings.host)
    serving = Serving.open(setup)
    keys = all_keys(serving.store)
    usable = sum(in_force(body, time.time()) for body in keys)
    if not local and not usable:
        raise ConfigError(
            f"serve.host {settings.host!r} is reached from other machines, and there is no key in force",
            expected="a key for everybody who may use it, or --host 127.0.0.1",
            next_step="groundtune serve keys create NAME",
        )
    line = listen(settings.host, settings.port)
    try:
        _announce(setup, line, systems=serving.catalog.systems(), keys=usable, open_=not keys)
        _run(serving, line)
    finally:
        line.close()
        serving.store.close()
    say("stopped")
    leave()


def leave() -> None:
    """End the process, also where a thread still generates for a client that has gone; no thread is waited for longer than a second."""
    deadline = time.monotonic() + 1
    others = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    for thread in others:
        thread.join(max(deadline - time.monotonic(), 0))
    if any(thread.is_alive() for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the port is taken or not ours, or the address is none of this machine's.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = sorted(found, key=lambda info: info[0] != socket.AF_INET)[0]
    line = socket.socket(family, kind, protocol)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and not host:
        line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        line.bind(address)
        line.listen(2048)
    except OSError as error:
        line.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is taken by another program",
                next_step=f"stop that one, or groundtune serve --port {port + 1 if port < 65535 else 8000}",
            ) from None
        if error.errno == errno.EACCES:
            raise ConfigError(f"port {port} of {host} is for the system's own", next_step="groundtune serve --port 8000") from None  # fmt: skip
        raise ConfigError(
            f"serve.host {host!r} cannot be listened on: {error.strerror}", expected="an address of this machine"
        ) from None
    return line


def _announce(setup: Setup, line: socket.socket, *, systems: list[str], keys: int, open_: bool) -> None:
    from rich.markup import escape

    host, port = line.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    url = f"http://{shown}:{port}"
    settings = setup.config.serve
    say(f"groundtune serves the OpenAI API at [bold]{url}/v1[/bold]" + ("" if shown in host else f" (on {host})"))
    for name, given in settings.aliases.items():
        target = given if isinstance(given, str) else given.model + (f" at {given.base_url}" if given.base_url else "")
        say(f"  {escape(name):<24} {escape(target)}")
    say(f"  {'Systems':<24} {escape(', '.join(systems))}")
    if settings.openai_names:
        say(f"  {'gpt-*':<24} {escape(setup.config.model)}")
        say(f"  {'text-embedding-*':<24} {escape(setup.config.index.embedder)}")
    say("  callers                  " + ("everybody on this machine: there are no keys" if open_ else f"{keys} keys"))
    say(f"  usage, figures           {url}/usage {url}/metrics")
    say(f"\n  export OPENAI_BASE_URL={url}/v1")
    say(f"  export OPENAI_API_BASE={url}/v1     # LlamaIndex")
    say(f"  export OPENAI_API_KEY={'anything' if open_ else 'gt-...'}")
    say("\nCtrl-C stops it.")
    sys.stdout.flush()


def _run(serving: Serving, line: socket.socket) -> None:
    import uvicorn

    from groundtune.nn.computing import reserve_cores
    from groundtune.serving.app import create_app
    from groundtune.serving.connections import Patient, raise_file_limit

    reserve_cores()
    Patient.most = raise_file_limit()
    log = logging.getLogger("groundtune")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addHandler(handler)
    config = uvicorn.Config(
        create_app(serving), log_config=None, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=_GRACE, http=Patient,
    )  # fmt: skip
    for name in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them once more when it has stopped in good order
        signal.signal(name, lambda *_: None)
    uvicorn.Server(config).run(sockets=[line])
