"""``/completions``: the older API of plain prompts, with ``echo``, ``best_of`` and its own form of log-probabilities."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from groundtune.generation.engine import Piece
from groundtune.generation.sampling import Sampling
from groundtune.generation.writing import Token
from groundtune.serving.chats.chat import usage_of
from groundtune.serving.chats.chat_request import Part, Penalty, Probability, Stop, StreamOptions, unsupported
from groundtune.serving.described import gives
from groundtune.serving.elsewhere.passing import Passing
from groundtune.serving.errors import bad_request
from groundtune.serving.generating.answers import Answers, Ask, Choice, note, of_weights
from groundtune.serving.generating.engines import AnyEngine
from groundtune.serving.generating.sampling_request import fingerprint, room_for, sampling_changes
from groundtune.serving.generating.sse import event, streamed
from groundtune.serving.generating.unless_gone import unless_gone
from groundtune.serving.ids import new_id
from groundtune.serving.shapes.completions import Completion
from groundtune.serving.state import serving_of

router = APIRouter(tags=["completions"], route_class=Passing)
#: tokens written where nobody says how many (OpenAI's)
_DEFAULT_TOKENS = 16
#: texts that one request may have written
_MOST_CHOICES = 2048
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CreateCompletion(Part):
    """The body of ``POST /completions``."""

    model: str
    prompt: str | Ids | Annotated[list[str] | list[Ids], Field(min_length=1, max_length=2048)] | None = None
    suffix: str | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    stop: Stop | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    best_of: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    user: str | None = None

    @property
    def written(self) -> int:
        """Choices that are written for each prompt, of which the best ``n`` are sent."""
        return max(self.n or 1, self.best_of or 0)


@router.post("/completions", **gives(Completion, streams=True))
async def create_completion(request: Request, wanted: CreateCompletion) -> Any:
    """Write behind a prompt, or behind several."""
    _check(wanted)
    model = await run_in_threadpool(serving_of(request).catalog.resolve, wanted.model, "weights")
    changes = sampling_changes(wanted)
    changes.pop("max_tokens", None)
    changes |= {"alternatives": wanted.logprobs or 0, "prompt_logprobs": bool(wanted.echo)}
    limit = _DEFAULT_TOKENS if wanted.max_tokens is None else wanted.max_tokens

    def sampling(engine: AnyEngine, prompt: Sequence[int], number: int) -> Sampling:
        return room_for(engine, prompt, limit, changes, number, "prompt")

    ask = Ask(lambda engine: _prompts(engine, wanted), sampling, wanted.written)
    shape = _Shape(wanted, fingerprint(model))
    note(request, wanted, wanted.prompt)
    begun = of_weights(request, model, ask)
    if wanted.stream:
        stack = AsyncExitStack()
        answers = await stack.enter_async_context(begun)
        return streamed(_chunks(shape, answers), stack)

    async def whole() -> dict[str, Any]:
        async with begun as answers:
            await answers.all()
        return shape.whole(answers)

    return await unless_gone(request, whole())


def _check(wanted: CreateCompletion) -> None:
    if wanted.suffix:
        raise unsupported("suffix", wanted.suffix, "the models here write behind a prompt, not into it")
    several = isinstance(wanted.prompt, list) and not isinstance(wanted.prompt[0], int)
    if (choices := wanted.written * (len(wanted.prompt or ()) if several else 1)) > _MOST_CHOICES:
        raise bad_request(f"{choices} texts are asked for, at most {_MOST_CHOICES} are written.", param="n", code="invalid_value")  # fmt: skip
    if wanted.stream_options and not wanted.stream:
        raise bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options", code="invalid_value")  # fmt: skip
    if wanted.stream_options and wanted.stream_options.include_obfuscation:
        raise unsupported("stream_options.include_obfuscation", True, "chunks are not padded")
    if wanted.best_of and wanted.best_of < (wanted.n or 1):
        raise bad_request("You requested that the server return more choices than it will generate (HINT: you must set 'n' to be at most 'best_of', or omit either parameter if you don't specifically want to use them).", param="best_of", code="invalid_value")  # fmt: skip
    if wanted.best_of and wanted.best_of > 1 and wanted.stream:
        raise bad_request("'best_of' cannot be streamed: the best is known at the end.", param="best_of", code="invalid_value")  # fmt: skip


def _prompts(engine: AnyEngine, wanted: CreateCompletion) -> list[list[int]]:
    """Every prompt's token ids, in the model's own vocabulary.

    Raises:
        ApiError: an empty prompt, or an id that is no token.
    """
    given: Any = wanted.prompt
    every = [given] if given is None or isinstance(given, str) or isinstance(given[0], int) else given
    out: list[list[int]] = []
    for prompt in every:
        if isinstance(prompt, list):
            over = [id for id in prompt if id >= engine.vocabulary.known]
            if over:
                raise bad_request(f"Invalid 'prompt': {over[0]} is no token of this model.", param="prompt", code="invalid_value")  # fmt: skip
            out.append(list(prompt))
        else:
            out.append(list(engine.tokenizer(prompt or "", split_special_tokens=True, verbose=False)["input_ids"]))
    end = engine.tokenizer.bos_token_id or engine.tokenizer.eos_token_id
    return [ids or [end] for ids in out]  # no prompt: the beginning of a text


class _Shape:
    """How one request's answer is sent."""

    def __init__(self, wanted: CreateCompletion, fingerprint: str) -> None:
        self.wanted, self.fingerprint = wanted, fingerprint
        self.id, self.created = new_id("completion"), int(time.time())

    def body(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.wanted.model,
            "choices": choices, "system_fingerprint": self.fingerprint, **more,
        }  # fmt: skip

    def whole(self, answers: Answers) -> dict[str, Any]:
        each, best = self.wanted.written, self.wanted.n or 1
        chosen: list[Choice] = []
        for start in range(0, len(answers.choices), each):
            own = answers.choices[start : start + each]
            order = own if each == best else sorted(own, key=lambda c: -c.logprob / max(1, c.written))
            chosen += order[:best]
        return self.body([self._choice(n, choice) for n, choice in enumerate(chosen)], usage=usage_of(answers))

    def _choice(self, number: int, choice: Choice) -> dict[str, Any]:
        prompt = choice.prompt if self.wanted.echo else ()
        text = b"".join(t.bytes for t in prompt).decode("utf-8", "replace") + choice.text
        return self.choice(number, text, (*prompt, *choice.tokens), choice.finish, len(prompt) > 0, 0)

    def choice(
        self, number: int, text: str, tokens: Sequence[Token], finish: str | None, from_start: bool, offset: int
    ) -> dict[str, Any]:
        shown = self.logprobs(tokens, from_start, offset) if self.wanted.logprobs is not None else None
        return {"text": text, "index": number, "logprobs": shown, "finish_reason": finish}

    def logprobs(self, tokens: Sequence[Token], from_start: bool, offset: int) -> dict[str, Any]:
        """The older form: lists side by side; a prompt's first token has no log-probability."""
        offsets, at = [], offset
        for token in tokens:
            offsets.append(at)
            at += len(token.bytes.decode("utf-8", "replace"))
        told: list[Any] = [_best_first(t) for t in tokens]
        own: list[Any] = [t.logprob for t in tokens]
        if from_start and tokens:
            own[0], told[0] = None, None
        return {
            "tokens": [t.bytes.decode("utf-8", "replace") for t in tokens], "token_logprobs": own,
            "top_logprobs": told if self.wanted.logprobs else None, "text_offset": offsets,
        }  # fmt: skip


def _best_first(token: Token) -> dict[str, float]:
    """Alternatives by their text; of bytes that are no text by themselves, and so look the same, the likeliest."""
    out: dict[str, float] = {}
    for raw, value in token.alternatives:
        out.setdefault(raw.decode("utf-8", "replace"), value)
    return out


async def _chunks(shape: _Shape, answers: Answers) -> AsyncIterator[bytes]:
    options = shape.wanted.stream_options
    more: dict[str, Any] = {"usage": None} if options and options.include_usage else {}
    offsets = [0] * len(answers.choices)
    async for number, piece in answers:
        text, tokens, start = _shown(shape.wanted, piece)
        if text or tokens or piece.finish:
            choice = shape.choice(number, text, tokens, piece.finish, start, offsets[number])
            offsets[number] += len(text)
            yield event(shape.body([choice], **more))
    if options and options.include_usage:
        yield event(shape.body([], usage=usage_of(answers)))


def _shown(wanted: CreateCompletion, piece: Piece) -> tuple[str, tuple[Token, ...], bool]:
    if piece.prompt and wanted.echo:
        return b"".join(t.bytes for t in piece.prompt).decode("utf-8", "replace"), piece.prompt, True
    return piece.text, piece.tokens, False
