# SPDX-License-Identifier: Apache-2.0
"""Git LFS pointer files: the few lines of text that stand in git for a large file."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_POINTER = 1024
"""A pointer file is smaller than this (the specification's own bound); nothing larger is one."""

_POINTER = re.compile(
    rb"\Aversion https://git-lfs\.github\.com/spec/v1\n"
    rb"(?:ext-[^\n]*\n)*"
    rb"oid sha256:(?P<sha256>[0-9a-f]{64})\n"
    rb"size (?P<size>0|[1-9][0-9]{0,18})\n?\Z"
)
_SHA256 = re.compile(r"\A[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Pointer:
    """A large file named by its SHA-256; sizes in bytes."""

    sha256: str
    size: int

    @property
    def pointer_size(self) -> int:
        """Size of the pointer file itself."""
        return len(format_pointer(self.sha256, self.size))


def is_sha256(text: str) -> bool:
    """Tell whether ``text`` is 64 lowercase hex digits."""
    return _SHA256.match(text) is not None


def format_pointer(sha256: str, size: int) -> bytes:
    """Write a pointer file exactly as git-lfs does."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    ).encode()


def parse_pointer(data: bytes) -> Pointer | None:
    """Read a pointer file; None for anything else."""
    if len(data) >= MAX_POINTER:
        return None
    match = _POINTER.match(data)
    if match is None:
        return None
    return Pointer(match["sha256"].decode(), int(match["size"]))
