# SPDX-License-Identifier: Apache-2.0
"""Which merge driver takes which path, and the three-way merge of all that is not weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from plait.collaboration.merging.card import merge_cards, read_card
from plait.collaboration.merging.text import merge_lines
from plait.errors import PlaitError
from plait.hub import Hub
from plait.hub.database import Repository
from plait.hub.git.operations import AddBytes, CopyFile, Delete, Operation
from plait.hub.git.store import TreeEntry
from plait.lineage import FILE as LINEAGE
from plait.tables import RowConflict, format_of, merge_tables, read_table, write_table
from plait.tables.reading import Format

Driver = Literal["weights", "pickle", "model", "card", "hub", "text"]

CARD = "README.md"
RECIPE = "plait_fusion.yaml"
"""The recipe that made the weights, beside them."""
INDEX = "model.safetensors.index.json"
MAX_TEXT = 2 * 2**20
"""Files larger than this are never merged line by line."""

_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".ot"}
_SUPPORT = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
}
"""Files that say how the weights are to be read. They belong to the base: fused weights are its."""


def driver_of(path: str, repo_type: str = "model") -> Driver:
    """Return what merges a path; only a model's root holds the model."""
    if path == CARD:
        return "card"
    if repo_type != "model" or "/" in path:
        return "text"
    if path in (LINEAGE, RECIPE):
        return "hub"
    if path == INDEX or path.endswith(".safetensors"):
        return "weights"
    if PurePosixPath(path).suffix in _PICKLES:
        return "pickle"
    if path in _SUPPORT:
        return "model"
    return "text"


@dataclass(frozen=True)
class Merge:
    """What to do to main's tree so that it holds the pull request's changes; conflicts by path."""

    operations: tuple[Operation, ...]
    conflicts: tuple[str, ...]
    """Paths in quotes, of tables with the rows that contradict."""


class Sides:
    """The files of the merge base, of main and of the pull request, by path."""

    def __init__(self, hub: Hub, repo: Repository, fork: str, main: str, head: str) -> None:
        self.hub, self.repo = hub, repo
        self.fork, self.main, self.head = fork, main, head
        self.at_fork = files(hub, repo, fork)
        self.at_main = files(hub, repo, main)
        self.at_head = files(hub, repo, head)

    def changed(self) -> list[str]:
        """List the paths that the pull request changes, sorted."""
        return _differing(self.at_fork, self.at_head)

    def read(self, oid: str, path: str) -> bytes:
        """Return a file's bytes as git holds them."""
        return self.hub.git.read(self.repo, oid, path)

    def licence(self, oid: str) -> str | None:
        """Return the licence that the card of main or of the pull request states."""
        if CARD not in (self.at_main if oid == self.main else self.at_head):
            return None
        card = read_card(self.read(oid, CARD).decode("utf-8", "replace"))
        stated = card.data.get("license") if card is not None else None
        return stated[:96] if isinstance(stated, str) else None


def files(hub: Hub, repo: Repository, oid: str) -> dict[str, TreeEntry]:
    """Return every file of a commit by path."""
    return {
        entry.path: entry
        for entry in hub.git.tree(repo, oid, recursive=True)
        if entry.type == "file"
    }


def weight_files(entries: Mapping[str, TreeEntry], read: Callable[[str], bytes]) -> dict[str, str]:
    """Return the SHA-256 of each of a model's safetensors files; empty for a model without any.

    As everywhere: ``model.safetensors``, or the shards that lie beside their index. ``read`` gives
    the bytes of a file that git itself holds.
    """
    names = [path for path in entries if path.endswith(".safetensors") and "/" not in path]
    if INDEX not in entries and "model.safetensors" in names:
        names = ["model.safetensors"]
    found = {}
    for path in names:
        pointer = entries[path].lfs
        found[path] = pointer.sha256 if pointer else hashlib.sha256(read(path)).hexdigest()
    return found


def merge_paths(sides: Sides, paths: Sequence[str]) -> Merge:
    """Merge ``paths`` three-way: one side's change wins, equal changes are one, text by lines."""
    operations: list[Operation] = []
    conflicts: list[str] = []
    for path in paths:
        fork, main, head = (
            entries.get(path) for entries in (sides.at_fork, sides.at_main, sides.at_head)
        )
        if _same(main, head) or _same(fork, head):
            continue
        if _same(fork, main):
            operations.append(
                Delete(path) if head is None else CopyFile(path, path, revision=sides.head)
            )
            continue
        merged = _merge_file(sides, path, fork, main, head)
        if isinstance(merged, bytes):
            operations.append(AddBytes(path, merged))
        else:
            conflicts.append(_named(path, merged or ()))
    return Merge(tuple(operations), tuple(conflicts))


def _merge_file(
    sides: Sides,
    path: str,
    fork: TreeEntry | None,
    main: TreeEntry | None,
    head: TreeEntry | None,
) -> bytes | tuple[RowConflict, ...] | None:
    if main is None or head is None:
        return None
    texts = []
    for entry, oid in ((fork, sides.fork), (main, sides.main), (head, sides.head)):
        if entry is None:
            texts.append("")
            continue
        if entry.lfs is not None or entry.size > MAX_TEXT:
            return None
        try:
            texts.append(sides.read(oid, path).decode("utf-8"))
        except UnicodeDecodeError:
            return None
    if path == CARD:
        card = merge_cards(*texts)
        return None if card is None else card.encode()
    format = format_of(path)
    if format is not None:
        return _merge_table(path, format, *(text.encode() for text in texts))
    if fork is None:
        return None
    merged = merge_lines(*texts)
    return None if merged is None else merged.encode()


def _merge_table(
    path: str, format: Format, base: bytes, ours: bytes, theirs: bytes
) -> bytes | tuple[RowConflict, ...] | None:
    """Merge a table by rows; one that cannot be read as a table conflicts as a whole."""
    try:
        before, mine, other = (read_table(data, format, path) for data in (base, ours, theirs))
        merged = merge_tables(before, mine, other)
        return write_table(merged.table) if merged.table is not None else merged.conflicts
    except PlaitError:
        return None


def _named(path: str, rows: Sequence[RowConflict]) -> str:
    shown = "; ".join(str(row) for row in rows[:3])
    more = f"; and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return f"'{path}' ({shown}{more})" if rows else f"'{path}'"


def _same(one: TreeEntry | None, other: TreeEntry | None) -> bool:
    return (one.oid if one else None) == (other.oid if other else None)


def _differing(old: Mapping[str, TreeEntry], new: Mapping[str, TreeEntry]) -> list[str]:
    return sorted(p for p in {*old, *new} if not _same(old.get(p), new.get(p)))
