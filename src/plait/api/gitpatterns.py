# SPDX-License-Identifier: Apache-2.0
"""The patterns of ``.gitignore`` and ``.gitattributes``."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_LINES = 2000
MAX_PATTERN = 500


def is_ignored(path: str, content: str) -> bool:
    """Tell whether a ``.gitignore`` of this content ignores the file ``path``.

    As in git, the last pattern that matches decides, and nothing in an ignored folder can be
    taken back.
    """
    rules = _ignore_rules(content)
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        whole, folder = "/".join(parts[:depth]), depth < len(parts)
        ignored = False
        for pattern, negated, folders_only in rules:
            if (folder or not folders_only) and pattern.fullmatch(whole):
                ignored = not negated
        if ignored:
            return True
    return False


def is_large(path: str, attributes: str) -> bool:
    """Tell whether a ``.gitattributes`` of this content keeps ``path`` outside git (LFS)."""
    large = False
    for pattern, value in _attribute_rules(attributes):
        if pattern.fullmatch(path):
            large = value
    return large


@lru_cache(maxsize=64)
def _ignore_rules(content: str) -> list[tuple[re.Pattern[str], bool, bool]]:
    rules = []
    for line in content.splitlines()[:MAX_LINES]:
        line = line.rstrip() if not line.endswith("\\ ") else line
        if not line or line.startswith("#") or len(line) > MAX_PATTERN:
            continue
        negated = line.startswith("!")
        line = line[1:] if negated else line
        folders_only = line.endswith("/")
        line = line.rstrip("/")
        if line:
            rules.append((_pattern(line), negated, folders_only))
    return rules


@lru_cache(maxsize=64)
def _attribute_rules(content: str) -> list[tuple[re.Pattern[str], bool]]:
    rules = []
    for line in content.splitlines()[:MAX_LINES]:
        words = line.split()
        if len(words) < 2 or words[0].startswith("#") or len(words[0]) > MAX_PATTERN:
            continue
        filters = [word for word in words[1:] if word.lstrip("-!").split("=")[0] == "filter"]
        if filters:
            pattern = words[0].replace("[[:space:]]", " ")
            rules.append((_pattern(pattern), filters[-1] == "filter=lfs"))
    return rules


def _pattern(glob: str) -> re.Pattern[str]:
    """Translate a pattern; one without a slash matches at any depth."""
    anchored = "/" in glob
    glob = glob.lstrip("/")
    out = "" if anchored else "(?:.*/)?"
    position = 0
    while position < len(glob):
        if glob.startswith("**/", position):
            out += "(?:[^/]+/)*"
            position += 3
        elif glob.startswith("**", position):
            out += ".*"
            position += 2
        elif glob[position] == "*":
            # A run of stars is one star: otherwise a hostile pattern could take for ever.
            out += "" if out.endswith("[^/]*") else "[^/]*"
            position += 1
        elif glob[position] == "?":
            out += "[^/]"
            position += 1
        elif glob[position] == "[" and (end := glob.find("]", position + 2)) > 0:
            inner = glob[position + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            inner = f"^{inner[1:]}" if inner.startswith(("!", "^")) else inner
            out += f"[{inner}]"
            position = end + 1
        else:
            if glob[position] == "\\" and position + 1 < len(glob):
                position += 1
            out += re.escape(glob[position])
            position += 1
    try:
        return re.compile(out, re.DOTALL)
    except re.error:
        return re.compile(re.escape(glob))
