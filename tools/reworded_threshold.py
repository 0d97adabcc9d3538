"""How well held-out questions in other words are found, at several thresholds, on the shipped example's phrasings.

One phrasing of every second fact is held out and its other phrasings are trained on (to be found); of every other fact one
phrasing is held out and none is trained on (not to be found). Prints what `groundtune dataset check` would name.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.dataset.checks import leak_candidates, leaks
from groundtune.dataset.checks.findings import Findings
from groundtune.dataset.examples import read_examples
from groundtune.records import Conversation, Example, Message
from groundtune.retrieval.embedders import minilm

EXAMPLE = Path(__file__).parent.parent / "src" / "groundtune" / "example" / "questions.jsonl"


@cache
def _vector(text: str) -> Any:
    return minilm.embed([text])[0]


def _embed(texts: Any) -> Any:
    return np.stack([_vector(t) for t in texts])


def _item(example: Example) -> Conversation:
    return Conversation((Message("user", example.question), Message("assistant", example.references[0])))


def found_at(threshold: float) -> tuple[int, int, int, int]:
    """(held-out phrasings found, of how many, others named wrongly, of how many)."""
    leak_candidates.SAME_ANSWER = threshold
    facts: dict[str, list[Example]] = {}
    for example in read_examples(EXAMPLE):
        if example.answerable:
            facts.setdefault(example.fact, []).append(example)
    several = [phrasings for phrasings in facts.values() if len(phrasings) > 1]
    leaked, clean = several[::2], several[1::2]
    search = leaks.Leaks(embed=_embed, near=False)
    for phrasings in (*leaked, *clean):
        search.hold(phrasings[0].fact, _item(phrasings[0]))
    trained = [e for phrasings in leaked for e in phrasings[1:]]
    findings = Findings("example")
    search.compare(list(enumerate(map(_item, trained))), findings, len(trained))
    named = [(trained[line].fact, search.partner[line]) for line in search.partner]
    right = {fact for fact, partner in named if fact == partner}
    wrong = {partner for fact, partner in named if fact != partner}
    return len(right), len(leaked), len(wrong), len(several)


if __name__ == "__main__":
    print("| cosine, answers agree | found | of | named wrongly | of |\n| --- | --- | --- | --- | --- |")
    for threshold in (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75):
        print(f"| {threshold} | " + " | ".join(map(str, found_at(threshold))) + " |")
