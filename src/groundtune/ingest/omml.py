r"""Office equations (OMML, ECMA-376 part 1, 22.1) as LaTeX: ``<m:f>`` becomes ``\frac{a}{b}``.

Covers every structure of the standard; an unknown element gives the text inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from groundtune.ingest.xml_tree import attribute, child, local

_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau "
    "upsilon phi chi psi omega"
).split()
_SYMBOLS = {
    **{chr(0x3B1 + i): name for i, name in enumerate(_GREEK)},
    **{chr(0x391 + _GREEK.index(n)): n.title() for n in "gamma delta theta lambda xi pi sigma upsilon phi psi omega".split()},
    **dict(zip("ϵϑϕϱϖ", ("epsilon", "vartheta", "phi", "varrho", "varpi"), strict=True)),
    **dict(zip("±∓×÷⋅∗∘∙", ("pm", "mp", "times", "div", "cdot", "ast", "circ", "bullet"), strict=True)),
    **dict(zip("≤≥≠≈≡∼≅∝≪≫", ("leq", "geq", "neq", "approx", "equiv", "sim", "cong", "propto", "ll", "gg"), strict=True)),
    **dict(zip("∞∂∇∀∃∄∅∈∉∋", "infty partial nabla forall exists nexists emptyset in notin ni".split(), strict=True)),
    **dict(zip("⊂⊃⊆⊇∪∩∧∨¬", "subset supset subseteq supseteq cup cap wedge vee neg".split(), strict=True)),
    **dict(zip("→←↔⇒⇐⇔↦↑↓", "rightarrow leftarrow leftrightarrow Rightarrow Leftarrow Leftrightarrow mapsto uparrow downarrow".split(), strict=True)),
    **dict(zip("…⋯⋮⋱ℏℓ℘ℜℑ", "ldots cdots vdots ddots hbar ell wp Re Im".split(), strict=True)),
    **dict(zip("∑∏∐∫∬∭∮⋃⋂⋁⋀⨁⨂", "sum prod coprod int iint iiint oint bigcup bigcap bigvee bigwedge bigoplus bigotimes".split(), strict=True)),
    **dict(zip("⊕⊗⊥∥∠′", "oplus otimes perp parallel angle prime".split(), strict=True)),
}  # fmt: skip
_ACCENTS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0305": "bar", "\u0307": "dot", "\u0308": "ddot",
            "\u20d7": "vec", "\u20d1": "vec", "\u030c": "check", "\u0306": "breve", "\u0301": "acute", "\u0300": "grave"}  # fmt: skip
_FUNCTIONS = set(
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan log ln lg exp lim max min sup inf det dim gcd "
    "ker arg deg hom Pr limsup liminf".split()
)
_BRACKETS = {"{": "\\{", "}": "\\}", "〈": "\\langle ", "〉": "\\rangle ", "⟨": "\\langle ", "⟩": "\\rangle ",
             "‖": "\\|", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "": "."}  # fmt: skip
_NAMED, _NEXT_LINE = "\\", " \\\\ "
_ESCAPED = {
    "{": "\\{",
    "}": "\\}",
    "%": "\\%",
    "#": "\\#",
    "&": "\\&",
    "_": "\\_",
    "$": "\\$",
    "~": "\\sim ",
    "–": "-",
    "−": "-",
}


def latex(element: Any) -> str:
    """An ``oMath`` element, or any element below one, as LaTeX without its dollar signs."""
    handler = _HANDLERS.get(local(element))
    if handler:
        return handler(element)
    return "".join(latex(inner) for inner in element)


def _part(element: Any, name: str) -> str:
    found = child(element, name)
    return "" if found is None else latex(found).strip()


def _setting(element: Any, name: str, default: str) -> str:
    """A value in the element's properties (``fPr``, ``naryPr`` ...)."""
    found = child(element, local(element) + "Pr", name)
    return default if found is None else attribute(found, "val")


def _run(element: Any) -> str:
    text = "".join(inner.text or "" for inner in element if local(inner) in ("t", "delText"))
    style = child(element, "rPr", "nor")
    if style is not None:
        return f"\\text{{{text}}}" if text.strip() else text
    return "".join(f"\\{_SYMBOLS[c]} " if c in _SYMBOLS else _ESCAPED.get(c, c) for c in text)


