# SPDX-License-Identifier: Apache-2.0
"""One moment of a hub's records, while others go on writing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url, select, text
from sqlalchemy.orm import Session

from plait.errors import PlaitError, Unsupported
from plait.hub.database import Blob, Discussion, Repository, Xorb
from plait.hub.facade import Hub
from plait.hub.git.objects import MAIN, raw_target

SQLITE = "database.sqlite"
POSTGRESQL = "database.dump"


@dataclass(frozen=True)
class Moment:
    """What there was at one moment."""

    refs: dict[int, dict[str, str]]
    """Of each repository's git folder, every ref and the id that it held."""
    blobs: list[tuple[str, int]]
    """SHA-256 and size of those that the store holds as one object."""
    xorbs: list[tuple[str, int]]


def refs_of(hub: Hub, number: int) -> dict[str, str]:
    """Return the refs of a git folder with the ids that they hold."""
    git = hub.git.open(number)
    found = ((name, raw_target(git, name)) for name in git.references)
    return {name: oid for name, oid in found if oid is not None}


def take(hub: Hub, file: Path) -> Moment:
    """Return one moment of the hub and write its database to ``file`` as it was then.

    Whoever brings large files says so in the database before a ref refers to them: refs that are
    read before or while nobody may write to the database need nothing that it does not know.

    Raises:
        Unsupported: pg_dump is needed and missing.
    """
    refs: dict[int, dict[str, str]] = {}
    with hub.session() as session:
        numbers = list(session.scalars(select(Repository.id)))
    for number in numbers:
        if hub.git.exists(number):
            refs[number] = refs_of(hub, number)
    with ExitStack() as stack:
        with hub.session(write=True) as session:
            # Only what moved meanwhile is read again: nobody may write until this is done.
            heads = dict(session.execute(select(Repository.id, Repository.head)).tuples().all())
            for number in _changed(session, heads, refs):
                if hub.git.exists(number):
                    refs[number] = refs_of(hub, number)
            moment = Moment(
                {number: refs[number] for number in heads if number in refs},
                list(session.execute(select(Blob.sha256, Blob.size).where(Blob.flat)).tuples()),
                list(session.execute(select(Xorb.hash, Xorb.size)).tuples()),
            )
            url = make_url(hub.settings.database)
            hold = _sqlite if url.get_backend_name() == "sqlite" else _postgresql
            write = stack.enter_context(hold(hub, file))
        write()
    _sync(file)
    return moment


def _changed(
    session: Session, heads: dict[int, str | None], refs: dict[int, dict[str, str]]
) -> list[int]:
    """Name the repositories whose refs are not what the database knows of them."""
    pulls: dict[int, set[str]] = {}
    rows = session.execute(
        select(Discussion.repository_id, Discussion.number).where(
            Discussion.is_pull_request.is_(True)
        )
    )
    for number, pull in rows:
        pulls.setdefault(number, set()).add(f"refs/pr/{pull}")
    changed = []
    for number, head in heads.items():
        known = refs.get(number, {})
        seen = {name for name in known if name.startswith("refs/pr/")}
        if known.get(MAIN) != head or seen != pulls.get(number, set()):
            changed.append(number)
    return changed


@contextmanager
def _sqlite(hub: Hub, file: Path) -> Iterator[Callable[[], None]]:
    """Hold a reading transaction, which sees the database as it is now."""
    path = str(make_url(hub.settings.database).database)
    with closing(sqlite3.connect(path, isolation_level=None)) as source:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM accounts").fetchone()

        def write() -> None:
            with closing(sqlite3.connect(file)) as target:
                source.backup(target)

        yield write


@contextmanager
def _postgresql(hub: Hub, file: Path) -> Iterator[Callable[[], None]]:
    """Hold a transaction whose view of the database pg_dump can share."""
    engine = hub.engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection, connection.begin():
        name = connection.scalar(text("SELECT pg_export_snapshot()"))

        def write() -> None:
            command = ["pg_dump", "--format=custom", "--no-owner", f"--snapshot={name}"]
            run_database_tool([*command, f"--file={file}"], make_url(hub.settings.database))

        yield write


def run_database_tool(command: list[str], url: URL) -> None:
    """Run one of PostgreSQL's programs on the database of ``url``.

    Raises:
        Unsupported: it is not installed.
        PlaitError: it failed; the message is what it said.
    """
    if shutil.which(command[0]) is None:
        raise Unsupported(
            f"{command[0]} is not installed here. Install PostgreSQL's client programs."
        )
    plain = url.set(drivername="postgresql", password=None)
    done = subprocess.run(
        [*command, f"--dbname={plain.render_as_string()}"],
        # Not on the command line, where everybody on the machine can read it.
        env={**os.environ, **({"PGPASSWORD": url.password} if url.password else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PlaitError(f"{command[0]} failed: {done.stderr.strip()[-1000:]}")


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
