"""Each metric against numbers worked out by hand."""

from __future__ import annotations

import pytest

from groundtune import registry
from groundtune.records import Completion, Example, Passage, Source


def value(metric: str, text: str, *references: str) -> float | None:
    result: float | None = registry.get("metrics", metric).score(
        Completion(text), Example("q", "f", "s", "?", references)
    )
    return result


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        ("The 9 August.", ("9 august",), 1.0),  # case, article and full stop do not count
        ("9  August", ("8 August", "9 August"), 1.0),  # the best reference, single spaces
        ("on 9 August", ("9 August",), 0.0),  # "on" is no article
        ("9 Augusta", ("9 August",), 0.0),
        ("", ("9 August",), 0.0),
        ("Theatre", ("atre",), 0.0),  # an article is a word, not a beginning
        ("$1,000.50", ("100050",), 1.0),  # punctuation goes, as in SQuAD's script
        ("anything", (), None),
    ],
)
def test_exact_match(text: str, references: tuple[str, ...], expected: float | None) -> None:
    assert value("exact_match", text, *references) == expected


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        # 3 shared of 4 given and of 5 wanted: P = 3/4, R = 3/5, F1 = 2 * 0.75 * 0.6 / 1.35 = 2/3
        ("red brick house there", ("red brick house with garden",), 2 / 3),
        # articles go first: "cat sat" against "cat sat on mat": P = 1, R = 2/4, F1 = 2/3
        ("The cat sat", ("a cat sat on the mat",), 2 / 3),
        # a word counts as often as it stands in both: 1 shared of 3 and of 1: P = 1/3, R = 1, F1 = 1/2
        ("very very very", ("very",), 0.5),
        # the best of two references: 1/1 and 1/2 -> 2/3, against "nine": 0
        ("August", ("nine", "9 August"), 2 / 3),
        ("August 9", ("9 August",), 1.0),  # order does not count
        ("no", ("yes",), 0.0),
        ("the", ("a",), 1.0),  # both empty after normalisation
        ("", ("yes",), 0.0),
        ("yes", (), None),
    ],
)
def test_token_f1(text: str, references: tuple[str, ...], expected: float | None) -> None:
    assert value("token_f1", text, *references) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        # Lin's example. The longest common subsequence of "police killed the gunman" and ...
        (
            "police kill the gunman",
            ("police killed the gunman",),
            1.0,
        ),  # ... is all 4 words: the stemmer joins kill, killed
        ("the gunman kill police", ("police killed the gunman",), 0.5),  # ... is "the gunman": P = R = 2/4
        ("the gunman police killed", ("police killed the gunman",), 0.5),  # ... is "the gunman" or "police killed"
        # LCS "the cat on the mat" = 5 of 6 given and 6 wanted: F1 = 5/6
        ("the cat sat on the mat", ("the cat was on the mat",), 5 / 6),
        # LCS 2: P = 2/2, R = 2/4, F1 = 2/3; the other reference shares nothing
        ("nine August", ("red", "nine in late August"), 2 / 3),
        ("", ("yes",), 0.0),
        ("yes", (), None),
    ],
)
def test_rouge_l(text: str, references: tuple[str, ...], expected: float | None) -> None:
    assert value("rouge_l", text, *references) == (expected if expected is None else pytest.approx(expected))


def source(text: str, document: str = "a.pdf", page: int | None = None) -> Source:
    return Source(document, "c", 0.5, "", page, text)


@pytest.mark.parametrize(
    ("answer", "sources", "expected"),
    [
        ("48 crowns", ["A card costs 48 crowns."], 1.0),
        ("The 48 crowns!", ["A card costs 48 crowns."], 1.0),
        ("84 crowns", ["A card costs 48 crowns."], 0.0),  # an invented number
        ("48 crowns", ["It costs 480 crowns."], 0.0),  # whole words
        ("48 crowns", ["Room 48.", "Nine crowns."], 0.0),  # half in one source, half in the other
        ("48 crowns", ["Room 48.", "Only 48 crowns."], 1.0),
        ("The", ["The end."], 0.0),  # nothing said
        ("48 crowns", [], None),
    ],
)
def test_supported(answer: str, sources: list[str], expected: float | None) -> None:
    completion = Completion(answer, sources=tuple(map(source, sources)))
    assert registry.get("metrics", "supported").score(completion, Example("q", "f", "s", "?", ("x",))) == expected


def test_an_abstention_is_not_judged_on_support() -> None:
    completion = Completion("The passages do not say.", abstained=True, sources=(source("x"),))
    assert registry.get("metrics", "supported").score(completion, Example("q", "f", "s", "?", ("x",))) is None


def found(metric: str, retrieved: list[Source], *passages: Passage) -> float | None:
    example = Example("q", "f", "s", "?", ("x",), passages)
    result: float | None = registry.get("metrics", metric).score(Completion("x", retrieved=tuple(retrieved)), example)
    return result


CARD, OTHER = "A yearly card costs 48 crowns.", "Dogs stay outside the hall."


