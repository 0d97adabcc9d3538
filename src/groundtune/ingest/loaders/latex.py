r"""LaTeX (.tex): title, headings, paragraphs, lists, tables, captions, code, references; formulas stay LaTeX.

Leaves out comments, the preamble but for its title and macros, drawings, and files that it inputs, which are documents
of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import latex_text, reading, sectioning
from groundtune.ingest.latex_text import group, optional, plain
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.ingest.table_grid import Cell, pipe_rows
from groundtune.ingest.word_blocks import table_blocks
from groundtune.records import Section

EXTENSIONS = (".tex", ".ltx", ".latex")

_MAX_CHARACTERS = 16 << 20
_MAX_NESTING = 40
_LEVELS = {
    "part": 2,
    "chapter": 2,
    "section": 3,
    "subsection": 4,
    "subsubsection": 5,
    "paragraph": 6,
    "subparagraph": 7,
}
_VERBATIM = ("verbatim", "Verbatim", "lstlisting", "minted", "alltt", "BVerbatim", "code")
_MATH = {"equation", "align", "gather", "multline", "eqnarray", "displaymath", "math", "flalign", "alignat", "dmath"}
_DROPPED = {"tikzpicture", "pgfpicture", "filecontents", "comment", "pspicture", "axis", "CCSXML", "tikzcd", "picture"}
_TABLES = {
    "tabular": 1,
    "tabular*": 2,
    "tabularx": 2,
    "longtable": 1,
    "tabulary": 2,
    "supertabular": 1,
    "array": 1,
    "tblr": 1,
}
#: environments with arguments of their own before the text: how many
_ARGUMENTS = {
    "minipage": 1,
    "multicols": 1,
    "wrapfigure": 2,
    "wraptable": 2,
    "adjustbox": 1,
    "subfigure": 1,
    "spacing": 1,
}
_ITEMS = {"itemize", "enumerate", "description", "compactitem", "compactenum", "inparaenum", "itemize*", "enumerate*"}
_NEXT = re.compile(
    r"\n[ \t]*\n\s*|\\begin\s*\{(?P<env>[a-zA-Z]+\*?)\}|\\(?P<head>part|chapter|(?:sub){0,2}section|(?:sub)?paragraph)\*?(?![a-zA-Z])"
    r"|\\(?P<display>\[)|(?P<dollars>\$\$)|\\(?P<caption>caption(?:of)?)\*?(?![a-zA-Z])|\\(?P<made>maketitle|appendix)(?![a-zA-Z])"
    r"|\\(?P<bib>bibitem)(?![a-zA-Z])|\\(?P<verb>verb\*?)(?![a-zA-Z])|\\\\"
)
_PLACE = "\ue0f1"
#: stands for the line ends in a formula, which are none of the text
_LINE_END, _NEXT_LINE = "\ue0f2", "\\\\"


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, below the document's title.

    Raises:
        InputError: missing, empty, no text, over 16 million characters, or without text.
    """
    reading.check_file(path, "a LaTeX file")
    with reading.open_text(path) as stream:
        text = stream.read(_MAX_CHARACTERS + 1)
    if len(text) > _MAX_CHARACTERS:
        raise InputError(f"{path} has more than {_MAX_CHARACTERS:,} characters", expected="one LaTeX document",
                         next_step="split it")  # fmt: skip
    empty = True
    for section in sectioning.sections(_Document(text).blocks()):
        empty = False
        yield section
    if empty:
        reading.refuse_blank(path, "LaTeX with text between its commands")


