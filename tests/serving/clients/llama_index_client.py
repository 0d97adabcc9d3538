"""LlamaIndex against the server that ``OPENAI_API_BASE`` and ``OPENAI_BASE_URL`` name; prints what came of it as JSON.

Run by ``test_clients.py``, with a training file and the folder to work in.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

warnings.simplefilter("ignore")

from llama_index.core import Document, VectorStoreIndex  # noqa: E402
from llama_index.core.llms import ChatMessage  # noqa: E402
from llama_index.embeddings.openai import OpenAIEmbedding  # noqa: E402
from llama_index.finetuning import OpenAIFinetuneEngine  # noqa: E402
from llama_index.llms.openai import OpenAI  # noqa: E402

QUESTION = "When does the library open?"
DOCUMENTS = ("The reading room opens at 9:30 on weekdays.", "Dogs travel in Zone Amber.", "A kayak costs 17 crowns.")


def asked_of_an_index() -> dict[str, str]:
    """A question to three documents."""
    index = VectorStoreIndex.from_documents([Document(text=t) for t in DOCUMENTS], embed_model=OpenAIEmbedding())
    engine = index.as_query_engine(llm=OpenAI(model="gpt-4o-mini", temperature=0), similarity_top_k=1)
    answer = engine.query("In which zone do dogs travel?")
    return {"source": answer.source_nodes[0].text, "answer": answer.response}


def finetuned(path: str) -> dict[str, str]:
    """The engine's own way from a file to a model that answers."""
    engine = OpenAIFinetuneEngine("gpt-4o-mini-2024-07-18", path)
    engine.finetune()
    end = time.monotonic() + 120
    while engine.get_current_job().status not in ("succeeded", "failed") and time.monotonic() < end:
        time.sleep(0.5)
    model: Any = engine.get_finetuned_model(temperature=0, max_tokens=20)
    return {"model": model.model, "answer": model.complete("How tall is tower 3?").text}


def main() -> None:
    """Ask everything once."""
    model = OpenAI(model="gpt-4o-mini", temperature=0)
    turns = [ChatMessage(role="user", content=QUESTION)]
    embedding = OpenAIEmbedding()
    found = {
        "complete": model.complete(QUESTION).text,
        "chat": model.chat(turns).message.content,
        "stream_chat": "".join(chunk.delta or "" for chunk in model.stream_chat(turns)),
        "dimensions": [
            len(embedding.get_text_embedding("a")),
            *map(len, embedding.get_text_embedding_batch(["a", "b"])),
        ],
        "index": asked_of_an_index(),
        "finetuned": finetuned(sys.argv[1]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
