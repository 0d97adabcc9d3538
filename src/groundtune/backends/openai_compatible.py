"""Any endpoint that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, a gateway, or groundtune's own server.

The model's name is ``openai:MODEL`` or ``openai:MODEL@https://host/v1``; without an address the environment's
``OPENAI_BASE_URL``, else OpenAI's. The key comes from ``OPENAI_API_KEY`` only and is never written anywhere. Proxies
(``HTTPS_PROXY``, ``NO_PROXY``) and certificate files (``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE``) of the environment are
honoured. Redirects are refused, so that a key never goes to another host. Leaves out streaming and tools.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

from groundtune.endpoint import PREFIX, Endpoint, EndpointError, address_of, shown
from groundtune.errors import ConfigError, GroundtuneError
from groundtune.records import Generation, Message, Usage

#: where neither the endpoint nor ``OPENAI_CONTEXT_TOKENS`` says how much a prompt may hold
DEFAULT_CONTEXT_TOKENS = 8192
#: what a server may not know of a request: left out or renamed once it says so
_OPTIONAL = ("logprobs", "temperature", "seed")
_UNKNOWN = re.compile(
    r"unsupported|not support|does not support|unrecogni[sz]ed|unknown|unexpected|not permitted|"
    r"not allowed|extra|max_completion_tokens",
    re.I,
)


class OpenAICompatibleBackend:
    """Generates through an endpoint. Safe to call from several threads.

    Args:
        model: the model's name at the endpoint.
        url: the address up to ``/v1``.
        key: sent as a bearer token; "" sends none.
        timeout_seconds: longest time for one request.
        attempts: requests made before a passing fault (429, 5xx, a broken line) is given up.
        concurrency: requests at a time in :meth:`generate_batch`.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        model: str,
        url: str,
        key: str = "",
        *,
        timeout_seconds: float = 120,
        attempts: int = 5,
        concurrency: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = f"{PREFIX}{model}@{shown(url)}"
        self.model = model
        self._endpoint = Endpoint(url, key, model, timeout_seconds=timeout_seconds, attempts=attempts, sleep=sleep)
        self._concurrency = concurrency
        self._refused: set[str] = set()

    @cached_property
    def context_tokens(self) -> int:
        """Most tokens of a prompt: what the environment or the endpoint's list of models says, else 8,192."""
        given = os.environ.get("OPENAI_CONTEXT_TOKENS", "")
        if given.isdigit() and int(given):
            return int(given)
        try:
            models = self._endpoint.request("GET", "/models", attempts=1).get("data")
        except GroundtuneError:
            return DEFAULT_CONTEXT_TOKENS
        for entry in models if isinstance(models, list) else []:
            if isinstance(entry, dict) and entry.get("id") == self.model:
                sizes = [entry.get(k) for k in ("max_model_len", "context_length", "context_window")]
                return next((int(s) for s in sizes if isinstance(s, int) and s > 0), DEFAULT_CONTEXT_TOKENS)
        return DEFAULT_CONTEXT_TOKENS

    def count_tokens(self, text: str) -> int:
        """About as many tokens as the text has: bytes divided by four, rounded up; ``usage`` has the true count."""
        return math.ceil(len(text.encode("utf-8", "replace")) / 4)

    def generate(
        self, messages: Sequence[Message], *, max_tokens: int = 32, temperature: float = 0, seed: int | None = None
    ) -> Generation:
        """One answer.

        Raises:
            EndpointError: no such host, no connection, a refused key, an unknown model, too many faults.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_wire(m) for m in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "logprobs": True,
            **({} if seed is None else {"seed": seed}),
        }
        while True:
            sent = self._accepted(body)
            try:
                return _generation(self._endpoint.request("POST", "/chat/completions", sent), self.name)
            except EndpointError as error:
                if error.status != 400 or not self._learn(str(error), sent):
                    raise

    def generate_batch(
        self, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 32, batch_size: int = 16
    ) -> list[Generation]:
        """Answers to many conversations, in their order; ``batch_size`` does not matter here."""
        return self._all([partial(self.generate, c, max_tokens=max_tokens) for c in conversations])

    def sample_batch(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        seeds: Sequence[int],
        max_tokens: int = 32,
    ) -> list[Generation]:
        """Answers drawn at a temperature; endpoints that take a seed give the same again, as far as they promise it."""
        pairs = zip(conversations, seeds, strict=True)
        return self._all(
            [partial(self.generate, c, max_tokens=max_tokens, temperature=temperature, seed=seed) for c, seed in pairs]
        )

    def _all(self, asks: Sequence[Callable[[], Generation]]) -> list[Generation]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self._concurrency) as pool:
            asked = [pool.submit(ask) for ask in asks]
            try:
                return [future.result() for future in asked]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _accepted(self, body: dict[str, Any]) -> dict[str, Any]:
        sent = {k: v for k, v in body.items() if k not in self._refused}
        if "max_tokens" in self._refused:
            sent["max_completion_tokens"] = body["max_tokens"]
        return sent

    def _learn(self, message: str, sent: dict[str, Any]) -> bool:
        """Note what the endpoint does not take; False where it complains about something else."""
        if not _UNKNOWN.search(message):
            return False
        named = [k for k in ("max_tokens", *_OPTIONAL) if k in sent and re.search(rf"\b{k}\b", message)]
        self._refused.update(named)
        return bool(named)


def open_backend(model: str, adapter: str | None = None) -> OpenAICompatibleBackend:
    """``openai:MODEL`` or ``openai:MODEL@https://host/v1``.

    Raises:
        ConfigError: a name of another form, an adapter, or OpenAI's own address without a key.
    """
    if adapter:
        raise ConfigError(f"an adapter cannot be put on {model!r}", expected="a model of this machine")
    return OpenAICompatibleBackend(*address_of(model))


def _wire(message: Message) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name:
        out["name"] = message.name
    return out


def _generation(answer: dict[str, Any], name: str) -> Generation:
    try:
        choice = answer["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("refusal") or ""
        parts = (choice.get("logprobs") or {}).get("content") or ()
        logprobs = tuple(float(p["logprob"]) for p in parts)
        used = answer.get("usage") or {}
        usage = Usage(int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise EndpointError(
            f"{name}: an answer without choices: {json.dumps(answer)[:120]}", expected="OpenAI's chat completion"
        ) from None
    if not isinstance(text, str):  # content parts
        text = "".join(str(p.get("text", "")) for p in text if isinstance(p, dict))
    return Generation(text.strip(), logprobs, usage)
