# SPDX-License-Identifier: Apache-2.0
"""`plait fsck`: find and name everything that is damaged or missing. Nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pygit2
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import InstrumentedAttribute

from plait.errors import PlaitError
from plait.hub.database import Blob, BlobGrant, Discussion, Repository, Xorb
from plait.hub.facade import Hub, folder_lock
from plait.hub.git import command as gitcommand
from plait.hub.git.command import GitFailed
from plait.hub.git.objects import MAIN
from plait.hub.git.packing import LOCK
from plait.hub.names import pull_number
from plait.hub.upkeep.reachable import pointers

_PAGE = 500
_HARMLESS = re.compile(
    # The last are temporary files of a process that is at work or was killed.
    r"(?:notice|warning|dangling|unreachable|hint|checking)\b|bad sha1 file: .*/tmp_object_"
)


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    place: str
    """``model namespace/name``, ``blob …``, ``xorb …``, ``database`` or ``audit log``."""
    what: str
    damage: bool = True
    """False: a crash left it, nothing is lost, and `plait gc` puts it right."""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def check(hub: Hub, *, deep: bool = False) -> list[Problem]:
    """List what is not as it should be; safe while the hub is in use.

    Git objects are always read whole. ``deep`` reads every large file and xorb as well and
    compares their hashes; otherwise only that they are there, with the right size.
    """
    return list(problems(hub, deep=deep))


def damage(hub: Hub, *, deep: bool = False) -> list[Problem]:
    """List what is lost or damaged, leaving out what `plait gc` puts right."""
    return [problem for problem in problems(hub, deep=deep) if problem.damage]


def problems(hub: Hub, *, deep: bool = False) -> Iterator[Problem]:
    """Yield what is not as it should be, as it is found."""
    yield from _database(hub)
    verdict = hub.audit.verify()
    if verdict.broken is not None:
        yield Problem("audit log", f"entry {verdict.broken}: {verdict.reason}")
    used: dict[str, str] = {}
    told: set[str] = set()
    # Packs must not be replaced while git reads them.
    with folder_lock(hub.settings.dir, name=LOCK, shared=True):
        for repo in _repositories(hub):
            found = _repository(hub, repo, used, told)
            if found and hub.repositories.by_id(repo.id) is not None:
                # Somebody may have been at work: what is really wrong is so a second time.
                again = set(_repository(hub, repo, used, told))
                yield from (problem for problem in found if problem in again)
    yield from _abandoned(hub)
    yield from _rows(Blob.sha256, "blob", hub, _blob_check(hub, used, told, deep))
    yield from _rows(Xorb.hash, "xorb", hub, _xorb_check(hub, deep))


def _repositories(hub: Hub) -> Iterator[Repository]:
    last = 0
    while True:
        with hub.session() as session:
            page = session.scalars(
                select(Repository).where(Repository.id > last).order_by(Repository.id).limit(_PAGE)
            ).all()
        if not page:
            return
        yield from page
        last = page[-1].id


def _database(hub: Hub) -> Iterator[Problem]:
    if hub.engine.dialect.name != "sqlite":
        return
    try:
        with hub.session() as session:
            for (said,) in session.execute(text("PRAGMA integrity_check(20)")):
                if said != "ok":
                    yield Problem("database", str(said))
            for row in session.execute(text("PRAGMA foreign_key_check")):
                yield Problem("database", f"row {row[1]} of {row[0]} refers to a row that is gone")
    except DatabaseError as error:
        yield Problem("database", f"it cannot be read ({error.orig})")


# -- a repository -------------------------------------------------------------------------------


def _repository(hub: Hub, repo: Repository, used: dict[str, str], told: set[str]) -> list[Problem]:
    place = f"{repo.type} {repo.full_name}"
    if not hub.git.exists(repo):
        return [Problem(place, "its git folder is missing")]
    try:
        git = hub.git.open(repo)
        damaged = [Problem(place, what) for what in _objects(hub, repo)]
        found = damaged + _records(hub, git, repo, place, whole=not damaged)
        # A damaged object can hold libgit2 up for ever, so it reads only what git found whole.
        large = [] if damaged else list(pointers(git))
    except (pygit2.GitError, KeyError, ValueError, OSError, PlaitError) as error:
        return [Problem(place, f"its git folder cannot be read ({error})")]
    with hub.session() as session:
        granted = set(
            session.scalars(select(BlobGrant.sha256).where(BlobGrant.repository_id == repo.id))
        )
    for pointer, path in large:
        used.setdefault(pointer.sha256, f"{place}: {path}")
        where = f"{path} (sha256 {pointer.sha256})"
        if pointer.sha256 not in granted:
            found.append(Problem(place, f"{where} was not uploaded there"))
        elif not hub.blobs.present(pointer.sha256):
            told.add(pointer.sha256)
            found.append(Problem(place, f"the bytes of {where} are missing"))
        elif (size := hub.blobs.size(pointer.sha256)) != pointer.size:
            found.append(
                Problem(place, f"{where} should have {pointer.size} bytes but {size} are stored")
            )
    return found


def _objects(hub: Hub, repo: Repository) -> Iterator[str]:
    """Let git read all objects and follow all references; yield what it says is wrong."""
    try:
        printed = gitcommand.run(
            hub.git.path(repo),
            "fsck",
            "--full",
            "--no-dangling",
            "--no-reflogs",
            "--no-progress",
            "--name-objects",
            bounded=False,
            seconds=24 * 3600,
            merge_output=True,
            accept=range(256),
        ).decode("utf-8", "replace")
    except GitFailed as error:
        yield error.message
        return
    for line in printed.splitlines():
        said = line.strip()
        if said and not _HARMLESS.match(said):
            yield f"git: {said.removeprefix('error: ').replace(str(hub.settings.git_dir), '')}"


def _records(hub: Hub, git: Any, repo: Repository, place: str, *, whole: bool) -> list[Problem]:
    """Compare what the database says of a repository with git, which has the truth.

    Objects are read only if the repository is ``whole``.
    """
    found: list[Problem] = []
    names = set(git.references)
    if MAIN not in names:
        found.append(Problem(place, f"{MAIN} is missing"))
    with hub.session() as session:
        rows = session.execute(
            select(Discussion.number, Discussion.merge_commit).where(
                Discussion.repository_id == repo.id, Discussion.is_pull_request.is_(True)
            )
        ).all()
    pulls = {row.number for row in rows}
    there = {number for name in names if (number := pull_number(name)) is not None}
    for number in sorted(pulls - there):
        found.append(Problem(place, f"refs/pr/{number} is missing"))
    for number in sorted(there - pulls):
        what = f"refs/pr/{number} belongs to no pull request"
        found.append(Problem(place, what, damage=False))
    commits = {row.merge_commit: f"merged pull request {row.number}" for row in rows}
    commits[repo.head] = "was once its main"
    for oid, what in commits.items():
        if oid and oid not in git:
            found.append(Problem(place, f"the commit {oid}, which {what}, is missing"))
    if whole and MAIN in names and hub.git.head(repo) != repo.head:
        found.append(Problem(place, "what is listed of it is behind its main", damage=False))
    return found


def _abandoned(hub: Hub) -> Iterator[Problem]:
    for entry in sorted(hub.settings.git_dir.glob("*.git")):
        number = entry.name.removesuffix(".git")
        if number.isdigit() and hub.repositories.by_id(int(number)) is None:
            yield Problem(f"git/{entry.name}", "it belongs to no repository", damage=False)


# -- what lies outside git ----------------------------------------------------------------------


def _rows(
    column: InstrumentedAttribute[str], kind: str, hub: Hub, look: Callable[[str], str | None]
) -> Iterator[Problem]:
    """Look at each name of a table; what is wrong must be so twice, as somebody may be at work."""
    last = ""
    while True:
        with hub.session() as session:
            page = session.scalars(
                select(column).where(column > last).order_by(column).limit(_PAGE)
            ).all()
        if not page:
            return
        for name in page:
            said = look(name)
            if said is not None and _still(hub, column, name) and look(name) is not None:
                yield Problem(f"{kind} {name}", said)
        last = page[-1]


def _still(hub: Hub, column: InstrumentedAttribute[str], name: str) -> bool:
    with hub.session() as session:
        return session.scalar(select(column).where(column == name)) is not None


def _blob_check(
    hub: Hub, used: dict[str, str], told: set[str], deep: bool
) -> Callable[[str], str | None]:
    def look(sha256: str) -> str | None:
        if sha256 in told:
            return None
        where = f" (used by {used[sha256]})" if sha256 in used else ""
        if not hub.blobs.present(sha256):
            return f"its bytes are missing, or not as many as there should be{where}"
        said = hub.blobs.verify(sha256) if deep else None
        return None if said is None else f"{said}{where}"

    return look


def _xorb_check(hub: Hub, deep: bool) -> Callable[[str], str | None]:
    def look(name: str) -> str | None:
        if not hub.xet.store.present(name):
            return "it is missing, or has not as many bytes as it should"
        return hub.xet.store.verify(name) if deep else None

    return look
