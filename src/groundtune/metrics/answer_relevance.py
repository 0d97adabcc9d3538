"""Whether the answer is about the question: cosine of their MiniLM vectors; 0 for an abstention where there is an answer.

After RAGAS' answer relevance (Es et al. 2023), which lets a language model write questions that the answer would answer and
compares those with the question asked. Departs from it: no model writes, the answer itself is compared. So it says nothing of
right or wrong, and a bare "48 crowns" scores low however right it is: good for one system before and after, not across
systems that write at different length.
"""

from collections.abc import Sequence

from groundtune.metrics._meaning import remember, similarity
from groundtune.records import Completion, Example

SIGNATURE = "answer_relevance|all-MiniLM-L6-v2, cosine of question and answer, below 0 is 0"
#: a matter of degree: no answer must score exactly 0 or 1
GRADED = True


def prepare(completions: Sequence[Completion], examples: Sequence[Example]) -> None:
    """Embed every question and answer in one go, so that :func:`score` finds them done."""
    asked = [(c, e) for c, e in zip(completions, examples, strict=True) if e.references and not c.abstained]
    remember(text for c, e in asked for text in (e.question, c.text))


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None for a question without an answer."""
    if not example.references:
        return None
    answered = bool(completion.text.strip()) and not completion.abstained
    return similarity(example.question, completion.text) if answered else 0.0
