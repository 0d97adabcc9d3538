"""A backend that always writes the same text: for tests, and to see what a System asks.

``{prompt}`` in the text stands for the whole prompt, with as many passages as any model but pebble is shown: ``groundtune ask "..." --system react --model 'echo:{prompt}'``.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.records import Generation, Message, Usage


class EchoBackend:
    """Writes ``text`` whatever it is asked.

    Args:
        text: what it writes.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.name = f"echo:{text}"
        self.context_tokens = 4096

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 32) -> Generation:
        """One answer."""
        read = sum(self.count_tokens(m.content) for m in messages)
        text = self.text
        if "{prompt}" in text:
            text = text.replace("{prompt}", "\n".join(f"[{m.role}]\n{m.content}" for m in messages))
        return Generation(text, (), Usage(read, self.count_tokens(text)))

    def generate_batch(
        self, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 32, batch_size: int = 16
    ) -> list[Generation]:
        """Answers to many conversations."""
        return [self.generate(messages, max_tokens=max_tokens) for messages in conversations]

    def sample_batch(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        seeds: Sequence[int],
        max_tokens: int = 32,
    ) -> list[Generation]:
        """The same as without sampling."""
        return self.generate_batch(conversations, max_tokens=max_tokens)

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(text.split())


def open_backend(model: str, adapter: str | None = None) -> EchoBackend:
    """``echo:TEXT`` writes TEXT."""
    return EchoBackend(model.removeprefix("echo:"))
