"""The bundled cross-encoder: MiniLM reads question and passage together; how near their words come is the score.

Legend: B pairs, T tokens, Q question tokens, P passage tokens, D width.

Both stand in one sequence, so each token sees the other text (cross-encoder: Nogueira and Cho, "Passage Re-ranking with
BERT", 2019). The head departs from theirs, a linear layer on the first token: MiniLM comes as a sentence encoder, whose
tokens' cosines mean something already. So a pair's score is the mean over question tokens of their greatest cosine with
a passage token (MaxSim: Khattab and Zaharia, ColBERT, SIGIR 2020), the cosine of both mean vectors, and a linear layer on
the mean of all tokens that starts at zero: 3 numbers with learnt weights, of use before the first step of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from groundtune.nn.encoders import padded

#: word pieces of question and passage that are read; with three marks at most 256, what MiniLM's vectors were made with
QUESTION_TOKENS, PASSAGE_TOKENS = 64, 189
#: scores' scale at the beginning, of MaxSim, of the mean vectors' cosine, of the linear layer
START = (10.0, 10.0, 1.0)


class JointScorer(torch.nn.Module):
    """An encoder with the head.

    Args:
        encoder: a BERT without pooler.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.weights = torch.nn.Parameter(torch.tensor(START))
        self.linear = torch.nn.Linear(int(encoder.config.hidden_size), 1)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, kinds_BT: torch.Tensor) -> torch.Tensor:
        """Scores (B,), without a scale of their own; the marks at the texts' ends count as no token."""
        hidden_BTD = self.encoder(input_ids=ids_BT, attention_mask=mask_BT, token_type_ids=kinds_BT)
        hidden_BTD = hidden_BTD.last_hidden_state.float()
        marks_BT = (ids_BT == SPECIAL[0]) | (ids_BT == SPECIAL[1])
        inside_BT = mask_BT.bool() & ~marks_BT
        question_BT, passage_BT = inside_BT & (kinds_BT == 0), inside_BT & (kinds_BT == 1)
        unit_BTD = torch.nn.functional.normalize(hidden_BTD, dim=-1)
        near_BTT = unit_BTD @ unit_BTD.transpose(1, 2)
        best_BT = near_BTT.masked_fill(~passage_BT[:, None, :], -1.0).amax(-1)
        maxsim_B = (best_BT * question_BT).sum(1) / question_BT.sum(1).clamp_min(1)
        means = [
            (hidden_BTD * m[..., None]).sum(1) / m.sum(1, keepdim=True).clamp_min(1) for m in (question_BT, passage_BT)
        ]
        cosine_B = torch.nn.functional.cosine_similarity(means[0], means[1])
        pooled_BD = (hidden_BTD * inside_BT[..., None]).sum(1) / inside_BT.sum(1, keepdim=True).clamp_min(1)
        linear_B = self.linear(pooled_BD).squeeze(-1)
        return torch.stack([maxsim_B, cosine_B, linear_B], -1) @ self.weights


#: ids of [CLS] and [SEP] in MiniLM's vocabulary
SPECIAL = (101, 102)


def batch(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and kinds (0 question, 1 passage), each (B, T), of (question, passage) as word pieces without marks."""
    first, mark = SPECIAL
    rows, kinds = [], []
    for question, passage in pairs:
        q, p = list(question)[:QUESTION_TOKENS], list(passage)[:PASSAGE_TOKENS]
        rows.append([first, *q, mark, *p, mark])
        kinds.append([0] * (len(q) + 2) + [1] * (len(p) + 1))
    ids_BT, mask_BT = padded(rows)
    return ids_BT, mask_BT, padded(kinds)[0]
