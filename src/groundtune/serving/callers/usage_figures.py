"""What keys and groups have used, against what they may: the figures of the usage page and of ``serve keys usage``."""

from __future__ import annotations

from typing import Any

from groundtune.serving.callers import usage
from groundtune.serving.callers.access import ANONYMOUS
from groundtune.serving.callers.keys import all_groups, all_keys, in_force
from groundtune.serving.storage.store import Store


def figures(store: Store, *, now: float, key: str | None = None) -> dict[str, Any]:
    """The figures, as ``serve keys usage --json`` prints them.

    Args:
        now: seconds since 1970, for which keys are in force.
        key: id of the only key to show; its group, whose other members' use is not its business, is left out.
    """
    totals = usage.totals(store)
    keys = [body for body in all_keys(store) if key in (None, body["id"])]
    shown = [
        _line(
            body["id"], body["name"], body["limits"], totals.get(body["id"], usage.Total()),
            {"group": body["group"], "in_force": in_force(body, now), "expires_at": body["expires_at"]},
        )
        for body in keys
    ]  # fmt: skip
    if key in (None, ANONYMOUS) and ANONYMOUS in totals:
        more = {"group": None, "in_force": not shown, "expires_at": None}
        shown.append(_line(ANONYMOUS, ANONYMOUS, {}, totals[ANONYMOUS], more))
    groups = [
        _line(
            body["id"], body["id"], body["limits"], totals.get(usage.group_account(body["id"]), usage.Total()),
            {"keys": sum(k["group"] == body["id"] for k in keys)},
        )
        for body in ([] if key is not None else all_groups(store))
    ]  # fmt: skip
    return {"keys": shown, "groups": groups, "use": usage.rows(store, key)}


def _line(id: str, name: str, limits: dict[str, Any], total: usage.Total, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id, "name": name, **more, "requests": total.requests, "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens, "usd": round(total.usd, 6), "last_seen": total.last_seen or None,
        "budget_tokens": limits.get("budget_tokens"), "budget_usd": limits.get("budget_usd"),
    }  # fmt: skip
