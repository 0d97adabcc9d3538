"""Token lengths against a model's context, how well its tokenizer knows the text, and what the loss mask covers."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from groundtune.dataset.render import TokenRow, end_ids, render_example
from groundtune.dataset.stats.sample import SampledRow, half_characters, turns_of
from groundtune.errors import InputError
from groundtune.records import Conversation, Message, Preference

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

#: rows whose tokens are shown, one from each tenth of the rows by length
SHOWN = 10
#: tokens shown of a row: its first and its last ones
SHOWN_HEAD, SHOWN_TAIL = 220, 80
#: a vocabulary entry seen fewer times than this is rare
RARE = 5
#: bars of a histogram
BINS = 36


@dataclass(slots=True)
class Lengths:
    """Tokens of each rendered row; ``rejected`` is the whole row with the rejected continuation."""

    numbers: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    refused_at: dict[str, int] = field(default_factory=dict)


def render_row(
    tokenizer: PreTrainedTokenizerBase, item: Conversation | Preference, messages: Sequence[Message] | None = None
) -> TokenRow | str:
    """A row as tokens, of any length; or why it cannot be rendered, in words."""
    from jinja2.exceptions import TemplateError

    try:
        return render_example(
            tokenizer,
            turns_of(item) if messages is None else messages,
            max_tokens=sys.maxsize,
            where="row",
            tools=item.tools,
        )
    except InputError as error:
        return error.problem.removeprefix("row: ")
    except (TemplateError, TypeError, ValueError, KeyError) as error:  # the template's own refusals
        if half_characters(item):
            return "half a character stands in its text (a lone surrogate)"
        return f"the chat template refuses it: {str(error).strip().partition(chr(10))[0] or type(error).__name__}"


def token_statistics(
    rows: Sequence[SampledRow],
    tokenizer: PreTrainedTokenizerBase,
    context_tokens: int,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Any], dict[int, int]]:
    """Render every row once and count.

    Returns:
        The figures (``tokens``, ``pieces``, ``mask`` as in :func:`groundtune.dataset.stats.measure.measure`), and each rendered
        row's tokens by its number.
    """
    import numpy as np

    lengths = Lengths()
    pieces = np.zeros(max(len(tokenizer), 1), dtype=np.int64)
    for number, row in enumerate(rows, 1):
        rendered = render_row(tokenizer, row.item)
        if isinstance(rendered, str):
            lengths.refused[rendered] += 1
            lengths.refused_at.setdefault(rendered, row.line)
        else:
            lengths.numbers.append(row.number)
            lengths.whole.append(len(rendered.ids))
            lengths.answer.append(sum(rendered.trained))
            pieces += np.bincount(np.array(rendered.ids), minlength=len(pieces))[: len(pieces)]
            if isinstance(row.item, Preference):
                other = render_row(tokenizer, row.item, (*row.item.messages, *row.item.rejected))
                lengths.rejected.append(0 if isinstance(other, str) else len(other.ids))
        if number % 200 == 0 or number == len(rows):
            progress(number, len(rows))
    by_number = dict(zip(lengths.numbers, lengths.whole, strict=True))
    whole, answer = np.array(lengths.whole, dtype=np.int64), np.array(lengths.answer, dtype=np.int64)
    longest = np.maximum(whole, lengths.rejected) if len(lengths.rejected) == len(whole) > 0 else whole
    tokens = {
        "rendered": len(whole),
        "prompt": distribution(whole - answer, context_tokens),
        "answer": distribution(answer, context_tokens),
        "whole": distribution(whole, context_tokens),
        "rejected": distribution(np.array(lengths.rejected, dtype=np.int64), context_tokens),
        "too_long": share(int((longest > context_tokens).sum()), len(whole)),
        "refused": [
            {"reason": reason, "examples": n, "line": lengths.refused_at[reason]}
            for reason, n in lengths.refused.most_common(10)
        ],
        "refused_examples": lengths.refused.total(),
    }
    trained, total = int(answer.sum()), int(whole.sum())
    mask = {"trained_tokens": trained, "tokens": total, "share": trained / total if total else None}
    return {"tokens": tokens, "pieces": _piece_figures(pieces, tokenizer), "mask": mask}, by_number


def share(count: int, total: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson 1927), which holds where the rows are a sample of more."""
    if not total:
        return {"examples": 0, "share": None, "low": None, "high": None}
    z, p = 1.959964, count / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return {"examples": count, "share": p, "low": max(middle - half, 0.0), "high": min(middle + half, 1.0)}


