"""The file search of ``/responses``: what vector stores hold about the last question, as passages before it.

A language model that chooses its own queries needs to be a large one; here the user's words are the query. As in the method
``rag`` the best sentences go into the prompt, as many as suit the model, and what is cited is what was put there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from groundtune.dataset.prompts import numbered, with_passages
from groundtune.dataset.reading import sentences
from groundtune.methods._context import SENTENCES, SENTENCES_BUNDLED
from groundtune.nn.checkpoints import BUNDLED_FOLDER, model_path
from groundtune.records import Message
from groundtune.retrieval.embedding import open_embedder
from groundtune.serving.catalog import Model
from groundtune.serving.chats.response_request import FileSearchTool
from groundtune.serving.ids import new_id
from groundtune.serving.state import Serving
from groundtune.serving.vectors import encoding, vector_search
from groundtune.serving.vectors.vector_search import Hit
from groundtune.system import question_of

#: chunks where the request does not say how many
_DEFAULT_RESULTS = 10


@dataclass(frozen=True, slots=True)
class Cited:
    """A sentence that stands in the prompt, and the file it is from."""

    text: str
    file_id: str
    filename: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a search brought.

    Attributes:
        item: the ``file_search_call`` of the response.
        messages: the conversation with passages before its last question.
        cited: what stands in them, the best first.
    """

    item: dict[str, Any]
    messages: list[Message]
    cited: tuple[Cited, ...]


def search(
    serving: Serving, tools: Sequence[FileSearchTool], messages: Sequence[Message], model: Model, *, with_results: bool
) -> Found:
    """Search for the last question; never on the event loop.

    Raises:
        ApiError: no such store, a filter that is none.
    """
    question = question_of(messages)
    hits: list[Hit] = []
    for tool in tools:
        ranking = tool.ranking_options
        hits += vector_search.search(
            serving,
            tool.vector_store_ids,
            [question],
            limit=tool.max_num_results or _DEFAULT_RESULTS,
            filters=tool.filters,
            ranker=(ranking.ranker if ranking else None) or "auto",
            score_threshold=(ranking.score_threshold if ranking else None) or 0.0,
        )
    hits.sort(key=lambda hit: -hit.score)
    cited = _best(serving, question, hits, model)
    passages = [numbered(n, c.filename, None, c.text) for n, c in enumerate(cited, 1)]
    last = max(n for n, message in enumerate(messages) if message.role == "user")
    asked = with_passages(passages, question) if passages else [messages[last]]
    results = [
        {"file_id": h.file_id, "filename": h.filename, "score": h.score, "attributes": dict(h.attributes), "text": "\n".join(h.texts)}
        for h in hits
    ]  # fmt: skip
    item = {
        "id": new_id("search"), "type": "file_search_call", "status": "completed", "queries": [question],
        "results": results if with_results else None,
    }  # fmt: skip
    return Found(item, [*messages[:last], *asked, *messages[last + 1 :]], tuple(cited))


def _best(serving: Serving, question: str, hits: Sequence[Hit], model: Model) -> list[Cited]:
    """The sentences of the hits that are most like the question."""
    every = [
        (hit, text) for hit in hits for part in hit.texts for text in sentences(part) if any(map(str.isalnum, text))
    ]
    if not every:
        return []
    embedder = open_embedder(serving.setup.workspace, serving.setup.config.index.embedder)
    vectors = encoding.embed(embedder, [question, *(text for _, text in every)])
    likeness = (vectors[1:] @ vectors[0]).tolist()
    order = sorted(range(len(every)), key=lambda n: -(likeness[n] + 0.5 * every[n][0].score))
    bundled = model_path(model.target) == str(BUNDLED_FOLDER)
    wanted = serving.setup.config.retrieval.context_sentences or (SENTENCES_BUNDLED if bundled else SENTENCES)
    count: Callable[[str], int] = embedder.count_tokens
    chosen: list[Cited] = []
    left = serving.setup.config.retrieval.context_tokens
    for n in order:
        hit, text = every[n]
        if len(chosen) == wanted or text in {c.text for c in chosen}:
            continue
        cost = count(text)
        if not chosen or cost <= left:
            chosen.append(Cited(text, hit.file_id, hit.filename))
            left -= cost
    return chosen
