"""Rows of one file that repeat each other: exactly, nearly, or the same prompt with different answers; and answers that dominate.

Kept in arrays of 64-bit keys, 36 bytes a row, and in sketches for near duplicates, 280 bytes a row.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from groundtune.dataset.checks.findings import Findings
from groundtune.dataset.checks.near_pairs import NearPairs
from groundtune.dataset.item_text import answer_of, context_of, key_of, prompt_of
from groundtune.records import Conversation, Preference

#: characters of a row that near duplicates are judged by; longer rows nearly never differ only behind them
_COMPARED = 4000
_NEAR = 0.8


class Repeats:
    """Takes in items and finds what repeats.

    Args:
        near: also look for near duplicates, which takes two thirds of the time.
    """

    def __init__(self, *, near: bool = True) -> None:
        self._lines = array("I")
        self._prompts, self._answers, self._contexts, self._ids = (array("Q") for _ in range(4))
        self._near = NearPairs(_NEAR) if near else None
        self._shown: dict[int, str] = {}

    def add(self, line: int, item: Conversation | Preference) -> None:
        """Take in the item of a line."""
        prompt, answer = prompt_of(item), answer_of(item)
        answer_key = key_of(answer)
        self._lines.append(line)
        self._prompts.append(key_of(prompt))
        self._answers.append(answer_key)
        self._contexts.append(key_of(f"{context_of(item)}\x00{item.split}"))
        self._ids.append(key_of(item.id))
        if len(self._shown) < 1000 and answer_key not in self._shown:
            self._shown[answer_key] = " ".join(answer.split())[:60]
        if self._near is not None:
            self._near.add(f"{item.split} {prompt}\n{answer}"[:_COMPARED])

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        own = sum(a.itemsize * len(a) for a in (self._lines, self._prompts, self._answers, self._contexts, self._ids))
        return own + (self._near.size_bytes if self._near else 0)

    def report(self, findings: Findings, *, unique_prompts: bool = True) -> None:
        """Add what was found.

        Args:
            unique_prompts: False for running text, which has no prompts and no answers.
        """
        import numpy as np

        lines, prompts, answers, contexts, ids = (
            np.frombuffer(a, dtype=f"u{a.itemsize}")
            for a in (self._lines, self._prompts, self._answers, self._contexts, self._ids)
        )
        if not len(lines):
            return
        asked = _mixed(prompts, contexts)
        for first, again in _repeated(_mixed(asked, answers), findings, "duplicate"):
            findings.add("duplicate", int(lines[again]), f"as in line {lines[first]}", count=0)
        if unique_prompts:
            self._contradictions(findings, lines, asked, answers)
            self._skew(findings, answers)
        known = np.flatnonzero(ids)
        for first, again in _repeated(ids[known], findings, "duplicate_id"):
            findings.add("duplicate_id", int(lines[known[again]]), f"as in line {lines[known[first]]}", count=0)
        if self._near is not None:
            self._nearly(self._near, findings, lines)

    @staticmethod
    def _nearly(near: NearPairs, findings: Findings, lines: Any) -> None:
        import numpy as np

        later, earlier, similarity, exact = near.pairs()
        unlike = ~np.isin(later, later[exact])  # what repeats exactly is counted as such
        if not unlike.any():
            return
        rows, first = np.unique(later[unlike], return_index=True)
        for row, at in list(zip(rows.tolist(), first.tolist(), strict=True))[:5]:
            detail = f"{similarity[unlike][at]:.0%} like line {lines[earlier[unlike][at]]}"
            findings.add("near_duplicate", int(lines[row]), detail, count=0)
        findings.add("near_duplicate", None, count=len(rows))

    def _contradictions(self, findings: Findings, lines: Any, asked: Any, answers: Any) -> None:
        import numpy as np

        with_prompt = np.flatnonzero(np.frombuffer(self._prompts, dtype="u8"))
        pairs = np.unique(np.stack([asked[with_prompt], answers[with_prompt]], axis=1), axis=0)
        prompt, counts = np.unique(pairs[:, 0], return_counts=True)
        several = prompt[counts > 1]
        if not len(several):
            return
        rows = with_prompt[np.isin(asked[with_prompt], several)]
        for key in list(dict.fromkeys(asked[rows[:5000]].tolist()))[:5]:
            places = rows[asked[rows] == key]
            detail = f"{len(places)} rows, such as line {lines[places[1]]}"
            findings.add("contradiction", int(lines[places[0]]), detail, count=0)
        findings.add("contradiction", None, count=len(several))

    def _skew(self, findings: Findings, answers: Any) -> None:
        import numpy as np

        values, counts = np.unique(answers, return_counts=True)
        top = int(counts.argmax())
        if len(answers) >= 10 and counts[top] * 2 > len(answers):
            shown = self._shown.get(int(values[top]), "")
            findings.add(
                "skewed_answers", None, f"{shown!r} in {counts[top] / len(answers):.0%}", count=int(counts[top])
            )


def _mixed(left: Any, right: Any) -> Any:
    """Two arrays of keys as one."""
    import numpy as np

    with np.errstate(over="ignore"):
        return (left * np.uint64(0x9E3779B97F4A7C15)) ^ (right + (left >> np.uint64(29)))


def _repeated(keys: Any, findings: Findings, code: str) -> Iterator[tuple[int, int]]:
    """Counts the rows whose key stood before; yields (first row, row) of the first five."""
    import numpy as np

    values, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(keys)))
    del values
    if len(again):
        for row in again[:5]:
            yield int(first[inverse[row]]), int(row)
        findings.add(code, None, count=len(again))
