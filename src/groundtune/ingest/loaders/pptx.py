"""PowerPoint files (.pptx): one section a slide, its title as heading; tables, groups, diagrams, charts, notes, comments.

Reads the slides' XML one by one, so that a broken picture or an unknown shape costs nothing but itself; never a picture.
Leaves out what stands on the master of all slides. ``.ppt`` (the format before 2007) is another format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundtune.ingest import archives, omml, reading, sectioning
from groundtune.ingest.office_package import Package
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.table_grid import Cell, pipe_rows
from groundtune.ingest.xml_tree import attribute, below, child, local, text_of
from groundtune.records import Section

EXTENSIONS = (".pptx", ".pptm", ".ppsx", ".potx")

_KIND = "a PowerPoint file (.pptx)"
_TITLES = {"title", "ctrTitle"}
#: placeholders that say nothing of their own
_FURNITURE = {"sldNum", "dt", "ftr", "hdr", "sldImg"}
#: placeholders whose paragraphs are list items unless they say otherwise
_LISTS = {"body", "obj", ""}
_MAX_GROUPS = 50


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a slide, hidden ones included; ``page`` is the slide's number from 1, ``heading`` its title.

    Raises:
        InputError: missing, empty, another kind of file, damaged, encrypted, a ZIP bomb, or without text.
    """
    archives.check_zip(path, _KIND, must_hold="ppt/")
    empty = True
    try:
        with Package(path, _KIND) as package:
            for number, name in enumerate(_slides(package), start=1):
                title, text = _slide(package, name)
                for piece in sectioning.split_long(text or title):
                    empty = False
                    yield Section(piece, page=number, heading=title)
    except archives.ERRORS as error:
        raise reading.damaged(path, _KIND, error) from error
    if empty:
        reading.refuse_blank(path, "slides with text")


def _slides(package: Package) -> list[str]:
    """The slides' parts, in the order they are shown."""
    main = package.main_part("ppt/presentation.xml")
    root = package.xml(main)
    if root is None:
        raise ValueError(f"{main} is missing")
    parts = package.relations(main)
    return [parts[i][1] for s in below(root, "sldId") if (i := _relation(s)) in parts and parts[i][1] in package.names]


def _relation(element: Any) -> str:
    """The attribute ``r:id``; a slide has an ``id`` without a namespace too."""
    return next((str(v) for key, v in element.attrib.items() if key.endswith("}id")), "")


def _slide(package: Package, name: str) -> tuple[str, str]:
    """The title and everything else that a slide says."""
    root = package.xml(name)
    parts: list[str] = []
    title = ""
    tree = child(root, "cSld", "spTree")
    for kind, text in _shapes(package, name, tree, 0) if tree is not None else ():
        if kind in _TITLES and not title:
            title = " ".join(text.split())
        elif text.strip():
            parts.append(text.strip("\n"))
    for note in package.related(name, "notesSlide"):
        notes = child(package.optional_xml(note), "cSld", "spTree") if package.optional_xml(note) is not None else None
        said = [text for kind, text in _shapes(package, note, notes, 0) if kind == "body"] if notes is not None else []
        if text := "\n".join(said).strip():
            parts.append(f"Notes: {text}")
    parts += _comments(package, name)
    return title, "\n\n".join(parts)


def _shapes(package: Package, name: str, tree: Any, depth: int) -> Iterator[tuple[str, str]]:
    """(placeholder's type, text) of every shape below, groups included, in the order of the file, which is read aloud."""
    if depth > _MAX_GROUPS:
        return
    for shape in tree:
        kind = local(shape)
        if kind == "AlternateContent":
            chosen = child(shape, "Choice")
            chosen = (
                chosen
                if chosen is not None and next(below(chosen, "t"), None) is not None
                else child(shape, "Fallback")
            )
            if chosen is not None:
                yield from _shapes(package, name, chosen, depth + 1)
        elif kind == "grpSp":
            yield from _shapes(package, name, shape, depth + 1)
        elif kind == "graphicFrame":
            yield "", "\n\n".join(_frame(package, name, shape))
        elif kind not in ("nvGrpSpPr", "grpSpPr", "extLst"):
            place = next(below(shape, "ph"), None)
            place_kind = (attribute(place, "type") or "obj") if place is not None else "text"
            body = next(below(shape, "txBody"), None)
            if body is not None and place_kind not in _FURNITURE:
                yield place_kind, _text_body(body, listed=place_kind in _LISTS)


