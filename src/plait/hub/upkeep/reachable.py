# SPDX-License-Identifier: Apache-2.0
"""Which large files the commits of a git repository refer to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pygit2
from pygit2.enums import FileMode, SortMode

from plait.hub.git.pointers import MAX_POINTER, Pointer, parse_pointer


def pointers(git: Any) -> Iterator[tuple[Pointer, str]]:
    """Yield every pointer in any commit reachable from any ref, with one path that it has."""
    seen: set[Any] = set()
    walker = git.walk(None, SortMode.NONE)
    for name in git.references:
        with suppress(pygit2.GitError, KeyError, ValueError):
            walker.push(git.references[name].peel(pygit2.Commit).id)
    for commit in walker:
        yield from tree_pointers(git, commit.tree, "", seen)


def tree_pointers(
    git: Any, tree: Any, prefix: str, seen: set[Any]
) -> Iterator[tuple[Pointer, str]]:
    """Yield the pointers below a tree, leaving out objects that were ``seen`` before."""
    if tree.id in seen:
        return
    seen.add(tree.id)
    for entry in tree:
        if entry.filemode == FileMode.COMMIT or entry.id in seen:
            continue
        path = f"{prefix}{entry.name}"
        if entry.filemode == FileMode.TREE:
            yield from tree_pointers(git, entry, f"{path}/", seen)
            continue
        seen.add(entry.id)
        if git.odb.read_header(entry.id)[1] < MAX_POINTER:
            pointer = parse_pointer(bytes(entry.data))
            if pointer is not None:
                yield pointer, path
