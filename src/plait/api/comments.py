# SPDX-License-Identifier: Apache-2.0
"""Comments that strangers wrote, as HTML that cannot act on whoever shows it."""

from __future__ import annotations

from functools import cache

import nh3
from markdown_it import MarkdownIt

LONGEST = 100_000
"""Characters that are rendered; clients have the whole text beside it."""
_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li",
    "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


def render_comment(text: str) -> str:
    """Render Markdown: no raw HTML, and no images, which would tell others who reads."""
    return nh3.clean(
        _parser().render(text[:LONGEST]),
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
    )


@cache
def _parser() -> MarkdownIt:
    rules = MarkdownIt("commonmark", {"html": False, "maxNesting": 40})
    return rules.enable(["table", "strikethrough"]).disable("image")
