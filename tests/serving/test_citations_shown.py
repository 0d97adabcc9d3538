"""A System's sources as URL citations: each spans the first sentence that rests on it."""

from __future__ import annotations

from groundtune.records import Completion, Source, Statement
from groundtune.serving.chats.chat import annotations_of

CARD = Source("a.pdf", "a-0", 0.9, "Cards cost 48 crowns.", 4)
HALL = Source("b.md", "b-0", 0.8, "The hall is shut.")
TEXT = "Cards cost 48 crowns. Boats are free. The hall is shut."


def test_each_citation_spans_its_sentence() -> None:
    statements = (
        Statement("Cards cost 48 crowns.", True, 0.9, (CARD,)),
        Statement("Boats are free.", False, 0.1),
        Statement("The hall is shut.", True, 0.9, (HALL, CARD)),
    )
    found = annotations_of(Completion(TEXT, sources=(CARD, HALL), statements=statements), TEXT, "http://x/")
    spans = [(a["url_citation"]["start_index"], a["url_citation"]["end_index"]) for a in found]
    assert [TEXT[begin:end] for begin, end in spans] == ["Cards cost 48 crowns.", "The hall is shut."]
    assert found[0]["url_citation"]["url"] == "http://x/sources/a-0?quote=Cards%20cost%2048%20crowns."
    assert (found[0]["page"], found[0]["quote"]) == (4, CARD.quote)


def test_without_statements_it_spans_the_whole_text() -> None:
    found = annotations_of(Completion(TEXT, sources=(HALL,)), TEXT, "http://x/")
    assert (found[0]["url_citation"]["start_index"], found[0]["url_citation"]["end_index"]) == (0, len(TEXT))
    assert annotations_of(Completion(TEXT), TEXT, "http://x/") == []
