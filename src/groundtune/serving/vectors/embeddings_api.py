"""``/embeddings``: unit vectors of texts or of cl100k token ids (OpenAI's Embeddings API).

An encoder reads only the beginning of a text (MiniLM: 256 word pieces). A longer one, up to 8,192 tokens, is embedded in
windows, and its vector is their mean weighted by their lengths, made a unit vector again. Texts are counted in the encoder's
own tokens, arrays of ids by their ids. ``user`` goes into the request log.
"""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from groundtune.nn.encoders import Vectors
from groundtune.retrieval.embedding import Embedder, open_embedder
from groundtune.serving.callers.access import admit
from groundtune.serving.described import gives
from groundtune.serving.elsewhere.passing import Passing
from groundtune.serving.errors import bad_request
from groundtune.serving.shapes.embeddings import Embeddings
from groundtune.serving.state import serving_of
from groundtune.serving.vectors import cl100k, encoding

router = APIRouter(tags=["embeddings"], route_class=Passing)
#: inputs of a request, tokens of one input and of all of a request (OpenAI's own)
MOST, LONGEST, LONGEST_ALL = 2048, 8192, 300_000


_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 100_255}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
_INPUT = {
    "anyOf": [
        _TEXT,
        {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST},
        _IDS,
        {"type": "array", "items": _IDS, "minItems": 1, "maxItems": MOST},
    ]
}


class CreateEmbedding(BaseModel):
    """What is to be embedded, and how it is sent back."""

    model_config = ConfigDict(extra="forbid", strict=True)
    input: Annotated[Any, WithJsonSchema(_INPUT)]
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


@router.post("/embeddings", **gives(Embeddings))
async def create_embedding(request: Request, wanted: CreateEmbedding) -> Response:
    """Embed one input or many."""
    serving = serving_of(request)
    model = serving.catalog.resolve(wanted.model, "embedder")
    request.state.log = {"user": wanted.user}
    given = inputs_of(wanted.input)
    embedder = await run_in_threadpool(open_embedder, serving.setup.workspace, model.target)
    if wanted.dimensions and wanted.dimensions > embedder.DIMENSIONS:
        message = f"Invalid 'dimensions': {wanted.dimensions}, this model has {embedder.DIMENSIONS} at most."
        raise bad_request(message, param="dimensions", code="invalid_value")
    parts, tokens = await run_in_threadpool(_parts, given, embedder)
    texts = [text for row in parts for text, _ in row]
    ticket = await run_in_threadpool(admit, request, model, tokens)
    try:
        vectors = await encoding.embed_soon(embedder, texts, request.is_disconnected)
    finally:
        await ticket.aclose()
    if vectors is None:
        return Response(status_code=499)  # nobody reads it; the log has the number that others use for it
    return await run_in_threadpool(_answer, wanted, parts, vectors, tokens)


def inputs_of(given: Any) -> list[str | list[int]]:
    """The inputs of a request: one text, several, one array of token ids, or several.

    Raises:
        ApiError: anything else, or an empty one.
    """
    items = [given] if isinstance(given, str) or _is_ids(given) else given
    if not isinstance(items, list) or not items:
        raise _invalid("'$.input' is invalid: expected a text, an array of texts, or arrays of token ids.")
    if len(items) > MOST:
        raise _invalid(f"Invalid 'input': {len(items)} items, {MOST} are taken at most.")
    if not (all(isinstance(item, str) for item in items) or all(_is_ids(item) for item in items)):
        raise _invalid("'$.input' is invalid: its items must be all texts, or all arrays of token ids, none empty.")
    if any(not item for item in items):
        raise _invalid("'$.input' is invalid: a text is empty.")
    return items


def _is_ids(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(id) is int for id in given)


def _invalid(message: str) -> Exception:
    return bad_request(message, param="input", code="invalid_value")


def _parts(given: list[str | list[int]], embedder: Embedder) -> tuple[list[list[tuple[str, int]]], int]:
    """The windows of every input, each with its tokens, and the tokens of all."""
    rows, total = [], 0
    for item in given:
        tokens = embedder.count_tokens(item) if isinstance(item, str) else len(item)
        if tokens > LONGEST:
            raise _invalid(
                f"This model's maximum context length is {LONGEST} tokens, however you requested {tokens} tokens "
                f"({tokens} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
            )
        total += tokens
        if total > LONGEST_ALL:
            raise _invalid(f"Invalid 'input': more than {LONGEST_ALL} tokens in one request.")
        rows.append(encoding.windows(item if isinstance(item, str) else _text(item), embedder))
    return rows, total


def _text(ids: list[int]) -> str:
    try:
        return cl100k.decode(ids)
    except KeyError as error:
        raise _invalid(f"Invalid 'input': {error.args[0]} is no token id of cl100k_base.") from None


def _answer(wanted: CreateEmbedding, parts: list[list[tuple[str, int]]], vectors: Vectors, tokens: int) -> Response:
    data, start = [], 0
    for index, row in enumerate(parts):
        own = vectors[start : start + len(row)]
        start += len(row)
        vector = own[0] if len(row) == 1 else encoding.joined(own, [size for _, size in row])
        if wanted.dimensions:
            vector = encoding.unit(vector[: wanted.dimensions])
        little = np.asarray(vector, dtype="<f4")
        sent = base64.b64encode(little.tobytes()).decode() if wanted.encoding_format == "base64" else little.tolist()
        data.append({"object": "embedding", "index": index, "embedding": sent})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "data": data, "model": wanted.model, "usage": usage}
    return Response(json.dumps(body), media_type="application/json")
