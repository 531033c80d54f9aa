# SPDX-License-Identifier: Apache-2.0
"""Which merge driver takes which path, and the three-way merge of all that is not weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from plait.collaboration.merging.card import read_card
from plait.collaboration.merging.drivers import FileConflict, Resolution, Work, is_large, merge_all
from plait.collaboration.merging.resolutions import FILE as RESOLUTIONS
from plait.collaboration.merging.resolutions import parse_resolutions
from plait.errors import BadInput, PlaitError
from plait.hub import Hub
from plait.hub.database import Repository
from plait.hub.git.operations import AddPointer, Operation
from plait.hub.git.store import TreeEntry
from plait.licences.cards import stated_licence
from plait.lineage import FILE as LINEAGE
from plait.recipes.merging import MergeSpec
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import parse_project

Driver = Literal["weights", "pickle", "model", "card", "hub", "text", "resolutions"]
"""What a path is to a merge. Of text, `plait.collaboration.merging.drivers` knows the kinds."""

CARD = "README.md"
RECIPE = "plait_fusion.yaml"
"""The recipe that made the weights, beside them."""
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
"""A LoRA adapter's two files, as PEFT saves them."""

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
    if path == RESOLUTIONS:
        return "resolutions"
    if repo_type != "model" or "/" in path:
        return "text"
    if path in (LINEAGE, RECIPE):
        return "hub"
    if path == INDEX or path.endswith(".safetensors") or path in ADAPTER:
        return "weights"
    if PurePosixPath(path).suffix in _PICKLES:
        return "pickle"
    if path in _SUPPORT:
        return "model"
    return "text"


@dataclass(frozen=True)
class Merge:
    """What to do to main's tree so that it holds the pull request's changes."""

    operations: tuple[Operation, ...]
    conflicts: tuple[FileConflict, ...]
    notes: tuple[Mapping[str, Any], ...] = ()
    """What the drivers found worth telling: rows added, types widened, near duplicates."""


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

    def content(self, oid: str, path: str) -> bytes:
        """Return a file's bytes; a large file's own, not its pointer."""
        return b"".join(self.hub.commits.open_file(self.repo, oid, path).read())

    def spec(self) -> MergeSpec:
        """Return how main's `plait.yaml` wants files merged; one that cannot be read says nothing.

        What mends such a file must be mergeable too.
        """
        if PROJECT not in self.at_main:
            return MergeSpec()
        try:
            return parse_project(self.read(self.main, PROJECT)).merge
        except BadInput:
            return MergeSpec()

    def resolutions(self) -> dict[str, Resolution]:
        """Return what the pull request's own `plait_resolutions.yaml` decides.

        Raises:
            BadInput: it cannot be understood.
        """
        if RESOLUTIONS not in self.at_head:
            return {}
        return parse_resolutions(self.read(self.head, RESOLUTIONS))

    def licence(self, oid: str) -> str | None:
        """Return the licence that the card of main or of the pull request states."""
        return stated_licence(self.card(oid))

    def card(self, oid: str) -> Mapping[str, Any]:
        """Return the head of the card of main or of the pull request; empty where it has none."""
        if CARD not in (self.at_main if oid == self.main else self.at_head):
            return {}
        card = read_card(self.read(oid, CARD).decode("utf-8", "replace"))
        return card.data if card is not None else {}


def files(hub: Hub, repo: Repository, oid: str) -> dict[str, TreeEntry]:
    """Return every file of a commit by path."""
    return {
        entry.path: entry
        for entry in hub.git.tree(repo, oid, recursive=True)
        if entry.type == "file"
    }


