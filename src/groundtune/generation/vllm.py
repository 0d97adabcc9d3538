"""A model that vLLM writes with: the same requests and pieces as the engine's, from a ``vllm serve`` process of our own.

Prompts go over as token ids and answers come back as token ids with log-probabilities (``return_tokens_as_token_ids``), so that
templates, stop texts, bytes and usage are made here, the same way for both. JSON of a schema is held to by vLLM's own structured
outputs. Written against vLLM's documentation of its OpenAI-compatible server and tried with a stub of it: there is no GPU where
this project is built. Leaves out calls that the model begins by itself, which vLLM is not told to hold to their schema.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from groundtune.errors import ConfigError, InputError
from groundtune.generation.engine import Piece, check_room, recommended_temperature
from groundtune.generation.sampling import Sampling
from groundtune.generation.vocabulary import Vocabulary
from groundtune.generation.writing import Token, Writer
from groundtune.nn.shared_tokenizer import shared

#: seconds until vLLM must answer: loading and compiling a large model takes minutes
START_SECONDS = 1800
#: alternatives that may be asked for (OpenAI's most), ranks of adapters
_LOGPROBS, _RANK = 20, 64


class RemoteWriting:
    """A request under way; as :class:`groundtune.generation.engine.Writing` is seen from outside."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self.prompt, self.written = list(prompt), list[int]()
        self.cached_tokens, self.logprob, self.cancelled = 0, 0.0, False

    def cancel(self) -> None:
        """Give it up: the connection is closed with the next token, and vLLM stops computing."""
        self.cancelled = True