def _text_body(body: Any, *, listed: bool = False) -> str:
    """The paragraphs of a shape, one a line; list items with a dash or a number, indented by their level."""
    paragraphs = [(p, text) for p in body if local(p) == "p" and (text := _paragraph(p)).strip()]
    lines: list[str] = []
    counts: dict[int, int] = {}
    for paragraph, text in paragraphs:
        properties = child(paragraph, "pPr")
        level = attribute(properties, "lvl") if properties is not None else ""
        depth = min(int(level), 9) if level.isdigit() else 0
        marks = {local(inner) for inner in properties} if properties is not None else set()
        counts = {at: count for at, count in counts.items() if at <= depth}
        counts[depth] = counts.get(depth, 0) + 1 if "buAutoNum" in marks else 0
        bullet = "buChar" in marks or "buBlip" in marks or (listed and len(paragraphs) > 1 and "buNone" not in marks)
        mark = f"{counts[depth]}. " if counts[depth] else "- " if bullet else ""
        lines.append(f"{'  ' * depth if mark else ''}{mark}{text.strip()}")
    return "\n".join(lines)


def _paragraph(element: Any) -> str:
    """A paragraph's text: its runs, fields, line breaks and equations."""
    parts: list[str] = []
    for inner in element:
        kind = local(inner)
        if kind in ("r", "fld"):
            parts.append("".join(t.text or "" for t in inner if local(t) == "t"))
        elif kind == "br":
            parts.append("\n")
        elif kind in ("oMath", "oMathPara"):
            parts.append(f"${omml.latex(inner).strip()}$")
        elif kind in ("m", "AlternateContent", "Choice"):
            parts.append(_paragraph(inner))
    return "".join(parts).replace("\v", "\n").replace("_x000D_", "")


def _frame(package: Package, name: str, frame: Any) -> Iterator[str]:
    """What a table, a diagram or a chart says."""
    for table in below(frame, "tbl"):
        rows = ([cell for tc in row if (cell := _cell(tc)) is not None] for row in table if local(row) == "tr")
        yield "\n".join(pipe_rows(rows))
    relations = package.relations(name) if next(below(frame, "relIds", "chart"), None) is not None else {}
    for reference in below(frame, "relIds", "chart"):
        wanted = attribute(reference, "dm") or _relation(reference)
        root = package.optional_xml(relations.get(wanted, ("", ""))[1])
        if root is None:
            continue
        if local(reference) == "relIds":
            points = (point for point in below(root, "pt") if point.get("type", "node") in ("node", "asst"))
            yield "\n".join(f"- {text}" for point in points if (text := " ".join(_words(point))))
        else:
            yield _chart(root)


def _cell(element: Any) -> Cell | None:
    """A cell; None for what is none and for a place that the cell to its left covers."""
    if local(element) != "tc" or attribute(element, "hMerge") in ("1", "true"):
        return None
    columns, body = attribute(element, "gridSpan"), child(element, "txBody")
    width = int(columns) if columns.isdigit() and len(columns) < 5 else 1
    if attribute(element, "vMerge") in ("1", "true"):
        return Cell(None, width)
    return Cell(_text_body(body) if body is not None else "", width)


def _words(element: Any) -> Iterator[str]:
    for run in below(element, "t"):
        if (run.text or "").strip():
            yield (run.text or "").strip()


def _chart(root: Any) -> str:
    """A chart's title and its numbers as a table: one row a category, one column a series."""
    title = child(root, "chart", "title")
    lines = [" ".join(_words(title))] if title is not None else []
    series = list(below(root, "ser"))
    names = [text_of(found) if (found := _cached(s, "tx")) is not None else "" for s in series]
    columns = [{**_points(s, "val"), **_points(s, "yVal")} for s in series]
    categories = {**_points(series[0], "cat"), **_points(series[0], "xVal")} if series else {}
    rows = [["", *names]] if any(names) else []
    count = min(max((len(column) for column in columns), default=0), 1_000)
    rows += [[categories.get(i, ""), *(column.get(i, "") for column in columns)] for i in range(count)]
    return "\n".join([*filter(None, lines), *pipe_rows([Cell(text) for text in row] for row in rows)])


def _cached(series: Any, name: str) -> Any:
    found = child(series, name)
    return next(below(found, "v"), None) if found is not None else None


def _points(series: Any, name: str) -> dict[int, str]:
    found = child(series, name)
    points = below(found, "pt") if found is not None else ()
    return {int(p.get("idx")): text_of(p) for p in points if (p.get("idx") or "").isdigit()}


def _comments(package: Package, name: str) -> Iterator[str]:
    """Comments of both kinds, old ones and threads with their replies, each with who wrote it."""
    people: dict[str, str] = {}
    for part in package.names:
        if part in ("ppt/commentAuthors.xml", "ppt/authors.xml") and (root := package.optional_xml(part)) is not None:
            people.update({attribute(a, "id"): attribute(a, "name") for a in root})
    for part in package.related(name, "comments"):
        root = package.optional_xml(part)
        for comment in below(root, "cm", "reply") if root is not None else ():
            body, plain = child(comment, "txBody"), child(comment, "text")
            text = _text_body(body) if body is not None else (plain.text or "" if plain is not None else "")
            who = people.get(attribute(comment, "authorId"), "")
            if text.strip():
                yield f"Comment{f' by {who}' if who else ''}: {text.strip()}"
