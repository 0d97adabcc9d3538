"""A store of which only the chunks that fit a condition are seen: the setting ``retrieval.where``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from groundtune.records import Chunk
from groundtune.retrieval.filters import Filter, parse_filter


def restricted(store: Any, where: str | None) -> Any:
    """The store, searched only where the condition holds; itself without one.

    Raises:
        InputError: no condition (:func:`groundtune.retrieval.filters.parse_filter`).
    """
    return store if where is None else Restricted(store, parse_filter(where))


class Restricted:
    """A store behind one condition, whether its chunks are searched, fetched by id (a hit's neighbours) or gone through.

    Args:
        store: an opened store.
        where: the condition.
    """

    def __init__(self, store: Any, where: Filter) -> None:
        self._store, self._where = store, where

    def near_chunks(self, vector: Any, k: int, document: str | None = None) -> list[str]:
        """As the store's."""
        return list(self._store.near_chunks(vector, k, document, where=self._where))

    def near_sentences(
        self, vector: Any, k: int, document: str | None = None, *, in_context: bool = False
    ) -> list[str]:
        """As the store's."""
        return list(self._store.near_sentences(vector, k, document, in_context=in_context, where=self._where))

    def text_search(self, text: str, k: int, document: str | None = None) -> list[tuple[str, float]]:
        """As the store's."""
        return list(self._store.text_search(text, k, document, where=self._where))

    def entries(self, ids: Sequence[str]) -> dict[str, Any]:
        """As the store's."""
        return {id_: entry for id_, entry in self._store.entries(ids).items() if self._where.fits(entry.chunk)}

    def chunks(self) -> Iterator[Chunk]:
        """As the store's."""
        yield from (chunk for chunk in self._store.chunks() if self._where.fits(chunk))
