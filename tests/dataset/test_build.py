"""Documents to examples: numbered, split by document and by fact, without duplicates and without two answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

import groundtune
from groundtune import registry
from groundtune.dataset.build.build import (
    Source,
    assemble,
    build_examples,
    built_rows,
    document_facts,
    extract,
    held_out,
    write_built,
)
from groundtune.dataset.build.templates import normalised, vocabulary
from groundtune.dataset.examples import read_examples
from groundtune.errors import InputError
from groundtune.records import Document, Section


def source(path: str, sections: Iterable[Section]) -> Source:
    kept = list(sections)
    return Document(path, path, "0", "text", path.partition(".")[0].title(), 1), lambda: kept


def prices(path: str, *rows: tuple[str, str]) -> Source:
    return source(path, [Section(f"item: {n}; price: {p}", row=i) for i, (n, p) in enumerate(rows, 1)])


KAYAK = ("kayak", "17 crowns"), ("canoe", "31 crowns"), ("raft", "12 crowns")


@pytest.fixture(scope="module")
def example_sources() -> list[Source]:
    """The example organisation's files through their loaders."""
    by_ending = {e: name for name in registry.names("loaders") for e in registry.get("loaders", name).EXTENSIONS}
    folder = Path(groundtune.__file__).parent / "example" / "documents"
    found = []
    for path in sorted(folder.iterdir()):
        sections = list(registry.get("loaders", by_ending[path.suffix]).load(path))
        title = sections[0].heading.split(" > ")[0] or path.stem.replace("-", " ")
        document = Document(path.name, path.name, "0", path.suffix, title, 1)
        found.append((document, lambda sections=sections: sections))
    return found  # type: ignore[return-value]


def test_the_example_organisation(example_sources: list[Source]) -> None:
    """Every answer stands in its passage and every passage in its document; documents and facts are in one split each."""
    built = build_examples(example_sources)
    assert len(built.examples) > 1500 and built.documents > 35
    texts = {d.path: [(s.page, s.text) for s in read()] for d, read in example_sources}
    splits: dict[str, set[bool]] = {}
    answers: dict[str, str] = {}
    for example, place in zip(built.examples, built.places, strict=True):
        (passage,) = example.passages
        assert example.references[0] in passage.text and passage.document == place.document
        page, text = texts[place.document][place.section - 1]
        assert page == passage.page and all(line in text for line in passage.text.splitlines())
        splits.setdefault(passage.document, set()).add(example.split == "held_out_facts")
        assert answers.setdefault(normalised(example.question), example.references[0]) == example.references[0]
    assert len(answers) == len(built.examples)  # no question twice
    assert all(len(held) == 1 for held in splits.values())  # a document is held out whole or not at all
    assert 0.1 < sum(h == {True} for h in splits.values()) / len(splits) < 0.3
    held = [e for e in built.examples if e.split == "held_out_phrasings"]
    trained = {e.fact for e in built.examples if e.split == "train"}
    assert held and all(e.fact in trained for e in held)
    assert len({e.id for e in built.examples}) == len(built.examples)


def test_the_same_documents_make_the_same_examples(example_sources: list[Source]) -> None:
    first, again = build_examples(example_sources[:6]), build_examples(example_sources[:6])
    assert first == again


def test_a_new_document_changes_no_fact_of_the_others(example_sources: list[Source]) -> None:
    before = build_examples(example_sources[:6])
    after = build_examples([*example_sources[:6], prices("zz.csv", *KAYAK)])
    assert {e.fact for e in before.examples} < {e.fact for e in after.examples}


def test_a_question_with_two_answers_is_dropped_and_counted() -> None:
    a, b = prices("a.csv", *KAYAK), prices("b.csv", ("kayak", "18 crowns"), ("oar", "3 crowns"))
    built = build_examples([a, b])
    assert built.ambiguous == 4  # two phrasings in each document
    assert not [e for e in built.examples if "kayak" in e.question]
    assert [e for e in built.examples if "oar" in e.question]


