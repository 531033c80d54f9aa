# SPDX-License-Identifier: Apache-2.0
"""Packing git repositories while they are in use, so that many commits do not make them slow.

Nothing is ever dropped: also what no ref refers to any more goes into the new pack. An older pack
is removed when all that it holds lies in the new one and the new one is on the disk.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from plait.errors import PlaitError
from plait.hub.database import Repository
from plait.hub.facade import Hub, folder_lock
from plait.hub.git import command as gitcommand
from plait.hub.git.quarantine import PREFIX
from plait.hub.storage.blobs import storage_errors, sync_folder

LOOSE = 500
"""Loose objects that a repository may have before they are worth packing."""
PACKS = 10
LOOSE_REFS = 200
LOCK = "packing.lock"
"""Held by whoever packs, shared by those who read all packs."""
_HEX = re.compile(r"[0-9a-f]{2}")
_OID = re.compile(r"[0-9a-f]{40}")
_INDEX_HEAD = struct.Struct(">4sI256I")
_SUFFIXES = (".idx", ".rev", ".bitmap", ".mtimes", ".pack")


@dataclass(frozen=True)
class Packed:
    """What packing one repository did."""

    repository: str
    objects: int
    """Objects in the new pack."""
    replaced: int
    """Packs that it replaced."""
    seconds: float


def pack_all(hub: Hub, *, loose: int = LOOSE, packs: int = PACKS) -> Iterator[Packed]:
    """Pack every repository that has many loose objects or packs, one after the other.

    Raises:
        Unsupported: the git program is missing.
    """
    gitcommand.program()
    for entry in sorted(hub.settings.git_dir.glob("*.git")):
        number = entry.name.removesuffix(".git")
        if not number.isdigit():
            continue
        repo = hub.repositories.by_id(int(number))
        if repo is None:
            continue
        with suppress(FileNotFoundError):  # It may be deleted at this moment.
            done = pack_repository(hub, repo, loose=loose, packs=packs)
            if done is not None:
                yield done


def pack_repository(
    hub: Hub, repo: Repository, *, loose: int = LOOSE, packs: int = PACKS
) -> Packed | None:
    """Pack one repository if it has more than so many loose objects or packs.

    Raises:
        StorageFull: the disk is full; nothing was removed.
        PlaitError: git could not read the repository; nothing was removed.
    """
    with folder_lock(hub.settings.dir, name=LOCK):
        return _pack(hub, repo, loose, packs)


def _pack(hub: Hub, repo: Repository, loose: int, packs: int) -> Packed | None:
    started = time.monotonic()
    folder = hub.git.path(repo)
    if sum(1 for ref in _files(folder / "refs") if ref.is_file()) > LOOSE_REFS:
        # Under the lock: whoever moves refs removes what looks like a dead process's lock file.
        with hub.git.locked(repo):
            gitcommand.run(folder, "pack-refs", "--all", "--prune", bounded=False)
    found = _packs(folder)
    unpacked = _count_loose(folder)
    if unpacked <= loose and len(found) <= packs:
        return None
    old = _worth_joining(found)
    with storage_errors("the packed repository"):
        name = _write(folder, old)
    if name is None:
        return None
    new = folder / "objects" / "pack" / f"pack-{name}.idx"
    sync_folder(new.parent)
    held = _Index(new)
    replaced = [path for path in old if path != new and held.holds(_Index(path))]
    for path in replaced:
        for suffix in _SUFFIXES:
            path.with_suffix(suffix).unlink(missing_ok=True)
    _drop_loose(folder, frozenset(held))
    return Packed(
        f"{repo.type} {repo.full_name}", held.count, len(replaced), time.monotonic() - started
    )


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield what killed pushes and packings may have left in a repository's folder."""
    yield from folder.glob(f"{PREFIX}*")
    yield from (folder / "objects").glob("tmp_object_*")
    yield from (folder / "objects").glob("??/tmp_object_*")
    yield from (folder / "objects" / "pack").glob("tmp_*")
    yield from (folder / "objects" / "pack").glob(".tmp-*")


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (Path(where) / name for name in names)


def _packs(folder: Path) -> list[Path]:
    """List the indexes of the packs, the smallest pack first."""
    found = []
    for index in (folder / "objects" / "pack").glob("pack-*.idx"):
        with suppress(FileNotFoundError):
            found.append((index.with_suffix(".pack").stat().st_size, index))
    return [index for _, index in sorted(found)]


def _count_loose(folder: Path) -> int:
    return sum(
        sum(1 for _ in entry.iterdir())
        for entry in (folder / "objects").iterdir()
        if _HEX.fullmatch(entry.name)
    )


def _drop_loose(folder: Path, packed: frozenset[bytes]) -> None:
    """Remove the loose objects that lie in the new pack.

    Not by ``git prune-packed``: it also removes folders that become empty, into which a commit
    may be about to rename an object.
    """
    for entry in (folder / "objects").iterdir():
        if not _HEX.fullmatch(entry.name):
            continue
        for file in entry.iterdir():
            name = entry.name + file.name
            if _OID.fullmatch(name) and bytes.fromhex(name) in packed:
                file.unlink(missing_ok=True)


def _worth_joining(packs: list[Path]) -> list[Path]:
    """Choose the smaller packs such that each that stays is twice as large as all below it.

    So an object is written again only when the repository has grown by half since.
    """
    sizes = [pack.with_suffix(".pack").stat().st_size for pack in packs]
    joined = 0
    for position in range(1, len(packs)):
        if sizes[position] < 2 * sum(sizes[:position]):
            joined = position + 1
    return packs[:joined]


def _write(folder: Path, packs: list[Path]) -> str | None:
    """Write the loose objects and those of ``packs`` into a new pack; return its name."""
    names = "".join(f"{pack.with_suffix('.pack').name}\n" for pack in packs)
    printed = gitcommand.run(
        folder,
        "pack-objects",
        "--stdin-packs",
        "--unpacked",
        "--non-empty",
        "--quiet",
        "--delta-base-offset",
        str(folder / "objects" / "pack" / "pack"),
        feed=[names.encode()],
        bounded=False,
        seconds=24 * 3600,
    )
    return printed.decode().strip() or None


class _Index:
    """The index of a pack (version 2): which objects it holds."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, *fan_out = _INDEX_HEAD.unpack_from(data)
        if magic != b"\xfftOc" or version != 2:
            raise PlaitError(f"{path} is not a pack's index. Run plait fsck.")
        self.count = fan_out[255]
        start = _INDEX_HEAD.size
        self._ids = data[start : start + 20 * self.count]

    def __iter__(self) -> Iterator[bytes]:
        return (self._ids[at : at + 20] for at in range(0, len(self._ids), 20))

    def holds(self, other: _Index) -> bool:
        """Tell whether every object of ``other`` is here; both are sorted."""
        mine = iter(self)
        return all(any(candidate == wanted for candidate in mine) for wanted in other)
