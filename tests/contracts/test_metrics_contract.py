"""What every registered metric keeps to, ours and those of other packages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundtune import registry
from groundtune.records import Completion, Example, Passage, Source

NAMES = registry.names("metrics")
WORDS = st.text(alphabet="ab 9.,€The\n", max_size=12)
SOURCES = st.lists(
    st.builds(
        Source,
        document=st.sampled_from(["a.pdf", "b.md"]),
        chunk_id=WORDS,
        score=st.floats(0, 1),
        quote=WORDS,
        page=st.sampled_from([None, 1, 2]),
        text=WORDS,
    ),
    max_size=6,
).map(tuple)
#: recall at k needs k chunks
RETRIEVED = st.one_of(SOURCES, SOURCES.map(lambda found: found * 20))
COMPLETIONS = st.builds(Completion, text=WORDS, abstained=st.booleans(), sources=SOURCES, retrieved=RETRIEVED)
PASSAGES = st.lists(
    st.builds(Passage, document=st.sampled_from(["a.pdf", "b.md"]), text=WORDS, page=st.sampled_from([None, 1, 2])),
    max_size=3,
).map(tuple)
EXAMPLES = st.builds(
    Example,
    id=st.just("q"),
    fact=st.just("f"),
    split=st.just("s"),
    question=st.just("?"),
    references=st.lists(WORDS, max_size=3).map(tuple),
    passages=PASSAGES,
)


def test_the_promised_metrics_are_registered() -> None:
    assert {
        "exact_match",
        "token_f1",
        "rouge_l",
        "supported",
        "recall_at_1",
        "recall_at_5",
        "mrr",
        "abstention_accuracy",
    } <= set(NAMES)


def test_signatures_begin_with_the_name_and_differ() -> None:
    signatures = [registry.get("metrics", name).SIGNATURE for name in NAMES]
    assert all(signature.split("|")[0] == name for signature, name in zip(signatures, NAMES, strict=True))
    assert len(set(signatures)) == len(signatures)


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_none_or_from_0_to_1_and_the_same_again(name: str) -> None:
    score = registry.get("metrics", name).score
    examples = 30 if hasattr(registry.get("metrics", name), "prepare") else 150  # one by one, what embeds is slow
    seen: set[bool] = set()

    @given(completion=COMPLETIONS, example=EXAMPLES)
    @settings(max_examples=examples, deadline=None, derandomize=True)
    def check(completion: Completion, example: Example) -> None:
        value = score(completion, example)
        seen.add(value is None)
        assert value is None or (isinstance(value, float) and 0.0 <= value <= 1.0)
        assert score(completion, example) == value

    check()
    assert False in seen


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_answer_scores_1(name: str) -> None:
    if getattr(registry.get("metrics", name), "GRADED", False):
        pytest.skip("a matter of degree: see test_a_graded_metric_prefers_the_better_answer")
    source = Source("a.pdf", "a-0", 0.9, "It costs 48 crowns.", 2, "A card. It costs 48 crowns.")
    completion = Completion("48 crowns", sources=(source,), retrieved=(source,) * 20)
    example = Example(
        "q", "f", "s", "What does it cost?", ("48 crowns",), (Passage("a.pdf", "It costs 48 crowns.", 2),)
    )
    assert registry.get("metrics", name).score(completion, example) == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_answer_scores_0(name: str) -> None:
    if getattr(registry.get("metrics", name), "GRADED", False):
        pytest.skip("a matter of degree: see test_a_graded_metric_prefers_the_better_answer")
    source = Source("b.md", "b-0", 0.9, "Dogs bark.", None, "Dogs bark.")
    completion = Completion(
        "blue", abstained=name == "abstention_accuracy", sources=(source,), retrieved=(source,) * 20
    )
    example = Example(
        "q", "f", "s", "What does it cost?", ("48 crowns",), (Passage("a.pdf", "It costs 48 crowns.", 2),)
    )
    assert registry.get("metrics", name).score(completion, example) == 0.0


@pytest.mark.parametrize("name", [n for n in NAMES if getattr(registry.get("metrics", n), "GRADED", False)])
def test_a_graded_metric_prefers_the_better_answer(name: str) -> None:
    score = registry.get("metrics", name).score
    example = Example("q", "f", "s", "What does a yearly card cost?", ("A yearly card costs 48 crowns.",))
    better, worse = Completion("A yearly card costs 48 crowns."), Completion("Dogs bark at night.")
    assert score(better, example) > score(worse, example) + 0.3
    assert score(Completion("The passages do not say.", abstained=True), example) == 0.0
