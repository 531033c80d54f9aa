# SPDX-License-Identifier: Apache-2.0
"""Writing XML as a stream, and reading it without what XML lets a stranger do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from plait.errors import BadInput

# Characters that XML 1.0 cannot hold, not even escaped (production 2, Char).
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# What is written otherwise than it is; most texts have nothing of it, and are looked at once.
_SPECIAL = re.compile('[\x00-\x1f&<>"\ud800-\udfff\ufffe\uffff]')


class Writer:
    """Writes elements in order; what XML cannot hold becomes the replacement character."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._open: list[str] = []
        out.write(b'<?xml version="1.0" encoding="UTF-8"?>\n')

    def start(self, name: str, **attributes: object) -> None:
        """Open an element."""
        self._write(f"<{name}{_attributes(attributes)}>\n")
        self._open.append(name)

    def end(self) -> None:
        """Close the element that was opened last."""
        self._write(f"</{self._open.pop()}>\n")

    def element(self, name: str, text: str | None = None, **attributes: object) -> None:
        """Write a whole element."""
        if text is None:
            self._write(f"<{name}{_attributes(attributes)}/>\n")
        else:
            self._write(f"<{name}{_attributes(attributes)}>{_escaped(text)}</{name}>\n")

    def _write(self, text: str) -> None:
        self._out.write(text.encode())


def clean(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)


def _escaped(text: str) -> str:
    return escape(clean(text)) if _SPECIAL.search(text) else text


def _quoted(text: str) -> str:
    return quoteattr(clean(text)) if _SPECIAL.search(text) else f'"{text}"'


def _attributes(attributes: Mapping[str, object]) -> str:
    # A trailing underscore lets Python's own words be names.
    return "".join(
        f" {name.rstrip('_')}={_quoted(str(value))}"
        for name, value in attributes.items()
        if value is not None
    )


def elements(path: Path, names: tuple[str, ...]) -> Iterator[Any]:
    """Yield the elements of these local names as they end, each emptied afterwards.

    Document types, entities and references to other files are refused.

    Raises:
        BadInput: the file is not XML, with the line; or it holds what is refused.
    """
    try:
        with path.open("rb") as file:
            _refuse_document_type(file, path)
            file.seek(0)
            roots: list[Any] = []
            # What the parser is warned of needs a document type, and this file has none.
            for event, element in ElementTree.iterparse(file, events=("start", "end")):  # noqa: S314
                if event == "start":
                    roots.append(element)
                    continue
                roots.pop()
                if local(element.tag) in names:
                    yield element
                    element.clear()
                    if roots:
                        roots[-1].remove(element)
    except ElementTree.ParseError as error:
        raise BadInput(f"{path}, line {error.position[0]:,}: it is not XML: {error}.") from None


def _refuse_document_type(file: BinaryIO, path: Path) -> None:
    """Read as far as the first element: a document type can only stand before it.

    Without one there are no entities but XML's own five, and no other files.
    """
    begun = False

    def start(*_: object) -> None:
        nonlocal begun
        begun = True

    def refuse(*_: object) -> None:
        if not begun:
            raise BadInput(f"{path}: it holds a document type or entities; remove them.")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.StartDoctypeDeclHandler = start, refuse
    try:
        while not begun and (data := file.read(1 << 14)):
            parser.Parse(data)
    except expat.ExpatError:
        return  # told by who reads all of it


def local(tag: str) -> str:
    """Return a tag's name without its namespace."""
    return tag.rpartition("}")[2]