def _fraction(element: Any) -> str:
    top, bottom = _part(element, "num"), _part(element, "den")
    kind = _setting(element, "type", "bar")
    if kind in ("lin", "skw"):
        return f"{top}/{bottom}"
    return f"{{{top} \\atop {bottom}}}" if kind == "noBar" else f"\\frac{{{top}}}{{{bottom}}}"


def _root(element: Any) -> str:
    degree = _part(element, "deg")
    return f"\\sqrt{f'[{degree}]' if degree else ''}{{{_part(element, 'e')}}}"


def _scripts(element: Any) -> str:
    low, high = _part(element, "sub"), _part(element, "sup")
    return _part(element, "e") + (f"_{{{low}}}" if low else "") + (f"^{{{high}}}" if high else "")


def _before(element: Any) -> str:
    return f"{{}}_{{{_part(element, 'sub')}}}^{{{_part(element, 'sup')}}}{_part(element, 'e')}"


def _nary(element: Any) -> str:
    sign = _setting(element, "chr", "∫")
    low, high = _part(element, "sub"), _part(element, "sup")
    name = f"\\{_SYMBOLS[sign]}" if sign in _SYMBOLS else sign
    return f"{name}{f'_{{{low}}}' if low else ''}{f'^{{{high}}}' if high else ''}{{{_part(element, 'e')}}}"


def _delimited(element: Any) -> str:
    first, last = _setting(element, "begChr", "("), _setting(element, "endChr", ")")
    divider = _setting(element, "sepChr", "|")
    inside = divider.join(latex(inner) for inner in element if local(inner) == "e")
    return f"\\left{_BRACKETS.get(first, first)}{inside}\\right{_BRACKETS.get(last, last)}"


def _function(element: Any) -> str:
    name = _part(element, "fName")
    bare = name.replace("\\text{", "").rstrip("}") if name.startswith("\\text{") else name
    base = bare.split("_")[0].split("^")[0]
    return f"{_NAMED if base in _FUNCTIONS else ''}{bare}({_part(element, 'e')})"


def _limit(mark: str) -> Callable[[Any], str]:
    def write(element: Any) -> str:
        base = _part(element, "e")
        return f"{_NAMED if base in _FUNCTIONS else ''}{base}{mark}{{{_part(element, 'lim')}}}"

    return write


def _accent(element: Any) -> str:
    sign = _setting(element, "chr", "\u0302")
    return f"\\{_ACCENTS.get(sign, 'hat')}{{{_part(element, 'e')}}}"


def _bar(element: Any) -> str:
    return f"\\{'overline' if _setting(element, 'pos', 'bot') == 'top' else 'underline'}{{{_part(element, 'e')}}}"


def _brace(element: Any) -> str:
    over = _setting(element, "pos", "bot") == "top"
    return f"\\{'overbrace' if over else 'underbrace'}{{{_part(element, 'e')}}}"


def _matrix(element: Any) -> str:
    rows = (" & ".join(latex(cell) for cell in row if local(cell) == "e") for row in element if local(row) == "mr")
    return f"\\begin{{matrix}}{_NEXT_LINE.join(rows)}\\end{{matrix}}"


def _lines(element: Any) -> str:
    lines = [latex(inner) for inner in element if local(inner) == "e"]
    if len(lines) == 1:
        return lines[0]
    return f"\\begin{{aligned}}{_NEXT_LINE.join(lines)}\\end{{aligned}}"


_HANDLERS: dict[str, Callable[[Any], str]] = {
    "r": _run, "f": _fraction, "rad": _root, "sSub": _scripts, "sSup": _scripts, "sSubSup": _scripts, "sPre": _before,
    "nary": _nary, "d": _delimited, "func": _function, "limLow": _limit("_"), "limUpp": _limit("^"), "acc": _accent,
    "bar": _bar, "groupChr": _brace, "m": _matrix, "eqArr": _lines,
}  # fmt: skip
