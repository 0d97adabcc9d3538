"""Documents that may go as duplicates, and near twins that may not."""

from __future__ import annotations

import json
import random

from groundtune.ingest.duplicates import DocumentSignature, DocumentSigner, document_duplicates
from groundtune.records import Section


def signature(*texts: str, heading: str = "") -> DocumentSignature:
    signer = DocumentSigner()
    assert len(list(signer.passing(Section(text, heading=heading) for text in texts))) == len(texts)
    return signer.finish()


def rules(count: int = 400) -> str:
    rng = random.Random(9)
    words = "boat fee member harbour berth mooring must pay the a of for in when guest skipper rope sail club".split()
    body = " ".join(rng.choice(words) + rng.choice(words) for _ in range(count))
    return f"A member pays 120 EUR until 31 March 2026, says Karen Holm. {body} It is not allowed to swim here."


def test_the_same_text_in_other_pieces_and_case_is_an_exact_duplicate() -> None:
    text = rules()
    at = text.index("fee", 900)
    twins = document_duplicates([("a.md", signature(text)), ("b.txt", signature(text[:at].upper(), text[at:]))])
    assert [(t.document, t.like, t.exact, t.duplicate, t.similarity) for t in twins] == [
        ("b.txt", "a.md", True, True, 1.0)
    ]
    assert twins[0].reason() == "the same text as a.md, which is kept"


def test_nearly_the_same_is_kept_unless_asked_for_and_the_kept_one_is_named() -> None:
    documents = [
        ("x", signature("other")),
        ("a", signature(rules())),
        ("b", signature(rules() + " thanks for reading")),
    ]
    (twin,) = document_duplicates(documents)
    assert (twin.document, twin.like, twin.exact, twin.duplicate, twin.nearly) == ("b", "a", False, False, True)
    assert twin.similarity >= 0.95
    percent = min(99, round(100 * twin.similarity))
    assert twin.reason() == f"nearly the same text as a ({percent} % of its word sequences): both are kept"
    assert twin.reason(dropped=True) == f"nearly the same text as a ({percent} % of its word sequences): a is kept"


def test_one_word_that_turns_what_a_long_text_says_is_no_duplicate() -> None:
    text = rules(360).replace("It is not allowed", "The deposit is refundable. It is not allowed")
    changed = text.replace("refundable", "forfeited")
    (twin,) = document_duplicates([("a", signature(text)), ("b", signature(changed))])
    assert (twin.duplicate, twin.nearly, twin.exact) == (False, True, False)
    assert "both are kept" in twin.reason()


def test_where_near_ones_go_none_is_said_to_be_like_one_that_went() -> None:
    texts = [rules(), rules() + " thanks", rules() + " thanks a lot"]
    documents = [(name, signature(text)) for name, text in zip("abc", texts, strict=True)]
    assert [t.like for t in document_duplicates(documents, drop_near=True)] == ["a", "a"]
    copied = [*documents, ("d", documents[1][1])]
    assert [(t.like, t.exact) for t in document_duplicates(copied)][-1] == ("b", True)
    assert [(t.like, t.nearly) for t in document_duplicates(copied, drop_near=True)][-1] == ("a", True)


def test_near_twins_are_reported_and_kept() -> None:
    text = rules()
    for changed, differs in (
        (text.replace("120", "130"), ("numbers",)),
        (text.replace("31 March 2026", "31 March 2025"), ("numbers",)),
        (text.replace("not allowed", "now allowed"), ("names",)),
        (text.replace("Karen Holm", "Peter Dahl"), ("names",)),
        (text.replace("120", "31").replace("until 31", "until 120"), ("numbers",)),
    ):
        (twin,) = document_duplicates([("2025", signature(text)), ("2026", signature(changed))])
        assert not twin.duplicate
        assert not twin.nearly
        assert twin.differs == differs
        assert "both are kept" in twin.reason()


def test_a_document_between_two_twins_is_judged_by_the_one_it_repeats() -> None:
    new, old = rules(), rules().replace("2026", "2025")
    twins = document_duplicates(
        [("old", signature(old)), ("new", signature(new)), ("copy", signature(new + " thanks"))]
    )
    assert [(t.document, t.like, t.nearly) for t in twins] == [("new", "old", False), ("copy", "new", True)]


def test_documents_that_differ_in_their_headings_are_no_duplicates() -> None:
    one, other = signature(rules(), heading="Rules > Vessa"), signature(rules(), heading="Rules > Little Skarn")
    assert [(t.duplicate, t.nearly) for t in document_duplicates([("a", one), ("b", other)])] == [(False, False)]


def test_short_documents_are_duplicates_only_when_the_same() -> None:
    text = "the office opens at eight and closes at noon on every day of the week but monday"
    near = document_duplicates([("a", signature(text)), ("b", signature(text + " too"))])
    assert [(t.duplicate, t.nearly) for t in near] == [(False, False)]
    assert document_duplicates([("a", signature("")), ("b", signature(""))]) == []


def test_unlike_documents_are_not_mentioned() -> None:
    assert (
        document_duplicates([("a", signature(rules())), ("b", signature("The minutes of the board of May. " * 30))])
        == []
    )


def test_a_signature_survives_json() -> None:
    for text in (rules(), "four words and no", ""):
        one = signature(text)
        assert DocumentSignature.from_json(json.loads(json.dumps(one.to_json()))) == one
        assert len(json.dumps(one.to_json())) < 2300
