# SPDX-License-Identifier: Apache-2.0
"""One hub: a folder, a database, and the services over them."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.orm import Session, sessionmaker

from plait.errors import BadInput, NotFound
from plait.hub.activity import Activities
from plait.hub.audit import Audit
from plait.hub.database import Blob, BlobGrant, Repository, make_engine
from plait.hub.database.engine import WRITE, explain
from plait.hub.events import Events
from plait.hub.git.commits import CommitService
from plait.hub.git.previews import Previews
from plait.hub.git.references import References
from plait.hub.git.store import GitStore
from plait.hub.migrations import upgrade
from plait.hub.notifications import Notifications
from plait.hub.people.accounts import Accounts
from plait.hub.people.identities import Identities
from plait.hub.people.limits import Limits
from plait.hub.people.social import Social
from plait.hub.people.teams import Teams
from plait.hub.people.tokens import Tokens
from plait.hub.repositories.access import Access
from plait.hub.repositories.collections import Collections
from plait.hub.repositories.discussions import Discussions
from plait.hub.repositories.facets import Facets
from plait.hub.repositories.hidden import Hidden
from plait.hub.repositories.labels import Labels
from plait.hub.repositories.largefiles import LargeFiles
from plait.hub.repositories.likes import Likes
from plait.hub.repositories.popularity import Popularity
from plait.hub.repositories.protection import Protection
from plait.hub.repositories.reviews import Reviews
from plait.hub.repositories.service import Repositories
from plait.hub.repositories.statuses import Statuses
from plait.hub.scanning import Scans
from plait.hub.storage import open_store
from plait.hub.storage.blobs import BlobStore
from plait.hub.webhooks import Webhooks
from plait.hub.webhooks.outbox import Outbox
from plait.settings import MARKER, Settings

if TYPE_CHECKING:
    from plait.hub.xet import XetService


class Hub:
    """Everything that a face or job does with the store goes through here.

    Several processes may have the same hub open. Records that come out of it are detached:
    they can be read after their session, and writing to them changes nothing.
    """

    def __init__(self, settings: Settings, engine: Engine, secret: bytes) -> None:
        self.settings = settings
        self.engine = engine
        self.secret = secret
        """Signs upload addresses and Xet tokens."""
        self._read = sessionmaker(engine, expire_on_commit=False)
        self._write = sessionmaker(
            engine.execution_options(**{WRITE: True}), expire_on_commit=False
        )
        self.store = open_store(settings)
        """Where the bytes of blobs and xorbs lie."""
        self.blobs = BlobStore(self)
        self.git = GitStore(settings.git_dir, self._blob_size)
        self.events = Events()
        self.audit = Audit(self)
        self.limits = Limits(self)
        self.accounts = Accounts(self)
        self.tokens = Tokens(self)
        self.teams = Teams(self)
        self.identities = Identities(self)
        self.repositories = Repositories(self)
        self.access = Access(self)
        self.facets = Facets(self)
        self.likes = Likes(self)
        self.largefiles = LargeFiles(self)
        self.hidden = Hidden(self)
        self.git.guards.append(self.hidden.guard)
        self.popularity = Popularity(self)
        self.discussions = Discussions(self)
        self.labels = Labels(self)
        self.notifications = Notifications(self)
        self.activity = Activities(self)
        self.reviews = Reviews(self)
        self.statuses = Statuses(self)
        self.protection = Protection(self)
        self.commits = CommitService(self)
        self.references = References(self)
        self.previews = Previews(self)
        self.collections = Collections(self)
        self.social = Social(self)
        self.webhooks = Webhooks(self)
        self.events.listeners.append(Outbox(settings))
        self.scans = Scans(self)
        self.events.listeners.append(self.scans.hear)

    @cached_property
    def xet(self) -> XetService:
        """The Xet protocol's storage side."""
        # Its formats are loaded only where they are spoken.
        from plait.hub.xet import XetService

        return XetService(self)

    @classmethod
    def open(cls, settings: Settings) -> Hub:
        """Open the hub in ``settings.dir``, making it if the folder is empty or missing.

        Raises:
            BadInput: the folder holds something else.
        """
        claim_folder(settings.dir)
        for folder in (
            settings.git_dir,
            settings.blob_dir,
            settings.xorb_dir,
            settings.temporary_dir,
            settings.work_dir,
        ):
            folder.mkdir(exist_ok=True)
        with folder_lock(settings.dir):
            secret = _secret(settings.dir / "secret.key")
            engine = make_engine(settings.database, settings.database_connections)
            upgrade(engine)
        return cls(settings, engine, secret)

    def close(self) -> None:
        """Write what is still to be written and let the database go."""
        self.popularity.close()
        self.engine.dispose()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[Session]:
        """Open a transaction, committed at the end of the block and rolled back on an error.

        ``write`` waits for its turn to write at the start, so that what was read stays true until
        it is written; without it the block must only read.

        Raises:
            StorageFull, DatabaseBusy, DatabaseUnavailable: what the database's errors mean.
        """
        try:
            with (self._write if write else self._read).begin() as session:
                if write:
                    # A session begins with its first statement; the lock is wanted now.
                    session.connection()
                yield session
        except (DBAPIError, TimeoutError) as error:
            if (meaning := explain(error)) is None:
                raise
            raise meaning from error

    def grant_blob(
        self,
        session: Session,
        repo: Repository,
        sha256: str,
        size: int | None = None,
        user_id: int | None = None,
    ) -> None:
        """Record that ``repo`` has shown it holds these stored bytes and may refer to them.

        ``user_id`` is who brought them.

        Raises:
            NotFound: the bytes are not in the blob store.
        """
        stored = self.blobs.touch_all([sha256], session).get(sha256)
        if stored is None or (size is not None and size != stored):
            raise NotFound(f"The hub does not have {size} bytes of sha256 {sha256}.")
        if session.get(BlobGrant, (repo.id, sha256)) is None:
            session.merge(BlobGrant(repository_id=repo.id, sha256=sha256, user_id=user_id))

    def has_grant(self, session: Session, repo: Repository, sha256: str) -> bool:
        """Tell whether ``repo`` may refer to these bytes and they are stored."""
        found = session.get(BlobGrant, (repo.id, sha256))
        return found is not None and session.get(Blob, sha256) is not None

    def _blob_size(self, sha256: str) -> int:
        with self.session() as session:
            size = session.scalar(select(Blob.size).where(Blob.sha256 == sha256))
        return self.blobs.size(sha256) if size is None else size


