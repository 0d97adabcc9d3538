r"""LaTeX's inline marks as plain text: ``\emph{a}~\'e \cite{x}`` becomes "a é [x]"; formulas stay as they are written.

Also takes comments away and fills in the macros that a document defines. Leaves out structure (``loaders/latex``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

_MAX_MACRO_PASSES = 5
_MAX_MACRO_CHARACTERS = 2_000
_MAX_DEPTH = 50
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
            "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a", "d": "\u0323", "b": "\u0331"}  # fmt: skip
_SYMBOLS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł",
    "i": "i", "j": "j", "S": "§", "P": "¶", "copyright": "©", "dots": "…", "ldots": "…", "textellipsis": "…",
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textbar": "|", "textless": "<", "textgreater": ">",
    "LaTeX": "LaTeX", "TeX": "TeX", "BibTeX": "BibTeX", "euro": "€", "texteuro": "€", "EUR": "€", "pounds": "£", "dag": "†",
    "ddag": "‡", "textdegree": "°", "degree": "°", "textendash": "–", "textemdash": "—", "textbullet": "•", "textregistered": "®",
    "texttrademark": "™", "textquotesingle": "'", "guillemotleft": "«", "guillemotright": "»", "glqq": "„", "grqq": "“",
    "quad": " ", "qquad": " ", "newline": "\n", "par": "\n", "hfill": " ", "and": ", ", "today": "", "slash": "/", "th": "þ",
    "checkmark": "✓", "xmark": "✗", "cmark": "✓", "textmu": "µ", "micro": "µ", "percent": "%", "tabularnewline": "\n",
}  # fmt: skip
#: command -> how many of its arguments say nothing; those behind them are text
_SILENT = {
    "label": 1, "vspace": 1, "hspace": 1, "includegraphics": 1, "input": 1, "include": 1, "bibliographystyle": 1,
    "bibliography": 1, "pagestyle": 1, "thispagestyle": 1, "setlength": 2, "addtolength": 2, "setcounter": 2, "usepackage": 1,
    "documentclass": 1, "color": 1, "definecolor": 3, "index": 1, "hypersetup": 1, "textcolor": 1, "colorbox": 1, "nocite": 1,
    "fontsize": 2, "selectlanguage": 1, "renewcommand": 2, "newcommand": 2, "providecommand": 2, "newenvironment": 3,
    "theoremstyle": 1, "newtheorem": 2, "pagenumbering": 1, "graphicspath": 1, "captionsetup": 1, "hyphenation": 1,
    "addcontentsline": 3, "raisebox": 1, "resizebox": 2, "scalebox": 1, "rule": 2, "parbox": 1, "arraystretch": 0, "cline": 1,
    "cmidrule": 1, "rowcolor": 1, "cellcolor": 1, "phantom": 1, "hphantom": 1, "vphantom": 1, "PassOptionsToPackage": 2,
    "DeclareMathOperator": 2, "bibitem": 1, "addbibresource": 1, "orcidlink": 1, "lstset": 1, "tikzset": 1, "foreignlanguage": 1,
    "linewidth": 0, "vskip": 0, "hskip": 0, "RequirePackage": 1, "bibinfo": 1, "bibnamefont": 0, "bibfnamefont": 0, "enquote": 0,
}  # fmt: skip
_REFERENCES = re.compile(r"(?:[a-zA-Z]*cite[a-zA-Z]*|(?:eq|auto|page|name|[cCvV])?ref)\*?$")
_TOKEN = re.compile(
    r"\\verb\*?(?P<bar>[^a-zA-Z\s*])(?P<verb>.*?)(?P=bar)|\\(?P<name>[a-zA-Z@]+)\*?[ \t]*\n?[ \t]*|\\(?P<sign>.)|(?P<math>\$\$?)"
    r"|(?P<brace>[{}])|(?P<tie>~)|(?P<quote>``|''|---?)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Macro:
    """A command that the document defines: how many arguments it takes, its first one's default, what it stands for."""

    arguments: int
    default: str | None
    body: str


def without_comments(text: str) -> str:
    """The source without comments; a line that is only a comment leaves no blank line behind."""
    text = re.sub(r"(?m)^[ \t]*(?<!\\)%.*\n?", "", text)
    return re.sub(r"(?<!\\)((?:\\\\)*)%.*", r"\1", text)


