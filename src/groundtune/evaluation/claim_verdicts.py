"""What gives the verdict on a claim: a language model by a prompt, or a rule that reads the nearest sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from groundtune.dataset.prompts import abstains, numbered
from groundtune.evaluation.claims import Evidence
from groundtune.prompt_files import read_prompt_file
from groundtune.records import Generation

_VERDICT = re.compile(
    r"\b(?:(?P<nee>(?:not|\w+n['’]t)\s+(?:\w+\s+){0,2}contradict\w*|nee|not enough (?:evidence|info(?:rmation)?)|insufficient|unknown|cannot be (?:determined|assessed))"
    r"|(?P<no>false|untrue|incorrect|refute[sd]?|contradict(?:s|ed)?|(?:not|cannot|\w+n['’]t)\s+(?:\w+\s+){0,2}(?:true|correct|support(?:s|ed)?)|no(?=\s*(?:[.,;:!]|$)))"
    r"|(?P<yes>true|correct|support(?:s|ed)?|yes))(?!\w)",
    re.IGNORECASE,
)


class Backend(Protocol):
    """What generates (:mod:`groundtune.backends`)."""

    name: str

    def generate_batch(self, conversations: Any, *, max_tokens: int = 32) -> list[Generation]:
        """Answers to many conversations."""
        ...


def parse_verdict(text: str) -> tuple[str, bool]:
    """(label, whether the reply said one) of a model's reply: the first word that is a verdict; else NEE, not understood."""
    found = _VERDICT.search(text)
    if found:
        return {"nee": "NEE", "no": "False", "yes": "True"}[str(found.lastgroup)], True
    return "NEE", abstains(text) and bool(text.strip())


class ModelVerdict:
    """A language model that is shown the claim and the evidence.

    Args:
        name: as in tables.
        backend: what generates.
        root: the project, whose own wording of the prompts comes first.
        max_tokens: most tokens of a reply.
    """

    def __init__(self, name: str, backend: Backend, root: Path, *, max_tokens: int = 8) -> None:
        self.name, self._backend, self._max_tokens = name, backend, max_tokens
        self._closed = read_prompt_file(root, "claim_closed_book")
        self._open = read_prompt_file(root, "claim_with_evidence")

    def judge(self, claims: Sequence[str], evidence: Sequence[Sequence[Evidence]] | None) -> list[tuple[str, bool]]:
        """(label, whether it was understood) of each claim."""
        prompt = self._closed if evidence is None else self._open
        shown = [""] * len(claims) if evidence is None else [_passages(found) for found in evidence]
        asked = [prompt.messages(claim=c, evidence=e) for c, e in zip(claims, shown, strict=True)]
        return [parse_verdict(g.text) for g in self._backend.generate_batch(asked, max_tokens=self._max_tokens)]


def _passages(found: Sequence[Evidence]) -> str:
    return "\n\n".join(numbered(n, e.document, e.page, e.text) for n, e in enumerate(found, 1))


def write_passages(backend: Backend, claims: Sequence[str], root: Path, *, max_tokens: int = 64) -> list[str]:
    """A made-up passage about each claim, to search with; the claim itself where the model writes nothing."""
    prompt = read_prompt_file(root, "claim_hyde")
    written = backend.generate_batch([prompt.messages(claim=c) for c in claims], max_tokens=max_tokens)
    return [g.text.strip() or claim for g, claim in zip(written, claims, strict=True)]
