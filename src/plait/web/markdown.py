# SPDX-License-Identifier: Apache-2.0
"""Markdown that strangers wrote, as HTML that cannot act on the hub's origin."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from functools import cache
from urllib.parse import quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

LONGEST = 400_000
"""Characters of markdown that are rendered; the rest is cut, and the page says so."""

_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl",
    "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark",
    "ol", "p", "pre", "q", "s", "samp", "small", "span", "strong", "sub", "summary", "sup",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul", "var",
}  # fmt: skip
_ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "img": {"src", "alt", "title", "width", "height"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align", "scope"},
    "ol": {"start"},
    "details": {"open"},
    "h2": {"id"},
    "h3": {"id"},
    "h4": {"id"},
    "h5": {"id"},
    "h6": {"id"},
    "code": {"lang"},
}
_HEAD = re.compile(r"\A---[ \t]*\r?\n.*?\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ANCHOR = "card-"

Resolver = Callable[[str, bool], str | None]
"""Maps an address written in a card (and whether it is an image) to one on this hub."""


def without_head(text: str) -> str:
    """Return a card's text after its YAML head."""
    return _HEAD.sub("", text.removeprefix("\ufeff"), count=1)


def repository_links(base: str, revision: str, folder: str = "") -> Resolver:
    """Return a resolver of relative addresses inside one repository and revision.

    ``base`` is the repository's address (``/ns/name``), ``folder`` where the text lies.
    """
    rev = quote(revision, safe="")

    def resolve(address: str, image: bool) -> str | None:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            # An image elsewhere would tell that server who reads this page.
            return None if image else address
        if address.startswith("#"):
            return f"#{_ANCHOR}{address[1:]}"
        if parts.path.startswith("/"):
            return address if not image else None
        path = posixpath.normpath(posixpath.join(folder, unquote(parts.path)))
        if path.startswith(("..", "/")):
            return None
        kind = "resolve" if image else "blob"
        target = f"{base}/{kind}/{rev}/{quote(path)}"
        return f"{target}#{_ANCHOR}{parts.fragment}" if parts.fragment else target

    return resolve


def render(text: str, resolve: Resolver | None = None, *, top: int = 2) -> str:
    """Render markdown to safe HTML whose highest heading is ``<h{top}>``.

    Raw HTML is kept only where it is harmless; addresses go through ``resolve``.
    """
    parser = _parser()
    tokens = parser.parse(text[:LONGEST])
    _prepare(tokens, top)
    html = parser.renderer.render(tokens, parser.options, {})

    def attribute(tag: str, name: str, value: str) -> str | None:
        if (tag, name) in (("a", "href"), ("img", "src")):
            if tag == "img" and urlsplit(value).netloc:
                return None
            return resolve(value, tag == "img") if resolve else value
        if name == "id":
            return value if value.startswith(_ANCHOR) else f"{_ANCHOR}{value}"
        return value

    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=attribute,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
        strip_comments=True,
    )


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True, "maxNesting": 40}).enable(
        ["table", "strikethrough"]
    )


def _prepare(tokens: Sequence[Token], top: int) -> None:
    """Shift headings below the page's own, name them, and mark the language of code."""
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    shift = top - min(levels) if levels else 0
    used: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(max(int(token.tag[1]) + shift, top), 6)}"
        if token.type == "heading_open":
            name = re.sub(r"[^\w]+", "-", tokens[index + 1].content.lower()).strip("-")
            used[name] = used.get(name, 0) + 1
            token.attrSet("id", _ANCHOR + (name if used[name] == 1 else f"{name}-{used[name]}"))
