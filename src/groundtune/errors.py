"""Every error a user can mend, as one tree. Anything else that escapes is a fault of ours.

An error says which value, where it stands, what was expected and what to do next. The command line prints it
without a traceback and exits with ``exit_code``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GroundtuneError(Exception):
    """Root of the errors a user can mend.

    Args:
        problem: what is wrong, with the value and the place (``file:line`` or config key).
        expected: what was expected there.
        next_step: what to type or change next.
    """

    exit_code = 2

    def __init__(self, problem: str, *, expected: str = "", next_step: str = "") -> None:
        self.problem = problem
        self.expected = expected
        self.next_step = next_step
        super().__init__(self.render())

    def render(self) -> str:
        """The message as the user sees it: one to three short lines."""
        lines = [self.problem]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.next_step:
            lines.append(f"  next: {self.next_step}")
        return "\n".join(lines)


class ConfigError(GroundtuneError):
    """A value in ``groundtune.yaml`` or on the command line that cannot be used."""


class InputError(GroundtuneError):
    """A file or folder that cannot be read as what it claims to be."""


class UnknownNameError(GroundtuneError):
    """A name that no registered thing has; suggests the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(
            f"unknown {kind} {name!r}",
            expected=f"one of {', '.join(names)}",
            next_step=did_you_mean(name, names, cutoff=0.4),
        )


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float) -> str:
    """The question whether the nearest of the known names was meant; "" where none is near.

    Args:
        cutoff: least similarity, 0 to 1 (:func:`difflib.get_close_matches`).
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}?" if near else ""


class MissingArtifactError(GroundtuneError):
    """A stage needs what an earlier stage makes, and it is not there."""


class WorkspaceError(GroundtuneError):
    """The workspace cannot be written: full disk, no permission, another run at work."""
