"""Trigger words found by gradient: which words before the question would lower the loss of the answers.

AutoPrompt (Shin et al., EMNLP 2020, section 2.2), by the first-order estimate of HotFlip (Ebrahimi et al., ACL 2018): a
token with embedding e_v in the place of e changes the loss by about (e_v - e) . g, g the gradient at that place. Departs
from AutoPrompt by taking whole words only and by scoring every candidate as text, so that what is found is what a person
reads and what is tokenized again when answering.

Legend: B rows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from groundtune.methods._hard_prompts import HardPrompt
from groundtune.methods._prompt_search import Likelihood
from groundtune.records import Example
from groundtune.training.data import IGNORED

#: what every place of the trigger begins with, and what else could stand there
BLANK, OTHER = "the", "of"
#: questions of one gradient, and rows in one forward pass
GRADIENT_QUESTIONS, ROWS = 16, 8


def blank(prompt: HardPrompt, words: int) -> HardPrompt:
    """A prompt with a trigger of so many words that say nothing."""
    return replace(prompt, trigger=" ".join([BLANK] * words))


def with_word(prompt: HardPrompt, place: int, word: str) -> HardPrompt:
    """A prompt with another word in a place of its trigger."""
    words = prompt.trigger.split(" ")
    words[place] = word
    return replace(prompt, trigger=" ".join(words))


def proposals(
    scorer: Likelihood, prompt: HardPrompt, place: int, examples: Sequence[Example], count: int
) -> list[HardPrompt]:
    """The prompt itself, then those with the ``count`` words in that place that promise the lowest loss."""
    gradient_D = place_gradient(scorer, prompt, place, examples[:GRADIENT_QUESTIONS])
    if gradient_D is None:
        return [prompt]
    ids, words = vocabulary(scorer.tokenizer)
    table_VD = scorer.model.get_input_embeddings().weight
    change_V = (table_VD[torch.tensor(ids, device=table_VD.device)].float() @ gradient_D).cpu()
    here = prompt.trigger.split(" ")[place]
    best = [words[n] for n in torch.argsort(change_V, stable=True).tolist()]
    fresh = [w for w in dict.fromkeys(best) if w != here][:count]
    return [prompt, *(with_word(prompt, place, word) for word in fresh)]


def place_gradient(
    scorer: Likelihood, prompt: HardPrompt, place: int, examples: Sequence[Example]
) -> torch.Tensor | None:
    """Gradient (D,) of the answers' summed loss at a word of the trigger, summed over questions; None: it does not fit."""
    rows = scorer.rows(prompt, examples)
    other = OTHER if prompt.trigger.split(" ")[place] == BLANK else BLANK
    changed = scorer.rows(with_word(prompt, place, other), examples)
    if rows is None or changed is None:
        return None
    spans = [difference(a.ids, b.ids) for a, b in zip(rows, changed, strict=True)]
    total_D: torch.Tensor | None = None
    for start in range(0, len(rows), ROWS):
        here = rows[start : start + ROWS]
        gradient_BTD = input_gradients(scorer.model, here)
        for row_TD, (first, last) in zip(gradient_BTD, spans[start : start + ROWS], strict=True):
            part_D = row_TD[first:last].float().sum(0)
            total_D = part_D if total_D is None else total_D + part_D
    return total_D


def difference(ids: Sequence[int], others: Sequence[int]) -> tuple[int, int]:
    """The places in which a row differs from another one, from the first to behind the last."""
    first, shorter = 0, min(len(ids), len(others))
    while first < shorter and ids[first] == others[first]:
        first += 1
    last = 0
    while last < shorter - first and ids[-1 - last] == others[-1 - last]:
        last += 1
    return first, len(ids) - last


def input_gradients(model: Any, rows: Sequence[Any]) -> torch.Tensor:
    """Gradient (B, T, D) of the summed cross-entropy of trained tokens with respect to the input embeddings."""
    device = next(model.parameters()).device
    width = max(len(r.ids) for r in rows)
    ids_BT = torch.tensor([[*r.ids, *[0] * (width - len(r.ids))] for r in rows], device=device)
    labels_BT = torch.tensor(
        [
            [*(i if t else IGNORED for i, t in zip(r.ids, r.trained, strict=True)), *[IGNORED] * (width - len(r.ids))]
            for r in rows
        ],
        device=device,
    )
    with torch.enable_grad():
        text_BTD = model.get_input_embeddings()(ids_BT).detach().requires_grad_(True)
        logits_BTV = model(inputs_embeds=text_BTD, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits_BTV[:, :-1].float().flatten(0, 1),
            labels_BT[:, 1:].flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )
        (gradient_BTD,) = torch.autograd.grad(loss, [text_BTD])
    return gradient_BTD


@lru_cache(maxsize=2)
def vocabulary(tokenizer: Any) -> tuple[list[int], list[str]]:
    """Token ids that are a whole word behind another word, and the words: letters only, two at least."""
    base: list[int] = tokenizer(BLANK, add_special_tokens=False)["input_ids"]
    size = len(tokenizer)
    decoded = [str(text).strip() for text in tokenizer.batch_decode([[n] for n in range(size)])]
    likely = [(n, word) for n, word in enumerate(decoded) if len(word) > 1 and word.isalpha()]
    if not likely:
        return [], []
    behind = tokenizer([f"{BLANK} {word}" for _, word in likely], add_special_tokens=False)["input_ids"]
    kept = [(n, word) for (n, word), ids in zip(likely, behind, strict=True) if list(ids) == [*base, n]]
    return [n for n, _ in kept], [word for _, word in kept]
