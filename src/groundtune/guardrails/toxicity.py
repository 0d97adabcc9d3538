"""How toxic a text is: word lists (:mod:`groundtune.guardrails.moderation`) and a small classifier, whichever says more.

The classifier's training text was written for groundtune (``tools/guard_data.py``; card: ``weights/card.md``): insults, threats and
contempt in plain words, beside complaints, reports and refusals that are not. Leaves out other languages, irony, and what is only
said in pictures.
"""

from __future__ import annotations

from groundtune.guardrails.classifier import open_classifier
from groundtune.guardrails.moderation import moderate

#: of OpenAI's categories those that insult, threaten or hate; what is only unlawful or about harm is no insult
COUNTED = ("harassment", "harassment/threatening", "hate", "hate/threatening")


def toxicity(text: str) -> float:
    """0 to 1."""
    lists = moderate(text).scores
    return max([*(lists[name] for name in COUNTED), *open_classifier("toxic").score([text])])
