"""``groundtune serve keys``: who may use the server, and how much."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import ConfigOption, JsonOption, ProjectOption, open_project, print_json, say, warn
from groundtune.errors import ConfigError

if TYPE_CHECKING:
    from groundtune.serving.storage.store import Store

app = typer.Typer(help="API keys: make, list, revoke, and what each has used.", no_args_is_help=True)
DatabaseOption = Annotated[
    str | None, typer.Option("--database", help="Instead of serve.database: postgresql+psycopg://USER@HOST/NAME.")
]


@contextmanager
def store_of(project: Path, config: Path | None, database: str | None) -> Iterator[Store]:
    """The server's store, opened and closed again."""
    setup = open_project(project, config)
    if database:
        serve = setup.config.serve.model_copy(update={"database": database})
        setup.config = setup.config.model_copy(update={"serve": serve})
    from groundtune.serving.state import Serving

    store = Serving.open(setup).store
    try:
        yield store
    finally:
        store.close()


@app.command("create")
def create(
    name: Annotated[str | None, typer.Argument(help="Whom the key is for.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="A key for each row: a column name or email; budget_tokens, models, group ..."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the keys of --csv are written; default: keys.csv.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", help="Only these, as in 'gpt-4o*'; repeatable.")
    ] = None,
    budget_tokens: Annotated[int | None, typer.Option("--budget-tokens", min=1, help="Tokens in all.")] = None,
    budget_usd: Annotated[
        float | None, typer.Option("--budget-usd", help="US dollars in all, by the prices of serve.aliases.")
    ] = None,
    rpm: Annotated[int | None, typer.Option("--rpm", min=1, help="Generating requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option("--tpm", min=1, help="Tokens a minute.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="Group whose budget it shares (keys group).")] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="Last day, as 2027-01-31, or time from now, as 30d or 12h.")
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Sees everybody's usage and objects, and may change them.")
    ] = False,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key, or one for each row of a table; a key is shown this once."""
    if (name is None) == (csv is None):
        raise ConfigError("a key needs a name, or a table of names", expected="NAME or --csv FILE, not both")
    if out is not None and csv is None:
        raise ConfigError("--out goes with --csv", next_step="groundtune serve keys create --csv students.csv")
    if budget_usd is not None and not budget_usd > 0:
        raise ConfigError(f"--budget-usd {budget_usd}", expected="a number over 0")
    from groundtune.serving.callers.key_table import KeyFile, expires_at, patterns, read_people
    from groundtune.serving.callers.keys import Limits, NewKey, make_keys

    try:
        ends = expires_at(expires, time.time()) if expires else None
    except ValueError:
        raise ConfigError(
            f"--expires {expires!r}", expected="a day to come, as 2027-01-31, or a time from now, as 30d"
        ) from None
    allowed = tuple(part for given in models or () for part in patterns(given))
    wanted = NewKey(name or "", Limits(rpm, tpm, budget_tokens, budget_usd, allowed), group, admin, ends)
    people, others = read_people(csv, wanted) if csv else ([wanted], [])
    if others:
        warn(f"{csv}: columns that mean nothing here: {', '.join(others)}")
    if budget_usd is not None or any(p.limits.budget_usd is not None for p in people):
        _warn_without_prices(project, config)
    with store_of(project, config, database) as store:
        file = KeyFile(out or Path("keys.csv")) if csv and (out or not json) else None
        try:
            made = make_keys(store, people)
            if file:
                file.write(made)
        except BaseException:
            if file:
                file.discard()
            raise
    if json:
        from groundtune.serving.callers.keys import shown_key

        print_json([{**shown_key(body), "key": key} for body, key in made])
    elif file:
        say(f"{len(made)} keys, in {file.path} (for your eyes only: they are nowhere else)")
    else:
        say(f"key of {made[0][0]['name']}, shown this once:")
        typer.echo(made[0][1])


def _warn_without_prices(project: Path, config: Path | None) -> None:
    aliases = open_project(project, config).config.serve.aliases.values()
    if not any(getattr(a, "usd_per_million_completion_tokens", 0) or getattr(a, "usd_per_million_prompt_tokens", 0) for a in aliases):  # fmt: skip
        warn("no alias under serve.aliases has a price, so nothing counts towards --budget-usd")


@app.command("group")
def group(
    name: Annotated[str, typer.Argument(help="Of the group, such as a class.")],
    budget_tokens: Annotated[int | None, typer.Option("--budget-tokens", min=1, help="Tokens of all its keys.")] = None,
    budget_usd: Annotated[float | None, typer.Option("--budget-usd", help="US dollars of all its keys.")] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Make a group of keys with a budget of their own, or give it another budget."""
    if budget_usd is not None and not budget_usd > 0:
        raise ConfigError(f"--budget-usd {budget_usd}", expected="a number over 0")
    from groundtune.serving.callers.keys import set_group

    with store_of(project, config, database) as store:
        body = set_group(store, name, budget_tokens=budget_tokens, budget_usd=budget_usd)
    if json:
        print_json({"name": body["id"], **body["limits"]})
        return
    say(f"group {body['id']}: {_budget(body['limits'])}")


