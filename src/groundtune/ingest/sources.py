"""What the user names as sources, as files with the names that a user sees: folders, files, web addresses, queries."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from groundtune import registry
from groundtune.config import CrawlConfig
from groundtune.errors import InputError
from groundtune.workspace import Workspace

#: where fetched pages are kept: fetched once, then only when they have changed
WEB = "web"
_IGNORED = {".groundtune", ".git", "__pycache__", "node_modules", ".venv"}
_VARIABLE = re.compile(r"\$\{\w+\}")
#: settings of a database's address that hold what nobody may read, and those within an ODBC one
_SECRET = re.compile(r"passw|pwd|token|secret|key$", re.IGNORECASE)
_ODBC_SECRET = re.compile(r"(?:pwd|password)\s*=\s*(\$\{\w+\}|\{[^}]*\}|[^;]*)", re.IGNORECASE)
#: (files done, files in all, name)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that did not come in, and why."""

    path: str
    reason: str


def is_address(source: str) -> bool:
    """True for a web address."""
    return source.lower().startswith(("http://", "https://"))


def loaders_by_extension() -> dict[str, str]:
    """Extension (``.pdf``) -> loader name, of every registered loader."""
    return {ext: name for name in registry.names("loaders") for ext in registry.get("loaders", name).EXTENSIONS}


def find_files(sources: Iterable[str], base: Path) -> list[tuple[Path, str]]:
    """Every file of the sources with the name a user sees, sorted; hidden files and workspaces are left out.

    The name is the path inside its source; where two sources have the same one, folders above the later go before it.

    Raises:
        InputError: a source that is not there, or an address that is no web page.
    """
    found: dict[Path, str] = {}
    for source in sources:
        if "://" in source:
            raise InputError(
                f"{source.partition('://')[0]}://...: addresses of this kind are not read on their own",
                expected="files, folders, http(s) addresses; a database with --query",
                next_step='groundtune ingest DATABASE-URL --query "SELECT ..."',
            )
        path = Path(source) if Path(source).is_absolute() else base / source
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                folders[:] = sorted(f for f in folders if f not in _IGNORED and not f.startswith("."))
                for name in files:
                    if not name.startswith((".", "~$")):
                        file = Path(folder) / name
                        found[file] = file.relative_to(path).as_posix()
        elif path.exists():
            found[path] = path.name
        else:
            raise InputError(
                f"no file or folder {path}",
                expected="an existing path",
                next_step="check `documents:` in groundtune.yaml",
            )
    taken: dict[str, Path] = {}
    for file, name in found.items():
        for above in file.parents[name.count("/") :]:
            if name not in taken:
                break
            name = f"{above.name}/{name}"
        taken[name] = file
    return sorted(((file, name) for name, file in taken.items()), key=lambda item: item[1])


def file_of(workspace: Workspace, document: str) -> Path | None:
    """The file that a document was read from; None for web pages, and where it is not there any more."""
    figures = (workspace.manifest("documents") or {"figures": {}})["figures"]
    for source in figures.get("sources", ()):
        if "://" in source:
            continue
        path: Path = workspace.root / source
        file = path if path.name == document else path / document
        if file.is_file():
            return Path(file).resolve()
    return None


def gather(
    workspace: Workspace,
    sources: Iterable[str],
    crawl: CrawlConfig,
    *,
    refresh: bool = True,
    forgotten: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> tuple[list[tuple[Path, str]], list[Skipped]]:
    """Every file of the sources, those of the web fetched into the workspace, and the addresses that were left out.

    Args:
        forgotten: addresses whose pages are not to be kept, and since when.
        refresh: ask the web again; False takes what the last run fetched, where there is any.

    Raises:
        InputError: as :func:`find_files`, or an address from which nothing can be fetched.
    """
    named = list(sources)
    files = find_files([s for s in named if not is_address(s)], workspace.root)
    forgotten = forgotten or {}
    left: list[Skipped] = []
    web: dict[str, Path] = {}
    for address in dict.fromkeys(s for s in named if is_address(s)):
        from groundtune.ingest.crawl import crawl as fetch
        from groundtune.ingest.crawl import fetched_before

        folder = workspace.path(WEB)
        pages = () if refresh else fetched_before(address, folder)
        if not pages:
            result = fetch(address, folder, crawl, progress=progress)
            pages = result.fetched
            left += [Skipped(page.url, page.reason) for page in result.left]
            if result.unvisited:
                left.append(
                    Skipped(
                        address,
                        f"{result.unvisited} more addresses found and not fetched: {result.stopped or f'the limit of {crawl.pages} pages (--pages)'}",
                    )
                )
        for page in pages:
            if page.url in forgotten:  # the crawl had to ask for it to see where it leads
                page.path.unlink(missing_ok=True)
            else:
                web[page.url] = page.path
        left += [Skipped(p.url, f"forgotten on {forgotten[p.url]}") for p in pages if p.url in forgotten]
    return [*files, *((path, url) for url, path in sorted(web.items()))], left


def write_query(workspace: Workspace, database: str, query: str) -> Path:
    """A database's address and a query as the file that the loader ``sql`` reads, in the workspace.

    Args:
        database: SQLAlchemy URL; ``${NAME}`` in it is an environment variable and stays so in the file.

    Raises:
        InputError: a password in the address itself, also in its query part: it would be written to disk.
    """
    scheme, _, place = database.partition(":///")
    if scheme.startswith("sqlite") and place and not place.startswith("/"):  # as seen from where the command was typed
        database = f"{scheme}:///{Path(place).resolve()}"
    written = [urlsplit(database).password or ""]
    for key, value in parse_qsl(urlsplit(database).query):
        # not as a word of its own: sslpassword, api_key; sslkey is the path of a file
        if _SECRET.search(key) and key.lower() != "sslkey":
            written.append(value)
        written += _ODBC_SECRET.findall(value) if key.lower() == "odbc_connect" else []
    if any(value and not _VARIABLE.fullmatch(value) for value in written):
        raise InputError(
            "the database's address holds a password",
            expected="${NAME} in its place, the name of an environment variable",
            next_step="export DB_PASSWORD=...; write ${DB_PASSWORD} where the password stood",
        )
    folder = workspace.path("queries")
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(f"{database}\0{query}".encode()).hexdigest()[:8]
    file = folder / f"query-{name}.sql"
    file.write_text(f"-- groundtune: {database}\n{query}\n", encoding="utf-8")
    return file
