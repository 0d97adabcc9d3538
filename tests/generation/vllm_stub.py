"""A stand-in for ``vllm serve``: its documented routes, over our own engine. Run as a program: ``vllm serve PATH --port N ...``."""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from groundtune.generation.constraint import json_grammar
from groundtune.generation.engine import Engine, Piece
from groundtune.generation.sampling import Sampling
from groundtune.nn.checkpoints import open_for_answering


def stub(path: str) -> FastAPI:
    model, tokenizer = open_for_answering(path)
    engine, app = Engine(model, tokenizer), FastAPI()
    ends, engine.vocabulary.ends = set(engine.vocabulary.ends), set()  # vLLM stops where the request says
    app.state.adapters = {}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"data": [{"id": "base", "max_model_len": engine.context_tokens}]}

    @app.post("/v1/load_lora_adapter")
    async def load(request: Request) -> Response:
        body = await request.json()
        if not (Path(body["lora_path"]) / "adapter_config.json").exists():
            return JSONResponse({"message": "no adapter"}, 400)
        engine.add_adapter(body["lora_name"], Path(body["lora_path"]))
        return Response("ok")

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        body = await request.json()
        assert body["return_tokens_as_token_ids"] and body["stream"] and set(body["stop_token_ids"]) == ends
        form = body.get("structured_outputs") or {}
        grammar = json_grammar(form["json"]) if "json" in form else None
        sampling = Sampling(
            max_tokens=body["max_tokens"], temperature=body["temperature"], top_p=body["top_p"],
            frequency_penalty=body["frequency_penalty"], presence_penalty=body["presence_penalty"], seed=body.get("seed"),
            logit_bias={int(k): v for k, v in (body.get("logit_bias") or {}).items()}, alternatives=body["logprobs"],
            prompt_logprobs=bool(body.get("echo")), grammar=grammar,
        )  # fmt: skip
        pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        adapter = None if body["model"] == "base" else body["model"]
        writing = engine.submit(body["prompt"], sampling, pieces.put, adapter=adapter)

        def events() -> Iterator[str]:
            told = 0
            try:
                while True:
                    piece = pieces.get(timeout=30)
                    if piece.error:
                        yield f"data: {json.dumps({'error': str(piece.error)})}\n\n"
                        return
                    tokens = [*piece.prompt, *piece.tokens]
                    ended = any(t.id in ends for t in tokens[len(piece.prompt) :])
                    finish = "stop" if ended else piece.finish
                    names = [f"token_id:{t.id}" for t in tokens]
                    best = [{f"token_id:{i}": v for i, v in ids_of(engine, t)} for t in tokens]
                    logprobs = {"tokens": names, "token_logprobs": [t.logprob for t in tokens], "top_logprobs": best}
                    choice = {"index": 0, "text": piece.text, "logprobs": logprobs, "finish_reason": finish}
                    yield f"data: {json.dumps({'choices': [choice]})}\n\n"
                    told += len(tokens)
                    if finish:
                        break
            finally:
                writing.cancel()
            usage = {"prompt_tokens_details": {"cached_tokens": writing.cached_tokens}}
            yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


def ids_of(engine: Engine, token: Any) -> list[tuple[int, float]]:
    """The alternatives' ids again, from their bytes: good enough for a stub, whose vocabulary has each once."""
    table = getattr(engine, "_by_name", None)
    if table is None:
        table = {engine.vocabulary.name_of(n): n for n in range(engine.vocabulary.known)}
        engine._by_name = table  # type: ignore[attr-defined]
    return [(table[name], value) for name, value in token.alternatives]


if __name__ == "__main__":
    assert sys.argv[1] == "serve"
    port = int(sys.argv[sys.argv.index("--port") + 1])
    uvicorn.run(stub(sys.argv[2]), host="127.0.0.1", port=port, log_level="warning")
