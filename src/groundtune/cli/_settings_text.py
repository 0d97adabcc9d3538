"""Settings written into ``groundtune.yaml`` as a person would: the line of each changes, comments and all else stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from groundtune.errors import InputError

_COMMENTED = r"(?:# ?)?"


def setting_lines(changes: Mapping[str, Any]) -> str:
    """Settings as they stand in the file, in their sections."""
    sections: dict[str, list[str]] = {}
    for name, value in sorted(changes.items()):
        head, _, key = name.rpartition(".")
        sections.setdefault(head, []).append(f"{'  ' if head else ''}{key}: {value_text(value)}")
    return "\n".join("\n".join([f"{head}:", *lines] if head else lines) for head, lines in sections.items()) + "\n"


def value_text(value: Any) -> str:
    """A value as YAML on one line."""
    value = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10_000).strip()[1:-1]


def with_settings(text: str, changes: Mapping[str, Any]) -> str:
    """The text of a config file with some settings changed.

    A setting's own line changes, also where ``init`` left it commented out; else it is added to its section, and a section
    that is not there is added at the end.

    Raises:
        InputError: the file is written in a way that this cannot change (a section in braces, for one).
    """
    before = yaml.safe_load(text) or {}
    lines = text.splitlines()
    for name, value in changes.items():
        head, _, key = name.rpartition(".")
        lines = _set(lines, head, key, value_text(value))
    out = "\n".join(lines) + "\n"
    wanted = _merged(before, changes)
    try:
        found = yaml.safe_load(out)
    except yaml.YAMLError:
        found = None
    heads = [line.partition(":")[0] for line in out.splitlines() if re.match(r"\w+:", line)]
    if found != wanted or len(heads) > len(set(heads)):
        raise InputError(
            "groundtune.yaml is written in a way that cannot be changed line by line",
            expected="each section on lines of its own",
            next_step="change these lines yourself:\n" + setting_lines(changes),
        )
    return out


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(values)
    for name, value in changes.items():
        head, _, key = name.rpartition(".")
        value = list(value) if isinstance(value, tuple) else value
        if head:
            inside = out.get(head)
            out[head] = {**(inside if isinstance(inside, dict) else {}), key: value}
        else:
            out[key] = value
    return out


def _set(lines: list[str], head: str, key: str, value: str) -> list[str]:
    """The lines with one setting changed or added."""
    begin, end = 0, len(lines)
    if head:
        begin = next((n for n, line in enumerate(lines) if re.match(rf"{re.escape(head)}:\s*(#.*)?$", line)), -1)
        if begin < 0:
            begin = next((n for n, line in enumerate(lines) if re.match(rf"# ?{re.escape(head)}:\s*$", line)), -1)
        if begin < 0:
            return [*lines, f"{head}:", f"  {key}: {value}"]
        lines = [*lines[:begin], re.sub(r"^# ?", "", lines[begin]), *lines[begin + 1 :]]
        begin += 1
        end = next((n for n in range(begin, len(lines)) if re.match(rf"{_COMMENTED}\w[\w.]*:", lines[n])), len(lines))
    indent = r"\s+" if head else ""
    for commented in ("", r"# ?"):
        for n in range(begin, end):
            match = re.match(rf"{commented}({indent}){re.escape(key)}:[^#]*?(\s+#.*)?$", lines[n])
            if match:
                lines[n] = _aligned(f"{match[1]}{key}: {value}", match[2] or "", len(lines[n]))
                return lines
    at = begin if head else 0
    step = next((m[1] for n in range(begin, end) if (m := re.match(r"(\s+)\w", lines[n]))), "  ") if head else ""
    return [*lines[:at], f"{step}{key}: {value}", *lines[at:]]


def _aligned(setting: str, comment: str, width: int) -> str:
    """A setting with the comment that stood behind it, which begins in its old column where there is room."""
    comment = comment.strip()
    return f"{setting.ljust(width - len(comment) - 2)}  {comment}" if comment else setting


def write_settings(path: Path, changes: Mapping[str, Any]) -> None:
    """Change a config file, whole or not at all; it is made where there is none.

    Raises:
        InputError: see :func:`with_settings`.
    """
    old = path.read_bytes().decode("utf-8") if path.exists() else ""
    new = with_settings(old.replace("\r\n", "\n"), changes)
    if old and not old.endswith("\n"):
        new = new.removesuffix("\n")
    half = path.with_name(path.name + ".part")
    half.write_bytes((new.replace("\n", "\r\n") if "\r\n" in old else new).encode("utf-8"))
    half.replace(path)
