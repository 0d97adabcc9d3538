"""Query transformation: further texts to search with beside the question, written by a language model.

``rewrite``: the question as a search query (Ma et al., "Query Rewriting for Retrieval-Augmented Large Language Models",
EMNLP 2023, without its trained rewriter). ``multi_query``: other wordings (as RAG-Fusion, Rackauckas 2024). ``hyde``: a
passage that would answer it (Gao et al., "Precise Zero-Shot Dense Retrieval without Relevance Labels", ACL 2023; departs
from it by the mean of scores instead of vectors). ``step_back``: a more general question (Zheng et al., "Take a Step
Back", ICLR 2024). The question itself is always searched with too, so that a bad text can only add. Leaves out who
writes (it is passed in) and how lists are fused (the retriever).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from groundtune.dataset.prompts import abstains

#: kind -> name of the prompt that asks for it
PROMPTS: Mapping[str, str] = {
    "rewrite": "query_rewrite",
    "multi_query": "query_multi",
    "hyde": "query_hyde",
    "step_back": "query_step_back",
}
#: wordings asked for by ``multi_query``
COUNT = 3
#: most tokens a model writes for a kind
TOKENS: Mapping[str, int] = {"rewrite": 32, "multi_query": 96, "hyde": 96, "step_back": 40}
#: longest text searched with: embedders read little more
_LONGEST_CHARACTERS = 1_000
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.):])\s+")
_LABEL = re.compile(r"^\s*(?:search )?(?:query|question|passage|rewritten|wording)(?: \d+)?\s*:\s*", re.IGNORECASE)

#: (questions, most tokens) -> what the model writes for each
Write = Callable[[Sequence[str], int], Sequence[str]]


def further_queries(kind: str, questions: Sequence[str], write: Write) -> list[list[str]]:
    """Texts to search with beside each question.

    Args:
        kind: a key of :data:`PROMPTS`, or ``none``.
        questions: what was asked.
        write: puts the kind's prompt to a model.

    Returns:
        For each question its texts, none of them empty or the question again; none where the model wrote nothing usable.
    """
    if kind == "none" or not questions:
        return [[] for _ in questions]
    written = write(questions, TOKENS[kind])
    return [clean_queries(kind, q, text) for q, text in zip(questions, written, strict=True)]


def clean_queries(kind: str, question: str, written: str) -> list[str]:
    """What can be searched with of what a model wrote: list marks, labels, quotes and repetitions taken off.

    A model that says that it cannot tell has written no query.
    """
    pieces = [written.replace("\n", " ")] if kind == "hyde" else written.splitlines()
    found: dict[str, str] = {}
    for piece in pieces:
        text = _LABEL.sub("", _LIST_MARK.sub("", piece)).strip().strip("\"'“”").strip()[:_LONGEST_CHARACTERS]
        if any(c.isalnum() for c in text) and text.casefold() != question.strip().casefold() and not abstains(text):
            found.setdefault(text.casefold(), text)
    return list(found.values())[: COUNT if kind == "multi_query" else 1]
