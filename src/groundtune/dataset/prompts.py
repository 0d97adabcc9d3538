"""How a question is put to a model: one wording for training, answering and comparing, so they cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from groundtune.records import Message

#: what a System says when its passages hold no answer
ABSTENTION = "The passages do not say."
READ_INSTRUCTION = "Answer from the passages in a few words, or say: The passages do not say."
CLOSED_INSTRUCTION = "Answer in a few words."

_ABSTAINS = re.compile(
    r"\b(passages?|documents?|context|text|sources?)\b[^.]{0,40}\b(do(es)? not|don't|doesn't|no)\b"
    r"|\b(i|we) (do not|don't|cannot|can't) (know|answer|say|find)|\bnot (mentioned|stated|in the (text|passages?|context|documents?))"
    r"|\b(unanswerable|cannot be answered|no answer)\b"
    # German
    r"|\b(passagen?|textstellen?|dokumente?n?|unterlagen|quellen?|texte?n?|kontext|abschnitte?n?)\b"
    r"[^.]{0,40}\b(sag|geb|gib|enth|nenn|erwähn|beantwort|steh|find)\w*[^.]{0,30}\b(nichts?|keine[nr]?)\b"
    r"|\b(nichts|nicht|keine (angaben?|auskunft|informationen?|antwort)) (dazu |darüber |hierzu )?(in|aus) (den|dem|der) "
    r"(vorliegenden |genannten )?(passagen|textstellen|dokumenten?|unterlagen|quellen|text|kontext|abschnitten?)\b"
    r"|\b(ich|wir) (weiß|wissen|finde|finden)\b[^.]{0,20}\b(nicht|nichts|keine)\b"
    r"|\b(ich|wir) (kann|können|konnte|konnten)\b[^.]{0,40}\b(nicht|nichts|keine)\b[^.]{0,40}\b(beantworten|sagen|finden)\b"
    r"|\b(nicht|nirgends) (angegeben|genannt|erwähnt|enthalten|bekannt|beantwort(et|bar)|zu beantworten)\b"
    r"|\b(keine (angaben?|auskunft|informationen?|antwort)|unbeantwortbar|lässt sich nicht (beantworten|sagen))\b",
    re.IGNORECASE,
)


def abstains(text: str) -> bool:
    """True when an answer says that there is no answer (or says nothing at all)."""
    return not text.strip() or bool(_ABSTAINS.search(text))


def closed_book(question: str, shots: Sequence[tuple[str, str]] = ()) -> list[Message]:
    """The question without any passage; ``shots`` are (question, answer) turns before it."""
    messages = [Message("system", CLOSED_INSTRUCTION)]
    for asked, answered in shots:
        messages += [Message("user", f"Question: {asked}"), Message("assistant", answered)]
    return [*messages, Message("user", f"Question: {question}")]


def numbered(number: int, document: str, page: int | None, text: str) -> str:
    """A passage as it stands in the prompt: its number, the file and page, the text."""
    return f"[{number}] {document}{f', page {page}' if page else ''}\n{text}"


def with_passages(passages: Sequence[str], question: str) -> list[Message]:
    """The passages between two copies of the question they are to answer.

    A causal model reads a passage with the question in mind only when the question came before it; the second copy
    stands where the answer begins (Xu et al., "Re-Reading Improves Reasoning in Large Language Models", EMNLP 2024).
    """
    body = "\n\n".join(passages)
    return [
        Message("system", READ_INSTRUCTION),
        Message("user", f"Question: {question}\n\n{body}\n\nQuestion: {question}"),
    ]
