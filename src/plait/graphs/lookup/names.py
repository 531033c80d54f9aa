# SPDX-License-Identifier: Apache-2.0
"""Names as keys: what a person types and what a graph calls an entity, in one form."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"\w+")
MAX_KEY = 200
MAX_STARTS = 8
"""Words of a name that it is also found by."""
MAX_NAMES = 50
"""Names of one entity that it is found by, main ones first."""
_LONGEST_MENTION = 8
"""Words of a name that is looked for in a question; letters times two in scripts without spaces."""


def key_of(text: str) -> str:
    """Return a name in NFKC, case-folded, words alone; a name without words keeps its signs."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return (" ".join(_WORD.findall(folded)) or " ".join(folded.split()))[:MAX_KEY]


def keys_of(text: str) -> list[str]:
    """Return the keys that a name is found by: itself first, then from each later word on."""
    whole = key_of(text)
    found = [whole] if whole else []
    for place, letter in enumerate(whole):
        if len(found) == MAX_STARTS:
            break
        if letter == " ":
            found.append(whole[place + 1 :])
    return found


def mentions(text: str) -> list[str]:
    """Return the keys that a text may mention, longer ones first, each once.

    Runs of words, and in scripts that put no spaces between them, runs of letters.
    """
    words = key_of(text[: 20 * MAX_KEY]).split() if len(text) <= MAX_KEY else _words(text)
    found: dict[str, None] = {}
    for length in range(min(_LONGEST_MENTION, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            found.setdefault(" ".join(words[start : start + length]))
    dense = [word for word in words if any(ord(letter) > 0x2E80 for letter in word)]
    for length in range(2 * _LONGEST_MENTION, 1, -1):
        for word in dense:
            for start in range(len(word) - length + 1):
                found.setdefault(word[start : start + length])
    return list(found)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text[: 20 * MAX_KEY]).casefold())
