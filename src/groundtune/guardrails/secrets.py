"""Keys, tokens and passwords in a text: known shapes, named fields, and runs of characters too random for words.

Shapes as their issuers document them (AWS, GitHub, GitLab, Google, OpenAI, Anthropic, Slack, Stripe, npm, Telegram, JSON Web Tokens,
PEM). Leaves out what looks like words: a passphrase without the word "password" before it.
"""

from __future__ import annotations

import math
import re
from collections import Counter

_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,255}\b|\bgithub_pat_\w{30,255}|\bglpat-[\w-]{20,}"
    r"|\bAIza[\w-]{35}|\bsk-(?:proj-|ant-|live-)?[\w-]{20,}|\bgt-[A-Za-z0-9_-]{32,}|\bxox[abeoprs]-[\w-]{10,}"
    r"|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bnpm_[A-Za-z0-9]{30,}|\b\d{8,10}:AA[\w-]{30,}"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.{0,8000}?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|$)"
    r"|(?<=://)[^\s/:@]{1,64}:[^\s/:@]{3,64}(?=@)",
    re.DOTALL,
)
_NAMED = re.compile(
    r"(?i)\b(?:pass(?:word|wort|code|phrase)|pwd|api[_ -]?key|access[_ -]?(?:key|token|code)|secret(?:[_ -]?(?:key|access[_ -]?key))?|auth[_ -]?token|"
    r"bearer|client[_ -]?secret|pin)\b\W{0,3}(?:is|=|:|lautet|ist)\s*[\"'`]?(?-i:(?=\S*[\d!@#$%^&*_])[A-Za-z0-9!@#$%^&*_+./-]{4,80}(?<![.,;]))"
)
_RANDOM = re.compile(r"(?<![\w/.-])[A-Za-z0-9+_-]{24,128}(?![\w/.-])")
#: bits a character from which a run of letters and digits is no word or number
_ENTROPY = 4.0


def find_secrets(text: str) -> list[tuple[int, int]]:
    """Where secrets stand, in order, none within another."""
    spans = [m.span() for m in _SHAPES.finditer(text)]
    for match in _NAMED.finditer(text):
        value = re.search(r"\S+$", match[0])
        spans.append((match.start() + (value.start() if value else 0), match.end()))
    for match in _RANDOM.finditer(text):
        run = match[0]
        mixed = all(re.search(p, run) for p in (r"[a-z]", r"[A-Z]", r"\d"))
        if mixed and entropy(run) >= _ENTROPY:
            spans.append(match.span())
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def entropy(run: str) -> float:
    """Shannon's entropy of the characters, in bits."""
    return -sum(n / len(run) * math.log2(n / len(run)) for n in Counter(run).values())


def without(text: str, spans: list[tuple[int, int]], mark: str) -> str:
    """The text with a mark in the place of each span."""
    for start, end in reversed(spans):
        text = text[:start] + mark + text[end:]
    return text
