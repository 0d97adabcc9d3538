"""Whose an object is, and who may see and change it.

An object belongs to the group of the key it was made with, or to that key where it has no group; what the server or an open
server's callers made belongs to the server (""). Callers see their own and the server's, and change their own; keys made with
``--admin`` and the server itself see and change everything. :meth:`groundtune.serving.state.serving_of` gives a route the store
as its caller sees it, so that a route checks nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundtune.serving.errors import ApiError


@dataclass(frozen=True, slots=True)
class Scope:
    """What of the store somebody sees.

    Attributes:
        owner: of what they make; "": the server.
        everything: whether they see and change all objects.
    """

    owner: str = ""
    everything: bool = False

    @property
    def seen(self) -> tuple[str, ...]:
        """Owners of what they see, unless that is everything."""
        return (self.owner, "") if self.owner else ("",)

    def may_change(self, owner: str) -> bool:
        """Whether they may change an object of that owner."""
        return self.everything or (bool(owner) and owner == self.owner)


#: the server itself, and whoever reaches an open one
SERVER = Scope(everything=True)


def servers_own(id: str) -> ApiError:
    """403: an object that everybody sees and only admins change."""
    message = f"{id} belongs to the server: only a key made with --admin may change it."
    return ApiError(403, message, code="not_the_owner")
