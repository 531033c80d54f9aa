# SPDX-License-Identifier: Apache-2.0
"""`plait gc`: remove what nothing refers to."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import pygit2
from sqlalchemy import delete, func, select
from sqlalchemy.orm import InstrumentedAttribute

from plait.errors import Conflict, PlaitError
from plait.hub.database import (
    Blob,
    BrowserSession,
    Repository,
    Xorb,
    now,
)
from plait.hub.facade import Hub
from plait.hub.git.packing import leftovers
from plait.hub.storage.base import StoredObject, object_name
from plait.hub.upkeep.reachable import pointers
from plait.hub.xet.store import INDEX

_AT_ONCE = 500
_GIT_FOLDER = re.compile(r"\A([1-9][0-9]*)\.git\Z")


@dataclass
class Garbage:
    """What `collect` removed, or would remove; sizes in bytes."""

    dry_run: bool
    blobs: list[str] = field(default_factory=list)
    blob_bytes: int = 0
    xorbs: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    """Objects of the store that the database does not know."""
    temporary: list[str] = field(default_factory=list)
    git_folders: list[str] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)
    """Candidates of pull requests that are closed, or that main has moved away from."""
    sessions: int = 0
    refreshed: list[str] = field(default_factory=list)
    """Repositories whose listed card was behind their main (a crash just after a commit)."""
    seconds: float = 0.0


def collect(hub: Hub, *, dry_run: bool = False, grace: float | None = None) -> Garbage:
    """Remove what no commit on any ref refers to and nobody has touched for ``grace`` seconds.

    Safe while the hub is in use. ``grace`` defaults to the settings' ``blob_grace``; an upload
    may take that long from its bytes to its commit.
    """
    started = time.monotonic()
    age = timedelta(seconds=hub.settings.blob_grace if grace is None else grace)
    cut = now() - age
    report = Garbage(dry_run)
    _collect_blobs(hub, report, cut)
    report.xorbs = hub.xet.collect(dry_run=dry_run)
    _collect_orphans(hub, report, cut.timestamp())
    _collect_temporary(hub, report, cut.timestamp())
    _collect_git(hub, report, cut.timestamp())
    _collect_copies(hub, report)
    expired = BrowserSession.expires_at <= now()
    with hub.session(write=not dry_run) as session:
        count = select(func.count()).select_from(BrowserSession).where(expired)
        report.sessions = session.scalar(count) or 0
        if not dry_run:
            session.execute(delete(BrowserSession).where(expired))
    for repo in _repositories(hub):
        if hub.git.exists(repo):
            report.previews += [
                f"{repo.full_name}@{ref}" for ref in hub.previews.drop_stale(repo, dry_run=dry_run)
            ]
        if hub.git.exists(repo) and hub.git.head(repo) != repo.head:
            report.refreshed.append(repo.full_name)
            if not dry_run:
                with suppress(PlaitError):  # It may have been deleted in the meantime.
                    hub.repositories.refresh(repo)
    report.seconds = time.monotonic() - started
    return report


def _collect_blobs(hub: Hub, report: Garbage, cut: datetime) -> None:
    # First the candidates, then what is referred to: a blob that gains a reference in between
    # is no candidate any more, because referring to it touches it.
    with hub.session() as session:
        rows = session.execute(select(Blob.sha256, Blob.size).where(Blob.touched_at < cut))
        candidates = {row.sha256: row.size for row in rows}
    if candidates:
        for number in _git_numbers(hub):
            for sha256 in _referred(hub, number):
                candidates.pop(sha256, None)
    for sha256, size in sorted(candidates.items()):
        if report.dry_run or hub.blobs.delete_older(sha256, cut):
            report.blobs.append(sha256)
            report.blob_bytes += size


def _collect_orphans(hub: Hub, report: Garbage, cut: float) -> None:
    """Remove objects without a row: of uploads and removals that a crash cut short."""
    blobs = (item for item in hub.blobs.objects() if item.modified < cut)
    for page in _pages(blobs):
        names = {item.name.rsplit("/", 1)[1]: item for item in page}
        for digest in sorted(names.keys() - _rows(hub, Blob.sha256, names)):
            if report.dry_run or hub.blobs.delete_orphan(digest, cut):
                report.orphans.append(names[digest].name)
    xorbs = (item for item in hub.xet.store.objects() if item.modified < cut)
    for page in _pages(xorbs):
        found = {item.name.rsplit("/", 1)[1].removesuffix(INDEX) for item in page}
        for digest in sorted(found - _rows(hub, Xorb.hash, found)):
            if report.dry_run or hub.xet.store.delete_orphan(digest, cut):
                report.orphans.append(object_name("xorbs", digest))


def _pages(items: Iterator[StoredObject]) -> Iterator[list[StoredObject]]:
    while page := list(islice(items, _AT_ONCE)):
        yield page


def _rows(hub: Hub, column: InstrumentedAttribute[str], names: Iterable[str]) -> set[str]:
    with hub.session() as session:
        return set(session.scalars(select(column).where(column.in_(list(names)))))


def _referred(hub: Hub, number: int) -> set[str]:
    """Return what a git folder refers to.

    Raises:
        Conflict: it cannot be read, so that nothing can be said to be unused.
    """
    try:
        return {pointer.sha256 for pointer, _path in pointers(hub.git.open(number))}
    except (pygit2.GitError, KeyError, ValueError, PlaitError) as error:
        repo = hub.repositories.by_id(number)
        if repo is None:
            return set()
        raise Conflict(
            f"{repo.type} '{repo.full_name}' is damaged ({error}), so what it needs is unknown. "
            "No blob was removed. Bring its git folder back from a copy, or delete it."
        ) from None


def _collect_temporary(hub: Hub, report: Garbage, cut: float) -> None:
    found = _entries(hub.settings.temporary_dir, "*")
    for number in _git_numbers(hub):
        with suppress(FileNotFoundError):  # Somebody may be removing it at this moment.
            found += leftovers(hub.git.path(number))
    for entry in found:
        if _older(entry, cut):
            report.temporary.append(str(entry.relative_to(hub.settings.dir)))
            if not report.dry_run:
                _remove(entry)


def _collect_copies(hub: Hub, report: Garbage) -> None:
    """Remove what was made for looking into graphs whose repository is gone."""
    with hub.session() as session:
        known = {str(number) for number in session.scalars(select(Repository.id))}
    for entry in _entries(hub.settings.work_dir / "graphs", "*-*"):
        if entry.name.partition("-")[0] not in known:
            report.temporary.append(str(entry.relative_to(hub.settings.dir)))
            if not report.dry_run:
                _remove(entry)


def _entries(folder: Path, pattern: str) -> list[Path]:
    """List what matches in a folder that somebody may be removing at this moment."""
    try:
        return sorted(folder.glob(pattern))
    except FileNotFoundError:
        return []


def _collect_git(hub: Hub, report: Garbage, cut: float) -> None:
    entries = sorted(hub.settings.git_dir.iterdir())
    with hub.session() as session:
        known = {str(number) for number in session.scalars(select(Repository.id))}
    for entry in entries:
        match = _GIT_FOLDER.match(entry.name)
        leftover = entry.name.endswith((".git.new", ".git.deleted"))
        if (leftover or (match and match[1] not in known)) and _older(entry, cut):
            report.git_folders.append(entry.name)
            if not report.dry_run:
                _remove(entry)


def _older(entry: Path, cut: float) -> bool:
    """Tell whether neither the entry nor anything directly in it changed since ``cut``."""
    with suppress(FileNotFoundError):
        newest = entry.lstat().st_mtime
        if entry.is_dir() and not entry.is_symlink():
            newest = max([newest, *(child.lstat().st_mtime for child in entry.iterdir())])
        return newest < cut
    return False


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _git_numbers(hub: Hub) -> list[int]:
    """List every git folder that is there, also one whose row is not yet or no longer visible."""
    matches = (_GIT_FOLDER.match(entry.name) for entry in hub.settings.git_dir.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def _repositories(hub: Hub) -> list[Repository]:
    with hub.session() as session:
        return list(session.scalars(select(Repository).order_by(Repository.id)))
