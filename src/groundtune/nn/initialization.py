"""Better starts than noise for a small new model: related words as neighbours, and attention that already copies.

Two ideas. Token embeddings are taken from a trained word table (WECHSEL, Minixhofer et al., NAACL 2022, in its simplest
form). Attention weights are set by hand to the circuits that training finds anyway, so that a model which sees a few
million tokens need not spend them on finding these: previous-token heads and induction heads (Olsson et al., "In-context
Learning and Induction Heads", 2022), in the spirit of mimetic initialization (Trockman and Kolter, ICML 2023). Nothing
is frozen; training changes all of it.

Legend: V vocabulary, D width, H head size, N slow rotary dimensions, W words of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


def embeddings_from_words(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, words_WD: torch.Tensor, lookup: dict[str, int]
) -> int:
    """Start the token embeddings from a word-embedding table, so that related words begin as neighbours.

    A token that is a word takes that word's vector, projected to the model's width by principal components and scaled
    to deviation 0.02.

    Args:
        words_WD: table, one row a word piece; W and D at least the model's width.
        lookup: lower-case word piece -> row; pieces inside a word begin with ``##``.

    Returns:
        How many tokens were given a vector.
    """
    table_WD = words_WD - words_WD.mean(0)
    width = model.config.hidden_size
    _, _, components = torch.linalg.svd(table_WD[:20000], full_matrices=False)
    small_WD = table_WD @ components[:width].T
    small_WD = small_WD / small_WD.std() * 0.02
    weight_VD = model.model.embed_tokens.weight
    given = 0
    with torch.no_grad():
        for token in range(weight_VD.shape[0]):
            text = str(tokenizer.decode([token]))
            piece = text.strip().lower()
            row = lookup.get(piece if text.startswith(" ") or not piece.isalpha() else f"##{piece}", lookup.get(piece))
            if piece and row is not None:
                weight_VD[token] = small_WD[row]
                given += 1
    return given


@dataclass(frozen=True, slots=True)
class Circuits:
    """How strong each part starts; the values gave the lowest loss on repeated questions before any training.

    Attributes:
        noise: what is left of the random writes to the residual stream.
        previous: gain of the previous-token heads' queries and keys.
        carry: gain with which the previous token's identity is written.
        match: gain of matching queries and keys.
        copy: gain with which a matched token is written to the output.
        head: gain of the output head.
        stream: what everything written to the residual stream is multiplied by. RMSNorm makes the function the same, but
            Adam's steps, of equal size whatever the weight, become this much smaller beside the weights: without it the
            circuits are destroyed at any learning rate above 1e-4, with it 6e-4 is stable.
    """

    noise: float = 0.1
    previous: float = 1.6
    carry: float = 0.025
    match: float = 1.5
    copy: float = 0.12
    head: float = 8.0
    stream: float = 10.0


def copying_circuits(model: LlamaForCausalLM, *, seed: int, strength: Circuits = Circuits()) -> None:
    """Set a new model's attention so that it repeats what followed a token the last time it stood there.

    The first layer's first head writes each previous token into a part T of the residual stream that the embeddings
    leave free. In the last two layers two heads each look from a token (part S) for places whose T holds the same token,
    and write what stands there, each a share of it, to the output. Layers between have one head that looks for the
    same token. The output head reads a rotated copy of the embeddings, so that the token at hand is not its own
    prediction; the model must not tie its embeddings.

    Raises:
        ValueError: the model ties its embeddings, is not four heads wide at least or not four layers deep.
    """
    config = model.config
    width, heads, layers = config.hidden_size, config.num_attention_heads, config.num_hidden_layers
    size = width // heads
    if config.tie_word_embeddings or heads < 4 or layers < 4:
        raise ValueError("copying circuits need untied embeddings, at least 4 heads and at least 4 layers")
    generator = torch.Generator().manual_seed(seed)

    def orthogonal(n: int) -> torch.Tensor:
        square: torch.Tensor = torch.linalg.qr(torch.randn(n, n, generator=generator))[0]
        return square

    frequencies = float(config.to_dict()["rope_parameters"]["rope_theta"]) ** (-torch.arange(0, size, 2).float() / size)
    slow_N = torch.cat([frequencies * 150 < 0.6] * 2).nonzero()[:, 0]  # turn by under 0.6 radians in 150 tokens

    def matcher() -> torch.Tensor:  # (H, H): compares two parts of the stream wherever they stand
        matrix = torch.zeros(size, size)
        matrix[slow_N] = orthogonal(size)[: len(slow_N)] * math.sqrt(size / max(1, len(slow_N)))
        return matrix

    basis_DD = orthogonal(width)
    constant, token_DH, previous_DH = basis_DD[:, 0], basis_DD[:, 1 : 1 + size], basis_DD[:, 1 + size : 1 + 2 * size]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(strength.noise)
        rotation_DD = _spread_embeddings(model, constant, previous_DH, orthogonal)
        model.lm_head.weight.mul_(strength.head)
        first = model.model.layers[0].self_attn
        query_H, key_H = torch.zeros(size), torch.zeros(size)
        for i in range(8):  # rotary angles at which only the token one step back agrees
            query_H[i], key_H[i], key_H[i + size // 2] = 1.0, math.cos(frequencies[i]), math.sin(frequencies[i])
        for head in (0, 1):
            rows = slice(head * size, (head + 1) * size)
            first.q_proj.weight[rows] = strength.previous * query_H[:, None] * constant
            first.k_proj.weight[rows] = strength.previous * key_H[:, None] * constant
            first.v_proj.weight[rows] = token_DH.T
        first.o_proj.weight[:, :size] = strength.carry * previous_DH
        part = 0
        for number in range(1, layers):
            attention = model.model.layers[number].self_attn
            if number < layers - 2:
                match_HH, rows = matcher(), slice(size, 2 * size)
                attention.q_proj.weight[rows] = 0.6 * strength.match * (match_HH @ token_DH.T)
                attention.k_proj.weight[rows] = 0.6 * strength.match * (match_HH @ token_DH.T)
                continue
            for head in range(4):
                rows = slice(head * size, (head + 1) * size)
                part_DH = basis_DD[:, (part % heads) * size : (part % heads + 1) * size]
                part += 1
                attention.v_proj.weight[rows] = part_DH.T
                attention.o_proj.weight[:, rows] = (
                    strength.copy * (1.0 if head < 2 else 0.5) * (rotation_DD.T @ part_DH)
                )
                if head < 2:  # the other two copy too; where they look is left to training
                    match_HH = matcher()
                    attention.q_proj.weight[rows] = strength.match * (match_HH @ token_DH.T)
                    attention.k_proj.weight[rows] = strength.match * (match_HH @ previous_DH.T)
        for name, weight in model.named_parameters():
            if name.endswith(("embed_tokens.weight", "o_proj.weight", "down_proj.weight")):
                weight.mul_(strength.stream)


def _spread_embeddings(
    model: LlamaForCausalLM, constant: torch.Tensor, free_DH: torch.Tensor, orthogonal: Callable[[int], torch.Tensor]
) -> torch.Tensor:
    """Embeddings of equal length and even spread, clear of ``free_DH``, with a constant part; the head a rotated copy."""
    weight_VD = model.model.embed_tokens.weight
    weight_VD.sub_(weight_VD.mean(0))
    left, singular, right = torch.linalg.svd(weight_VD, full_matrices=False)
    weight_VD.copy_((left * singular.sqrt()) @ right)  # half-whitened: common directions no longer drown the others
    weight_VD.sub_((weight_VD @ constant)[:, None] * constant)
    weight_VD.sub_((weight_VD @ free_DH) @ free_DH.T)
    weight_VD.mul_(0.02 * math.sqrt(weight_VD.shape[1]) / weight_VD.norm(dim=1, keepdim=True).clamp_min(1e-3))
    rotation_DD: torch.Tensor = orthogonal(weight_VD.shape[1])
    model.lm_head.weight.copy_(weight_VD @ rotation_DD)
    weight_VD.add_(0.0075 * math.sqrt(weight_VD.shape[1]) * constant)
    return rotation_DD
