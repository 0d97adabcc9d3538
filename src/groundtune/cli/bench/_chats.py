"""Question-and-answer chats such as small teams fine-tune on, without end and always the same ones for a seed.

Each has a few lines of a document and a question; the answer comes with the line that it stands in, so that about a
quarter of the tokens is trained on. Lengths spread as in collections of real questions: mostly short, now and then long.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from groundtune.records import Message

_LINES = re.compile(r"\n+|(?<=[.!?]) (?=[A-Z0-9€$£])")


def question_chats(seed: int) -> Iterator[tuple[Message, ...]]:
    """Conversations of a user's and an assistant's turn; about 115 tokens of the bundled model's tokenizer each."""
    from groundtune.dataset.invented import invented_items

    rng = random.Random(seed)
    for item in invented_items(seed):
        lines = [line for line in _LINES.split(item.passage) if line and not line.startswith("[")]
        for question, answer in item.questions:
            at = next((n for n, line in enumerate(lines) if answer and answer.lower() in line.lower()), None)
            if answer is None or at is None:
                continue
            others = [n for n in range(len(lines)) if n != at]
            shown = sorted([at, *rng.sample(others, min(len(others), 1 + int(rng.expovariate(0.4))))])
            text = "\n".join(lines[n] for n in shown)
            yield (
                Message("user", f"{text}\n\n{question}"),
                Message("assistant", f'{answer[:1].upper()}{answer[1:]}. It says so here: "{lines[at]}"'),
            )
            break
