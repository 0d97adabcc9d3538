"""Documents that say the same: which one is kept, which may go, and which are only near twins.

The rule. A document is a duplicate, and goes by default, only if its normalised text is that of an earlier one. It is
nearly the same if the estimated Jaccard similarity of word 3-shingles is at least 0.95 and it has the same numbers,
dates included, in the same order, and the same names and negations in the same order (words with a capital inside a
sentence; not, no, never, kein ...). Even then one word may turn what it says ("refundable", "forfeited"), so it goes
only where the user asks for that (``duplicates: drop_near``). Anything else that is similar (0.8) is a near twin, such
as the handbook of last year and of this year, and is only reported: what differs is what somebody will ask for. Leaves
out the same facts in other words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from groundtune.dedup import Near, NearDuplicates, Signature, SignatureBuilder, names_in
from groundtune.records import Section

NEARLY = 0.95
SIMILAR = 0.8
#: documents under so many words are never nearly the same: one word in them is much
_LEAST_TOKENS = 50
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nor|neither|cannot|without|except|unless|\w{2,6}n['’]t|nicht|kein\w{0,2}|nie|niemals|ohne|"
    r"außer|weder|ne|pas|jamais|sans|sauf|sin|nunca|salvo|não|sem|niet|geen|nooit|zonder|non|senza)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class DocumentSignature:
    """What is kept of a document to compare it by: about 700 bytes.

    Attributes:
        text: the signature of its text.
        wording: 64-bit hash of its names and negations, in order.
    """

    text: Signature
    wording: int

    def to_json(self) -> list[int | str]:
        """For the first line of a document's file."""
        t = self.text
        return [t.exact, t.numbers, t.slots.hex(), t.other.hex(), t.tokens, self.wording]

    @classmethod
    def from_json(cls, row: list[int | str]) -> DocumentSignature:
        """The inverse of :meth:`to_json`."""
        exact, numbers, slots, other, tokens, wording = row
        text = Signature(int(exact), int(numbers), bytes.fromhex(str(slots)), bytes.fromhex(str(other)), int(tokens))
        return cls(text, int(wording))


class DocumentSigner:
    """Collects a document's signature from its sections as they pass by."""

    def __init__(self) -> None:
        self._text = SignatureBuilder()
        self._wording = hashlib.blake2b(digest_size=8)

    def passing(self, sections: Iterable[Section]) -> Iterator[Section]:
        """The sections, unchanged; each is taken in as it passes, with the headings that are new above it."""
        above: list[str] = []
        for section in sections:
            headings = section.heading.split(" > ") if section.heading else []
            new = [heading for heading in headings if heading not in above and heading not in section.text]
            above = headings
            self._add(" ".join((*new, section.text)))
            yield section

    def _add(self, text: str) -> None:
        self._text.add(text)
        said = [*names_in(text), *(word.casefold() for word in _NEGATION.findall(text))]
        if said:
            self._wording.update(f"{' '.join(said)} ".encode("utf-8", "replace"))

    def finish(self) -> DocumentSignature:
        """The signature of all that passed."""
        return DocumentSignature(self._text.finish(), int.from_bytes(self._wording.digest(), "little"))


@dataclass(frozen=True, slots=True)
class Twin:
    """A document that is like an earlier one.

    Attributes:
        document: its name.
        like: the name of the document that is kept.
        similarity: estimated Jaccard similarity, 1.0 where exact.
        exact: the normalised texts are equal.
        duplicate: it may go without being asked for: only where ``exact``.
        nearly: nearly the same by the rule at the head of this file; it goes only where the user asks for that.
        differs: what makes it a near twin, to be reported: of ``words``, ``numbers``, ``names``.
    """

    document: str
    like: str
    similarity: float
    exact: bool
    duplicate: bool
    nearly: bool = False
    differs: tuple[str, ...] = ()

    def reason(self, *, dropped: bool = False) -> str:
        """The sentence a user sees.

        Args:
            dropped: it goes; asked only where it is ``nearly`` the same.
        """
        if self.exact:
            return f"the same text as {self.like}, which is kept"
        percent = f"{min(99, round(100 * self.similarity))} % of its word sequences"
        if self.nearly:
            kept = f"{self.like} is kept" if dropped else "both are kept"
            return f"nearly the same text as {self.like} ({percent}): {kept}"
        other = " and ".join(self.differs)
        return f"similar to {self.like} ({percent}), but with other {other}: both are kept"


def document_duplicates(documents: Iterable[tuple[str, DocumentSignature]], *, drop_near: bool = False) -> list[Twin]:
    """Every document that is like an earlier one that is kept, in order; the first of equals is kept.

    Args:
        documents: (name, signature); put those to be kept first.
        drop_near: those that are nearly the same go too, so that no later one is said to be like them.
    """
    kept: NearDuplicates[str] = NearDuplicates(SIMILAR)
    wordings: dict[str, int] = {}
    twins: list[Twin] = []
    for name, signature in documents:
        if not signature.text.tokens:
            continue
        near = [_twin(match, signature, wordings) for match in kept.similar(name, signature.text)]
        best = min(near, key=lambda twin: (not twin.duplicate, not twin.nearly), default=None)
        if best is not None:
            twins.append(best)
        if best is None or not (best.duplicate or (best.nearly and drop_near)):
            kept.hold_signature(name, signature.text)
            wordings[name] = signature.wording
    return twins


def _twin(match: Near[str, str], signature: DocumentSignature, wordings: dict[str, int]) -> Twin:
    if match.exact:
        return Twin(match.key, match.earlier, 1.0, exact=True, duplicate=True)
    close = match.similarity >= NEARLY and signature.text.tokens >= _LEAST_TOKENS
    same_wording = wordings[match.earlier] == signature.wording
    differs = (*(() if match.same_numbers else ("numbers",)), *(() if same_wording else ("names",)))
    nearly = close and not differs
    return Twin(match.key, match.earlier, match.similarity, exact=False, duplicate=False, nearly=nearly,
                differs=() if nearly else differs or ("words",))  # fmt: skip