def test_tense_makes_no_two_questions() -> None:
    one = source("a.md", [Section("The average age of members is 51 years.")])
    two = source("b.md", [Section("The average age of members was 52 years.")])
    assert extract([one, two]).facts and not assemble(extract([one, two]).facts).examples


def test_a_fact_told_twice_is_asked_once_and_stays_in_one_split() -> None:
    built = build_examples([prices("a.csv", *KAYAK), prices("b.csv", *KAYAK)])
    assert built.duplicates == 3
    assert {e.passages[0].document for e in built.examples} == {"a.csv"}


def test_another_answer_among_facts_over_the_limit_still_counts() -> None:
    many = [(f"thing {chr(97 + n // 26)}{chr(97 + n % 26)}", f"{n} crowns") for n in range(80)]
    a, b = prices("a.csv", *many), prices("b.csv", *[(n, f"9{p}") for n, p in many])
    with pytest.raises(InputError):  # every question has another answer in the other file, mostly over the limit
        build_examples([a, b], per_document=5)


def test_a_name_that_comes_again_far_below_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundtune.dataset.build.build.MAX_ROWS", 3)
    built = build_examples([prices("a.csv", *KAYAK, ("canoe", "99 crowns"))])
    asked = " ".join(e.question for e in built.examples)
    assert "kayak" in asked and "canoe" not in asked


def test_the_limit_is_kept_and_counted() -> None:
    rows = [(f"thing {chr(97 + n // 26)}{chr(97 + n % 26)}", f"{n} crowns") for n in range(40)]
    built = build_examples([prices("a.csv", *rows)], per_document=10)
    assert len({e.fact for e in built.examples}) == 10 and built.over_limit == 30


def test_one_document_is_split_by_fact() -> None:
    built = build_examples([prices("a.csv", *[(f"thing {c}", f"{n} crowns") for n, c in enumerate("abcdefghij")])])
    held = {e.fact for e in built.examples if e.split == "held_out_facts"}
    assert len(held) == 2 and not held & {e.fact for e in built.examples if e.split != "held_out_facts"}


def test_held_out_documents_are_few_and_do_not_depend_on_order() -> None:
    facts = {f"f{n}": f"d{n % 10}" for n in range(100)}
    held = held_out(set(facts.values()), facts)
    assert len({facts[f] for f in held}) == 2 and len(held) == 20
    assert held == held_out(set(facts.values()), dict(reversed(facts.items())))


def test_nothing_to_ask_is_said() -> None:
    with pytest.raises(InputError, match="no question could be made of 1 documents"):
        build_examples([source("a.txt", [Section("Bla bla.")])])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "|",
        "||||\n|||\n||",
        ": : :",
        "\x00\x01",
        "a" * 50_000,
        "The " * 5000,
        "| a |" * 3000,
        "«»“”" * 500,
        "1829: ",
    ],
)
def test_odd_text_makes_nothing_and_does_not_stop(text: str) -> None:
    document, read = source("odd.txt", [Section(text), Section(text, row=1), Section(text, row=2)])
    assert list(document_facts(document, read, vocabulary([text]))) == []


def test_the_file_is_read_by_the_reader_of_questions(tmp_path: Path) -> None:
    built = build_examples([prices("a.csv", *KAYAK), prices("b.csv", ("oar", "3 crowns"), ("sail", "4 crowns"))])
    path = tmp_path / "deep" / "questions.jsonl"
    assert write_built(path, built_rows(built)) == len(built.examples)
    assert tuple(read_examples(path)) == built.examples
    place = json.loads(path.read_text(encoding="utf-8").splitlines()[0])["place"]
    assert place["document"] in {"a.csv", "b.csv"} and place["row"] == 1 and place["section"] == 1


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("mine\n", encoding="utf-8")
    with pytest.raises(InputError, match="is there already"):
        write_built(path, [{"a": 1}])
    assert path.read_text(encoding="utf-8") == "mine\n"
    assert write_built(path, [{"a": 1}], force=True) == 1
    assert list(tmp_path.iterdir()) == [path]
