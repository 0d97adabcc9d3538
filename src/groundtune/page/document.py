"""The frame of a page that needs nothing else: one HTML file with its style and script inside, and a policy to fetch nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from groundtune.page.text import esc


@dataclass(frozen=True, slots=True)
class PageSection:
    """One part of a page.

    Attributes:
        key: its id in the page.
        short: its name in the list of sections.
        title: its heading, as text.
        body: HTML; an empty one leaves the section out.
    """

    key: str
    short: str
    title: str
    body: str


def base_style() -> str:
    """The style that all pages share: colours light, dark and on paper, headings, panels, tables."""
    return files("groundtune.page").joinpath("page.css").read_text(encoding="utf-8")


def render_document(
    title: str, sections: Sequence[PageSection], *, style: str, top: str, footer: str, script: str = ""
) -> str:
    """The whole document.

    Args:
        title: for the tab, as text.
        style: CSS that comes after :func:`base_style`.
        top, footer: HTML before and after the sections.
        script: the only script that the page's policy lets run, by its hash; empty for none.
    """
    kept = [section for section in sections if section.body]
    links = "".join(f'<li><a href="#{s.key}">{esc(s.short)}</a></li>' for s in kept)
    parts = "".join(
        f'<section id="{s.key}" aria-labelledby="{s.key}-title"><h2 id="{s.key}-title">{esc(s.title)}</h2>{s.body}</section>'
        for s in kept
    )
    skip = f'<a class="skip" href="#{kept[0].key}">Skip to the results</a>\n' if kept else ""
    allowed = f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="generator" content="groundtune">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{esc(title)}</title>\n<style>{base_style()}{style}</style>\n</head>\n<body>\n"
        f'{skip}{top}\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>{parts}</main>\n'
        f"{footer}\n{f'<script>{script}</script>' if script else ''}\n</body>\n</html>\n"
    )