class VllmEngine:
    """A ``vllm serve`` process and its model.

    Args:
        path: folder or name of the model.
        sequences: requests that are under way at the same time.
        log: file for what vLLM says.
        arguments: further ones of ``vllm serve``.

    Raises:
        ConfigError: vLLM is not installed, or does not start.
    """

    def __init__(
        self, path: str, *, sequences: int = 64, log: Path | None = None, arguments: Sequence[str] = ()
    ) -> None:
        import httpx
        from transformers import AutoConfig, AutoTokenizer, GenerationConfig

        program = shutil.which("vllm")
        if program is None:
            raise ConfigError(
                "serve.backend: vllm is not installed", next_step="pip install vllm, on a machine with a GPU"
            )
        settings = AutoConfig.from_pretrained(path).get_text_config()
        self.tokenizer = shared(AutoTokenizer.from_pretrained(path))
        try:
            generation: Any = GenerationConfig.from_pretrained(path)
        except OSError:
            generation = None
        ends = generation.eos_token_id if generation is not None else None
        own = ends if isinstance(ends, list) else [ends]
        self.vocabulary = Vocabulary(self.tokenizer, settings.vocab_size, {int(id) for id in own if id is not None})
        self.default_temperature = recommended_temperature(generation)
        self.after_step: list[Callable[[], None]] = []
        self._threads = ThreadPoolExecutor(sequences, thread_name_prefix="vllm")
        self._active = self._waiting = 0
        self._lock = threading.Lock()
        self._adapters: dict[str, str] = {}
        port = _free_port()
        command = [
            program, "serve", path, "--host", "127.0.0.1", "--port", str(port), "--served-model-name", "base",
            "--enable-lora", "--max-lora-rank", str(_RANK), "--max-logprobs", str(_LOGPROBS), "--enable-prompt-tokens-details",
            *arguments,
        ]  # fmt: skip
        self._log = (log or Path(os.devnull)).open("ab")
        environment = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1"}
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=httpx.Timeout(600, connect=5), trust_env=False)  # fmt: skip
        self.context_tokens = self._wait(int(getattr(settings, "max_position_embeddings", 0) or 2048))

    def _wait(self, context: int) -> int:
        import httpx

        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                found = self._client.get("/models").json()["data"][0]
                return int(found.get("max_model_len") or context)
            except (httpx.HTTPError, ValueError, KeyError, IndexError):
                time.sleep(0.2)
        self.close()
        raise ConfigError(
            f"serve.backend: vllm does not start (exit {self._process.poll()})", next_step=f"see {self._log.name}"
        )

    @property
    def load(self) -> tuple[int, int]:
        """Requests under way, and requests that wait."""
        with self._lock:
            return self._active, self._waiting

    def add_adapter(self, name: str, folder: Path) -> None:
        """Load an adapter.

        Raises:
            InputError: vLLM refuses it.
        """
        if name in self._adapters:
            return
        known = f"adapter-{len(self._adapters)}"
        answer = self._client.post("/load_lora_adapter", json={"lora_name": known, "lora_path": str(folder)})
        if answer.status_code != 200:
            raise InputError(f"{folder}: vLLM does not load this adapter: {answer.text[:200]}", expected="LoRA")
        self._adapters[name] = known

    def remove_adapter(self, name: str) -> None:
        """Let go of an adapter."""
        known = self._adapters.pop(name, None)
        if known is not None:
            self._client.post("/unload_lora_adapter", json={"lora_name": known})

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        sink: Callable[[Piece], None],
        *,
        adapter: str | None = None,
        salt: str = "",
    ) -> RemoteWriting:
        """Write behind a prompt; as :meth:`groundtune.generation.engine.Engine.submit`.

        Raises:
            InputError: empty, or longer than the context.
        """
        check_room(prompt, sampling, self.context_tokens)
        writing = RemoteWriting(prompt)
        body = self._body(prompt, sampling, self._adapters[adapter] if adapter else "base", salt)
        with self._lock:
            self._waiting += 1
        self._threads.submit(self._run, writing, body, sampling, sink)
        return writing

    def _body(self, prompt: Sequence[int], own: Sampling, model: str, salt: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model, "prompt": list(prompt), "stream": True, "stream_options": {"include_usage": True},
            "max_tokens": max(1, own.max_tokens), "temperature": own.temperature, "top_p": max(own.top_p, 1e-5),
            "frequency_penalty": own.frequency_penalty, "presence_penalty": own.presence_penalty,
            "logprobs": own.alternatives, "return_tokens_as_token_ids": True, "stop_token_ids": sorted(self.vocabulary.ends),
            "skip_special_tokens": False, "add_special_tokens": False,
        }  # fmt: skip
        if own.seed is not None:
            body["seed"] = own.seed % 2**63
        if own.logit_bias:
            body["logit_bias"] = {str(id): value for id, value in own.logit_bias.items()}
        if own.grammar is not None and not own.grammar.trigger:
            body["structured_outputs"] = (
                {"grammar": own.grammar.lark} if own.grammar.lark else {"json": own.grammar.schema}
            )
        if own.prompt_logprobs:
            body["echo"] = True
        if salt:
            body["cache_salt"] = salt
        return body

    # ---------------------------------------------------------------- a request's thread

    def _run(
        self, writing: RemoteWriting, body: dict[str, Any], sampling: Sampling, sink: Callable[[Piece], None]
    ) -> None:
        with self._lock:
            self._waiting, self._active = self._waiting - 1, self._active + 1
        try:
            for piece in self._pieces(writing, body, sampling):
                sink(piece)
                self._flush()
        except Exception as error:
            sink(Piece(error=error))
            self._flush()
        finally:
            with self._lock:
                self._active -= 1

    def _flush(self) -> None:
        for tell in self.after_step:
            tell()

    def _pieces(self, writing: RemoteWriting, body: dict[str, Any], sampling: Sampling) -> Iterator[Piece]:
        import httpx

        writer, finish = Writer(sampling.stop), None
        prompt_left = len(writing.prompt) if sampling.prompt_logprobs else 0
        prompt: list[Token] = []
        try:
            with self._client.stream("POST", "/completions", json=body) as answer:
                if answer.status_code != 200:
                    raise InputError(f"vLLM refuses the request ({answer.status_code}): {answer.read()[:300]!r}")
                for chunk in _events(answer.iter_lines()):
                    if writing.cancelled:
                        return
                    details = (chunk.get("usage") or {}).get("prompt_tokens_details") or {}
                    writing.cached_tokens = int(details.get("cached_tokens") or writing.cached_tokens)
                    for choice in chunk["choices"]:
                        for token in self._tokens(choice.get("logprobs")):
                            if prompt_left:
                                prompt, prompt_left = [*prompt, token], prompt_left - 1
                                if not prompt_left:
                                    yield Piece(prompt=tuple(prompt))
                                continue
                            if sampling.max_tokens == 0:
                                continue
                            piece, stopped = self._took(writing, writer, token)
                            if piece is not None:
                                yield piece
                            if stopped:
                                yield Piece(finish="stop")
                                return
                        finish = choice.get("finish_reason") or finish
        except httpx.HTTPError as error:
            raise InputError(f"vLLM does not answer: {type(error).__name__}", next_step="see its log") from None
        text, tokens = writer.end()
        yield Piece(text, tuple(tokens), "length" if finish == "length" or sampling.max_tokens == 0 else "stop")

    def _took(self, writing: RemoteWriting, writer: Writer, token: Token) -> tuple[Piece | None, bool]:
        writing.written.append(token.id)
        writing.logprob += token.logprob
        if token.id in self.vocabulary.ends:
            return None, False
        text, tokens, stopped = writer.add(token)
        return (Piece(text, tuple(tokens)) if text or tokens else None), stopped

    def _tokens(self, logprobs: Any) -> Iterator[Token]:
        if not logprobs:
            return
        told = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
        for name, value, others in zip(logprobs["tokens"], logprobs["token_logprobs"], told, strict=True):
            id = _id(name)
            best = sorted((others or {}).items(), key=lambda item: -item[1])[:_LOGPROBS]
            alternatives = tuple((self.vocabulary.name_of(_id(other)), float(v)) for other, v in best)
            yield Token(id, self.vocabulary.bytes_of(id), float(value or 0.0), alternatives)

    def close(self) -> None:
        """End vLLM."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._client.close()
        self._log.close()


def _id(name: str) -> int:
    """``token_id:123``."""
    return int(name.rpartition(":")[2])


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: ") and line != "data: [DONE]":
            chunk: dict[str, Any] = json.loads(line[6:])
            if "error" in chunk:
                raise InputError(f"vLLM: {chunk['error']}")
            yield chunk


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
