# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest

from plait.web.language import LANGUAGES, Translator, catalogue, choose

_LITERAL = re.compile(r"""\bt(?:\.count)?\(\s*f?["']([a-z_.0-9]+)["']\s*[,)]""")
_COUNT = re.compile(r"""\bt\.count\(\s*["']([a-z_.]+)["']""")
_QUOTED = re.compile(r"""["']([a-z_]+\.[a-z_.]+)["']""")
_PREFIX = re.compile(
    r"""\bt(?:\.known)?\(\s*"""
    r"""(?:f["']([a-z_]+(?:\.[a-z_]+)*)[._]\{|["']([a-z_.]+)["'] ~|["']([a-z_.]+)["'],)"""
)


def sources() -> dict[str, str]:
    root = Path(str(files("plait.web")))
    found = {
        str(path.relative_to(root)): path.read_text("utf-8")
        for kind in ("*.html", "*.py")
        for path in root.rglob(kind)
    }
    assert len(found) > 60
    return found


def test_every_language_has_the_same_phrases() -> None:
    keys = {code: set(catalogue(code)) for code in LANGUAGES}
    assert keys["en"] == keys["zh"]
    assert not [key for code in LANGUAGES for key, text in catalogue(code).items() if not text]


def test_the_same_names_are_filled_in_in_every_language() -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    english, chinese = catalogue("en"), catalogue("zh")
    assert [key for key in english if names(english[key]) != names(chinese[key])] == []


def test_every_phrase_that_a_page_asks_for_exists() -> None:
    keys = set(catalogue("en"))
    asked = set()
    for text in sources().values():
        counted = set(_COUNT.findall(text))
        asked |= {f"{key}.{form}" for key in counted for form in ("one", "other")}
        asked |= set(_LITERAL.findall(text)) - counted
    assert len(asked) > 150
    assert asked - keys == set()


def test_every_phrase_is_asked_for_somewhere() -> None:
    text = "\n".join(sources().values())
    literal = set(_LITERAL.findall(text)) | set(_QUOTED.findall(text))
    prefixes = {part for found in _PREFIX.findall(text) for part in found if part}
    # What a page says after a form was sent: `visit.go(address, "saved")`.
    done = {f"done.{name}" for name in re.findall(r"""["']([a-z]+)["']\)?,?\n?""", text)}
    unused = [
        key
        for key in catalogue("en")
        if key not in literal | done
        and key.rsplit(".", 1)[0] not in literal
        and not any(key.startswith(prefix) for prefix in prefixes)
    ]
    assert unused == []


@pytest.mark.parametrize(
    ("query", "cookie", "accept", "code"),
    [
        (None, None, None, "en"),
        (None, None, "fr,zh-CN;q=0.8,en;q=0.5", "zh"),
        (None, None, "zh;q=0,en", "en"),
        (None, None, "en;q=x,zh;q=0.1", "zh"),
        (None, "zh", "en", "zh"),
        ("en", "zh", "zh", "en"),
        ("xx", "yy", "*", "en"),
    ],
)
def test_the_language_is_chosen_by_query_then_cookie_then_browser(
    query: str | None, cookie: str | None, accept: str | None, code: str
) -> None:
    assert choose(query, cookie, accept) == code


def test_an_unknown_phrase_is_an_error_and_not_an_empty_page() -> None:
    with pytest.raises(KeyError):
        Translator("en")("no.such.phrase")


def test_numbers_and_days_are_written_as_people_read_them() -> None:
    day = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
    assert Translator("en").moment(day) == "3 Feb 2026 04:05 UTC"
    assert Translator("zh").date(day) == "2026年2月3日"
    assert Translator("en").count("strip.files", 1) == "1 file"
    assert Translator("en").count("strip.files", 1200) == "1,200 files"
