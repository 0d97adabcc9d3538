"""Share of an answer's sentences that its sources support: RAGAS' faithfulness (Es et al. 2023), by our support score.

RAGAS lets a language model take the answer apart into statements and judge each against the context. Here the statements are
the answer's sentences, read with the question, and :mod:`groundtune.retrieval.support` says how well a source supports
each; of several sources the one counts that supports it best by its words alone, which saves embedding all of them. None
where a system shows no sources or abstains, as for ``supported``.
"""

from collections.abc import Sequence

from groundtune.dataset.reading import sentences
from groundtune.metrics._meaning import embed
from groundtune.records import Completion, Example
from groundtune.retrieval.support import THRESHOLD, Claim, support_scores

SIGNATURE = f"faithfulness|sentences, support of the best source at least {THRESHOLD}|all-MiniLM-L6-v2"

#: sentence beside its sources -> support of the best one
_supported: dict[tuple[Claim, ...], float] = {}
_MOST = 20_000


def prepare(completions: Sequence[Completion], examples: Sequence[Example]) -> None:
    """Score every sentence in one go, so that :func:`score` finds them done."""
    _score([row for pair in zip(completions, examples, strict=True) for row in _rows(*pair)])


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1, or None; see the module's head."""
    rows = _rows(completion, example)
    if not rows:
        return None
    _score(rows)
    return sum(_supported[row] >= THRESHOLD for row in rows) / len(rows)


def _rows(completion: Completion, example: Example) -> list[tuple[Claim, ...]]:
    """For each sentence of an answer, itself beside each source."""
    if completion.abstained or not completion.sources:
        return []
    said = [s for s in sentences(completion.text) if any(c.isalnum() for c in s)] or [completion.text]
    return [tuple(Claim(s, f.text, example.question, f.document) for f in completion.sources) for s in said]


def _score(rows: Sequence[tuple[Claim, ...]]) -> None:
    wanted = list(dict.fromkeys(rows))
    missing = [row for row in wanted if row not in _supported]
    if len(_supported) + len(missing) > _MOST:
        _supported.clear()
        missing = wanted
    if not missing:
        return
    by_words = iter(support_scores([claim for row in missing for claim in row]))
    best = [max(row, key=dict(zip(row, by_words, strict=False)).__getitem__) for row in missing]
    _supported.update(zip(missing, support_scores(best, embed), strict=True))
