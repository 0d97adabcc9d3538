"""What the slots of a runner's cache hold, which of them a sequence takes, and what it takes over there.

The sequences that are being written stand in the first slots; the others keep what finished ones left, longest unused first to go.
Leaves out the cache itself (``slots``) and when a sequence may come in (``engine``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from groundtune.generation.runner import Runner

#: (adapter, salt): prompts of different keys share nothing
Key = tuple[str | None, str]
#: a common beginning shorter than this is read again instead of copied
_WORTH_COPYING = 8
#: slots at the start; their number doubles
_FIRST_SLOTS = 8


@dataclass(slots=True)
class Slot:
    """What a slot's cache holds: tokens, under which adapter and salt, and when it was last used."""

    tokens: list[int] = field(default_factory=list)
    key: Key = (None, "")
    used: int = 0


class Places:
    """The slots of one runner.

    Args:
        runner: whose cache it is.
        most: slots at most.
        cache_bytes: most memory of keys and values.

    Attributes:
        slots: what each holds.
        clock: counts what happens, for which slot was used last.
    """

    def __init__(self, runner: Runner, *, most: int, cache_bytes: int) -> None:
        self._runner, self._most, self._cache_bytes = runner, most, cache_bytes
        self.slots: list[Slot] = []
        self.clock = self._length = 0

    def known(self, prompt: list[int], key: Key) -> int:
        """Tokens of a prompt that some slot holds."""
        return max((common(prompt, s.tokens) for s in self.slots if s.key == key), default=0)

    def take(self, slot: int, prompt: list[int], key: Key, *, anew: bool) -> int:
        """Give a slot to a prompt; how many of its tokens are there already: none where it is to be read ``anew``."""
        reused = 0 if anew else self._reuse(prompt, key, slot)
        place = self.slots[slot]
        place.tokens, place.key, place.used = prompt[:reused], key, self.tick()
        return reused

    def forget(self, adapter: str, active: int) -> None:
        """Forget what was read through an adapter, behind the first ``active`` slots."""
        for slot in self.slots[active:]:
            if slot.key[0] == adapter:
                slot.tokens = []

    def clear(self) -> None:
        """Forget everything."""
        for slot in self.slots:
            slot.tokens = []

    def tick(self) -> int:
        """The clock, one further."""
        self.clock += 1
        return self.clock

    def make_room(self, length: int, active: int) -> None:
        """Room for so many sequences of so many tokens, and for what others left as far as memory allows."""
        each, have = self._runner.bytes_per_token, len(self.slots)
        needed, length = length, max(length, self._length)
        affordable = self._cache_bytes // (each * length) if each else _FIRST_SLOTS
        if each and active > affordable:  # room for long texts that are no longer written is given up
            length = needed
            affordable = self._cache_bytes // (each * length)
        wanted = min(have, max(active, affordable)) if each else have
        if active > wanted:
            wanted = max(active, min(self._most, affordable, max(_FIRST_SLOTS, 2 * have)))
        self._runner.room(wanted, length)
        self._length = length
        self.slots = [*self.slots[:wanted], *(Slot() for _ in range(wanted - have))]
        for slot in self.slots:
            del slot.tokens[length:]

    def _reuse(self, prompt: list[int], key: Key, slot: int) -> int:
        """Bring the longest beginning that some slot holds into this slot; its tokens, at least one fewer than the prompt."""
        if not self._runner.can_reuse:
            return 0
        shared = [common(prompt, s.tokens) if s.key == key else 0 for s in self.slots]
        best = max(range(len(shared)), key=lambda n: shared[n])
        length = min(shared[best], len(prompt) - 1)
        if length < _WORTH_COPYING:
            best = slot
        oldest = min(range(slot, len(self.slots)), key=lambda n: (self.slots[n].used, n))
        if best >= slot and (best == oldest or 2 * length >= len(self.slots[best].tokens)):
            self.swap(best, slot)  # most of it is wanted: taken over, the rest of it forgotten
        else:
            self.swap(oldest, slot)
            best = oldest if best == slot else slot if best == oldest else best
            if length >= _WORTH_COPYING:
                self._runner.copy(best, slot, length)
        return length if length >= _WORTH_COPYING else 0

    def swap(self, left: int, right: int) -> None:
        """Let two slots change places."""
        if left != right:
            length = max(len(self.slots[left].tokens), len(self.slots[right].tokens))
            if length:
                self._runner.swap(left, right, length)
            self.slots[left], self.slots[right] = self.slots[right], self.slots[left]


def common(left: list[int], right: list[int]) -> int:
    """Length of what two rows of ids begin with in common, found by halves: comparing slices is quick."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
