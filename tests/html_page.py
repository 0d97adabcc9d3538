"""An HTML page as the tests of our reports look at it."""

from __future__ import annotations

from html.parser import HTMLParser

#: elements without an end
VOID = frozenset({"meta", "link", "br", "hr", "img", "input", "wbr"})


class Page(HTMLParser):
    """What the tests look at: attributes, visible text, ids, and whether every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self._texts: list[str] = []
        self.feed(source)
        self.close()
        self.text = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self._texts.append(data)

    def values(self, attribute: str) -> list[str]:
        """Every value of one attribute."""
        return [value for _, name, value in self.attributes if name == attribute]
