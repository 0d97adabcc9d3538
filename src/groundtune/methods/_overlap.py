"""Validation rows that training sees, too: refused where they are the same, said where they are nearly so.

A validation loss over rows that are trained on falls for ever, and the weights that it calls best are those that have learnt
most by heart. Leaves out the same question in other words: that is ``groundtune dataset check``'s, with an embedder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from groundtune.dataset.checks.leaks import agree, other_things
from groundtune.dataset.item_text import answer_of, context_of, key_of, prompt_of, question_of
from groundtune.dedup import NearDuplicates
from groundtune.errors import InputError
from groundtune.records import Conversation

Rows = Sequence[tuple[str, Conversation]]
#: characters of a prompt that are compared nearly
_COMPARED = 4000


def check_overlap(train: Rows, validation: Rows, what: str = "validation") -> None:
    """See that no validation row is trained on; ``what`` such rows are called.

    The same prompt under another task, say "translate into German", is another question, unless its answer is the same, too.

    Raises:
        InputError: names the rows.
    """
    asked: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for _, c in train:
        asked[key_of(prompt_of(c))].add((key_of(context_of(c)), key_of(answer_of(c))))
    seen = [
        where
        for where, c in validation
        if any(
            task in (key_of(context_of(c)), 0) or not context_of(c) or answer == key_of(answer_of(c))
            for task, answer in asked.get(key_of(prompt_of(c)), ())
        )
    ]
    if seen:
        raise InputError(
            f"{len(seen)} {what} rows are trained on, too: {', '.join(seen[:3])}",
            expected=f"{what} rows that training never sees",
            next_step="groundtune dataset split makes parts that share nothing",
        )


def nearly_trained(train: Rows, validation: Rows) -> list[tuple[str, str]]:
    """(validation row, training row) of nearly the same prompt and the same answer, each validation row once.

    Prompts are alike where 80 % of their word 3-shingles are the same (MinHash, :mod:`groundtune.dedup`), with the same
    numbers and names.
    """
    if not validation:
        return []
    index: NearDuplicates[int] = NearDuplicates(0.8)
    index.hold(((n, prompt_of(c)[:_COMPARED]) for n, (_, c) in enumerate(validation)), every=True)
    found: dict[int, str] = {}
    for near in index.like(((n, prompt_of(c)[:_COMPARED]) for n, (_, c) in enumerate(train)), every=True):
        where, ours = train[near.key]
        theirs = validation[near.earlier][1]
        if (
            near.same_numbers
            and agree(answer_of(theirs), answer_of(ours))
            and not other_things(question_of(theirs), question_of(ours))
        ):
            found.setdefault(near.earlier, where)
    return [(validation[n][0], where) for n, where in sorted(found.items())]