def group(text: str, at: int) -> tuple[str, int]:
    """The argument that begins at or after ``at``: what stands in braces, or one token; and the place behind it."""
    while at < len(text) and text[at].isspace():
        at += 1
    if at >= len(text):
        return "", at
    if text[at] != "{":
        command = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL).match(text, at)
        return (command[0], command.end()) if command else ("", at + 1)
    depth = 0
    for mark in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, at):
        depth += (mark[0] == "{") - (mark[0] == "}")
        if not depth:
            return text[at + 1 : mark.start()], mark.end()
    return text[at + 1 :], len(text)


def optional(text: str, at: int) -> tuple[str | None, int]:
    """The argument in brackets that begins right at ``at``, or None."""
    start = re.compile(r"[ \t]*\[").match(text, at)
    if not start:
        return None, at
    depth = 0
    for mark in re.compile(r"\\.|[{}\]]", re.DOTALL).finditer(text, start.end(), start.end() + 5_000):
        depth += (mark[0] == "{") - (mark[0] == "}")
        if mark[0] == "]" and depth <= 0:
            return text[start.end() : mark.start()], mark.end()
    return None, at


def macros(text: str) -> dict[str, Macro]:
    r"""What ``\newcommand``, ``\def`` and ``\DeclareMathOperator`` define; long ones are for layout and stay out."""
    out: dict[str, Macro] = {}
    pattern = r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand)\*?\s*\{?\s*\\([a-zA-Z]+)\s*\}?"
    for match in re.finditer(pattern, text):
        count, at = optional(text, match.end())
        default, at = optional(text, at)
        body, _ = group(text, at)
        if len(body) <= _MAX_MACRO_CHARACTERS and (count or "0").strip().isdigit():
            out[match[1]] = Macro(int(count or 0), default, body)
    for match in re.finditer(r"\\def\s*\\([a-zA-Z]+)\s*((?:#\d)*)\s*(?=\{)", text):
        body, _ = group(text, match.end())
        if len(body) <= _MAX_MACRO_CHARACTERS:
            out[match[1]] = Macro(match[2].count("#"), None, body)
    for match in re.finditer(r"\\DeclareMathOperator\*?\s*\{?\s*\\([a-zA-Z]+)\s*\}?", text):
        out[match[1]] = Macro(0, None, f"\\operatorname{{{group(text, match.end())[0]}}}")
    return {
        name: macro
        for name, macro in out.items()
        if macro.arguments == 0 or (f"\\{name}" not in macro.body and len(name) > 1)
    }


def expanded(text: str, known: dict[str, Macro]) -> str:
    """The text with the document's macros filled in; stops where that would make it more than four times as long."""
    if not known:
        return text
    names = "|".join(sorted(map(re.escape, known), key=len, reverse=True))
    pattern = re.compile(rf"\\({names})(?![a-zA-Z])")
    budget = 4 * len(text) + 100_000
    for _ in range(_MAX_MACRO_PASSES):
        parts: list[str] = []
        at = size = 0
        while match := pattern.search(text, at):
            replacement, end = _filled(text, match.end(), known[match[1]])
            parts += [text[at : match.start()], replacement]
            size += len(parts[-1]) + len(parts[-2])
            at = end
            if size > budget:
                break
        if not parts:
            break
        text = "".join(parts) + text[at:]
        if size > budget:
            break
    return text


def _filled(text: str, at: int, macro: Macro) -> tuple[str, int]:
    arguments: list[str] = []
    if macro.default is not None:
        given, at = optional(text, at)
        arguments.append(macro.default if given is None else given)
    while len(arguments) < min(macro.arguments, 9):
        argument, at = group(text, at)
        arguments.append(argument)
    body = re.sub(r"#(\d)", lambda m: arguments[int(m[1]) - 1] if 0 < int(m[1]) <= len(arguments) else "", macro.body)
    return body, at


def plain(text: str, depth: int = 0) -> str:
    """Inline LaTeX as text: formulas keep their dollar signs, references are "[key]", footnotes stand in brackets."""
    out: list[str] = []
    at = 0
    while match := _TOKEN.search(text, at):
        out.append(text[at : match.start()])
        at = match.end()
        if match["verb"] is not None:
            out.append(match["verb"])
        elif match["math"]:
            end = text.find(match["math"], at)
            end = len(text) if end < 0 else end
            out.append(f"{match['math']}{text[at:end]}{match['math']}")
            at = end + len(match["math"])
        elif match["tie"]:
            out.append(" ")
        elif match["quote"]:
            out.append({"``": "“", "''": "”", "--": "–", "---": "—"}[match["quote"]])
        elif match["sign"] is not None:
            written, at = _sign(text, at, match["sign"], depth)
            out.append(written)
        elif match["name"]:
            written, at = _command(text, at, match["name"], depth)
            gap = "" if at != match.end() or not match[0][-1:].isspace() or written.endswith("\n") else " "
            out.append(written + (gap if written and written[-1:].isalnum() and match["name"] not in _SYMBOLS else ""))
    out.append(text[at:])
    return "".join(out)