def distribution(values: np.ndarray[Any, np.dtype[np.int64]], limit: int) -> dict[str, Any] | None:
    """Mean, quantiles and a histogram of lengths; None where there are none.

    The bars end with the longest, or where that is far out with the 99.5th percentile or with ``limit``; what is longer
    still is counted in ``beyond``. Each bar is {low, high (exclusive), count}.
    """
    import numpy as np

    if not len(values):
        return None
    top = max(float(np.quantile(values, 0.995)), 1.0)
    if top < limit <= 2.5 * top:
        top = float(limit)
    if values.max() <= 1.5 * top:
        top = float(max(values.max(), top))
    width = _nice(top / BINS)
    bars = math.floor(top / width) + 1
    counts = np.bincount(values // width, minlength=bars)
    found = {f"p{q}": float(np.quantile(values, q / 100)) for q in (5, 50, 90, 95, 99)}
    return {
        "mean": float(values.mean()),
        "min": int(values.min()),
        "max": int(values.max()),
        **found,
        "over_limit": int((values > limit).sum()),
        "bars": [{"low": at * width, "high": (at + 1) * width, "count": int(counts[at])} for at in range(bars)],
        "beyond": int(counts[bars:].sum()),
    }


def _nice(width: float) -> int:
    step = 10 ** max(math.floor(math.log10(max(width, 1.0))), 0)
    return int(next(step * factor for factor in (1, 2, 3, 4, 5, 6, 8, 10) if step * factor >= width))


def _piece_figures(counts: np.ndarray[Any, np.dtype[np.int64]], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """How much of the vocabulary the data uses, and how much of the data are unknown, rare or broken pieces."""
    import numpy as np

    used = np.flatnonzero(counts)
    total = int(counts.sum())
    unknown = tokenizer.unk_token_id
    texts = tokenizer.batch_decode([[int(i)] for i in used])
    broken = used[np.array(["\ufffd" in text for text in texts], dtype=bool)] if len(used) else used
    rare = used[counts[used] < RARE]
    return {
        "vocabulary": len(tokenizer),
        "used": len(used),
        "rare": len(rare),
        "rare_share": int(counts[rare].sum()) / total if total else None,
        "unknown_share": int(counts[unknown]) / total if total and isinstance(unknown, int) else None,
        "broken_share": int(counts[broken].sum()) / total if total else None,
    }


def shown_rows(
    rows: Sequence[SampledRow], lengths: dict[int, int], tokenizer: PreTrainedTokenizerBase, context_tokens: int
) -> list[dict[str, Any]]:
    """Ten rows from the shortest to the longest, evenly spread, with every token's text and part (:func:`pieces_of`)."""
    by_length = sorted(
        (row for row in rows if row.number in lengths), key=lambda row: (lengths[row.number], row.number)
    )
    last = len(by_length) - 1
    picks = sorted({round(last * n / (SHOWN - 1)) for n in range(SHOWN)}) if by_length else []
    shown = []
    for row in (by_length[at] for at in picks):
        rendered = render_row(tokenizer, row.item)
        assert isinstance(rendered, TokenRow)  # it was rendered before
        shown.append(
            {
                "line": row.line,
                "tokens": len(rendered.ids),
                "trained": sum(rendered.trained),
                "turns": len(turns_of(row.item)),
                "fits": len(rendered.ids) <= context_tokens,
                "pieces": pieces_of(rendered, tokenizer),
            }
        )
    return shown


def pieces_of(row: TokenRow, tokenizer: PreTrainedTokenizerBase) -> list[list[Any]]:
    """A row's tokens as [text, kind, position], of a long one its first and last.

    Kinds: ``trained``, ``end`` (trained, ends a turn), ``context``, ``mark`` (context, a control token), ``begin`` (beginning
    of text), ``gap`` (text is the number of tokens left out).
    """
    ends, special = end_ids(tokenizer), set(tokenizer.all_special_ids)
    special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    size = len(row.ids)
    whole = size <= SHOWN_HEAD + SHOWN_TAIL
    parts = [(0, size)] if whole else [(0, SHOWN_HEAD), (size - SHOWN_TAIL, size)]
    out: list[list[Any]] = []
    for part in parts:
        if part[0]:
            out.append([str(part[0] - SHOWN_HEAD), "gap", SHOWN_HEAD])
        for at, text in zip(range(*part), _token_texts(tokenizer, row.ids[part[0] : part[1]]), strict=True):
            token = row.ids[at]
            if row.trained[at]:
                kind = "end" if token in ends else "trained"
            elif token == tokenizer.bos_token_id and at == 0:
                kind = "begin"
            else:
                kind = "mark" if token in special else "context"
            out.append([text, kind, at])
    return out


def _token_texts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """Each token's own text: what it adds to the text before it. Parts of a character stand with its last part."""

    def decode(start: int, end: int) -> str:
        return str(tokenizer.decode(list(ids[start:end])))

    texts: list[str] = []
    start = done = 0  # text of ids[start:at] up to `done` characters has been given out
    for at in range(len(ids)):
        if at - start > 16 and (not texts or texts[-1]):  # not in the middle of a character
            start, done = at - 8, len(decode(at - 8, at))
        text = decode(start, at + 1)
        if text.endswith("\ufffd") and at + 1 < len(ids):
            texts.append("")
            continue
        texts.append(text[done:])
        done = len(text)
    return texts
