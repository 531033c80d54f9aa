# SPDX-License-Identifier: Apache-2.0
"""The patterns of ``.gitignore`` and ``.gitattributes``.

A stranger writes both the patterns and the paths. Segments are matched by the standard library's
translation of globs, which never backtracks over a star it has passed, and folders by a table.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache

MAX_RULES = 500
MAX_PATTERN = 500
_ANY_FOLDERS = "**"
_GLOB = re.compile(r"[*?\[\\]")


@dataclass(frozen=True)
class _Pattern:
    """Segments of a glob; ``**`` stands for any number of folders."""

    segments: tuple[re.Pattern[str] | str, ...]

    def matches(self, parts: list[str]) -> bool:
        # reached[i]: the first i segments of the path fit the pattern's segments so far.
        reached = [True] + [False] * len(parts)
        for segment in self.segments:
            following = [False] * (len(parts) + 1)
            if segment == _ANY_FOLDERS:
                seen = False
                for index, here in enumerate(reached):
                    seen = seen or here
                    following[index] = seen
            else:
                for index, part in enumerate(parts):
                    following[index + 1] = reached[index] and _fits(segment, part)
            reached = following
        return reached[-1]


def _fits(segment: re.Pattern[str] | str, part: str) -> bool:
    return part == segment if isinstance(segment, str) else segment.match(part) is not None


@dataclass(frozen=True)
class _Rule:
    pattern: _Pattern
    positive: bool
    folders_only: bool = False


def is_ignored(path: str, content: str) -> bool:
    """Tell whether a ``.gitignore`` of this content ignores the file ``path``.

    As in git, the last pattern that matches decides, and nothing in an ignored folder can be
    taken back.
    """
    rules = _ignore_rules(content)
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        folder = depth < len(parts)
        for rule in reversed(rules):
            if (folder or not rule.folders_only) and rule.pattern.matches(parts[:depth]):
                if rule.positive:
                    return True
                break
    return False


def is_large(path: str, attributes: str) -> bool:
    """Tell whether a ``.gitattributes`` of this content keeps ``path`` outside git (LFS)."""
    names, rules = _attribute_rules(attributes)
    decided, large = names.get(path, (-1, False))
    parts = path.split("/")
    for number, rule in reversed(rules):
        if number < decided:
            break
        if rule.pattern.matches(parts):
            return rule.positive
    return large


@lru_cache(maxsize=64)
def _ignore_rules(content: str) -> list[_Rule]:
    rules = []
    for line in content.splitlines():
        line = line if line.endswith("\\ ") else line.rstrip()
        if not line or line.startswith("#") or len(line) > MAX_PATTERN:
            continue
        negated = line.startswith("!")
        line = line[1:] if negated else line
        pattern = _pattern(line.rstrip("/"))
        if pattern is not None:
            rules.append(_Rule(pattern, not negated, line.endswith("/")))
    return rules[:MAX_RULES]


@lru_cache(maxsize=64)
def _attribute_rules(content: str) -> tuple[dict[str, tuple[int, bool]], list[tuple[int, _Rule]]]:
    """Plain names in a table, because the hub itself adds one for each odd large file."""
    names: dict[str, tuple[int, bool]] = {}
    rules = []
    for number, line in enumerate(content.splitlines()):
        words = line.split()
        if len(words) < 2 or words[0].startswith("#") or len(words[0]) > MAX_PATTERN:
            continue
        filters = [word for word in words[1:] if word.lstrip("-!").split("=")[0] == "filter"]
        if not filters:
            continue
        glob, large = words[0].replace("[[:space:]]", " "), filters[-1] == "filter=lfs"
        if glob.startswith("/") and not _GLOB.search(glob):
            names[glob[1:]] = (number, large)
        elif (pattern := _pattern(glob)) is not None:
            rules.append((number, _Rule(pattern, large)))
    return names, rules[:MAX_RULES]


def _pattern(glob: str) -> _Pattern | None:
    """Read a pattern; one without a slash matches at any depth."""
    anchored = "/" in glob
    segments: list[re.Pattern[str] | str] = [] if anchored else [_ANY_FOLDERS]
    parts = glob.lstrip("/").split("/")
    for part in parts:
        if part == _ANY_FOLDERS:
            if segments[-1:] != [_ANY_FOLDERS]:
                segments.append(_ANY_FOLDERS)
        elif part:
            segments.append(_segment(part))
    if anchored and parts[-1] == _ANY_FOLDERS:
        # `folder/**` is what lies in the folder, not the folder itself.
        segments.append(re.compile(".", re.DOTALL))
    return _Pattern(tuple(segments)) if segments else None


def _segment(glob: str) -> re.Pattern[str] | str:
    if not _GLOB.search(glob):
        return glob
    # The standard library knows no backslash; a class of one character says the same.
    glob = re.sub(r"\\(.)", lambda match: f"[{match[1]}]", glob, flags=re.DOTALL)
    return re.compile(fnmatch.translate(glob))
