"""A better start than noise for a small new encoder-decoder: its cross-attention already copies.

A summary takes most of its words from its text, and a few thousand pairs do not teach a new model to copy: what
``initialization.copying_circuits`` does for a causal model is done here for a T5. An encoder head writes each token's
predecessor beside it; the last decoder layer's cross-attention looks for places whose predecessors are the tokens written
last, and writes what stands there (induction heads, Olsson et al. 2022, across two stacks). T5's relative positions make the
heads that look one and two tokens back exact. Nothing is frozen; training changes all of it.

Legend: V vocabulary, D width, H head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong each part starts.

    Attributes:
        noise: what is left of the random writes to the residual streams.
        position: bias towards the place one (two) tokens back, in nats of attention.
        match: attention score of a place whose predecessor is the token at hand, in nats; half of it on top where the
            token before that agrees, too.
        copy: length of what is copied, in lengths of an embedding.
    """

    noise: float = 0.2
    position: float = 10.0
    match: float = 10.0
    copy: float = 3.0


def copying_start(model: Any, *, seed: int, strength: Strength = Strength()) -> None:
    """Set a new T5's attention so that its decoder goes on as the input did after the tokens it wrote last.

    Args:
        model: a T5 with at least 4 heads whose sizes make up its width, and 2 layers.
        seed: of the directions.

    Raises:
        ValueError: the model is too small, or its heads do not make up its width.
    """
    config = model.config
    width, size, heads = config.d_model, config.d_kv, config.num_heads
    if heads < 4 or size * heads != width or config.num_decoder_layers < 2:
        raise ValueError("a copying start needs two decoder layers, and at least four heads that make up the width")
    generator = torch.Generator().manual_seed(seed)

    def orthogonal(n: int) -> torch.Tensor:
        square: torch.Tensor = torch.linalg.qr(torch.randn(n, n, generator=generator))[0]
        return square

    basis_DD = orthogonal(width)
    # the stream's parts: a token's own name, the name of the one before, and of the one before that
    token_DH, before_DH, second_DH = (basis_DD[:, n * size : (n + 1) * size] for n in (0, 1, 2))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith((".o.weight", ".wo.weight")):
                weight.mul_(strength.noise)
        embeddings_VD = model.shared.weight
        for part_DH in (before_DH, second_DH):  # embeddings leave room for their predecessors' names
            embeddings_VD.sub_((embeddings_VD @ part_DH) @ part_DH.T)
        embeddings_VD.div_(embeddings_VD.pow(2).mean(1, keepdim=True).sqrt())
        encoder, decoder = (stack.block[0].layer[0].SelfAttention for stack in (model.encoder, model.decoder))
        _look_back(encoder, 0, 1, token_DH, before_DH, strength)
        _look_back(encoder, 1, 2, token_DH, second_DH, strength)
        _look_back(decoder, 0, 1, token_DH, before_DH, strength)
        cross = model.decoder.block[-1].layer[1].EncDecAttention
        for head in range(heads - 2):  # as many parts as the embeddings have beside the two left free
            rows = slice(head * size, (head + 1) * size)
            one_HH, two_HH = orthogonal(size), orthogonal(size)
            part_DH = token_DH if head == 0 else basis_DD[:, (head + 2) * size : (head + 3) * size]
            gain = strength.match / size
            cross.q.weight[rows] = gain * (one_HH @ token_DH.T + 0.5 * two_HH @ before_DH.T)
            cross.k.weight[rows] = one_HH @ before_DH.T + two_HH @ second_DH.T
            cross.v.weight[rows] = part_DH.T
            cross.o.weight[:, rows] = strength.copy * part_DH


def _look_back(
    attention: Any, head: int, distance: int, read_DH: torch.Tensor, write_DH: torch.Tensor, strength: Strength
) -> None:
    """Make a head write the name of the token so many places back."""
    size = read_DH.shape[1]
    rows = slice(head * size, (head + 1) * size)
    attention.relative_attention_bias.weight[distance, head] += (
        strength.position
    )  # small distances are buckets of their own
    attention.q.weight[rows] = 0.0
    attention.v.weight[rows] = read_DH.T
    attention.o.weight[:, rows] = write_DH
