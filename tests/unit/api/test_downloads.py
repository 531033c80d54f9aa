# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.api.downloads import Range, file_headers, matches, wanted_range
from plait.errors import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", Range(0, 1)),
        ("bytes=2-5", Range(2, 6)),
        ("bytes=2-", Range(2, 10)),
        ("bytes=2-99", Range(2, 10)),
        ("bytes=-3", Range(7, 10)),
        ("bytes=-99", Range(0, 10)),
        # Forms that are not understood give the whole file, as HTTP allows.
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=1-2,4-5", None),
        ("items=1-2", None),
        ("bytes=a-b", None),
        ("bytes=²-³", None),
    ],
)
def test_wanted_range(header: str | None, expected: Range | None) -> None:
    assert wanted_range(header, 10) == expected


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_ranges_beyond_the_end(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        wanted_range(header, size)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
    ],
)
def test_matches(header: str | None, expected: bool) -> None:
    assert matches(header, "a") is expected


@pytest.mark.parametrize(
    "name", ["x.html", "x.HTM", "x.svg", "x.xml", "x.js", "x", "x.bin", "x.pdf"]
)
def test_what_could_run_is_saved(name: str) -> None:
    headers = file_headers(f"folder/{name}")
    assert headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
    assert not headers["Content-Type"].startswith("text/")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["README.md", "a.txt", "a.png", "config.json"])
def test_what_is_harmless_is_shown(name: str) -> None:
    assert file_headers(name)["Content-Disposition"].startswith("inline")


def test_names_cannot_break_out_of_their_header() -> None:
    headers = file_headers('a"\r\nX-Evil: 1;ü.bin')
    assert "\r" not in headers["Content-Disposition"]
    assert 'filename="a___X-Evil: 1;_.bin"' in headers["Content-Disposition"]
