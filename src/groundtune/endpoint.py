"""One HTTP endpoint that takes JSON and gives JSON: requests with retries, and faults said in words a user can act on.

The key is sent in a header and never written anywhere: messages that quote the endpoint have it blanked. Redirects are
refused, so that it never goes to another host. Standard library only. Leaves out what the JSON means.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from groundtune.errors import ConfigError, GroundtuneError, InputError

#: how names of models behind an endpoint begin, and where they are when they name no address
PREFIX, DEFAULT_URL = "openai:", "https://api.openai.com/v1"
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_MAX_ANSWER_BYTES = 32 << 20
_LONGEST_WAIT_SECONDS = 60.0


class EndpointError(GroundtuneError):
    """An endpoint that does not answer, or not what was asked.

    Attributes:
        status: the HTTP status; 0 where there was none.
        transient: True where the same request may succeed later.
        wait_seconds: how long the endpoint asks to wait first; None where it does not say.
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str = "",
        next_step: str = "",
        status: int = 0,
        transient: bool = False,
        wait_seconds: float | None = None,
    ) -> None:
        super().__init__(problem, expected=expected, next_step=next_step)
        self.status, self.transient, self.wait_seconds = status, transient, wait_seconds


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Endpoint:
    """An address with its key. Safe to call from several threads.

    Args:
        url: the address up to ``/v1``.
        key: sent as a bearer token; "" sends none.
        model: named in messages.
        timeout_seconds: longest time for one request.
        attempts: requests made before a passing fault (429, 5xx, a broken line) is given up.
        sleep: waits between attempts; tests pass their own.
    """

    def __init__(
        self,
        url: str,
        key: str,
        model: str,
        *,
        timeout_seconds: float = 120,
        attempts: int = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._key, self._model = url.rstrip("/"), key, model
        self._timeout, self._attempts, self._sleep = timeout_seconds, attempts, sleep
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=tls_context()))

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, attempts: int | None = None
    ) -> dict[str, Any]:
        """The JSON object that a path answers with.

        Raises:
            EndpointError: no such host, no connection, a refused key, an unknown model, too many faults.
        """
        attempts = attempts or self._attempts
        for attempt in range(1, attempts + 1):
            try:
                return self._once(method, path, body)
            except EndpointError as error:
                if not error.transient or attempt == attempts:
                    raise
                self._sleep(error.wait_seconds or _backoff(attempt))
        raise AssertionError("at least one attempt")

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "groundtune"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode("utf-8")
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                text = response.read(_MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise self._no_answer(error) from None
        try:
            found: Any = json.loads(text)
        except ValueError:
            found = None
        if len(text) > _MAX_ANSWER_BYTES or not isinstance(found, dict):
            raise EndpointError(
                f"{shown(self._url)}: the answer is not OpenAI's JSON: {text[:80]!r}",
                expected="an address that ends in /v1",
                next_step=f"write the model as openai:{self._model}@https://HOST/v1",
            )
        return found

    def _refusal(self, error: urllib.error.HTTPError) -> EndpointError:
        try:
            text = error.read(1 << 16).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            text = ""
        message, code = _reason(text)
        message = message.replace(self._key, "***") if self._key else message
        where, status = shown(self._url), error.code
        if status in (401, 403):
            return EndpointError(
                f"{where}: refuses the key ({status}): {message}",
                expected="a valid key in the environment variable OPENAI_API_KEY",
                next_step="export OPENAI_API_KEY=...",
                status=status,
            )
        if status == 404:
            return EndpointError(
                f"{where}: has no model {self._model!r}, or no chat completions (404): {message}",
                expected="a model of that endpoint, and an address that ends in /v1",
                next_step=f"curl {where}/models lists them",
                status=status,
            )
        if 300 <= status < 400:
            target = urllib.parse.urlsplit(error.headers.get("Location", "")).netloc or "another address"
            return EndpointError(
                f"{where}: sends on to {target} ({status}), which is not followed so that no key goes astray",
                next_step=f"name the right address: openai:{self._model}@https://HOST/v1",
                status=status,
            )
        spent = code in {"insufficient_quota", "billing_hard_limit_reached"}
        return EndpointError(
            f"{where}: {status}: {message}",
            next_step="add credit at the provider" if spent else "",
            status=status,
            transient=status in _RETRIED and not spent,
            wait_seconds=_wait(error.headers),
        )

    def _no_answer(self, error: Exception) -> EndpointError:
        where, reason = shown(self._url), getattr(error, "reason", error)
        if isinstance(reason, ConnectionRefusedError):
            return EndpointError(
                f"{where}: nothing answers there (connection refused)",
                expected="a running server",
                next_step="start it, or name another address after the @ of the model's name",
            )
        if isinstance(reason, TimeoutError) or "timed out" in str(reason):
            return EndpointError(f"{where}: no answer within {self._timeout:g} seconds", transient=True)
        lasting = type(reason).__name__ in {"gaierror", "SSLCertVerificationError", "InvalidURL"}
        return EndpointError(
            f"{where}: {type(reason).__name__}: {reason}",
            next_step="check the address, the proxy (HTTPS_PROXY) and the certificates (SSL_CERT_FILE)"
            if lasting
            else "",
            transient=not lasting,
        )


def address_of(name: str) -> tuple[str, str, str]:
    """Model, address and key of a name ``openai:MODEL`` or ``openai:MODEL@https://host/v1``.

    Raises:
        ConfigError: a name of another form. InputError: OpenAI's own address without a key, or a key that is none.
    """
    found = re.fullmatch(rf"{PREFIX}(?P<model>.+?)(?:@(?P<url>https?://\S+))?", name)
    if not found or (not found["url"] and "://" in name):
        raise ConfigError(f"model {name!r}", expected=f"{PREFIX}MODEL or {PREFIX}MODEL@https://host/v1")
    url = found["url"] or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError(
            f"address {shown(url)!r}",
            expected="https://host/v1; the key goes into OPENAI_API_KEY, not into the address",
        )
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and parts.hostname == "api.openai.com":
        raise InputError(
            f"no key for {name!r}",
            expected="a key in the environment variable OPENAI_API_KEY",
            next_step="export OPENAI_API_KEY=..., or name an endpoint of your own after an @",
        )
    if not key.isascii() or any(c.isspace() for c in key):
        raise InputError("OPENAI_API_KEY holds characters that no key has", expected="one word of ASCII characters")
    return found["model"], url, key


def shown(url: str) -> str:
    """An address without name, password and query: fit for messages."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def tls_context() -> Any:
    """TLS with the certificates of REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, else SSL_CERT_FILE, else the system's.

    Raises:
        ConfigError: that file cannot be read.
    """
    import ssl

    file = next((f for v in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if (f := os.environ.get(v))), None)
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ConfigError(
            f"REQUESTS_CA_BUNDLE {file!r} cannot be read: {error.strerror or error}",
            expected="a file of certificates (PEM)",
        ) from None


def _reason(text: str) -> tuple[str, str]:
    """(message, code) of an error's body, whatever form it has."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        return " ".join(re.sub(r"<[^>]*>", " ", text).split())[:200] or "no reason given", ""
    error = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(error, dict):
        return str(error.get("message") or error.get("detail") or error)[:300], str(error.get("code") or "")
    return str(error)[:300], ""


def _wait(headers: Any) -> float | None:
    """Seconds that the endpoint asks to wait, at most a minute; None where it does not say."""
    milliseconds, after = headers.get("retry-after-ms", ""), headers.get("Retry-After", "")
    try:
        if milliseconds:
            seconds = float(milliseconds) / 1000
        elif re.fullmatch(r"\s*\d+(?:\.\d+)?\s*", after):
            seconds = float(after)
        else:
            seconds = parsedate_to_datetime(after).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.05), _LONGEST_WAIT_SECONDS) if math.isfinite(seconds) else None


def _backoff(attempt: int) -> float:
    """Doubling from half a second, with up to a quarter more by chance, so that threads do not come back together."""
    return float(min(0.5 * 2.0 ** (attempt - 1), _LONGEST_WAIT_SECONDS)) * random.uniform(1.0, 1.25)
