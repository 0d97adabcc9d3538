"""XML read safely: no entity is resolved, nothing is fetched, depth and size are bounded; names without namespaces.

Shared by the loaders of office files, OpenDocument, e-books and XML. Leaves out what the elements mean.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

#: a document type that declares entities can be a bomb; libxml2 stops those that expand, and none is expanded here
_SAFE = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False, "remove_pis": True}


def parse(data: bytes) -> Any:
    """The root element of an XML document.

    Raises:
        ValueError: not well-formed, nested deeper than 256, or with a text of over 10 million bytes.
    """
    from lxml import etree

    try:
        return etree.fromstring(data, etree.XMLParser(**_SAFE, remove_comments=True))
    except (etree.XMLSyntaxError, LookupError) as error:
        raise ValueError(str(error)) from error


def children_of(stream: IO[bytes], parents: frozenset[str]) -> Iterator[Any]:
    """Each child of the first elements with one of these names, whole, one at a time; memory holds one of them.

    Raises:
        ValueError: as :func:`parse`.
    """
    from lxml import etree

    inside: Any = None
    try:
        for event, element in etree.iterparse(stream, events=("start", "end"), **_SAFE, remove_comments=True):
            if event == "start":
                if inside is None and local(element) in parents:
                    inside = element
            elif element is inside:
                inside = None
                element.clear()
            elif inside is not None and element.getparent() is inside:
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del inside[0]
    except (etree.XMLSyntaxError, LookupError) as error:
        raise ValueError(str(error)) from error


def units(stream: IO[bytes]) -> Iterator[Any]:
    """The children of the outermost element, whole, one at a time; the outermost element itself where it has none.

    Raises:
        ValueError: as :func:`parse`.
    """
    from lxml import etree

    root: Any = None
    some = False
    try:
        for event, element in etree.iterparse(stream, events=("start", "end"), **_SAFE, remove_comments=True):
            if root is None:
                root = element
            elif event == "end" and element.getparent() is root:
                some = True
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del root[0]
    except (etree.XMLSyntaxError, LookupError) as error:
        raise ValueError(str(error)) from error
    if root is not None and not some:
        yield root


def check(stream: IO[bytes], start: Callable[[str, Mapping[str, str]], None]) -> None:
    """Read a document to its end in bounded memory, for libraries that trip over one that is not well-formed.

    Args:
        stream: the document.
        start: called for each element with its name, without namespace, and its attributes, whose names keep theirs.

    Raises:
        ValueError: as :func:`parse`.
    """
    from lxml import etree

    class Target:
        def start(self, tag: str, attributes: Mapping[str, str]) -> None:
            start(tag[tag.rfind("}") + 1 :], attributes)

        def close(self) -> None: ...

    parser = etree.XMLParser(**_SAFE, remove_comments=True, target=Target())
    try:
        while data := stream.read(1 << 20):
            parser.feed(data)
        parser.close()
    except (etree.XMLSyntaxError, LookupError) as error:
        raise ValueError(str(error)) from error


def local(element: Any) -> str:
    """An element's name without its namespace; "" for an entity or a comment."""
    tag = element.tag
    return tag[tag.rfind("}") + 1 :] if isinstance(tag, str) else ""


def attribute(element: Any, name: str) -> str:
    """The value of the attribute of this name, whatever its namespace; "" where there is none."""
    value = element.get(name)
    if value is None:
        value = next((v for key, v in element.attrib.items() if key.endswith("}" + name)), "")
    return str(value)


def child(element: Any, *names: str) -> Any:
    """The first element below, going down by these names; None where one is missing."""
    for name in names:
        element = next((inner for inner in element if local(inner) == name), None)
        if element is None:
            return None
    return element


def below(element: Any, *names: str) -> Iterator[Any]:
    """All elements below with one of these names, in document order."""
    return (inner for inner in element.iter() if inner is not element and local(inner) in names)


def text_of(element: Any) -> str:
    """All text below, with white space as one blank; named entities of HTML are read, others stay as they are."""
    return " ".join("".join(_texts(element)).split())


def _texts(element: Any) -> Iterator[str]:
    if local(element):
        yield element.text or ""
        for inner in element:
            yield from _texts(inner)
            yield inner.tail or ""
    else:
        yield entity(element)


def entity(element: Any) -> str:
    """What an unresolved entity stands for in HTML (``&auml;``), or "" for anything else."""
    text = element.text or ""
    known = html.unescape(text) if text.startswith("&") else ""
    return "" if known == text else known
