"""A store's chunks in memory: BM25 against the other one in this project, likeness by hand, changes a piece at a time."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from groundtune.errors import WorkspaceError
from groundtune.retrieval.bm25 import Bm25
from groundtune.serving.vectors.vector_index import Index, read_texts, write_shard

WORDS = [f"w{n}" for n in range(300)]


def shards(folder: Path, count: int) -> list[tuple[str, Path]]:
    """Files of seeded chunks, each with one to three passages of 4 dimensions."""
    chance, rng = random.Random(7), np.random.default_rng(7)
    made = []
    for n in range(count):
        path = folder / f"{n}.parquet"
        chunks = [
            (" ".join(chance.choices(WORDS, k=chance.randint(5, 60))), rng.standard_normal((chance.randint(1, 3), 4)))
            for _ in range(chance.randint(1, 300))
        ]
        assert write_shard(path, iter(chunks)) == len(chunks)
        assert read_texts(path) == [text for text, _ in chunks]
        made.append((f"file-{n}", path))
    return made


def test_bm25_is_the_other_ones_share_of_what_can_be_reached(tmp_path: Path) -> None:
    snapshot = Index(4).snapshot(shards(tmp_path, 5))
    for query in ("w1 w2 w3", "w7", "w1 the of W1 w299", "w5 nobody"):
        ours, theirs = snapshot.shared_words(query), Bm25(snapshot.texts).scores([query])[0]
        assert ours is not None and ours.min() >= 0 and ours.max() < 1
        best = int(theirs.argmax())
        assert np.allclose(ours * theirs[best] / ours[best], theirs, rtol=1e-4, atol=1e-5)
    assert snapshot.shared_words("nobody").max() == 0  # type: ignore[union-attr]
    assert snapshot.shared_words("the of and") is None


def test_likeness_is_that_of_the_best_passage(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_shard(path, [("one", np.eye(4)[:2]), ("two", -np.eye(4)[:1]), ("three", np.eye(4)[2:])])
    snapshot = Index(4).snapshot([("a", path)])
    assert snapshot.likeness(np.asarray([0.1, 0.7, 0, 0.3])).tolist() == pytest.approx([0.7, 0, 0.3])


def test_changes_give_what_a_fresh_start_gives(tmp_path: Path) -> None:
    files, kept = shards(tmp_path, 6), Index(4)
    query = np.asarray([0.5, -0.5, 0.5, 0.5], dtype=np.float32)
    for wanted in (files[:2], files[:5], files[3:], [], files[::-1], files[1:2]):
        ours, fresh = kept.snapshot(wanted), Index(4).snapshot(wanted)
        assert ours.texts == fresh.texts and ours.files == fresh.files == [id for id, _ in wanted]
        assert np.array_equal(ours.owners, fresh.owners)
        assert np.array_equal(ours.likeness(query), fresh.likeness(query))
        if wanted:
            assert np.allclose(ours.shared_words("w1 w2"), fresh.shared_words("w1 w2"))  # type: ignore[arg-type]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PAR1 not really")
    for path in (tmp_path / "a", tmp_path / "none"):
        with pytest.raises(WorkspaceError, match=str(path)):
            Index(4).snapshot([("a", path)])