def _sign(text: str, at: int, sign: str, depth: int) -> tuple[str, int]:
    if sign in _ACCENTS and not sign.isalpha():
        return _accented(text, at, sign, depth)
    if sign == "(":
        end = text.find("\\)", at)
        end = len(text) if end < 0 else end
        return f"${text[at:end]}$", end + 2
    if sign == "\\":
        _, at = optional(text, at)
        return "\n", at
    return {
        ",": " ",
        ";": " ",
        ":": " ",
        "!": "",
        "/": "",
        "-": "",
        "@": "",
        " ": " ",
        "\n": " ",
        "*": "",
        ")": "",
    }.get(sign, sign), at


def _accented(text: str, at: int, sign: str, depth: int) -> tuple[str, int]:
    argument, end = group(text, at)
    base = plain(argument, depth + 1) if depth < _MAX_DEPTH else argument
    return (unicodedata.normalize("NFC", base[0] + _ACCENTS[sign]) + base[1:] if base else ""), end


def _command(text: str, at: int, name: str, depth: int) -> tuple[str, int]:
    """What a command writes, and the place behind the arguments it took."""
    if depth >= _MAX_DEPTH:
        return "", at
    if name in _ACCENTS and at < len(text) and (text[at] == "{" or text[at - 1].isspace()):
        return _accented(text, at, name, depth)
    if name in _SYMBOLS:
        return _SYMBOLS[name], at
    if _REFERENCES.match(name) and name != "nocite":
        while (found := optional(text, at))[0] is not None:
            at = found[1]
        keys, at = group(text, at)
        return f"[{keys.strip()}]", at
    if name in _WRITERS:
        return _WRITERS[name](text, at, depth)
    if name == "cmidrule":
        at = bracket.end() if (bracket := re.compile(r"\([^)]*\)").match(text, at)) else at
    while (found := optional(text, at))[0] is not None:
        at = found[1]
    for _ in range(_SILENT.get(name, 0)):
        while (found := optional(text, at))[0] is not None:
            at = found[1]
        if at < len(text) and (text[at] == "{" or name in ("renewcommand", "newcommand", "providecommand")):
            _, at = group(text, at)
    return "", at


def _link(text: str, at: int, depth: int) -> tuple[str, int]:
    address, at = group(text, at)
    label, at = group(text, at)
    written = plain(label, depth + 1)
    bare = address.removeprefix("mailto:").replace("\\", "")
    return (written if bare.split("//")[-1].rstrip("/") in written else f"{written} ({bare})"), at


def _address(text: str, at: int, depth: int) -> tuple[str, int]:
    address, at = group(text, at)
    return address.replace("\\_", "_").replace("\\%", "%").replace("\\#", "#"), at


def _footnote(text: str, at: int, depth: int) -> tuple[str, int]:
    _, at = optional(text, at)
    note, at = group(text, at)
    return f" ({' '.join(plain(note, depth + 1).split())})", at


def _definition(text: str, at: int, depth: int) -> tuple[str, int]:
    r"""``\def\name#1{...}`` writes nothing."""
    start = text.find("{", at, at + 200)
    return "", group(text, start)[1] if start >= 0 else at


def _quantity(text: str, at: int, depth: int) -> tuple[str, int]:
    r"""siunitx: ``\SI{5}{\kilo\metre}`` is "5 kilo metre"."""
    number, at = group(text, at)
    unit, at = group(text, at)
    return f"{plain(number, depth + 1)} {' '.join(re.findall('[a-zA-Z%°]+', unit))}", at


_WRITERS: dict[str, Callable[[str, int, int], tuple[str, int]]] = {
    "href": _link, "url": _address, "path": _address, "nolinkurl": _address, "footnote": _footnote, "footnotetext": _footnote, "thanks": _footnote,
    "def": _definition, "gdef": _definition, "edef": _definition, "SI": _quantity, "qty": _quantity,
}  # fmt: skip
