"""Lists as OpenAI's clients page through them: ``data``, ``has_more``, ``first_id``, ``last_id``, the next page by ``after``."""

from __future__ import annotations

from typing import Any

from groundtune.serving.storage.store import Page


def listed(page: Page) -> dict[str, Any]:
    """A page as it is sent. Ids of an empty one are null: openai-python allows it, and there is none to name."""
    ids = [str(item.get("id")) for item in page.items]
    return {
        "object": "list",
        "data": page.items,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": page.has_more,
    }