def claim_folder(folder: Path) -> None:
    """Make sure that ``folder`` is a hub's, marking it if it is new or empty.

    Raises:
        BadInput: it is a file, or holds something that Plait did not put there.
    """
    marker = folder / MARKER
    if marker.is_file():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(e.name for e in folder.iterdir() if e.name not in _HARMLESS)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{folder} is a file. Name a folder for the hub.") from None
    # Another process may be making the same hub at this moment; it writes the marker first.
    if others and not marker.is_file():
        raise BadInput(
            f"{folder} is not a hub's folder and not empty (it holds '{others[0]}'). "
            "Name an empty or new folder."
        )
    with folder_lock(folder):
        if not marker.is_file():
            fresh = folder / f"{MARKER}.new"
            fresh.write_text(json.dumps({"plait": "hub", "version": 1}) + "\n")
            fresh.replace(marker)


_LOCK = "plait.lock"
_HARMLESS = frozenset({_LOCK, MARKER, f"{MARKER}.new", "lost+found"})


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False, name: str = _LOCK) -> Iterator[None]:
    """Hold a lock of the hub's folder against other processes and threads."""
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _secret(path: Path) -> bytes:
    """Read the hub's signing key, made once, readable by its owner alone."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(secrets.token_bytes(32))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
    return path.read_bytes()
