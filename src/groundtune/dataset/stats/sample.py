"""A uniform sample of a dataset's rows in bounded memory, and what the statistics read of a row."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from groundtune.records import Conversation, Message, Preference

#: most rows that are tokenized and whose words are counted; a file with fewer is measured whole
SAMPLE_ROWS = 20_000
#: most characters that the sampled rows may hold together
SAMPLE_CHARACTERS = 100_000_000
#: a row with more characters is counted and compared for copies only: a tokenizer takes 200 bytes of memory a character
HUGE_CHARACTERS = 2_000_000
#: characters of a row that are embedded, or looked at for its language
HEAD_CHARACTERS = 2_000


_HALVES = re.compile("[\ud800-\udfff]")


def half_characters(item: Conversation | Preference) -> bool:
    """True where a text holds half a surrogate pair, which no tokenizer takes."""
    return any(_HALVES.search(m.content) for m in turns_of(item))


def turns_of(item: Conversation | Preference) -> tuple[Message, ...]:
    """The turns that are trained on: a conversation's own, or a preference's prompt with its chosen continuation."""
    return item.messages if isinstance(item, Conversation) else (*item.messages, *item.chosen)


def text_of(message: Message) -> str:
    """What a turn says, with the calls that it makes."""
    calls = [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return _HALVES.sub("\ufffd", "\n".join(part for part in (message.content, *calls) if part))


def asked(item: Conversation | Preference) -> str:
    """The user's words; where no user speaks, whatever is not the assistant's."""
    turns = turns_of(item)
    said = [m.content for m in turns if m.role == "user"] or [m.content for m in turns if m.role != "assistant"]
    return _HALVES.sub("\ufffd", "\n".join(part for part in said if part.strip()))


def answered(item: Conversation | Preference) -> str:
    """The assistant's words, without calls of tools."""
    said = (m.content for m in turns_of(item) if m.role == "assistant" and m.content.strip())
    return _HALVES.sub("\ufffd", "\n".join(said))


def characters_of(item: Conversation | Preference) -> int:
    """Characters of all turns, the rejected ones included."""
    rejected: Sequence[Message] = item.rejected if isinstance(item, Preference) else ()
    return sum(len(m.content) + sum(len(c.name) + len(c.arguments) for c in m.tool_calls) for m in turns_of(item)) + (
        sum(len(m.content) for m in rejected)
    )


def place(number: int) -> float:
    """A number from 0 to 1 that a row's number decides: the same row is drawn every time (splitmix64, Steele et al. 2014)."""
    z = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) / 2**64


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A row with its number from 0, the line it begins on and its length in characters. Several may share a line."""

    number: int
    line: int
    item: Conversation | Preference
    characters: int


@dataclass(slots=True)
class UniformSample:
    """The rows whose :func:`place` is smallest: every row has the same chance, whatever its position in the file.

    Attributes:
        most_rows, most_characters: where either would be passed, the row with the largest place goes.
    """

    most_rows: int = SAMPLE_ROWS
    most_characters: int = SAMPLE_CHARACTERS
    limit: float = 1.0
    characters: int = 0
    _heap: list[tuple[float, int, SampledRow]] = field(default_factory=list)

    def offer(self, row: SampledRow) -> None:
        """Take the row in, unless it is out by its place; one row stays in any case."""
        at = place(row.number)
        if at >= self.limit:
            return
        heapq.heappush(self._heap, (-at, -row.number, row))
        self.characters += row.characters
        while len(self._heap) > 1 and (len(self._heap) > self.most_rows or self.characters > self.most_characters):
            largest, _, gone = heapq.heappop(self._heap)
            self.limit = -largest
            self.characters -= gone.characters

    def rows(self) -> list[SampledRow]:
        """The sampled rows in the file's order."""
        return sorted((row for _, _, row in self._heap), key=lambda row: row.number)

    def __len__(self) -> int:
        return len(self._heap)


def thin(rows: Sequence[SampledRow], most: int) -> Iterator[SampledRow]:
    """At most so many of the rows, in their order: those with the smallest places."""
    if len(rows) <= most:
        yield from rows
        return
    limit = sorted(place(row.number) for row in rows)[most]
    yield from (row for row in rows if place(row.number) < limit)
