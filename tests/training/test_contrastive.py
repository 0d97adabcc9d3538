"""Contrastive training: the loss by hand and against sentence-transformers, batches, and what is no negative."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.nn.encoders import Encoder, open_encoder, save_encoder
from groundtune.training.contrastive import PairBatches, PairRow, contrastive, ranking_loss
from tiny_bert import write_tiny_bert

ANCHORS = ["When do you open?", "What does a card cost?", "Who carries a radio?", "Where is the cloakroom?", "Why?"]
PASSAGES = [
    "The reading rooms open at 9:30 on weekdays.",
    "A yearly card costs 48 crowns. It is valid from the day on which it is issued.",
    "The porter carries a radio and no telephone.",
    "The cloakroom is in the cellar and is free for everybody who holds a card. " * 3,
    "Because.",
]
NEGATIVES = [
    "They close at 18:15.",
    "A kayak costs 17 crowns.",
    "The duty officer answers.",
    "The hall is upstairs.",
    "No.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    texts = [*ANCHORS, *PASSAGES, *NEGATIVES]
    save_encoder(open_encoder(write_tiny_bert(folder / "plain", texts, vocabulary=200)), folder / "encoder")
    return folder / "encoder"


def rows(encoder: Encoder, *, negatives: bool = True) -> list[PairRow]:
    anchors, passages, wrong = (encoder.ids(t) for t in (ANCHORS, PASSAGES, NEGATIVES))
    return [
        PairRow(a, p, n, frozenset({n}), wrong[n] if negatives else (), 100 + n if negatives else -1)
        for n, (a, p) in enumerate(zip(anchors, passages, strict=True))
    ]


def batch_in_order(rows: list[PairRow]) -> dict[str, torch.Tensor]:
    batches = PairBatches(rows, batch_pairs=len(rows), epochs=1, seed=0)
    batches.plan = [list(range(len(rows)))]
    return batches[0]


def test_the_loss_is_that_of_the_page() -> None:
    """Two questions, three passages, scale 2: rows (1, 0, 0.6) and (0, 1, 0.8), the last hidden from the second.

    -log(e^2 / (e^2 + e^0 + e^1.2)) - log(e^2 / (e^0 + e^2)).
    """
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    passages = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    hidden = torch.tensor([[False, False, False], [False, False, True]])
    expected = math.log((math.exp(2) + 1 + math.exp(1.2)) / math.exp(2)) + math.log((1 + math.exp(2)) / math.exp(2))
    assert float(ranking_loss(anchors, passages, hidden, 2.0)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("negatives", [True, False])
def test_the_loss_is_sentence_transformers_on_the_same_batch(folder: Path, negatives: bool) -> None:
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    encoder = open_encoder(folder)
    batch = batch_in_order(rows(encoder, negatives=negatives))
    ours = contrastive("mean", 20.0).loss(encoder.model, batch, None)
    theirs_model = st.SentenceTransformer(str(folder), device="cpu").eval()
    columns = [ANCHORS, PASSAGES, *([NEGATIVES] if negatives else [])]
    features = [theirs_model.preprocess(texts) for texts in columns]
    theirs = MultipleNegativesRankingLoss(theirs_model, scale=20.0)(features, torch.zeros(len(ANCHORS)))
    print(f"\nours {ours.item():.6f}, sentence-transformers {theirs.item():.6f}")
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-4)
    ours.backward()
    theirs.backward()
    gradient = {name: p.grad for name, p in theirs_model[0].auto_model.named_parameters()}
    for name, parameter in encoder.model.named_parameters():
        other = gradient[name]
        assert parameter.grad is not None and other is not None
        assert torch.allclose(parameter.grad, other, atol=1e-4), name


def test_a_passage_that_answers_too_is_no_negative(folder: Path) -> None:
    encoder = open_encoder(folder)
    loss = contrastive("mean", 20.0).loss
    first, second, third = rows(encoder)[:3]
    same = PairRow(first.anchor, first.positive, 0, frozenset({0}))
    stranger = PairRow(first.anchor, first.positive, 7, frozenset({7}))
    with torch.no_grad():
        alone, hidden, fought = (
            float(loss(encoder.model, batch_in_order(r), 1)) for r in ([first], [first, same], [first, stranger])
        )
    assert hidden == pytest.approx(2 * alone, abs=1e-4)  # both see one right passage and one hard negative
    assert fought > hidden + 0.2  # its own passage under another name is a negative
    mask = batch_in_order([first, second, third, same])["hidden"]
    assert mask.tolist()[0] == [False, False, False, True, False, False, False]
    assert mask.tolist()[1] == [False] * 7
    assert mask.tolist()[3] == [True, False, False, False, False, False, False]


def test_a_batch_counts_for_its_pairs_of_the_step(folder: Path) -> None:
    encoder = open_encoder(folder)
    objective = contrastive("mean", 20.0)
    batch = batch_in_order(rows(encoder))
    assert objective.count(batch) == 5
    whole, half = objective.loss(encoder.model, batch, None), objective.loss(encoder.model, batch, 10)
    assert half.item() == pytest.approx(whole.item() / 2)


def test_every_pair_comes_once_an_epoch_and_never_alone(folder: Path) -> None:
    encoder = open_encoder(folder)
    five = rows(encoder)
    batches = PairBatches(five, batch_pairs=2, epochs=3, seed=1)
    assert [len(b) for b in batches.plan] == [2, 3] * 3
    assert batches.epoch_ends == [2, 4, 6]
    for epoch in range(3):
        assert sorted(n for b in batches.plan[2 * epoch : 2 * epoch + 2] for n in b) == [0, 1, 2, 3, 4]
    assert batches.plan == PairBatches(five, batch_pairs=2, epochs=3, seed=1).plan
    assert batches.plan != PairBatches(five, batch_pairs=2, epochs=3, seed=2).plan


def test_the_fingerprint_sees_everything_that_the_loss_depends_on(folder: Path) -> None:
    five = rows(open_encoder(folder))

    def fingerprint(first: PairRow) -> str:
        return PairBatches([first, *five[1:]], batch_pairs=2, epochs=1, seed=0).fingerprint()

    first = five[0]
    changed: list[Any] = [
        PairRow(first.anchor[:-1], first.positive, 0, first.answers, first.negative, 100),
        PairRow(first.anchor, first.positive[:-1], 0, first.answers, first.negative, 100),
        PairRow(first.anchor, first.positive, 0, frozenset({0, 1}), first.negative, 100),
        PairRow(first.anchor, first.positive, 0, first.answers, first.negative[:-1], 100),
        PairRow(first.anchor, first.positive, 0, first.answers, first.negative, 101),
        PairRow(first.anchor, (*first.positive, first.negative[0]), 0, first.answers, first.negative[1:], 100),
    ]
    assert len({fingerprint(row) for row in [first, *changed]}) == 7
    assert fingerprint(first) == fingerprint(rows(open_encoder(folder))[0])