def weight_files(
    entries: Mapping[str, TreeEntry],
    read: Callable[[str], bytes],
    before: Mapping[str, TreeEntry] | None = None,
) -> dict[str, str]:
    """Return the SHA-256 of each of a model's safetensors files; empty for a model without any.

    As everywhere: ``model.safetensors``, or the shards that lie beside their index; never an
    adapter. Where both forms lie side by side, a pull request means the one that it brought.

    Args:
        entries: the files of a commit.
        read: gives the bytes of a file that git itself holds.
        before: the files that a pull request started from.
    """
    names = [
        path
        for path in entries
        if path.endswith(".safetensors") and "/" not in path and path not in ADAPTER
    ]
    if SINGLE in names:
        kept = before is not None and _same(entries[SINGLE], before.get(SINGLE))
        sharded = INDEX in entries and kept and not _same(entries[INDEX], (before or {}).get(INDEX))
        names = [n for n in names if n != SINGLE] if sharded else [SINGLE]
    found = {}
    for path in names:
        pointer = entries[path].lfs
        found[path] = pointer.sha256 if pointer else hashlib.sha256(read(path)).hexdigest()
    return found


def adapter_files(sides: Sides) -> dict[str, str]:
    """Return the SHA-256 of the LoRA adapter that a pull request brings; empty if it brings none.

    Raises:
        BadInput: it brings only one of the adapter's two files.
    """
    if not any(not _same(sides.at_fork.get(p), sides.at_head.get(p)) for p in ADAPTER):
        return {}
    there = [path for path in ADAPTER if path in sides.at_head]
    if len(there) == 1:
        raise BadInput(
            f"The pull request brings '{there[0]}' alone; a LoRA adapter is {ADAPTER[0]} and "
            f"{ADAPTER[1]} together, as save_pretrained of PEFT writes them."
        )
    found = {}
    for path in there:
        pointer = sides.at_head[path].lfs
        data = None if pointer else sides.read(sides.head, path)
        found[path] = pointer.sha256 if pointer else hashlib.sha256(data or b"").hexdigest()
    return found


def merge_paths(
    sides: Sides,
    paths: Sequence[str],
    *,
    clean: bool = False,
    resolutions: Mapping[str, Resolution] | None = None,
    look: bool = True,
    check: Callable[[], None] = lambda: None,
    number: int | None = None,
) -> Merge:
    """Merge ``paths`` three-way, each by its driver.

    Args:
        sides: the three versions.
        paths: those that the pull request changes.
        clean: whether git merges all without a conflict; its merge of plain text then stands.
        resolutions: what people decided of conflicts, besides what the pull request itself says.
        look: look through new rows for duplicates and test items, besides merging.
        check: raises if the merge was cancelled.
        number: the pull request's, where what is merged lands.

    Raises:
        Conflict, BadInput: a driver refuses what the pull request brings.
    """
    work = work_of(
        sides, clean=clean, resolutions=resolutions, look=look, check=check, number=number
    )
    made = merge_all(work, [path for path in paths if path != RESOLUTIONS])
    return Merge(made.operations, made.conflicts, made.notes)


def are_large(sides: Sides, paths: Sequence[str]) -> bool:
    """Tell whether merging these paths is a job's work rather than a request's."""
    try:
        return is_large(work_of(sides), [path for path in paths if path != RESOLUTIONS])
    except PlaitError:
        return False  # what is wrong is told when they are merged


def work_of(
    sides: Sides,
    *,
    clean: bool = False,
    resolutions: Mapping[str, Resolution] | None = None,
    look: bool = True,
    check: Callable[[], None] = lambda: None,
    number: int | None = None,
) -> Work:
    """Return what the drivers are given; where two decided of one file, the later word holds."""
    decided = {**sides.resolutions(), **(resolutions or {})}

    def store(path: str, data: bytes) -> Operation:
        sha256, size = sides.hub.blobs.write([data])
        with sides.hub.session(write=True) as session:
            sides.hub.grant_blob(session, sides.repo, sha256, size)
        return AddPointer(path, sha256, size)

    return Work(sides, sides.spec(), decided, clean, look, store, check, number)


def _same(one: TreeEntry | None, other: TreeEntry | None) -> bool:
    return (one.oid if one else None) == (other.oid if other else None)


def _differing(old: Mapping[str, TreeEntry], new: Mapping[str, TreeEntry]) -> list[str]:
    return sorted(p for p in {*old, *new} if not _same(old.get(p), new.get(p)))
