"""``groundtune init``: look at a folder, say what is in it, write a commented ``groundtune.yaml``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, say


def init(
    folder: Annotated[Path, typer.Argument(help="A folder with your data.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Write over an existing groundtune.yaml.")] = False,
    json: JsonOption = False,
) -> None:
    """Look at a folder of data and write groundtune.yaml, every setting with its default and its reason."""
    from groundtune.config import FILE
    from groundtune.errors import InputError
    from groundtune.ingest.sources import find_files, loaders_by_extension

    if not folder.is_dir():
        raise InputError(f"no folder {folder}", expected="a folder with your documents")
    target = folder / FILE
    if target.exists() and not force:
        raise InputError(f"{target} exists already", next_step="edit it, or write it anew with --force")
    known = loaders_by_extension()
    questions = next((q for q in ("questions.jsonl", "questions.csv") if (folder / q).exists()), None)
    documents = "documents" if (folder / "documents").is_dir() else "."
    files = [(p, n) for p, n in find_files([documents], folder) if n not in {FILE, questions}]
    kinds = Counter(known[p.suffix.lower()] for p, _ in files if p.suffix.lower() in known)
    unknown = Counter(p.suffix.lower() or "(none)" for p, _ in files if p.suffix.lower() not in known)
    size = sum(p.stat().st_size for p, _ in files)
    target.write_text(
        render_config({"documents": (documents,), "questions": questions or "questions.jsonl"}), encoding="utf-8"
    )
    if json:
        print_json(
            {
                "files": len(files),
                "kinds": dict(kinds),
                "unknown": dict(unknown),
                "bytes": size,
                "questions": questions,
                "config": str(target),
            }
        )
        return
    say(f"{len(files)} files, {size / 1e6:.1f} MB in {folder}")
    for kind, count in kinds.most_common():
        say(f"  {count:5} {kind}")
    for suffix, count in unknown.most_common(10):
        say(f"  {count:5} {suffix}: no loader, will be skipped")
    say(f"  questions: {questions or 'none yet; `compare` and `tune` need a questions.jsonl, `ask` does not'}")
    say(
        f'wrote {target}\nnext: groundtune ingest --project {folder}; groundtune index --project {folder}; groundtune ask "..." --project {folder}'
    )


def render_config(values: dict[str, Any]) -> str:
    """A config file with every setting: those in ``values`` set, the others commented out at their default."""
    import yaml

    from groundtune.config import settings

    lines = ["# groundtune.yaml: every setting with its default. An empty file works as well."]
    section = ""
    for name, field in settings():
        head, _, key = name.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"# {head}:"]
        value = values.get(name, field.default)
        value = list(value) if isinstance(value, tuple) else value
        text = (
            f"{key}: {yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10_000).strip()[1:-1]}"
        )
        indent = "  " if head else ""
        mark = "" if name in values else "# "
        lines.append(f"{mark}{indent}{text}".ljust(46) + f"  # {field.description}")
    return "\n".join(lines) + "\n"
