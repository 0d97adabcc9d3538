"""Worked examples before the question, closed book (Brown et al., "Language Models are Few-Shot Learners", 2020).

The examples are the same for every question, drawn from the training split by the seed; ``few_shot_nearest`` chooses
them for each question.
"""

import random

from groundtune.methods._setup import ClosedBook, Setup
from groundtune.system import System

#: what must be made first
NEEDS = ("questions",)


def build(setup: Setup) -> System:
    """The System ``few_shot``."""
    pool = setup.training_examples()
    drawn = random.Random(setup.config.seed).sample(pool, min(setup.config.answer.shots, len(pool)))
    shots = [{"question": e.question, "answer": e.references[0]} for e in drawn]
    asked = setup.prompt("closed_book")
    return ClosedBook(
        "few_shot",
        f"{len(shots)} worked examples in the prompt, no documents",
        setup.backend(),
        max_tokens=setup.config.answer.max_tokens,
        ask=lambda question: asked.messages(shots, question=question),
    )
