"""Topics: planted themes come back as clusters with their own words and examples."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from groundtune.dataset.stats.topics import FEWEST_TEXTS, characteristic_words, find_topics, isolation

THEMES = {
    "ferry": "ferry timetable departure harbour crossing".split(),
    "soup": "soup recipe onion simmer kitchen".split(),
    "python": "python function compile variable loop".split(),
}


def planted(each: int = 20, seed: int = 0) -> tuple[list[str], Any, list[str]]:
    """Texts of three themes with vectors that lie around three corners."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    texts, rows, names = [], [], []
    for corner, (name, words) in enumerate(THEMES.items()):
        for number in range(each):
            texts.append(f"please tell me about the {' '.join(rng.sample(words, 3))} number {number}")
            vector = noise.normal(0, 0.08, 16)
            vector[corner] += 1
            rows.append(vector / np.linalg.norm(vector))
            names.append(name)
    return texts, np.array(rows, dtype=np.float32), names


def test_planted_themes_are_found_with_their_words() -> None:
    texts, vectors, names = planted()
    found = find_topics(texts, vectors)
    assert len(found["topics"]) == 3
    assert [topic["size"] for topic in found["topics"]] == [20, 20, 20]
    seen = set()
    for topic in found["topics"]:
        theme = {names[at] for at in topic["nearest"]}
        assert len(theme) == 1 and len(topic["nearest"]) == 3
        name = theme.pop()
        assert set(topic["words"][:5]) == set(THEMES[name])
        assert not {"please", "the", "about"} & set(topic["words"])
        seen.add(name)
    assert seen == set(THEMES)
    assert found["silhouette"] > 0.5
    assert "silhouette" in found["rule"]


def test_the_number_of_clusters_follows_the_data() -> None:
    noise = np.random.default_rng(3)
    centres = np.eye(7, 24)
    vectors = np.concatenate([c + noise.normal(0, 0.05, (12, 24)) for c in centres])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = find_topics([f"text {n // 12} word{n}" for n in range(84)], vectors.astype(np.float32))
    assert len(found["topics"]) == 7


def test_same_texts_give_the_same_topics() -> None:
    texts, vectors, _ = planted(seed=5)
    assert find_topics(texts, vectors) == find_topics(texts, vectors)


def test_too_few_texts_have_no_topics() -> None:
    texts, vectors, _ = planted()
    assert find_topics(texts[: FEWEST_TEXTS - 1], vectors[: FEWEST_TEXTS - 1])["topics"] == []
    assert find_topics([], np.zeros((0, 16), dtype=np.float32))["topics"] == []


def test_texts_that_do_not_differ_have_no_topics() -> None:
    vectors = np.tile(np.eye(1, 8, dtype=np.float32), (50, 1))
    assert find_topics(["the same"] * 50, vectors)["topics"] == []


def test_no_text_is_shown_twice_for_one_topic() -> None:
    texts, vectors, _ = planted()
    copied = [text if n % 20 > 3 else texts[n - n % 20] for n, text in enumerate(texts)]
    for topic in find_topics(copied, vectors)["topics"]:
        shown = [copied[at] for at in topic["nearest"]]
        assert len(shown) == len(set(shown))


def test_words_that_are_everywhere_characterise_nothing() -> None:
    texts = ["invoice paid late", "invoice paid early", "invoice lost ship", "invoice ship sunk"]
    first, second = characteristic_words(texts, [0, 0, 1, 1], 2)
    assert first == ["paid"]
    assert second == ["ship"]


def test_isolation_is_the_mean_distance_to_the_five_nearest() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 12)).astype(np.float32)  # more than one block
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = isolation(vectors)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -9)
    expected = 1 - np.sort(likeness, axis=1)[:, -5:].mean(axis=1)
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def test_isolation_of_copies_is_zero_and_of_the_lonely_large() -> None:
    vectors = np.zeros((7, 4), dtype=np.float32)
    vectors[:6, 0] = 1
    vectors[6, 1] = 1
    found = isolation(vectors)
    assert found[:6] == pytest.approx([0.0] * 6)
    assert found[6] == pytest.approx(1.0)
    assert isolation(vectors[:1]) == [0.0]
    assert isolation(vectors[:0]) == []
