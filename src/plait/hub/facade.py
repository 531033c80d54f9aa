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
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from plait.errors import BadInput, NotFound, StorageFull
from plait.hub.access import Access
from plait.hub.accounts import Accounts
from plait.hub.blobs import BlobStore
from plait.hub.collections import Collections
from plait.hub.commits import CommitService
from plait.hub.database import Blob, BlobGrant, Repository, make_engine
from plait.hub.discussions import Discussions
from plait.hub.events import Events
from plait.hub.git import GitStore
from plait.hub.likes import Likes
from plait.hub.migrations import upgrade
from plait.hub.references import References
from plait.hub.repositories import Repositories
from plait.hub.tokens import Tokens
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
            engine.execution_options(sqlite_begin="IMMEDIATE"), expire_on_commit=False
        )
        self.blobs = BlobStore(
            settings.blob_dir, settings.temporary_dir, max_size=settings.max_blob
        )
        self.git = GitStore(settings.git_dir, self._blob_size)
        self.events = Events()
        self.accounts = Accounts(self)
        self.tokens = Tokens(self)
        self.repositories = Repositories(self)
        self.access = Access(self)
        self.likes = Likes(self)
        self.discussions = Discussions(self)
        self.commits = CommitService(self)
        self.references = References(self)
        self.collections = Collections(self)

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
            engine = make_engine(settings.database)
            upgrade(engine)
        return cls(settings, engine, secret)

    def close(self) -> None:
        """Let the database go."""
        self.engine.dispose()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[Session]:
        """Open a transaction, committed at the end of the block and rolled back on an error.

        ``write`` takes SQLite's write lock at the start, so that what was read stays true until
        it is written; without it the block must only read.
        """
        try:
            with (self._write if write else self._read).begin() as session:
                if write:
                    # A session begins with its first statement; the lock is wanted now.
                    session.connection()
                yield session
        except OperationalError as error:
            if "disk is full" in str(error.orig):
                raise StorageFull(
                    "There is no room left for the hub's database. Free space on its disk."
                ) from error
            raise

    def grant_blob(
        self,
        session: Session,
        repo: Repository,
        sha256: str,
        size: int | None = None,
        xet_hash: str | None = None,
    ) -> None:
        """Record that ``repo`` has shown it holds these stored bytes and may refer to them.

        Raises:
            NotFound: the bytes are not in the blob store.
        """
        stored = self.blobs.size(sha256)
        if not self.blobs.touch(sha256) or (size is not None and size != stored):
            raise NotFound(f"The hub does not have {size} bytes of sha256 {sha256}.")
        blob = session.get(Blob, sha256)
        if blob is None:
            session.add(Blob(sha256=sha256, size=stored, xet_hash=xet_hash))
        elif xet_hash is not None and blob.xet_hash is None:
            blob.xet_hash = xet_hash
        session.merge(BlobGrant(repository_id=repo.id, sha256=sha256))

    def has_grant(self, session: Session, repo: Repository, sha256: str) -> bool:
        """Tell whether ``repo`` may refer to these bytes and they are stored."""
        found = session.get(BlobGrant, (repo.id, sha256))
        return found is not None and self.blobs.exists(sha256)

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
