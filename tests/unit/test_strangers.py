# SPDX-License-Identifier: Apache-2.0
"""Whatever a stranger sends to a parser: an answer or a sentence, in bounded time and memory."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lz4.frame
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plait.api.bodies import Body, read_objects
from plait.api.downloads import wanted_range
from plait.api.gitpatterns import is_ignored, is_large
from plait.api.routing import decode
from plait.api.signing import verify
from plait.api.wire import position
from plait.callers import client_address, read_networks
from plait.cards import card_tags, load_yaml, parse_card
from plait.errors import BadInput, PlaitError
from plait.hub import names
from plait.hub.git.inspection import check_distinct
from plait.hub.git.pktline import read_lines
from plait.hub.git.pointers import parse_pointer
from plait.hub.git.receive import read_request
from plait.hub.repositories.cursors import read_cursor
from plait.hub.repositories.headers import read_gguf, read_safetensors
from plait.hub.xet.shard import read_shard
from plait.hub.xet.xorb import check_xorb
from plait.recipes.project import parse_project
from plait.web.markdown import render

SECONDS = 3.0
"""What one bomb may take on a slow and busy machine."""


@contextmanager
def bounded(seconds: float = SECONDS, memory: int | None = None) -> Iterator[None]:
    """Hold a block to its time, and to the memory that Python takes (counting it is slow)."""
    if memory is not None:
        tracemalloc.start()
    start = time.process_time()
    try:
        yield
    finally:
        taken = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1] if memory is not None else 0
        tracemalloc.stop()
    assert taken < seconds, f"{taken:.1f} s"
    assert memory is None or peak < memory, f"{peak >> 20} MiB"


def told(parse: Callable[[], Any]) -> Any:
    """Return what a parser makes of it, None where it refused with a sentence."""
    try:
        return parse()
    except PlaitError as error:
        assert len(error.message) > 10
        assert error.status < 500
        assert len(error.message) < 2000
        return None


words = st.text(max_size=60)
yaml_words = st.text(alphabet="-:[]{}&*!|>'\"%@`#,? \n\tab01.<~", max_size=120)
data = st.binary(max_size=400)


@given(st.one_of(words, st.text(alphabet="ab./\\-_ ~:\0\u200b\u202e\uff0e\u2024é", max_size=40)))
@example("ａdmin")
@example("аdmin")
@example("a" * 97)
def test_names(text: str) -> None:
    for check in (names.check_name, names.check_namespace, names.split_repository):
        if told(lambda check=check: check(text)) is not None:
            # No look-alikes: nothing beyond ASCII becomes an account or a repository.
            assert text.isascii()
            assert ".." not in text
    path = told(lambda: names.check_path(text))
    if path is not None:
        parts = path.split("/")
        assert all(part not in ("", ".", "..") for part in parts)
        assert "\\" not in path
        assert "\0" not in path
        assert names.check_path(path) == path
    for check in (names.check_branch, names.check_tag):
        told(lambda check=check: check(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Model.bin", "model.bin"),
        ("stra\u00dfe", "STRASSE"),
        ("\u00e9", "e\u0301"),
        ("\ufb01le", "file"),
        ("\uff46ile", "file"),
        ("\u2460", "1"),
        ("\u212b", "\u00e5"),
    ],
)
def test_names_in_a_folder_that_look_alike(one: str, other: str) -> None:
    with pytest.raises(BadInput, match="one folder"):
        check_distinct([one, "else", other])
    check_distinct([one, "else"])


@given(st.one_of(words, yaml_words))
@settings(max_examples=200)
def test_yaml_and_cards(text: str) -> None:
    told(lambda: load_yaml(text))
    card = told(lambda: parse_card(f"---\n{text}\n---\nText"))
    if card is not None:
        # What is kept is sent as JSON.
        json.loads(json.dumps(card.data, allow_nan=False))
        assert all(isinstance(tag, str) for tag in card_tags(card.data))
    told(lambda: parse_project(text))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n",
        "[" * 50_000,
        "{a: " * 50_000,
        "- " * 50_000 + "x",
        "? " * 20_000,
        "a: !!python/object/apply:os.system ['true']",
        "x: " + "9" * 200_000,
        "x: 1e" + "9" * 5_000,
        "\n".join(f"k{n}: v" for n in range(60_000)),
        "a: |\n" + " x\n" * 60_000,
        "<<: [" + "{a: b}," * 10_000 + "]",
        '"' + "\\x41" * 60_000 + '"',
        "# " * 100_000,
        "---\n" * 60_000,
    ],
)
def test_yaml_bombs(text: str) -> None:
    with bounded():
        told(lambda: load_yaml(text))
    with bounded():
        told(lambda: parse_card(f"---\n{text}\n---\n"))
    with bounded():
        told(lambda: parse_project(text))


@given(data)
def test_pointers_and_git_lines(value: bytes) -> None:
    parse_pointer(value)
    parse_pointer(b"version https://git-lfs.github.com/spec/v1\n" + value)
    for body in (value, b"%04x" % (len(value) + 4) + value + b"0000", b"fff0" + value):
        told(lambda body=body: read_lines(io.BytesIO(body), 100))
        told(lambda body=body: read_request(io.BytesIO(body)))


@given(data)
def test_xet_bodies(value: bytes) -> None:
    for start in (b"", b"\0" * 32, b"\0\x10\0\0\x01\0\x10\0"):
        told(lambda start=start: check_xorb(io.BytesIO(start + value)))
        told(lambda start=start: list(read_shard(io.BytesIO(start + value))))


def test_a_chunk_that_unpacks_to_much_more_than_it_says() -> None:
    bomb = lz4.frame.compress(bytes(512 * 2**20))
    assert len(bomb) < 4 * 2**20
    for claimed in (1, 2**17, 2**24 - 1):
        header = b"\0" + len(bomb).to_bytes(3, "little") + b"\x01" + claimed.to_bytes(3, "little")
        with bounded(memory=48 * 2**20), pytest.raises(PlaitError):
            check_xorb(io.BytesIO(header + bomb))


@given(data, st.integers(0, 2**64 - 1))
def test_weights_headers(value: bytes, length: int) -> None:
    for content in (value, length.to_bytes(8, "little") + value, b"GGUF\x03\0\0\0" + value):
        size = len(content)
        read_safetensors(lambda a, b, content=content: content[a:b], size)
        read_gguf(lambda a, b, content=content: content[a:b])
    for text in (b'{"a":' * 3000, b"[" * 100_000, b'{"__metadata__": 1e999}', b"9" * 10_000):
        content = len(text).to_bytes(8, "little") + text
        read_safetensors(lambda a, b, content=content: content[a:b], len(content))


def test_weights_headers_that_promise_much() -> None:
    huge = (2**62).to_bytes(8, "little")
    with bounded():
        for kind in (4, 8, 9, 12):
            content = b"GGUF\x03\0\0\0" + huge[:8] + (5).to_bytes(8, "little") + huge + b"x" * 100
            read_gguf(lambda a, b, content=content: content[a:b])
            pair = (1).to_bytes(8, "little") + b"k" + kind.to_bytes(4, "little") + huge
            content = b"GGUF\x03\0\0\0" + bytes(8) + (1).to_bytes(8, "little") + pair
            read_gguf(lambda a, b, content=content: content[a:b])


@given(words, st.text(alphabet="*?[]!\\/a-z.#\n ", max_size=80))
def test_git_patterns(path: str, content: str) -> None:
    is_ignored(path or "a", content)
    is_large(path or "a", content)


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 400, "**/" * 400 + "x", "[a-" * 500, "?*" * 500, "a**" * 400, "\\" * 999, "*" * 5000],
)
def test_git_patterns_that_take_for_ever(pattern: str) -> None:
    with bounded():
        is_ignored("a/" * 30 + "a" * 200, f"{pattern}\n" * 50)
        is_large("a/" * 30 + "a" * 200, f"{pattern} filter=lfs\n" * 50)


@given(st.one_of(words, st.from_regex(r"bytes=\d{0,25}-\d{0,25}(,\d-\d)?", fullmatch=True)))
@example("bytes=" + "9" * 5000 + "-")
@example("bytes=0-" + "0-," * 2000)
def test_headers_and_cursors(text: str) -> None:
    for size in (0, 1, 1000):
        found = told(lambda size=size: wanted_range(text, size))
        if found is not None:
            assert 0 <= found.start < found.stop <= size
    told(lambda: position(text))
    told(lambda: read_cursor(text, str, int))
    told(lambda: verify(b"key", "purpose", text))
    told(lambda: decode(text))
    client_address("192.0.2.1", text, read_networks("192.0.2.0/24"))


class _Read(Body):
    """A body that is here already."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self._what = "the body"

    def read(self, size: int = -1, /) -> bytes:
        return self._content.read(size)


