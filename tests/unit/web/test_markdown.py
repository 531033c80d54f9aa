# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.web.markdown import render, repository_links, without_head

LINKS = repository_links("/ns/name", "main", "docs")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "[x](javascript:alert(1))",
        '<a href="JaVaScRiPt:alert(1)">x</a>',
        '<a href="data:text/html,<script>alert(1)</script>">x</a>',
        "<iframe src='/settings'></iframe>",
        "<form action='/logout' method=post><button>x</button></form>",
        "<style>body{display:none}</style>",
        '<p style="position:fixed" class="top">x</p>',
        "<svg><script>alert(1)</script></svg>",
        '<math><mtext><table><mglyph><style><img src=x onerror="alert(1)">',
        '<base href="https://elsewhere.example/"><meta http-equiv=refresh content=0>',
        "<object data=x></object><embed src=x><link rel=stylesheet href=x>",
    ],
)
def test_markup_that_acts_is_taken_out(text: str) -> None:
    html = render(text, LINKS)
    assert not re.search(
        r"<(script|iframe|form|button|style|svg|math|base|meta|object|embed|link)\b"
        r"|<[^>]*\s(on\w+|style|class)=|href=\"(javascript|data):",
        html,
        re.IGNORECASE,
    )


@given(st.text(alphabet=st.sampled_from("<>&\"'=/ abiscrpt!()[]`*\n#-|:"), max_size=120))
def test_no_text_becomes_a_script_or_a_handler(text: str) -> None:
    html = render(text, LINKS)
    assert "<script" not in html.lower()
    assert not re.search(r"<[^>]*\son\w+=", html)


def test_relative_links_lead_into_the_repository() -> None:
    html = render("[a](b.txt) [up](../c.md#part) [out](../../d) [far](https://e.example/f)", LINKS)
    assert 'href="/ns/name/blob/main/docs/b.txt"' in html
    assert 'href="/ns/name/blob/main/c.md#card-part"' in html
    assert "../../d" not in html and "/d" not in re.sub(r"docs|e\.example", "", html)
    assert 'href="https://e.example/f" rel="nofollow noopener noreferrer"' in html


def test_images_come_from_this_repository_alone() -> None:
    html = render("![a](p.png) ![b](https://e.example/p.png) ![c](//e.example/p.png)", LINKS)
    assert 'src="/ns/name/resolve/main/docs/p.png"' in html
    assert "e.example" not in html


def test_revisions_and_names_are_quoted_in_links() -> None:
    links = repository_links("/ns/name", "refs/pr/1")
    assert '/blob/refs%2Fpr%2F1/a%20b%3F.txt"' in render("[x](<a b%3F.txt>)", links)


def test_headings_go_below_the_pages_own_and_can_be_linked() -> None:
    html = render("# One\n\n## Two\n\n# One\n\n[jump](#two)", LINKS)
    assert '<h2 id="card-one">' in html
    assert '<h3 id="card-two">' in html
    assert '<h2 id="card-one-2">' in html
    assert 'href="#card-two"' in html
    assert "<h1" not in html


def test_a_heading_cannot_take_an_id_of_the_page() -> None:
    assert 'id="content"' not in render('<h2 id="content">x</h2>', LINKS)


def test_the_yaml_head_is_not_text() -> None:
    assert without_head("---\na: 1\n---\n# T\n") == "# T\n"
    assert without_head("# T\n---\nx\n---\n") == "# T\n---\nx\n---\n"
    assert without_head("\ufeff---\r\na: 1\r\n---\r\nx") == "x"
