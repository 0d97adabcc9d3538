"""``groundtune ingest``: files, folders, web addresses and database queries to documents."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ProjectOption,
    ensure_documents,
    open_project,
    print_json,
    say,
)

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup


def ingest(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, web addresses, or a database's URL; default: `documents:` of groundtune.yaml."
        ),
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    query: Annotated[
        str | None, typer.Option(help="SELECT whose rows are read from the database named as source.")
    ] = None,
    password: Annotated[
        list[str] | None,
        typer.Option(help="For encrypted files; may be repeated. '${NAME}' takes an environment variable."),
    ] = None,
    redact: Annotated[
        str | None, typer.Option(help="Personal data to replace by its kind: email,phone,iban,card,name or all.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="File with one name a line, for --redact name.")] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="Links followed from a web address.")] = None,
    pages: Annotated[int | None, typer.Option(min=1, help="Most pages fetched for a web address.")] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also fetch from private and loopback addresses.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Read sources into documents; what cannot be read is listed with its reason."""
    setup = open_project(project, config)
    reading: dict[str, Any] = {
        "passwords": tuple(password or ()) or None,
        "redact": _kinds(redact, names or setup.config.ingest.names),
        "names": str(names.resolve()) if names else None,
    }
    crawling: dict[str, Any] = {"depth": depth, "pages": pages, "allow_private": allow_private or None}
    _set(setup, "ingest", reading)
    _set(setup, "crawl", crawling)
    started = time.perf_counter()
    with setup.workspace.writing():
        named = _sources(setup, sources or [], query)
        explicit = bool(named) or any(v is not None for v in [*reading.values(), *crawling.values()])
        result = ensure_documents(setup, named or setup.config.documents, explicit=explicit, quiet=json)
    if json:
        print_json(
            {
                "documents": len(result.documents),
                "skipped": [asdict(s) for s in result.skipped],
                "bytes": sum(d.size_bytes for d in result.documents),
                "seconds": round(time.perf_counter() - started, 3),
                "cleaning": result.cleaning,
            }
        )
    else:
        say("next: groundtune index")


def _sources(setup: Setup, sources: list[str], query: str | None) -> tuple[str, ...]:
    """The sources as they are kept: paths in full, a query as the file that holds it."""
    from groundtune.errors import ConfigError
    from groundtune.ingest.sources import is_address, write_query

    databases = [s for s in sources if "://" in s and not is_address(s)]
    if query is None:
        return tuple(s if "://" in s else str(Path(s).resolve()) for s in sources)
    if len(sources) != 1 or len(databases) != 1:
        raise ConfigError(
            "--query needs one database as the only source",
            expected='for example: groundtune ingest sqlite:///shop.db --query "SELECT * FROM products"',
        )
    return (str(write_query(setup.workspace, databases[0], query)),)


def _kinds(redact: str | None, names: object) -> tuple[str, ...] | None:
    if redact is None:
        return None
    kinds = ("email", "phone", "iban", "card", *(("name",) if names else ()))
    return kinds if redact == "all" else tuple(kind.strip() for kind in redact.split(","))


def _set(setup: Setup, part: str, values: dict[str, Any]) -> None:
    """Put what the command line says over the config's part, checked like the config itself."""
    from groundtune.config import parse_config

    given = {name: value for name, value in values.items() if value is not None}
    if given:
        whole = setup.config.model_dump(mode="json")
        whole[part] = {**whole[part], **given}
        setup.config = parse_config(whole, "command line")