class _Document:
    """One source; verbatim text is taken out first, since nothing in it is a command."""

    def __init__(self, text: str) -> None:
        self._kept: list[str] = []
        names = "|".join(_VERBATIM)
        pattern = rf"\\begin\{{({names})\}}(?:\[[^\]\n]*\])?(?:\{{\w+\}})?[ \t]*\n?(.*?)\\end\{{\1\}}"
        text = re.sub(pattern, self._keep, text.replace("\r\n", "\n").replace(_PLACE, ""), flags=re.DOTALL)
        text = latex_text.without_comments(text)
        begin = re.search(r"\\begin\s*\{document\}", text)
        head, body = (text[: begin.start()], text[begin.end() :]) if begin else ("", text)
        body = re.split(r"\\end\s*\{document\}", body, maxsplit=1)[0]
        known = latex_text.macros(head) | (latex_text.macros(body) if not begin else {})
        self._body, self._head = latex_text.expanded(body, known), latex_text.expanded(head, known)

    def _keep(self, match: re.Match[str]) -> str:
        self._kept.append(match[2].strip("\n"))
        return f"\n\n{_PLACE}{len(self._kept) - 1}{_PLACE}\n\n"

    def blocks(self) -> Iterator[Block]:
        """Title and authors, then the body."""
        for name, level in (("title", 1), ("author", 0), ("date", 0)):
            source = self._head if f"\\{name}" in self._head else self._body
            for match in re.finditer(rf"\\{name}(?![a-zA-Z])", source):
                _, at = optional(source, match.end())
                text = group(source, at)[0]
                yield from self._paragraph(re.sub(r"\\thanks\s*\{[^{}]*\}", "", text) if level else text, level)
        body = re.sub(r"\\(?:title|author|date)(?![a-zA-Z])", r"\\phantom", self._body)
        yield from self._blocks(body, 0)

    def _paragraph(self, text: str, level: int = 0) -> Iterator[Block]:
        for kept in re.split(rf"({_PLACE}\d+{_PLACE})", text):
            if re.fullmatch(rf"{_PLACE}\d+{_PLACE}", kept):
                if code := self._kept[int(kept.strip(_PLACE))].strip("\n"):
                    yield Block(code)
                continue
            lines = (" ".join(line.split()) for line in re.sub(r"\\\\(?:\[[^\]]*\])?", "\v", kept).split("\v"))
            clean = "\n".join(filter(None, (" ".join(plain(line).split()) for line in lines)))
            clean = clean.replace(_LINE_END, _NEXT_LINE).replace(" , ", ", ")
            if clean:
                yield Block(" ".join(clean.split()) if level else clean, level)

    def _blocks(self, text: str, depth: int) -> Iterator[Block]:
        """The blocks of a piece of source; runs of text between structures are paragraphs."""
        run: list[str] = []
        at = 0
        while match := _NEXT.search(text, at):
            run.append(text[at : match.start()])
            at = match.end()
            if match[0] == "\\\\":
                run.append("\\\\")
                continue
            if match["verb"]:
                end = text.find(text[at], at + 1) if at < len(text) else -1
                run.append(text[match.start() : end + 1] if end > 0 else "")
                at = end + 1 if end > 0 else at
                continue
            if match["env"] in ("math",) or match["made"]:
                continue
            if match["env"]:
                body, at = _environment(text, at, match["env"])
                if match["env"].rstrip("*") in _MATH:
                    run.append(f"\\\\$${_formula(body)}$$\\\\")
                    continue
                yield from self._flush(run)
                yield from self._environment(match["env"], body, depth)
            elif match["display"] or match["dollars"]:
                end = text.find("\\]" if match["display"] else "$$", at)
                end = len(text) if end < 0 else end
                run.append(f"\\\\$${_formula(text[at:end])}$$\\\\")
                at = end + 2
            elif match["head"] or match["caption"] or match["bib"]:
                yield from self._flush(run)
                _, at = optional(text, at)
                argument, at = group(text, at)
                if match["bib"]:
                    run.append(f"[{argument}] ")
                else:
                    yield from self._paragraph(argument, _LEVELS.get(match["head"] or "", 0))
            else:
                yield from self._flush(run)
        run.append(text[at:])
        yield from self._flush(run)

    def _flush(self, run: list[str]) -> Iterator[Block]:
        yield from self._paragraph("".join(run))
        run.clear()

    def _environment(self, name: str, body: str, depth: int) -> Iterator[Block]:
        if name.rstrip("*") in _DROPPED or depth > _MAX_NESTING:
            return
        if name in _ITEMS:
            yield from self._text("\n".join(self._items(name, body, depth, 0)))
        elif name in _TABLES:
            yield from table_blocks(pipe_rows(self._rows(body, _TABLES[name])))
        elif name == "abstract":
            yield Block("Abstract", 3)
            yield from self._blocks(body, depth + 1)
        elif name == "thebibliography":
            yield Block("References", 3)
            yield from self._blocks(body[group(body, 0)[1] :], depth + 1)
        else:
            _, at = optional(body, 0)
            for _ in range(_ARGUMENTS.get(name.rstrip("*"), 0)):
                _, at = optional(body, at)
                _, at = group(body, at)
            yield from self._blocks(body[at:], depth + 1)

    def _text(self, text: str) -> Iterator[Block]:
        if text.strip():
            yield Block(text.strip("\n"))

    def _items(self, name: str, body: str, depth: int, indent: int) -> Iterator[str]:
        """The lines of a list; what stands in an item besides text follows it on lines of its own."""
        number = 0
        for at, piece in _pieces(body):
            label, start = optional(piece, 0) if at else (None, 0)
            if not at:
                continue
            number += 1
            mark = f"{number}." if "enum" in name else "-"
            text = f"{plain(label)} " if label else ""
            inner: list[str] = []
            rest = piece[start:]
            while match := re.search(r"\\begin\s*\{([a-zA-Z]+\*?)\}", rest):
                content, end = _environment(rest, match.end(), match[1])
                if match[1] in _ITEMS and depth < _MAX_NESTING:
                    inner += self._items(match[1], content, depth + 1, indent + 1)
                elif match[1].rstrip("*") in _MATH:
                    inner.append(f"{'  ' * (indent + 1)}$${_formula(content)}$$".replace(_LINE_END, _NEXT_LINE))
                else:
                    inner += (f"{'  ' * (indent + 1)}{b.text}" for b in self._environment(match[1], content, depth + 1))
                text += rest[: match.start()]
                rest = rest[end:]
            written = " ".join(block.text for block in self._blocks(text + rest, depth + 1))
            yield f"{'  ' * indent}{mark} {' '.join(written.split())}"
            yield from inner

    def _rows(self, body: str, arguments: int) -> Iterator[list[Cell]]:
        _, at = optional(body, 0)
        for _ in range(arguments):
            _, at = group(body, at)
        rules = r"\\(?:hline|toprule|midrule|bottomrule|endhead|endfirsthead|endfoot|endlastfoot|centering|addlinespace)(?![a-zA-Z])"
        body = re.sub(rules, " ", body[at:])
        for row in _split(body, "\\\\"):
            cells = []
            for source in _split(row, "&"):
                many = re.match(r"\s*\\multicolumn(?![a-zA-Z])", source)
                columns = 1
                if many:
                    count, at = group(source, many.end())
                    _, at = group(source, at)
                    columns = int(count) if count.strip().isdigit() and len(count) < 4 else 1
                    source = group(source, at)[0]
                source = _without_multirow(source)
                cells.append(Cell(" ".join(block.text for block in self._blocks(source, _MAX_NESTING)), columns))
            if any((cell.text or "").strip() for cell in cells):
                yield cells


