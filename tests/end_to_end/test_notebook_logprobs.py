"""Using_logprobs: classes by their probability, a threshold on confidence, completions of a word, bytes, perplexity."""

from __future__ import annotations

import math
from typing import Any

import pytest
from notebook_server import NotebookServer

HEADLINES = (
    "Tech giant unveils its latest telephone with a better camera.",
    "The mayor opens a new library by the harbour.",
    "Local team wins the cup after a long night.",
)
CLASSIFY = "You will be given a headline of a news article. Classify the article into one of the following categories: Technology, Politics, Sports, Art. Return only the name of the category.\nArticle headline: {}"  # fmt: skip


def get_completion(client: Any, text: str, **more: Any) -> Any:
    """The notebook's own function, with its defaults."""
    given: dict[str, Any] = {
        "model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "max_tokens": 500, "temperature": 0,
        "stop": None, "seed": 123, "tools": None, "logprobs": None, "top_logprobs": None, **more,
    }  # fmt: skip
    if not given["tools"]:
        del given["tools"]
    return client.chat.completions.create(**given)


@pytest.mark.slow
def test_classification_by_confidence(notebook_server: NotebookServer) -> None:
    client = notebook_server.client()
    for headline in HEADLINES:
        without = get_completion(client, CLASSIFY.format(headline))
        found = get_completion(client, CLASSIFY.format(headline), logprobs=True, top_logprobs=2)
        assert without.choices[0].logprobs is None
        assert found.choices[0].message.content == without.choices[0].message.content
        first, second = found.choices[0].logprobs.content[0].top_logprobs
        assert first.token == found.choices[0].logprobs.content[0].token and first.logprob >= second.logprob
        assert 0 < math.exp(second.logprob) <= math.exp(first.logprob) <= 1


@pytest.mark.slow
def test_bytes_sums_and_perplexity(notebook_server: NotebookServer) -> None:
    client = notebook_server.client()
    form = {
        "type": "json_schema",
        "json_schema": {"name": "e", "strict": True, "schema": {"const": "Œil bleu 💙 日本"}},
    }
    for text, more in (
        ("In a short sentence, has artificial intelligence grown in the last decade?", {}),
        ("Output the blue heart emoji and its name.", {"response_format": form}),
        ("Say anything.", {"temperature": 1.0}),
    ):
        choice = get_completion(client, text, logprobs=True, top_logprobs=5, max_tokens=60, **more).choices[0]
        tokens = choice.logprobs.content
        joined = [byte for token in tokens for byte in token.bytes]
        assert bytes(joined).decode("utf-8") == choice.message.content
        logprobs = [token.logprob for token in tokens]
        joint = math.prod(math.exp(value) for value in logprobs)
        assert math.isclose(joint, math.exp(sum(logprobs)), rel_tol=1e-6) and 0 < joint <= 1
        perplexity = math.exp(-sum(logprobs) / len(logprobs))
        assert perplexity >= 1 and math.isclose(perplexity, joint ** (-1 / len(logprobs)), rel_tol=1e-6)
        for token in tokens:
            values = [other.logprob for other in token.top_logprobs]
            assert values == sorted(values, reverse=True) and len(values) <= 5
            assert sum(map(math.exp, values)) <= 1.0001
            same = [other.logprob for other in token.top_logprobs if other.bytes == token.bytes]
            assert same in ([], [token.logprob])
    assert any(len(token.bytes) and bytes(token.bytes).decode("utf-8", "replace") != bytes(token.bytes).decode("utf-8", "ignore") for token in get_completion(client, "x", logprobs=True, response_format=form).choices[0].logprobs.content)  # fmt: skip


@pytest.mark.slow
def test_autocomplete(notebook_server: NotebookServer) -> None:
    """More of a sentence makes its next word surer, or not: what is shown is the best three, best first."""
    client = notebook_server.client()
    for part in ("My", "My least favourite", "My least favourite TV show is"):
        found = get_completion(client, f"Complete this sentence. {part}", max_tokens=1, logprobs=True, top_logprobs=3)
        (token,) = found.choices[0].logprobs.content
        assert [t.logprob for t in token.top_logprobs] == sorted((t.logprob for t in token.top_logprobs), reverse=True)
        assert len({t.token for t in token.top_logprobs}) == 3 and token.top_logprobs[0].token == token.token
