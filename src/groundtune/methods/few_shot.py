"""Worked examples before the question, closed book (Brown et al., "Language Models are Few-Shot Learners", 2020).

The examples are the same for every question, drawn from the training split by the seed; choosing the nearest ones
instead would be retrieval, which ``rag`` measures.
"""

import random

from groundtune.methods._setup import ClosedBook, Setup
from groundtune.system import System


def build(setup: Setup) -> System:
    """The System ``few_shot``."""
    pool = setup.training_examples()
    drawn = random.Random(setup.config.seed).sample(pool, min(setup.config.answer.shots, len(pool)))
    shots = tuple((e.question, e.references[0]) for e in drawn)
    name = f"{len(shots)} worked examples in the prompt, no documents"
    return ClosedBook("few_shot", name, setup.backend(), max_tokens=setup.config.answer.max_tokens, shots=shots)
