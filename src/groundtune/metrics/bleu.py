"""BLEU of one answer (Papineni et al., ACL 2002), by the package sacrebleu; for answerable questions. Papers quote a corpus'."""

from groundtune.metrics import _sacrebleu
from groundtune.records import Completion, Example

SIGNATURE = "bleu|sacrebleu, 13a, case mixed, smoothing exp, effective order|of a sentence|all references"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None for a question without an answer."""
    return _sacrebleu.sentence("bleu", completion.text, example.references) if example.references else None
