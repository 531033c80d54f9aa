# SPDX-License-Identifier: Apache-2.0
"""Xorbs in the store: each with the index of its chunks beside it.

They are kept and collected as blobs are (`plait.hub.storage.blobs`): the row is the truth.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy import delete, exists, select, update

from plait.errors import BadInput, PlaitError, StoreUnavailable, TooLarge
from plait.hub.database import XetFileXorb, Xorb, XorbOwner, lock_name, now
from plait.hub.storage.base import CHUNK, StoredObject, object_name, storage_errors
from plait.hub.xet.hashing import from_text, to_text
from plait.hub.xet.xorb import Pieces, Source, XorbIndex, check_xorb, unpack_chunks

if TYPE_CHECKING:
    from plait.hub.facade import Hub

FOLDER = "xorbs"
INDEX = ".index"
_CHUNKS_IN_MEMORY = 2**16
_AT_ONCE = 500


class XorbStore:
    """The xorbs of one hub, as sent but for the footer."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._indexes = _Indexes()

    def exists(self, name: str) -> bool:
        """Tell whether the hub has the xorb."""
        from_text(name)
        with self._hub.session() as session:
            return session.get(Xorb, name) is not None

    def __iter__(self) -> Iterator[str]:
        """Yield the name of every xorb, in order."""
        last = ""
        while True:
            with self._hub.session() as session:
                rows = session.scalars(
                    select(Xorb.hash).where(Xorb.hash > last).order_by(Xorb.hash).limit(1000)
                ).all()
            yield from rows
            if not rows:
                return
            last = rows[-1]

    def objects(self) -> Iterator[StoredObject]:
        """Yield every object of a xorb or index in the store, also those without a row."""
        return self._hub.store.list(FOLDER)

    def present(self, name: str) -> bool:
        """Tell whether the row, the xorb and its index are there, reading neither."""
        with self._hub.session() as session:
            row = session.get(Xorb, name)
        return row is not None and self._whole(_name(name), row.size)

    def index(self, name: str) -> XorbIndex:
        """Return the chunks of a stored xorb.

        Raises:
            PlaitError: its index is missing or damaged.
        """
        found = self._indexes.get(name)
        if found is None:
            try:
                found = XorbIndex.from_bytes(b"".join(self._hub.store.read(_name(name) + INDEX)))
            except (FileNotFoundError, BadInput):
                raise damaged(name, "its index cannot be read") from None
            self._indexes.put(name, found)
        return found

    def write(self, name: str, body: Source, owner: int | None) -> bool:
        """Check a serialised xorb and keep it for the user ``owner``; False if it was there.

        Raises:
            BadInput: it is not a xorb, or not the one of that name.
            TooLarge: it is larger than a xorb may be.
            StorageFull: the disk is full.
        """
        target = _name(name)
        with storage_errors(f"xorb {name}"), self._temporary() as (file, stream):
            self._copy(body, stream)
            stream.seek(0)
            index = check_xorb(stream)
            if index.hash != from_text(name):
                raise BadInput(f"The xorb sent as {name} is {to_text(index.hash)}.")
            stream.truncate(index.size)
            stream.flush()
            for again in range(2):
                if not self._whole(target, index.size):
                    self._put(target, index, file)
                with self._hub.session(write=True) as session:
                    lock_name(session, target)
                    if not self._whole(target, index.size):
                        if not again:
                            continue  # Collected a moment ago, before there was a row.
                        self._put(target, index, file)
                    row = session.get(Xorb, name)
                    if row is None:
                        session.add(Xorb(hash=name, size=index.size, raw_size=index.raw_size))
                    else:
                        row.touched_at = now()
                    if owner is not None:
                        session.merge(XorbOwner(user_id=owner, hash=name))
                    return row is None
        raise AssertionError("unreachable")

    def touch(self, owner: int | None, names: Iterable[str]) -> set[str]:
        """Mark xorbs as wanted, and return those that are there and that the user uploaded."""
        wanted, found = sorted(set(names)), set[str]()
        with self._hub.session(write=True) as session:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                session.execute(update(Xorb).where(Xorb.hash.in_(some)).values(touched_at=now()))
                found.update(
                    session.scalars(
                        select(Xorb.hash)
                        .join(XorbOwner, XorbOwner.hash == Xorb.hash)
                        .where(XorbOwner.user_id == owner, Xorb.hash.in_(some))
                    )
                )
        return found

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the uncompressed chunks ``start`` to ``stop`` (exclusive).

        Raises:
            PlaitError: the xorb is missing or damaged.
        """
        index = self.index(name)
        try:
            pieces = self.read_bytes(name, index.start(start), index.start(stop))
            yield from unpack_chunks(pieces, start, stop)
        except (FileNotFoundError, BadInput) as error:
            raise damaged(name, str(error)) from None

    def read_bytes(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield serialised bytes of a xorb.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._hub.store.read(_name(name), start, end)

    def signed_url(self, name: str, seconds: int, part: tuple[int, int]) -> str | None:
        """Return an address in the store for a part of a xorb, if the store gives such."""
        return self._hub.store.signed_url(_name(name), seconds, part=part)

    def verify(self, name: str) -> str | None:
        """Read a xorb whole; return what is wrong with it in a few words, None if nothing is."""
        try:
            index = self.index(name)
            checked = check_xorb(Pieces(self.read_bytes(name, 0, index.size)))
        except StoreUnavailable:
            raise
        except (PlaitError, OSError) as error:
            return f"xorb {name} is missing or damaged ({error})"
        if checked != index or checked.hash != from_text(name):
            return f"xorb {name} is damaged"
        return None

    def delete(self, name: str) -> bool:
        """Remove a xorb, also when files need it; False if it was not there."""
        return self._remove(name, None)

    def delete_older(self, name: str, cut: datetime) -> bool:
        """Remove a xorb that no file needs and nobody has touched since ``cut``."""
        return self._remove(name, cut)

    def _remove(self, name: str, cut: datetime | None) -> bool:
        needed = exists().where(XetFileXorb.xorb == name)
        with self._hub.session(write=True) as session:
            lock_name(session, _name(name))
            row = session.get(Xorb, name, with_for_update={"of": Xorb})
            if row is None or (
                cut is not None and (row.touched_at >= cut or session.scalar(select(needed)))
            ):
                return False
            session.execute(delete(XorbOwner).where(XorbOwner.hash == name))
            session.delete(row)
        self.delete_orphan(name, None)
        return True

    def delete_orphan(self, name: str, cut: float | None) -> bool:
        """Remove the objects of a xorb without a row, older than ``cut`` (seconds since 1970)."""
        target, store = _name(name), self._hub.store
        with self._hub.session(write=True) as session:
            lock_name(session, target)
            if session.get(Xorb, name) is not None:
                return False
            if cut is not None:
                found = [store.head(target), store.head(target + INDEX)]
                if any(one is not None and one.modified >= cut for one in found):
                    return False
            # The index goes last: a xorb that is there has one.
            store.delete(target)
            store.delete(target + INDEX)
        self._indexes.drop(name)
        return True

    def _whole(self, target: str, size: int) -> bool:
        found = self._hub.store.head(target)
        if found is None or found.size != size:
            return False
        return self._hub.store.head(target + INDEX) is not None

    def _put(self, target: str, index: XorbIndex, file: Path) -> None:
        """Store the index first: a xorb that is there has one."""
        self._hub.store.put(target + INDEX, index.to_bytes())
        self._hub.store.put(target, file)

    def _copy(self, body: Source, stream: BinaryIO) -> None:
        size, limit = 0, self._hub.settings.max_xorb
        while part := body.read(CHUNK):
            size += len(part)
            if size > limit:
                raise TooLarge(f"A xorb may have at most {limit} bytes.")
            stream.write(part)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        folder = self._hub.settings.temporary_dir
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"xorb-{secrets.token_hex(12)}"
        try:
            with file.open("x+b") as stream:
                yield file, stream
        finally:
            file.unlink(missing_ok=True)


class _Indexes:
    """The indexes used last; their number is bounded by their chunks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, XorbIndex] = OrderedDict()
        self._chunks = 0

    def get(self, name: str) -> XorbIndex | None:
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
            return found

    def put(self, name: str, index: XorbIndex) -> None:
        with self._lock:
            if name not in self._kept:
                self._kept[name] = index
                self._chunks += len(index.chunks)
            while self._chunks > _CHUNKS_IN_MEMORY and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._chunks -= len(old.chunks)

    def drop(self, name: str) -> None:
        with self._lock:
            old = self._kept.pop(name, None)
            if old is not None:
                self._chunks -= len(old.chunks)


def damaged(name: str, why: str) -> PlaitError:
    """Return the error for a stored xorb that is not what it should be."""
    return PlaitError(f"The stored xorb {name} is damaged: {why} Restore it from a backup.")


def _name(name: str) -> str:
    from_text(name)
    return object_name(FOLDER, name)