@app.command("list")
def list_(
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """List the keys, never the keys themselves."""
    from groundtune.serving.callers.keys import all_keys, in_force, shown_key

    with store_of(project, config, database) as store:
        found = all_keys(store)
    if json:
        print_json([shown_key(body) for body in found])
        return
    if not found:
        say("no keys: groundtune serve keys create NAME")
    rows = []
    for body in found:
        state = "revoked" if body["revoked_at"] else "in force" if in_force(body, time.time()) else "expired"
        ends = f" until {_moment(body['expires_at'])}" if body["expires_at"] and state == "in force" else ""
        limits = body["limits"]
        rates = [f"{limits[n]} {w}" for n, w in (("requests_per_minute", "requests/min"), ("tokens_per_minute", "tokens/min")) if limits[n]]  # fmt: skip
        rows.append(
            (body["id"], body["name"], body["shown"], body["group"] or "", state + ends, _budget(limits),
             ", ".join([*rates, *limits["models"], *(["admin"] if body["admin"] else [])]))
        )  # fmt: skip
    _print(("id", "name", "key", "group", "state", "budget", "limits"), rows)


@app.command("revoke")
def revoke(
    name_or_id: Annotated[str, typer.Argument(help="Name or id of the key.")],
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Put a key out of force, from its next request on, also while the server runs."""
    from groundtune.serving.callers.keys import revoke_key, shown_key

    with store_of(project, config, database) as store:
        body = revoke_key(store, name_or_id)
    if json:
        print_json(shown_key(body))
        return
    say(f"revoked {body['id']} of {body['name']}")


@app.command("usage")
def usage(
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """What each key and group has used, in requests that ended."""
    from groundtune.serving.callers.usage_figures import figures

    with store_of(project, config, database) as store:
        found = figures(store, now=time.time())
    if json:
        print_json(found)
        return
    rows = [
        (line["name"], str(line["requests"]), str(line["prompt_tokens"]), str(line["completion_tokens"]),
         f"${line['usd']:.4f}", _budget(line), _moment(line.get("last_seen")))
        for line in [*found["keys"], *({**g, "name": f"group {g['name']}"} for g in found["groups"])]
    ]  # fmt: skip
    _print(("name", "requests", "prompt tokens", "completion tokens", "cost", "budget", "last seen"), rows)


def _print(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console(highlight=False).print(table)


def _budget(limits: dict[str, Any]) -> str:
    parts = [f"{limits['budget_tokens']:,} tokens"] if limits["budget_tokens"] else []
    parts += [f"${limits['budget_usd']:.2f}"] if limits["budget_usd"] else []
    return ", ".join(parts) or "none set"


def _moment(seconds: int | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if seconds else ""
