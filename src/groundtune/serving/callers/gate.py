"""Who may call: every path but :data:`OPEN` needs a valid key, unless the server has no key and listens on loopback only.

Without keys, whatever runs on this machine may call, and a web page in a browser here is such a thing. So a server without
keys answers only to its own names (a page that points its host name here, DNS rebinding, sends another ``Host``), and not
to requests that a browser makes for another site (``Origin``, ``Sec-Fetch-Site``).

A key is read from the database with every request: what ``groundtune serve keys revoke`` puts out of force opens nothing more.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
import time
from urllib.parse import urlsplit

import anyio
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from groundtune.errors import ConfigError
from groundtune.serving.callers.access import ANONYMOUS, Caller
from groundtune.serving.callers.keys import Limits, all_keys, any_key, find_group, find_key, in_force, in_part
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import Body, Store

#: paths that need no key
OPEN = frozenset({"/healthz"})
#: paths that people open in a browser, which asks for a name and a password: the key is the password
BROWSED = ("/usage", "/metrics", "/sources/")
#: where a request of the server itself, on behalf of somebody, says whose it is; no client can fill it
CALLER = "groundtune.caller"
#: threads that look keys up, apart from those that generate
_THREADS = 8


def is_loopback(host: str) -> bool:
    """Whether what listens on a host is reached from this machine only.

    Raises:
        ConfigError: no such host.
    """
    if not host:
        return False  # every address
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"serve.host {host!r} is no address of this machine: {error}",
            expected="an address or a host name",
            next_step="--host 127.0.0.1",
        ) from None
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


class Gate:
    """Finds out who calls, and turns away who may not. Puts a ``Caller`` into the request's state.

    Args:
        app: what is behind.
        serving: whose keys.
    """

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self.app, self.store = app, serving.store
        self.host = serving.config.host.lower()
        self.loopback = is_loopback(serving.config.host)
        self._keyed = False  # once there is a key there always is
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with what is in its way."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN):
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        if scope.get(CALLER) is not None:
            scope.setdefault("state", {})["caller"] = scope[CALLER]
            await self.app(scope, receive, send)
            return
        try:
            caller = await anyio.to_thread.run_sync(
                self.caller, headers, scope["method"], scope["path"].startswith(BROWSED), limiter=self._threads
            )
        except ApiError as error:
            await JSONResponse(error.body, error.status, error.headers)(scope, receive, send)
            return
        except SQLAlchemyError:
            down = ApiError(503, "The server's database does not answer.", type="server_error")
            await JSONResponse(down.body, down.status)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)

    def caller(self, headers: Headers, method: str, browsed: bool = False) -> Caller:
        """Who calls. Blocks for a database read.

        Raises:
            ApiError: no valid key where one is needed (401), or a request that a browser makes for another site (403).
        """
        self._keyed = self._keyed or any_key(self.store)
        if not self._keyed and self.loopback:
            self._check_browser(headers, method)
            return Caller(ANONYMOUS, ANONYMOUS, admin=True)
        key = _presented(headers, browsed)
        if not key:
            raise _refused(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                browsed,
            )
        body = find_key(self.store, key)
        if body is None:
            raise _refused(f"Incorrect API key provided: {in_part(key)}.", browsed)
        if not in_force(body, time.time()):
            what = "been revoked" if body["revoked_at"] is not None else "expired"
            raise _refused(f"The API key {in_part(key)} has {what}.", browsed)
        return _caller(self.store, body)

    def _check_browser(self, headers: Headers, method: str) -> None:
        name = _host_name(headers.get("host", ""))
        if name is None or not (name == self.host or name == "localhost" or _is_loopback_address(name)):
            message = (
                "This server has no keys, so it answers only to localhost, 127.0.0.1, [::1] and its configured host, not to "
                "the host named in this request. To reach it by another name, make keys: groundtune serve keys create NAME"
            )
            raise ApiError(403, message, code="host_not_allowed")
        origin = headers.get("origin")
        own = f"http://{headers.get('host', '').lower()}"
        site, navigates = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode") == "navigate"
        foreign = site in ("cross-site", "same-site") and not (navigates and method in ("GET", "HEAD"))
        if (origin is not None and origin.lower() != own) or foreign:
            message = "This server has no keys, so it does not answer to web pages of other sites."
            raise ApiError(403, message, code="origin_not_allowed")


def _caller(store: Store, key: Body) -> Caller:
    group = find_group(store, key["group"]) if key["group"] else None
    limits = Limits.of(group) if group else Limits()
    return Caller(key["id"], key["name"], key["admin"], key["group"], Limits.of(key), limits)


def caller_by_id(store: Store, id: str) -> Caller | None:
    """Who asked for something that is done later; None where the key is no longer in force."""
    if id == ANONYMOUS:
        return None if any_key(store) else Caller(ANONYMOUS, ANONYMOUS, admin=True)
    key = next((body for body in all_keys(store) if body["id"] == id), None)
    return _caller(store, key) if key is not None and in_force(key, time.time()) else None


def _presented(headers: Headers, browsed: bool) -> str:
    """The key of a request; "" where there is none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if browsed and scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


def _refused(message: str, browsed: bool) -> ApiError:
    headers = {"www-authenticate": 'Basic realm="groundtune", charset="UTF-8"' if browsed else "Bearer"}
    return ApiError(401, message, code="invalid_api_key", headers=headers)


def _host_name(host: str) -> str | None:
    """The name in a ``Host`` header, in lower case and without port and brackets; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
