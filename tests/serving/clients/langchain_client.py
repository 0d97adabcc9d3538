"""LangChain against the server that ``OPENAI_BASE_URL`` names; prints what came of it as JSON. Run by ``test_clients.py``."""

from __future__ import annotations

import json
from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

QUESTION = "When does the library open?"


class Weather(BaseModel):
    """The weather of a place."""

    place: Literal["Bern", "Oslo"] = Field(description="which place")


def asked_with_tools(model: Any) -> dict[str, Any]:
    """A call that must be made, and the answer to its result."""
    bound = model.bind_tools([Weather], tool_choice="any")
    answer = bound.invoke("How is the weather in Oslo?")
    call = answer.tool_calls[0]
    chunks = list(bound.stream("How is the weather in Oslo?"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    results = [ToolMessage("Sunny", tool_call_id=c["id"]) for c in answer.tool_calls]
    then = model.bind_tools([Weather], tool_choice="none").invoke([HumanMessage("Weather?"), answer, *results])
    return {
        "call": {"name": call["name"], "args": call["args"]},
        "finish_reason": answer.response_metadata["finish_reason"],
        "streamed": [{"name": c["name"], "args": c["args"]} for c in whole.tool_calls][:1],
        "then": isinstance(then, AIMessage) and not then.tool_calls,
    }


def embedded() -> dict[str, Any]:
    """The same texts as LangChain sends them by itself (arrays of token ids), and as texts."""
    texts = ["The library opens at nine.", "Das Café schließt früh. 💙"]
    by_ids, by_texts = OpenAIEmbeddings(), OpenAIEmbeddings(check_embedding_ctx_length=False)
    sent: list[Any] = []
    create = by_ids.client.create
    by_ids.client.create = lambda **given: (sent.append(given["input"]), create(**given))[1]
    found, plain = by_ids.embed_documents(texts), by_texts.embed_documents(texts)
    apart = max(abs(a - b) for one, other in zip(found, plain, strict=True) for a, b in zip(one, other, strict=True))
    return {"sent_ids": all(isinstance(id, int) for id in sent[0][0]), "dimensions": len(found[0]), "apart": apart}


def main() -> None:
    """Ask everything once."""
    model = ChatOpenAI(model="gpt-4o-mini", temperature=0)
    structured = {
        method: model.with_structured_output(Weather, method=method).invoke("How is the weather in Oslo?").place
        for method in ("json_schema", "function_calling")
    }
    usage = [
        c.usage_metadata for c in ChatOpenAI(model="gpt-4o-mini", stream_usage=True).stream("a") if c.usage_metadata
    ]
    found = {
        "invoke": model.invoke(QUESTION).content,
        "stream": [chunk.content for chunk in model.stream(QUESTION)],
        "batch": [answer.content for answer in model.batch([QUESTION, QUESTION])],
        "usage": usage[-1]["total_tokens"],
        "responses": model.bind(truncation="auto").invoke(QUESTION).text,
        "tools": asked_with_tools(model),
        "structured": structured,
        "embeddings": embedded(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
