# SPDX-License-Identifier: Apache-2.0
"""The difference of two commits as the pages show it: file by file, line by line, numbered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plait.hub import Change
from plait.web.figures import size
from plait.web.here import Here

MOST_LINES = 2000
MOST_FILES = 200
LONGEST_LINE = 2000
LONGEST_FILE = 600
_LFS_LINE = "version https://git-lfs.github.com/spec/v1"
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,\d{1,9})? \+(\d{1,9})(?:,\d{1,9})? @@(.*)")
_POINTER_SIZE = re.compile(r"(?m)^([+-])size (\d{1,18})$")


@dataclass(frozen=True)
class DiffLine:
    """A line of a difference: its kind, its numbers before and after, its text."""

    kind: str
    """``add``, ``del``, ``same`` or ``hunk``."""
    before: int | None
    after: int | None
    text: str


@dataclass
class FileDiff:
    """What changed in one file."""

    path: str
    kind: str
    href: str = ""
    lines: list[DiffLine] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    cut: bool = False
    binary: bool = False
    large: str = ""
    """For a large file: its sizes before and after."""
    open: bool = True


def changes_shown(at: Here, changes: Sequence[Change], patch: str, oid: str) -> dict[str, Any]:
    """Return what ``_changes.html`` shows: every changed file, and its lines as far as bounded."""
    patches = _by_path(patch)
    left = MOST_LINES
    files = []
    for change in changes[:MOST_FILES]:
        shown = FileDiff(
            change.path,
            change.kind,
            "" if change.kind == "deleted" else at.address("blob", oid, change.path),
        )
        text = patches.get(change.path)
        if text is None:
            shown.cut = True
        elif _LFS_LINE in text:
            shown.large = _sizes(text)
        elif "\nBinary files " in text or text.startswith("Binary files "):
            shown.binary = True
        else:
            _read(shown, text, min(left, LONGEST_FILE))
            left -= len(shown.lines)
            shown.open = len(shown.lines) <= 200
        files.append(shown)
    return {
        "changes": changes,
        "diffs": files,
        "more_files": max(len(changes) - MOST_FILES, 0),
        "lines_added": sum(shown.added for shown in files),
        "lines_removed": sum(shown.removed for shown in files),
    }


def _by_path(patch: str) -> dict[str, str]:
    """Cut a patch into the parts of its files, by their paths."""
    found = {}
    for part in re.split(r"(?m)^(?=diff --git )", patch):
        path = _path(part)
        if path is not None:
            found[path] = part
    return found


def _path(part: str) -> str | None:
    names = {}
    for line in part.split("\n", 12)[:12]:
        if line.startswith(("--- ", "+++ ")):
            names[line[0]] = _unquoted(line[4:].rstrip("\t"))
        elif line.startswith("@@"):
            break
    for sign, prefix in (("+", "b/"), ("-", "a/")):
        name = names.get(sign, "")
        if name.startswith(prefix):
            return name[2:]
    # Binary and empty files have no such lines; both names in the head are then the same.
    head = part.split("\n", 1)[0].removeprefix("diff --git ")
    if head.startswith('"'):
        return _unquoted(head[: len(head) // 2]).removeprefix("a/")
    half = (len(head) - 1) // 2
    return head[2:half] if head[:2] == "a/" and head[half + 1 : half + 3] == "b/" else None


def _unquoted(name: str) -> str:
    """Undo git's quoting of unusual paths."""
    if len(name) < 2 or not (name.startswith('"') and name.endswith('"')):
        return name
    data = re.sub(
        rb"\\([0-7]{3}|.)",
        lambda m: (
            bytes([int(m[1], 8)]) if len(m[1]) == 3 else {b"n": b"\n", b"t": b"\t"}.get(m[1], m[1])
        ),
        name[1:-1].encode(),
    )
    return data.decode("utf-8", "replace")


def _sizes(text: str) -> str:
    found = {sign: size(int(value)) for sign, value in _POINTER_SIZE.findall(text)}
    before, after = found.get("-"), found.get("+")
    return f"{before} → {after}" if before and after else before or after or "LFS"


def _read(shown: FileDiff, text: str, most: int) -> None:
    before = after = 0
    started = False
    for line in text.split("\n"):
        head = _HUNK.match(line)
        if head:
            started = True
            before, after = int(head[1]), int(head[2])
            found = DiffLine("hunk", None, None, line[:LONGEST_LINE])
        elif not started or not line or line.startswith("\\"):
            continue
        elif line[0] == "+":
            shown.added += 1
            found = DiffLine("add", None, after, line[1 : LONGEST_LINE + 1])
            after += 1
        elif line[0] == "-":
            shown.removed += 1
            found = DiffLine("del", before, None, line[1 : LONGEST_LINE + 1])
            before += 1
        else:
            found = DiffLine("same", before, after, line[1 : LONGEST_LINE + 1])
            before, after = before + 1, after + 1
        if len(shown.lines) < most:
            shown.lines.append(found)
        else:
            shown.cut = True
