"""Exact match and token F1 against SQuAD's own script.

The three functions below are those of the official evaluation script for SQuAD v1.1
(https://worksheets.codalab.org/bundles/0xbcd57bee090b421c982906709c8c27e1, evaluate-v1.1.py), in its words.
"""

from __future__ import annotations

import re
import string
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from groundtune import registry
from groundtune.records import Completion, Example


def normalize_answer(s: str) -> str:
    def remove_articles(text: str) -> str:
        return re.sub(r"\b(a|an|the)\b", " ", text)

    def white_space_fix(text: str) -> str:
        return " ".join(text.split())

    def remove_punc(text: str) -> str:
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    return white_space_fix(remove_articles(remove_punc(s.lower())))


def f1_score(prediction: str, ground_truth: str) -> float:
    prediction_tokens = normalize_answer(prediction).split()
    ground_truth_tokens = normalize_answer(ground_truth).split()
    common = Counter(prediction_tokens) & Counter(ground_truth_tokens)
    num_same = sum(common.values())
    if num_same == 0:
        return 0
    precision = 1.0 * num_same / len(prediction_tokens)
    recall = 1.0 * num_same / len(ground_truth_tokens)
    return (2 * precision * recall) / (precision + recall)


def exact_match_score(prediction: str, ground_truth: str) -> bool:
    return normalize_answer(prediction) == normalize_answer(ground_truth)


TEXTS = st.lists(
    st.sampled_from(
        "the The a an An theatre costs 48 4.8 48, crowns Crowns. € (May) may-be -- \u00e9t\u00e9 it's".split()
    ),
    max_size=7,
).map(" ".join)


@given(prediction=TEXTS, truths=st.lists(TEXTS, min_size=1, max_size=3))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_as_the_official_script(prediction: str, truths: list[str]) -> None:
    completion, example = Completion(prediction), Example("q", "f", "s", "?", tuple(truths))
    assert registry.get("metrics", "exact_match").score(completion, example) == max(
        exact_match_score(prediction, t) for t in truths
    )
    if normalize_answer(prediction) and all(
        map(normalize_answer, truths)
    ):  # v1.1 gives 0 to two empty texts, v2.0 and ours 1
        assert registry.get("metrics", "token_f1").score(completion, example) == max(
            f1_score(prediction, t) for t in truths
        )
