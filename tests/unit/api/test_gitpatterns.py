# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from plait.api.gitpatterns import is_ignored, is_large

IGNORE = """\
# a comment
*.log
!keep.log
build/
/root.txt
deep/**/x
a?c
[xy].tmp
!deep/one/x
docs/*.md
**/cache
trailing/**
\\#hash
"""
PATHS = [
    *("a.log", "keep.log", "s/a.log", "s/keep.log", "build/x", "build", "s/build/y", "root.txt"),
    *("s/root.txt", "deep/x", "deep/one/x", "deep/one/two/x", "deep/one/y", "abc", "ac", "a/c"),
    *("x.tmp", "z.tmp", "docs/a.md", "docs/s/a.md", "s/docs/a.md", "cache/f", "s/cache/f"),
    *("trailing/a", "trailing", "#hash", "normal.txt"),
]


def test_as_git_itself(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(IGNORE)
    done = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", "--no-index", "--stdin"],
        input="\n".join(PATHS),
        capture_output=True,
        text=True,
        check=False,
    )
    ignored = set(done.stdout.splitlines())
    assert {path for path in PATHS if is_ignored(path, IGNORE)} == ignored
    assert "a.log" in ignored


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("model.safetensors", True),
        ("sub/model.safetensors", True),
        ("notes.txt", False),
        ("saved_model/a/b.pb", True),
        ("plain.safetensors", False),
        ("with space.txt", True),
        ("data/x.csv", True),
        ("other/data/x.csv", False),
    ],
)
def test_attributes(path: str, expected: bool) -> None:
    attributes = """\
*.safetensors filter=lfs diff=lfs merge=lfs -text
saved_model/**/* filter=lfs diff=lfs merge=lfs -text
plain.safetensors !filter !diff
/with[[:space:]]space.txt filter=lfs
data/*.csv filter=lfs
*.txt text
"""
    assert is_large(path, attributes) is expected


def test_hostile_patterns_end() -> None:
    started = time.monotonic()
    for pattern in ("*" * 400, "*a" * 100, "*a" * 100 + "b", "**/" * 100 + "x", "[" * 300, "a\\"):
        is_ignored("a" * 250 + "/" + "b" * 250, pattern)
        is_large("a" * 250, f"{pattern} filter=lfs")
    assert time.monotonic() - started < 5
