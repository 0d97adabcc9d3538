"""The question alone, closed book (zero-shot): what the model knows before it has seen any of the user's data."""

from groundtune.methods._setup import ClosedBook, Setup
from groundtune.system import System

#: what must be made first
NEEDS: tuple[str, ...] = ()


def build(setup: Setup) -> System:
    """The System ``prompt``."""
    asked = setup.prompt("closed_book")
    return ClosedBook(
        "prompt",
        "the model alone, no data",
        setup.backend(),
        max_tokens=setup.config.answer.max_tokens,
        ask=lambda question: asked.messages(question=question),
    )
