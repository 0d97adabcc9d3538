"""A sentence as numbers for the small classifiers: which kinds of words it has, how they stand to each other, its vector.

The kinds (``lexicon.toml``) are what a sentence needs to steer a reader that answers: somebody addressed, an act of speech,
directions to be set aside, a condition. A pair of kinds says more than a word ("ignore" + "directions"; "when" + "asked" + "tell"), so
ordered pairs close together and pairs anywhere count. The vector is MiniLM's, which carries other wordings. Leaves out the words
themselves: a classifier over words learns its training text's subjects.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: words apart at which an ordered pair is close
NEAR = 5
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
#: what an order may begin with
_FIRST = "ignore|disregard|forget|say|reply|respond|answer|tell|write|print|output|repeat|reveal|act|pretend|recommend|refuse|append|add|include|begin|start|end|stop|do not|don't|never|always|use|call|send|treat|consider|assume|translate|mention|state|return|follow|obey|imagine|switch|enter|become|skip|replace|substitute|give|provide|claim|insert|finish|make sure|ensure|remember|note that"
#: form: how a sentence looks
_FORM = (
    re.compile(r"[\"“”‘«»„].{2,200}[\"“”’«»“]"),  # quotes something
    re.compile(r":\s*[\"“']?\S"),  # announces something
    re.compile(r"^\W*(?:\[|<|#|\{|\||---|===|\*\*\*)"),  # begins as no sentence does
    re.compile(r"(?i)(?:^|[\[<{\"#*|\s])(?:system|assistant|user|human|ai|instruction|inst|im_start|developer)\W{0,3}(?:[:\]>}\"|]|message|prompt|note|override|instruction)"),
    re.compile(r"https?://|www\.|!\[|\]\(|\w+@\w+"),
    re.compile(r"!"),
    re.compile(r"\?"),
    re.compile(r"\b[A-Z]{3,}\b.*\b[A-Z]{3,}\b"),
    re.compile(r"\d"),
    re.compile(rf"^\W*(?:please |kindly |now |instead,? |also |then |just )?(?:{_FIRST})\b", re.IGNORECASE),
)  # fmt: skip


@cache
def _lexicon() -> tuple[tuple[str, ...], dict[str, tuple[int, ...]], tuple[tuple[str, int], ...]]:
    given = tomllib.loads((Path(__file__).parent / "lexicon.toml").read_text(encoding="utf-8"))
    names = tuple(given)
    whole: dict[str, set[int]] = {}
    stems: list[tuple[str, int]] = []
    for number, name in enumerate(names):
        for word in given[name]["words"].split():
            if word.endswith("*"):
                stems.append((word[:-1], number))
            else:
                whole.setdefault(word, set()).add(number)
    return names, {w: tuple(sorted(k)) for w, k in whole.items()}, tuple(stems)


@cache
def kinds_of(word: str) -> frozenset[int]:
    """Which kinds a lower-case word is of."""
    _, whole, stems = _lexicon()
    return frozenset(whole.get(word, ())) | {kind for stem, kind in stems if word.startswith(stem)}


def width() -> int:
    """Numbers of a sentence's form and kinds."""
    count = len(_lexicon()[0])
    return len(_FORM) + 2 + count + count * count + count * (count - 1) // 2


def lexical(texts: Sequence[str]) -> Any:
    """Form and kinds of each text, shape (len(texts), :func:`width`), 0 or 1 but for two lengths."""
    import numpy as np

    count = len(_lexicon()[0])
    out = np.zeros((len(texts), width()), dtype=np.float32)
    pairs = {(a, b): n for n, (a, b) in enumerate((a, b) for a in range(count) for b in range(a + 1, count))}
    for row, text in enumerate(texts):
        tokens = [t.lower().replace("’", "'") for t in _TOKEN.findall(text)][:120]
        kinds = [kinds_of(t) for t in tokens]
        present = sorted(frozenset().union(*kinds)) if kinds else []
        out[row, : len(_FORM)] = [bool(p.search(text)) for p in _FORM]
        out[row, len(_FORM)] = min(len(tokens), 60) / 60
        out[row, len(_FORM) + 1] = sum(map(bool, kinds)) / max(4, len(tokens))
        base = len(_FORM) + 2
        out[row, [base + k for k in present]] = 1
        for at, first in enumerate(kinds):
            for second in kinds[at + 1 : at + 1 + NEAR] if first else ():
                for a in first:
                    for b in second:
                        out[row, base + count + a * count + b] = 1
        base += count + count * count
        for n, a in enumerate(present):
            for b in present[n + 1 :]:
                out[row, base + pairs[a, b]] = 1
    return out
