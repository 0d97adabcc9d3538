"""The question alone, closed book: what the model knows before it has seen any of the user's data."""

from groundtune.methods._setup import ClosedBook, Setup
from groundtune.system import System


def build(setup: Setup) -> System:
    """The System ``prompt``."""
    return ClosedBook("prompt", "the model alone, no data", setup.backend(), max_tokens=setup.config.answer.max_tokens)
