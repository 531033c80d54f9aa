# SPDX-License-Identifier: Apache-2.0
"""The words of the pages, in English and Simplified Chinese."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from plait.web.sentences import Said, translate

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""Each language by its code, named in itself."""
TAGS: Mapping[str, str] = {"en": "en", "zh": "zh-Hans"}
"""What stands in ``<html lang>``."""
COOKIE = "plait-lang"

_SPANS = (
    (60, 0, "ago.now"),
    (3600, 60, "ago.minutes"),
    (86400, 3600, "ago.hours"),
    (30 * 86400, 86400, "ago.days"),
)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return all phrases of one language by key."""
    text = (files("plait.web") / "locale" / f"{language}.json").read_text(encoding="utf-8")
    phrases: dict[str, str] = json.loads(text)
    return phrases


def choose(query: str | None, cookie: str | None, accept: str | None) -> str:
    """Pick the language: ``?lang=`` first, then the cookie, then ``Accept-Language``."""
    for wanted in (query, cookie):
        if wanted is not None and wanted in LANGUAGES:
            return wanted
    ranked: list[tuple[float, int, str]] = []
    for position, part in enumerate((accept or "")[:400].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        ranked.append((-quality, position, tag.split("-")[0].lower()))
    for quality, _, code in sorted(ranked):
        if quality < 0 and code in LANGUAGES:
            return code
    return "en"


class Translator:
    """Look up phrases of one language; an unknown key is an error, never an empty page."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._phrases = catalogue(language)

    @property
    def tag(self) -> str:
        """The language tag for ``<html lang>``."""
        return TAGS[self.language]

    def __call__(self, key: str, **values: object) -> str:
        """Return the phrase under ``key`` with its ``{names}`` filled in."""
        phrase = self._phrases[key]
        return phrase.format(**values) if values else phrase

    def count(self, key: str, n: int) -> str:
        """Return ``key.one`` or ``key.other`` with ``{n}`` filled in."""
        return self(f"{key}.{'one' if n == 1 else 'other'}", n=f"{n:,}")

    def sentence(self, text: str) -> Said:
        """Put a report's text into this language, where all of its sentences are known."""
        return translate(text, self.language)

    def has(self, key: str) -> bool:
        """Tell whether there is a phrase under ``key``."""
        return key in self._phrases

    def known(self, prefix: str, name: str) -> str:
        """Return the phrase ``prefix.name`` where there is one, otherwise ``name`` itself."""
        return self._phrases.get(f"{prefix}.{name}", name)

    def date(self, moment: datetime) -> str:
        """Write a day, to be read by people."""
        if self.language == "zh":
            return f"{moment.year}年{moment.month}月{moment.day}日"
        return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"

    def ago(self, moment: datetime) -> str:
        """Write how long ago a time was; a day if it is more than a month."""
        seconds = (datetime.now(UTC) - moment).total_seconds()
        for limit, unit, key in _SPANS:
            if seconds < limit:
                return self.count(key, max(int(seconds // unit), 1)) if unit else self(key)
        return self.date(moment)

    def moment(self, moment: datetime) -> str:
        """Write a day and time in UTC."""
        return f"{self.date(moment)} {moment:%H:%M} UTC"