def _environment(text: str, at: int, name: str) -> tuple[str, int]:
    r"""What stands between a ``\begin{name}`` that ends at ``at`` and its ``\end``, and the place behind that."""
    depth = 1
    for match in re.compile(rf"\\(begin|end)\s*\{{{re.escape(name)}\}}").finditer(text, at):
        depth += 1 if match[1] == "begin" else -1
        if not depth:
            return text[at : match.start()], match.end()
    return text[at:], len(text)


def _formula(body: str) -> str:
    body = re.sub(r"\\(?:label|tag)\s*\{[^{}]*\}|\\nonumber|\\notag", " ", body)
    return " ".join(body.replace("\\\\", _LINE_END).split())


def _pieces(body: str) -> Iterator[tuple[int, str]]:
    r"""What stands before the first ``\item`` of a list, and behind each one, inner lists left whole."""
    depth, start, count = 0, 0, 0
    for match in re.finditer(r"\\(begin|end)\s*\{[a-zA-Z]+\*?\}|\\item(?![a-zA-Z])", body):
        if match[1]:
            depth += 1 if match[1] == "begin" else -1
        elif not depth:
            yield count, body[start : match.start()]
            start, count = match.end(), count + 1
    yield count, body[start:]


def _split(text: str, mark: str) -> Iterator[str]:
    """The text cut at a mark that stands in no braces and no inner environment."""
    depth = start = 0
    for match in re.finditer(r"\\\\(?:\[[^\]]*\])?|\\(begin|end)(?![a-zA-Z])|\\.|[{}&]", text, re.DOTALL):
        found = match[0]
        depth += (found == "{" or match[1] == "begin") - (found == "}" or match[1] == "end")
        if depth <= 0 and (found.startswith(mark) if mark == "\\\\" else found == mark):
            yield text[start : match.start()]
            start = match.end()
    yield text[start:]


def _without_multirow(source: str) -> str:
    found = re.search(r"\\multirow(?![a-zA-Z])", source)
    if not found:
        return source
    _, at = optional(source, found.end())
    for _ in range(2):
        _, at = group(source, at)
        _, at = optional(source, at)
    argument, end = group(source, at)
    return source[: found.start()] + argument + source[end:]
