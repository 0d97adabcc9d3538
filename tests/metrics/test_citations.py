"""Citation precision and recall against named passages."""

from __future__ import annotations

import pytest

from groundtune import registry
from groundtune.records import Completion, Example, Passage, Source

LEAVE = Passage("handbook.pdf", "Full-time staff receive 27 days of annual leave.", 4)
ZONE = Passage("faq.html", "Zone Amber has room for six animals.")


def source(document: str, quote: str, page: int | None = None, text: str = "") -> Source:
    return Source(document, f"{document}-0", 0.5, quote, page, text or quote)


RIGHT = source("handbook.pdf", "Full-time staff receive 27 days of annual leave.", 4)
PART = source("handbook.pdf", "staff receive 27 days", 4)
WRONG_PAGE = source("handbook.pdf", LEAVE.text, 5)
WRONG_WORDS = source("handbook.pdf", "Lockers cost 120 crowns.", 4, text=f"Lockers cost 120 crowns. {LEAVE.text}")
WHOLE_CHUNK = source("handbook.pdf", "", 4, text=f"Lockers cost 120 crowns. {LEAVE.text}")
ROOM = source("faq.html", ZONE.text)


@pytest.mark.parametrize(
    ("sources", "passages", "precision", "recall"),
    [
        ([RIGHT], [LEAVE], 1.0, 1.0),
        ([PART], [LEAVE], 1.0, 1.0),
        ([RIGHT, WRONG_PAGE], [LEAVE], 0.5, 1.0),
        ([WRONG_WORDS], [LEAVE], 0.0, 0.0),  # the chunk holds it, the quote is another sentence
        ([WHOLE_CHUNK], [LEAVE], 1.0, 1.0),
        ([RIGHT], [LEAVE, ZONE], 1.0, 0.5),
        ([ROOM, RIGHT], [LEAVE, ZONE], 1.0, 1.0),
        ([], [LEAVE], None, 0.0),
        ([RIGHT], [], None, None),
    ],
)
def test_shares(sources: list[Source], passages: list[Passage], precision: float | None, recall: float | None) -> None:
    example = Example("q", "f", "s", "?", ("x",), tuple(passages))
    completion = Completion("x", sources=tuple(sources), retrieved=(RIGHT,))
    assert registry.get("metrics", "citation_precision").score(completion, example) == precision
    assert registry.get("metrics", "citation_recall").score(completion, example) == recall


def test_who_retrieves_nothing_or_abstains_is_not_judged() -> None:
    example = Example("q", "f", "s", "?", ("x",), (LEAVE,))
    recall = registry.get("metrics", "citation_recall").score
    assert recall(Completion("x"), example) is None
    assert recall(Completion("x", abstained=True, retrieved=(RIGHT,)), example) is None


def test_an_answer_that_nothing_supports_counts_as_unsupported() -> None:
    supported = registry.get("metrics", "supported").score
    example = Example("q", "f", "s", "?", ("x",))
    assert supported(Completion("31 days", retrieved=(RIGHT,)), example) == 0.0
    assert supported(Completion("27 days", sources=(RIGHT,), retrieved=(RIGHT,)), example) == 1.0
    assert supported(Completion("31 days"), example) is None
