# SPDX-License-Identifier: Apache-2.0
"""Writing XML as a stream, and reading it without what XML lets a stranger do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import escape, quoteattr

from plait.errors import BadInput, MissingExtra

# Characters that XML 1.0 cannot hold, not even escaped (production 2, Char).
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


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
            self._write(f"<{name}{_attributes(attributes)}>{escape(clean(text))}</{name}>\n")

    def _write(self, text: str) -> None:
        self._out.write(text.encode())


def clean(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)


def _attributes(attributes: Mapping[str, object]) -> str:
    # A trailing underscore lets Python's own words be names.
    return "".join(
        f" {name.rstrip('_')}={quoteattr(clean(str(value)))}"
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
        from defusedxml import ElementTree
        from defusedxml.common import DefusedXmlException
    except ImportError:
        raise MissingExtra("defusedxml", "graph") from None
    try:
        roots: list[Any] = []
        for event, element in ElementTree.iterparse(path, events=("start", "end"), forbid_dtd=True):
            if event == "start":
                roots.append(element)
                continue
            roots.pop()
            if local(element.tag) in names:
                yield element
                element.clear()
                if roots:
                    roots[-1].remove(element)
    except DefusedXmlException:
        raise BadInput(f"{path}: it holds a document type or entities; remove them.") from None
    except ElementTree.ParseError as error:
        raise BadInput(f"{path}, line {error.position[0]:,}: it is not XML: {error}.") from None


def local(tag: str) -> str:
    """Return a tag's name without its namespace."""
    return tag.rpartition("}")[2]
