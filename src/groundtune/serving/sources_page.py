"""``/sources/CHUNK``: the passage that a System's answer rests on, to be looked at in a browser. ``?quote=`` is marked in it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from groundtune import registry
from groundtune.page.document import PageSection, render_document
from groundtune.page.text import esc
from groundtune.records import Chunk
from groundtune.serving.callers.usage_page import HEADERS
from groundtune.serving.errors import no_such
from groundtune.serving.state import serving_of

router = APIRouter(tags=["operation"])
_STYLE = (
    ".passage { white-space: pre-wrap; max-width: 46rem; } mark { background: var(--mark, #fde68a); color: #1c1917; }"
)


@router.get("/sources/{chunk_id}")
def source_page(request: Request, chunk_id: str, quote: str = "") -> HTMLResponse:
    """A chunk of the project's index."""
    setup = serving_of(request).setup
    entries: dict[str, Any] = {}
    if setup.workspace.manifest("index") is not None:
        store = registry.get("stores", setup.config.index.store).Store(setup.workspace.path("index") / "store")
        entries = store.entries([chunk_id])
    if chunk_id not in entries:
        raise no_such("source", chunk_id, param="chunk_id")
    return HTMLResponse(render(entries[chunk_id].chunk, quote), headers=HEADERS)


def render(chunk: Chunk, quote: str) -> str:
    """The page of a chunk."""
    place = [f"page {chunk.page}" if chunk.page else "", f"row {chunk.row}" if chunk.row else "", chunk.heading]
    where = ", ".join(part for part in place if part)
    before, found, after = chunk.text.partition(quote) if quote else (chunk.text, "", "")
    marked = f"<mark>{esc(found)}</mark>" if found else ""
    body = f'<p class="passage">{esc(before)}{marked}{esc(after)}</p>'
    return render_document(
        chunk.document,
        [PageSection("passage", "Passage", where or "Passage", body)],
        style=_STYLE,
        top=f"<header><h1>{esc(chunk.document)}</h1></header>",
        footer="<footer><p>From the project's own index.</p></footer>",
    )
