# SPDX-License-Identifier: Apache-2.0
"""`plait backup` and `plait restore`: a copy of one moment of a hub that is in use.

A backup's folder holds ``current.json``, which names everything that belongs to the backup with
its size and SHA-256, and the files themselves. Git objects, blobs and xorbs never change, so the
next backup into the same folder copies only what is new; ``current.json`` is replaced last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pygit2
from sqlalchemy import delete, make_url

from plait.errors import BadInput, NotFound
from plait.hub.database import Blob, BlobGrant, Repository, Xorb, XorbOwner
from plait.hub.facade import Hub, claim_folder, folder_lock
from plait.hub.git.packing import LOCK
from plait.hub.storage.base import object_name
from plait.hub.storage.blobs import storage_errors
from plait.hub.storage.choice import open_store
from plait.hub.upkeep.fsck import Problem, damage
from plait.hub.upkeep.snapshot import POSTGRESQL, SQLITE, Moment, run_database_tool, take
from plait.hub.xet.store import INDEX
from plait.settings import Settings

CURRENT = "current.json"
_SECRET = "secret.key"  # noqa: S105
_VERSION = 1
_FOLDERS = ("git", "blobs", "xorbs")
_OBJECT = re.compile(r"(?:[0-9a-f]{2}/[0-9a-f]{38}|pack/pack-[0-9a-f]{40}\.(?:pack|idx|rev))\Z")
_SAFE = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")


@dataclass
class Backup:
    """What a backup holds, and what taking it did; sizes in bytes."""

    made: str = ""
    database: str = ""
    refs: dict[int, dict[str, str]] = field(default_factory=dict)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size and SHA-256 by path."""
    gone: list[str] = field(default_factory=list)
    """What was removed from the hub while it was copied."""
    copied: int = 0
    copied_bytes: int = 0
    reused: int = 0
    removed: int = 0

    @property
    def total_bytes(self) -> int:
        """Size of everything in it."""
        return sum(size for size, _ in self.files.values())


def back_up(hub: Hub, folder: Path, *, told: Callable[[str], None] = lambda _: None) -> Backup:
    """Copy the hub as it is now into ``folder``; the hub may be in use.

    Args:
        hub: what is copied.
        folder: empty, or an earlier backup of the same hub, of which is kept what is still right.
        told: is given a line of progress now and then.

    Raises:
        BadInput: the folder holds something else.
        StorageFull: there is no room; the earlier backup stays whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, name=".lock"), storage_errors("the backup"):
        before = _earlier(folder)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        kind = make_url(hub.settings.database).get_backend_name()
        name = SQLITE if kind == "sqlite" else POSTGRESQL
        backup = Backup(stamp, f"records/{stamp}/{name}")
        copier = _Copier(folder, backup, before.files if before else {})
        (folder / "records" / stamp).mkdir(parents=True)
        # Packing would replace files while they are copied.
        with folder_lock(hub.settings.dir, name=LOCK, shared=True):
            told("the database and the refs")
            moment = take(hub, folder / backup.database)
            backup.refs = moment.refs
            copier.note(backup.database)
            copier.copy(f"records/{stamp}/{_SECRET}", hub.settings.dir / _SECRET, private=True)
            told(f"{len(moment.refs)} git repositories")
            _copy_git(hub, moment, copier)
        told(f"{len(moment.blobs)} large files and {len(moment.xorbs)} xorbs")
        _copy_store(hub, moment, copier)
        copier.finish()
        backup.removed = _prune(folder, backup)
    return backup


def _earlier(folder: Path) -> Backup | None:
    if (folder / CURRENT).is_file():
        return read_backup(folder)
    others = sorted(e.name for e in folder.iterdir() if e.name not in (".lock", "lost+found"))
    if others and "records" not in others:
        raise BadInput(
            f"{folder} is no backup and not empty (it holds '{others[0]}'). Name an empty folder."
        )
    return None


def read_backup(folder: Path) -> Backup:
    """Read what a backup holds.

    Raises:
        NotFound: there is none.
        BadInput: its list cannot be read.
    """
    try:
        data = json.loads((folder / CURRENT).read_bytes())
        files = {str(k): (int(v[0]), str(v[1])) for k, v in data["files"].items()}
        if data["version"] != _VERSION or not all(map(_SAFE.match, files)):
            raise ValueError
        refs = {int(k): {str(n): str(o) for n, o in v.items()} for k, v in data["refs"].items()}
        return Backup(data["made"], data["database"], refs, files, list(data["gone"]))
    except FileNotFoundError:
        raise NotFound(f"There is no backup in {folder}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(f"{folder / CURRENT} is damaged or of another version of Plait.") from None


class _Copier:
    """Copies files into a backup, and leaves those that lie there already."""

    def __init__(self, folder: Path, backup: Backup, before: dict[str, tuple[int, str]]) -> None:
        self.folder, self.backup, self.before = folder, backup, before

    def keep(self, name: str) -> bool:
        """Take over a file of the earlier backup; False if it is not (or not whole) there."""
        known = self.before.get(name)
        path = self.folder / name
        with suppress(FileNotFoundError):
            if known is not None and path.stat().st_size == known[0]:
                self.backup.files[name] = known
                self.backup.reused += 1
                return True
        return False

    def copy(self, name: str, source: Path | Iterable[bytes], *, private: bool = False) -> str:
        """Copy a file and return its SHA-256."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f"{target.name}.new")
        fresh.unlink(missing_ok=True)
        pieces = _pieces(source) if isinstance(source, Path) else source
        size, digest = _write(fresh, pieces, 0o600 if private else 0o644)
        fresh.replace(target)
        self.backup.files[name] = (size, digest)
        self.backup.copied += 1
        self.backup.copied_bytes += size
        return digest

    def note(self, name: str) -> None:
        """Take a file in that was written into the backup's folder."""
        path = self.folder / name
        path.chmod(0o600)
        digest, size = hashlib.sha256(), 0
        for piece in _pieces(path):
            digest.update(piece)
            size += len(piece)
        self.backup.files[name] = (size, digest.hexdigest())
        self.backup.copied += 1
        self.backup.copied_bytes += size

    def finish(self) -> None:
        """Make this the folder's backup, once all of it is on the disk."""
        os.sync()
        backup = self.backup
        data = {
            "plait": "backup",
            "version": _VERSION,
            "release": version("plait"),
            "made": backup.made,
            "database": backup.database,
            "refs": backup.refs,
            "gone": backup.gone,
            "files": backup.files,
        }
        text = json.dumps(data, indent=1, sort_keys=True).encode()
        fresh = self.folder / f"{CURRENT}.new"
        fresh.unlink(missing_ok=True)
        _write(fresh, [text], 0o600)
        fresh.replace(self.folder / CURRENT)