@given(
    st.one_of(
        data, st.lists(st.sampled_from([b"{", b"}", b"\n", b'"a"', b":", b"1"])).map(b"".join)
    )
)
@example(b"[" * 60_000)
@example(b'{"a":' * 20_000)
@example(b"\xff\xfe{}\n")
@example(b"9" * 5000)
def test_lines_of_json(value: bytes) -> None:
    told(lambda: list(read_objects(_Read(value), 50_000)))


@given(st.one_of(words, st.text(alphabet="[]()<>!*_`#-|\n &;:/\"'=sript", max_size=150)))
def test_markdown(text: str) -> None:
    html = render(text).lower()
    assert "<script" not in html
    for part in html.split('href="')[1:]:
        assert not part.startswith(("javascript:", "data:", "vbscript:"))


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 20_000, "![" * 10_000, "**a " * 10_000, "_" * 50_000, "`" * 50_000, "> " * 5_000),
        *("- " * 5_000, "<" * 50_000, "[a](" * 10_000, "|" * 20_000, "&" * 50_000, "(" * 50_000),
        "|a|b|\n|-|-|\n" + "|" * 20_000,
        "a\n" * 50_000,
        "<b>" * 20_000,
        "*a_" * 10_000,
        "[a]: b\n" * 10_000,
        "~~" * 20_000,
        "http://" * 10_000,
    ],
)
def test_markdown_bombs(text: str) -> None:
    start = time.process_time()
    render(text)
    assert time.process_time() - start < 3 * SECONDS


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "<svg><script>alert(1)</script></svg>",
        "<a href='&#x6a;avascript:alert(1)'>a</a>",
        "<style>@import 'http://evil'</style>",
        "<iframe src='//evil'></iframe>",
        "<form action='//evil'><input></form>",
        "<base href='//evil'>",
        "<meta http-equiv=refresh content='0;url=//evil'>",
        "<div style='background:url(//evil)'>x</div>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        "<object data='//evil'></object><embed src='//evil'>",
    ],
)
def test_markdown_runs_nothing(text: str) -> None:
    html = render(text).lower()
    for part in ("<script", "onerror", "<iframe", "<form", "<base", "<meta", "<style", "<svg"):
        assert part not in html
    for part in ('href="javascript', 'href="data:', "style=", "<object", "<embed", "<input"):
        assert part not in html
