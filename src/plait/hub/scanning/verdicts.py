# SPDX-License-Identifier: Apache-2.0
"""What the scanners said of files, by their content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from plait.hub.database import FileScan
from plait.hub.git.objects import TreeEntry

if TYPE_CHECKING:
    from plait.hub.facade import Hub


def content_of(entry: TreeEntry) -> str:
    """Return the name under which a file's scan is kept."""
    return entry.lfs.sha256 if entry.lfs is not None else f"git:{entry.oid}"


def find(hub: Hub, entries: Sequence[TreeEntry]) -> dict[str, FileScan]:
    """Return the scans of those of some files that can carry code, by path."""
    paths: dict[str, list[str]] = {}
    for entry in entries:
        if entry.type == "file":
            paths.setdefault(content_of(entry), []).append(entry.path)
    names = list(paths)
    found: dict[str, FileScan] = {}
    with hub.session() as session:
        for start in range(0, len(names), 500):
            wanted = FileScan.content.in_(names[start : start + 500])
            for scan in session.scalars(select(FileScan).where(wanted)):
                found |= dict.fromkeys(paths[scan.content], scan)
    return found