@pytest.mark.parametrize(
    ("rank", "recall_1", "recall_5", "mrr"), [(1, 1, 1, 1), (2, 0, 1, 1 / 2), (5, 0, 1, 1 / 5), (6, 0, 0, 1 / 6)]
)
def test_one_passage_at_a_rank(rank: int, recall_1: float, recall_5: float, mrr: float) -> None:
    retrieved = [source(CARD if n == rank else OTHER) for n in range(1, 7)]
    passage = Passage("a.pdf", CARD)
    assert [found(m, retrieved, passage) for m in ("recall_at_1", "recall_at_5", "mrr")] == pytest.approx(
        [recall_1, recall_5, mrr]
    )


def test_two_passages() -> None:
    # the first needed passage is at rank 2, the other at rank 6: half is among five, the reciprocal rank is 1/2
    needed = [Passage("b.pdf", "Cards last a year."), Passage("a.pdf", CARD)]
    retrieved = [source(OTHER), source(CARD), *[source(OTHER)] * 3, source("Cards last a year.", "b.pdf")]
    assert [found(m, retrieved, *needed) for m in ("recall_at_1", "recall_at_5", "mrr")] == [0.0, 0.5, 0.5]
    assert found("recall_at_5", retrieved[1:], *needed) == 1.0
    assert found("recall_at_1", retrieved[1:], *needed) == 0.5


@pytest.mark.parametrize(
    ("chunk", "held"),
    [
        (source(CARD + " And more."), True),
        (source(CARD, "b.pdf"), False),  # another document
        (source(CARD, page=3), True),  # the passage's page
        (source(CARD, page=4), False),
        (source(CARD, page=None), True),  # a loader without pages
        (source("yearly card costs 48"), True),  # 4 of the 5 words that are no article: 80 %
        (source("card costs 48"), False),  # 3 of 5
    ],
)
def test_when_a_chunk_holds_a_passage(chunk: Source, held: bool) -> None:
    assert found("recall_at_1", [chunk], Passage("a.pdf", CARD, 3)) == float(held)


def test_nothing_retrieved_or_nothing_to_find() -> None:
    for metric in ("recall_at_1", "recall_at_5", "mrr"):
        assert found(metric, [], Passage("a.pdf", CARD)) is None
        assert found(metric, [source(CARD)]) is None
        assert found(metric, [source(OTHER)], Passage("a.pdf", CARD)) == 0.0


@pytest.mark.parametrize(
    ("abstained", "references", "expected"), [(True, (), 1), (False, (), 0), (False, ("x",), 1), (True, ("x",), 0)]
)
def test_abstention_accuracy(abstained: bool, references: tuple[str, ...], expected: float) -> None:
    example = Example("q", "f", "s", "?", references)
    assert registry.get("metrics", "abstention_accuracy").score(Completion("x", abstained), example) == expected


@pytest.mark.parametrize(
    ("answer", "sources", "expected"),
    [
        ("A yearly card costs 48 crowns.", [OTHER, CARD], 1.0),  # the source that supports it counts
        ("A yearly card costs 84 crowns.", [CARD], 0.0),  # another number
        ("A yearly card costs 48 crowns. The king plays chess at night.", [CARD, OTHER], 0.5),
        ("48 crowns", [CARD], 1.0),  # read with its question
        ("48 crowns", [], None),
    ],
)
def test_faithfulness(answer: str, sources: list[str], expected: float | None) -> None:
    completion = Completion(answer, sources=tuple(map(source, sources)))
    example = Example("q", "f", "s", "What does a yearly card cost?", ("48 crowns",))
    metric = registry.get("metrics", "faithfulness")
    metric.prepare([completion], [example])
    assert metric.score(completion, example) == expected
    assert metric.score(Completion(answer, abstained=True, sources=completion.sources), example) is None


def test_useful_chunks_further_up_are_worth_more() -> None:
    needed = Passage("a.pdf", CARD)
    # useful at ranks 1 and 4: (1/1 + 2/4) / 2; nDCG counts a passage once, at its first rank
    retrieved = [source(CARD), source(OTHER), source(OTHER), source(CARD)]
    assert found("context_precision", retrieved, needed) == pytest.approx(0.75)
    assert found("ndcg_at_10", retrieved, needed) == 1.0
    # the first of two passages at rank 3, the other nowhere: (1 / log2(4)) / (1 + 1 / log2(3))
    later = [source(OTHER), source(OTHER), source(CARD)]
    assert found("ndcg_at_10", later, needed, Passage("b.pdf", "Cards last a year.")) == pytest.approx(
        0.5 / 1.63093, abs=1e-5
    )
    assert found("context_precision", [source(OTHER)], needed) == 0.0


def test_recall_at_10_needs_ten_chunks() -> None:
    retrieved = [source(CARD if n == 9 else OTHER) for n in range(1, 11)]
    assert found("recall_at_10", retrieved, Passage("a.pdf", CARD)) == 1.0
    assert found("recall_at_10", retrieved[:9], Passage("a.pdf", CARD)) is None
    assert found("recall_at_20", retrieved * 2, Passage("a.pdf", CARD)) == 1.0
