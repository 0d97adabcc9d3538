"""Nearly equal texts are found between any two rows, as dedup's own index and the exact similarity say."""

from __future__ import annotations

import random

from groundtune.dataset.checks.near_pairs import NearPairs
from groundtune.dedup import NearDuplicates, jaccard


def made(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghij", k=5)) for _ in range(3000)]
    texts: list[str] = []
    for _ in range(count):
        if texts and rng.random() < 0.3:
            old = rng.choice(texts).split()
            old[rng.randrange(len(old))] = rng.choice(words)
            texts.append(" ".join(old))
        else:
            texts.append(" ".join(rng.choices(words, k=rng.choice((8, 15, 17, 40, 90)))))
    return texts


def test_every_alike_pair_is_linked_and_no_other() -> None:
    texts = made(400)
    near = NearPairs(0.8)
    for text in texts:
        near.add(text)
    later, earlier, similarity, exact = near.pairs()
    assert (later > earlier).all() and (similarity >= 0.8).all() and not exact.any()
    parent = list(range(len(texts)))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    for a, b in zip(later.tolist(), earlier.tolist(), strict=True):
        assert jaccard(texts[a], texts[b]) > 0.65
        parent[root(a)] = root(b)
    alike = [(a, b) for a in range(len(texts)) for b in range(a) if jaccard(texts[a], texts[b]) >= 0.88]
    assert len(alike) > 15 and all(root(a) == root(b) for a, b in alike)
    index: NearDuplicates[int] = NearDuplicates(0.8)
    assert {n.key for n in index.add_all(enumerate(texts))} <= set(later.tolist())


def test_numbers_and_exact_repeats() -> None:
    near = NearPairs()
    for text in ("Pay invoice 12 in the first week of May, please", "Pay invoice 13 in the first week of May, please",
                 "pay invoice 12 in the first week of may please!", "", ""):  # fmt: skip
        near.add(text)
    later, earlier, _, exact = near.pairs()
    pairs = list(zip(later.tolist(), earlier.tolist(), exact.tolist(), strict=True))
    assert (2, 0, True) in pairs and not [p for p in pairs if 1 in p[:2]]
    assert NearPairs().pairs()[0].tolist() == []
