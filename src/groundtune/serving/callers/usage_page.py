"""``/usage``: who has used how much of what they may, as a page without script.

A key of ``--admin`` sees everybody, any other key sees itself; a server without keys shows everything to whoever reaches it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from groundtune.page.document import PageSection, render_document
from groundtune.page.parts import scroll, share_bar
from groundtune.page.text import DASH, count, esc, money, percent
from groundtune.serving.callers.access import caller_of
from groundtune.serving.callers.usage_figures import figures
from groundtune.serving.state import serving_of

router = APIRouter(tags=["operation"])
#: days shown
DAYS = 60
_STYLE = """
td.n, th.n { text-align: right; }
.part.used { fill: var(--accent); } .part.near { fill: var(--partly); } .part.over { fill: var(--wrong); }
th small { display: block; font-weight: 400; } h2 + .scroll { margin-top: 1rem; } td.bar { min-width: 6rem; width: 20%; }
tr.off th, tr.off td { color: var(--soft); }
"""
#: of every page: nothing is kept, framed, guessed or told
HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


@router.get("/usage", response_class=HTMLResponse)
def usage_page(request: Request) -> HTMLResponse:
    """Use by key, group, model and day."""
    caller = caller_of(request)
    found = figures(serving_of(request).store, now=time.time(), key=None if caller.admin else caller.id)
    return HTMLResponse(render(found, name=None if caller.admin else caller.name), headers=HEADERS)


def render(found: dict[str, Any], *, name: str | None) -> str:
    """The page over :func:`~groundtune.serving.callers.usage_figures.figures`.

    Args:
        name: of the key whose page it is; None: everybody's.
    """
    sections = [
        PageSection("keys", "Keys", "Keys", _accounts("Use by key", found["keys"], last=True)),
        PageSection("groups", "Groups", "Groups", _accounts("Use by group", found["groups"], last=False)),
        PageSection("models", "Models", "By model", _sums("Use by model", "model", found["use"])),
        PageSection("days", "Days", "By day", _sums(f"Use by day (UTC), the last {DAYS}", "day", found["use"])),
    ]
    whose = f"key {esc(name)}" if name is not None else "all keys"
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in found["use"])
    top = (
        f'<header class="top"><h1><b>groundtune</b> <span>usage of {whose}</span></h1>'
        f'<p class="verdict">{count(sum(r["requests"] for r in found["use"]))} requests, {count(tokens)} tokens, '
        f"{money(sum(r['usd'] for r in found['use']))}</p></header>"
    )
    if not any(section.body for section in sections):
        sections = [PageSection("keys", "Keys", "Keys", '<p class="empty">Nothing has been used yet.</p>')]
    footer = (
        '<footer><p class="quiet">Requests are counted when they end. Costs are by the prices of serve.aliases.'
        f" As of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.</p></footer>"
    )
    return render_document("groundtune usage", sections, style=_STYLE, top=top, footer=footer)


def _accounts(caption: str, lines: list[dict[str, Any]], *, last: bool) -> str:
    if not lines:
        return ""
    head = [
        "Name",
        "Requests",
        "Prompt tokens",
        "Completion tokens",
        "Cost",
        "Budget",
        "",
        *(["Last seen"] if last else []),
    ]
    body = ""
    for line in lines:
        share, words = _budget(line)
        off = not line.get("in_force", True)
        tag = ' <span class="tag">not in force</span>' if off else ""
        group = f"<small>{esc(line['group'])}</small>" if line.get("group") else ""
        cells = [count(line[n]) for n in ("requests", "prompt_tokens", "completion_tokens")] + [money(line["usd"])]
        body += (
            f"<tr{' class=off' if off else ''}><th scope=row>{esc(line['name'])}{tag}{group}</th>"
            + "".join(f'<td class="n">{cell}</td>' for cell in cells)
            + f'<td class="n">{words}</td><td class="bar">{_bar(share)}</td>'
            + (f"<td>{_moment(line['last_seen'])}</td>" if last else "")
            + "</tr>"
        )
    return scroll(caption, f"<thead><tr>{_head(head)}</tr></thead><tbody>{body}</tbody>")


def _head(names: Iterable[str]) -> str:
    numbers = ("Requests", "Prompt tokens", "Completion tokens", "Cost", "Budget")
    return "".join(
        f'<th scope="col"{" class=n" if name in numbers else ""}>{name or "<span class=sr>Share used</span>"}</th>'
        for name in names
    )


def _budget(line: dict[str, Any]) -> tuple[float | None, str]:
    """The share used of the budget that is nearer its end, and that budget in words."""
    used = line["prompt_tokens"] + line["completion_tokens"]
    found: list[tuple[float, str]] = []
    if line["budget_tokens"] is not None:
        share = used / line["budget_tokens"] if line["budget_tokens"] else 1.0
        found.append((share, f"{count(line['budget_tokens'])} tokens"))
    if line["budget_usd"] is not None:
        found.append((line["usd"] / line["budget_usd"] if line["budget_usd"] else 1.0, money(line["budget_usd"])))
    if not found:
        return None, DASH
    share, words = max(found)
    return share, f"{words}<small>{percent(share)} used</small>"


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    kind = "over" if share >= 1 else "near" if share >= 0.8 else "used"
    return share_bar([(kind, min(share, 1.0))], 1.0)


def _sums(caption: str, by: str, use: list[dict[str, Any]]) -> str:
    """Rows summed by model or day, the newest day or the most used model first."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0])
    for row in use:
        for n, name in enumerate(("requests", "prompt_tokens", "completion_tokens", "usd")):
            sums[row[by]][n] += row[name]
    if not sums:
        return ""
    if by == "day":
        order = sorted(sums.items(), reverse=True)[:DAYS]
    else:
        order = sorted(sums.items(), key=lambda item: -(item[1][1] + item[1][2]))
    body = "".join(
        f"<tr><th scope=row>{esc(name)}</th>"
        + "".join(f'<td class="n">{cell}</td>' for cell in (count(r), count(p), count(c), money(usd)))
        + "</tr>"
        for name, (r, p, c, usd) in order
    )
    head = [by.capitalize(), "Requests", "Prompt tokens", "Completion tokens", "Cost"]
    return scroll(caption, f"<thead><tr>{_head(head)}</tr></thead><tbody>{body}</tbody>")


def _moment(seconds: int | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if seconds else DASH