def _write(path: Path, pieces: Iterable[bytes], mode: int) -> tuple[int, str]:
    """Write a new file and return its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        for piece in pieces:
            digest.update(piece)
            size += stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    return size, digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(2**20):
            yield piece


def _copy_git(hub: Hub, moment: Moment, copier: _Copier) -> None:
    for number in moment.refs:
        objects = hub.git.path(number) / "objects"
        with suppress(FileNotFoundError):
            # An index is there only with its pack, and is listed first.
            found = [*(objects / "pack").glob("*.idx"), *(objects / "pack").glob("*")]
            found += objects.glob("??/*")
            for path in dict.fromkeys(found):
                inside = path.relative_to(objects).as_posix()
                name = f"git/{number}/{inside}"
                if _OBJECT.match(inside) and not copier.keep(name):
                    copier.copy(name, path)
        # Whoever deletes a repository removes its row before any of its files.
        if hub.repositories.by_id(number) is None:
            copier.backup.gone.append(f"git/{number}")


def _copy_store(hub: Hub, moment: Moment, copier: _Copier) -> None:
    names = [(object_name("blobs", sha256), sha256) for sha256, _ in moment.blobs]
    for xorb, _ in moment.xorbs:
        name = object_name("xorbs", xorb)
        names += [(name, ""), (name + INDEX, "")]
    for name, sha256 in names:
        if copier.keep(name):
            continue
        try:
            digest = copier.copy(name, hub.store.read(name))
        except FileNotFoundError:
            # Removed since, or missing before; fsck tells the two apart.
            copier.backup.gone.append(name)
            continue
        if sha256 and digest != sha256:
            raise BadInput(
                f"The bytes stored as sha256 {sha256} are damaged. Run plait fsck --deep."
            )


def _prune(folder: Path, backup: Backup) -> int:
    """Remove what the backup does not name; return how many files that were."""
    count = 0
    for root in (*_FOLDERS, "records"):
        for where, _, names in os.walk(folder / root, topdown=False):
            for name in names:
                path = Path(where) / name
                if path.relative_to(folder).as_posix() not in backup.files:
                    path.unlink()
                    count += 1
            with suppress(OSError):
                Path(where).rmdir()  # succeeds when it is empty
    return count


# -- and back -----------------------------------------------------------------------------------


def restore(
    folder: Path, settings: Settings, *, told: Callable[[str], None] = lambda _: None
) -> list[Problem]:
    """Make a hub of a backup in ``settings.dir``, which is new or empty, and check it.

    Every file is compared with its SHA-256 as it is copied. A database on a server must be empty.

    Returns:
        What `plait fsck` finds; nothing, if the backup is whole.

    Raises:
        BadInput: the folder is not empty, or the backup is damaged; the message names the file.
    """
    backup = read_backup(folder)
    target = settings.dir
    if target.exists() and any(target.iterdir()):
        raise BadInput(f"{target} is not empty. Name a new folder.")
    url = make_url(settings.database)
    if (url.get_backend_name() == "sqlite") != backup.database.endswith(SQLITE):
        raise BadInput(
            "The backup is of a hub on another kind of database. Set PLAIT_DATABASE_URL to an "
            "empty database of the same kind."
        )
    with storage_errors("the restored hub"):
        claim_folder(target)
        for made in (settings.git_dir, settings.temporary_dir):
            made.mkdir(exist_ok=True)
        reader = _Reader(folder, backup)
        told("large files and xorbs")
        store = open_store(settings)
        for name in sorted(backup.files):
            if name.startswith(("blobs/", "xorbs/")):
                fresh = settings.temporary_dir / "restored"
                reader.copy(name, fresh)
                store.put(name, fresh)
                fresh.unlink()
        told(f"{len(backup.refs)} git repositories")
        _restore_git(settings, backup, reader)
        told("the database")
        reader.copy(f"{Path(backup.database).parent.as_posix()}/{_SECRET}", target / _SECRET)
        if url.get_backend_name() == "sqlite":
            reader.copy(backup.database, Path(str(url.database)))
        else:
            dump = settings.temporary_dir / POSTGRESQL
            reader.copy(backup.database, dump)
            run_database_tool(
                ["pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", str(dump)],
                url,
            )
            dump.unlink()
        os.sync()
    told("checking")
    with Hub.open(settings) as hub:
        _forget(hub, backup.gone)
        return damage(hub)


class _Reader:
    """Copies files out of a backup, comparing each with what the backup says of it."""

    def __init__(self, folder: Path, backup: Backup) -> None:
        self.folder, self.backup = folder, backup

    def copy(self, name: str, target: Path) -> None:
        known = self.backup.files.get(name)
        path = self.folder / name
        if known is None or not path.is_file():
            raise BadInput(f"The backup lacks {name}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if name.startswith("records/") else 0o644
        if _write(target, _pieces(path), mode) != known:
            raise BadInput(f"{path} is damaged: it is not what was backed up.")


def _restore_git(settings: Settings, backup: Backup, reader: _Reader) -> None:
    by_number: dict[int, list[str]] = {number: [] for number in backup.refs}
    for name in backup.files:
        if name.startswith("git/"):
            by_number.setdefault(int(name.split("/", 2)[1]), []).append(name)
    for number, names in by_number.items():
        if f"git/{number}" in backup.gone or number not in backup.refs:
            continue
        target = settings.git_dir / f"{number}.git"
        pygit2.init_repository(str(target), bare=True, initial_head="main").free()
        shutil.rmtree(target / "hooks", ignore_errors=True)
        for name in names:
            inside = name.split("/", 2)[2]
            if _OBJECT.match(inside):
                reader.copy(name, target / "objects" / inside)
                (target / "objects" / inside).chmod(0o444)
        rows = sorted(backup.refs[number].items())
        lines = ["# pack-refs with: sorted \n", *(f"{oid} {name}\n" for name, oid in rows)]
        (target / "packed-refs").write_text("".join(lines))


def _forget(hub: Hub, gone: list[str]) -> None:
    """Take out of the records what was removed from the hub while it was copied."""
    with hub.session(write=True) as session:
        for name in gone:
            kind, _, rest = name.partition("/")
            digest = rest.rsplit("/", 1)[-1].removesuffix(INDEX)
            if kind == "git":
                session.execute(delete(Repository).where(Repository.id == int(rest)))
            elif kind == "blobs":
                session.execute(delete(BlobGrant).where(BlobGrant.sha256 == digest))
                session.execute(delete(Blob).where(Blob.sha256 == digest))
            else:
                session.execute(delete(XorbOwner).where(XorbOwner.hash == digest))
                session.execute(delete(Xorb).where(Xorb.hash == digest))


__all__ = ["Backup", "back_up", "read_backup", "restore"]
