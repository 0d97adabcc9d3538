"""Share of an answer's sentences that its sources support: RAGAS' faithfulness (Es et al. 2023), by our support score.

RAGAS lets a language model take the answer apart into statements and judge each against the context. Here the statements are
the answer's sentences, read with the question, and :mod:`groundtune.retrieval.support` says how well a source supports
each; the source that supports it best counts. None where a system shows no sources or abstains, as for ``supported``.
"""

from collections.abc import Iterator, Sequence

from groundtune.dataset.reading import sentences
from groundtune.metrics._meaning import embed
from groundtune.records import Completion, Example
from groundtune.retrieval.support import THRESHOLD, Claim, support_scores

SIGNATURE = f"faithfulness|sentences, support of the best source at least {THRESHOLD}|all-MiniLM-L6-v2"

_supported: dict[Claim, float] = {}
_MOST = 100_000


def prepare(completions: Sequence[Completion], examples: Sequence[Example]) -> None:
    """Score every sentence beside every source in one go, so that :func:`score` finds them done."""
    _score(c for pair in zip(completions, examples, strict=True) for claims in _claims(*pair) for c in claims)


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1, or None; see the module's head."""
    rows = _claims(completion, example)
    if not rows:
        return None
    _score(claim for claims in rows for claim in claims)
    return sum(max(_supported[c] for c in claims) >= THRESHOLD for claims in rows) / len(rows)


def _claims(completion: Completion, example: Example) -> list[list[Claim]]:
    """For each sentence of an answer, itself beside each source."""
    if completion.abstained or not completion.sources:
        return []
    said = [s for s in sentences(completion.text) if any(c.isalnum() for c in s)] or [completion.text]
    return [[Claim(s, source.text, example.question, source.document) for source in completion.sources] for s in said]


def _score(claims: Iterator[Claim]) -> None:
    wanted = list(dict.fromkeys(claims))
    missing = [c for c in wanted if c not in _supported]
    if len(_supported) + len(missing) > _MOST:
        _supported.clear()
        missing = wanted
    if missing:
        _supported.update(zip(missing, support_scores(missing, embed), strict=True))
