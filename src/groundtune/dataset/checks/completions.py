"""Habits of prompt/completion files that OpenAI's older command line asked for: a space first, a common ending of each side.

They matter to base models, which have no chat template to tell where an answer starts and stops.
"""

from __future__ import annotations

from groundtune.dataset.checks.findings import Findings
from groundtune.records import Conversation, Preference


class CompletionHabits:
    """Takes in items and says which habits the file does not have."""

    def __init__(self) -> None:
        self._rows = 0
        self._prompt_end: str | None = None
        self._completion_end: str | None = None
        self._no_space: list[int] = []
        self._no_space_count = 0

    def add(self, line: int, item: Conversation | Preference) -> None:
        """Take in the item of a line."""
        messages = item.messages
        if [m.role for m in messages] != ["user", "assistant"]:
            return
        self._rows += 1
        prompt, completion = messages[0].content, messages[1].content
        self._prompt_end = _common_end(self._prompt_end, prompt)
        self._completion_end = _common_end(self._completion_end, completion)
        if not completion[:1].isspace():
            self._no_space_count += 1
            if len(self._no_space) < 5:
                self._no_space.append(line)

    def report(self, findings: Findings) -> None:
        """Add what was found; one row has no common ending to speak of."""
        for line in self._no_space:
            findings.add("no_leading_space", line, count=0)
        if self._no_space_count:
            findings.add("no_leading_space", None, count=self._no_space_count)
        if self._rows > 1 and not self._prompt_end:
            findings.add("no_prompt_suffix", None, count=self._rows)
        if self._rows > 1 and not self._completion_end:
            findings.add("no_completion_suffix", None, count=self._rows)


def _common_end(known: str | None, text: str) -> str:
    tail = text[-40:]
    if known is None:
        return tail
    same = next((n for n, (a, b) in enumerate(zip(known[::-1], tail[::-1], strict=False)) if a != b), None)
    shorter = min(len(known), len(tail)) if same is None else same
    return tail[len(tail) - shorter :]
