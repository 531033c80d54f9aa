# SPDX-License-Identifier: Apache-2.0
"""What the hub asks of a store for bytes: whole objects by name, read by ranges."""

from __future__ import annotations

import errno
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plait.errors import BadInput, StorageFull

CHUNK = 2**20
"""Bytes that are read and passed on at once."""
_NAME = re.compile(r"\A(?:blobs|xorbs)/([0-9a-f]{2})/([0-9a-f]{2})/\1\2[0-9a-f]{60}(?:\.index)?\Z")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is there whole; ``modified`` in seconds since 1970."""

    name: str
    size: int
    modified: float


class ObjectStore(ABC):
    """Objects that appear whole or not at all, and never change.

    Names are ``blobs/ab/cd/abcd…`` (SHA-256) and ``xorbs/ab/cd/abcd…`` (Xet hash), so that no name
    of a user's choosing reaches the store.
    """

    @property
    @abstractmethod
    def address(self) -> str:
        """Where the store is, for people."""

    @abstractmethod
    def put(self, name: str, source: Path | bytes) -> None:
        """Store bytes under ``name``, durable on return; a file stays where it is.

        Raises:
            StorageFull: there is no room.
        """

    @abstractmethod
    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes ``start`` to ``end`` (exclusive), which lie inside the object.

        Raises:
            FileNotFoundError: no such object; raised by the call, before the first byte.
        """

    @abstractmethod
    def head(self, name: str) -> StoredObject | None:
        """Describe an object; None if it is not there."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose name starts with the folder ``prefix``."""

    def signed_url(
        self,
        name: str,
        seconds: int,
        *,
        headers: dict[str, str] | None = None,
        part: tuple[int, int] | None = None,
    ) -> str | None:
        """Return an address from which anybody can read the object for some time, if there is such.

        ``headers`` are those of the answer (Content-Type, Content-Disposition); ``part`` limits it
        to the bytes from its first to its second number (exclusive), and the request must name
        exactly these in its Range header.
        """
        return None

    def local_path(self, name: str) -> Path | None:
        """Return the object's file, if it is one on this machine."""
        return None


def check_name(name: str) -> str:
    """Return ``name`` if a store may hold an object of that name.

    Raises:
        BadInput: it may not.
    """
    if not _NAME.match(name):
        raise BadInput(f"{name[:120]!a} is not the name of a blob or xorb.")
    return name


def object_name(kind: str, digest: str) -> str:
    """Return the name of the object of a hash: ``kind/ab/cd/abcd…``."""
    return f"{kind}/{digest[:2]}/{digest[2:4]}/{digest}"


def storage_full(what: str) -> StorageFull:
    """Return the error for a disk without room for ``what``."""
    return StorageFull(
        f"There is no room left to store {what}. Free space on the hub's disk "
        "(`plait gc` removes what nothing refers to) and try again."
    )


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn a full disk into `StorageFull`; other errors of the system pass."""
    try:
        yield
    except OSError as error:
        # libgit2's errors have no number, only the system's words.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise storage_full(what) from error
        raise
