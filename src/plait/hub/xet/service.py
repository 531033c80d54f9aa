# SPDX-License-Identifier: Apache-2.0
"""Xet uploads: xorbs come in, shards say which files they make, files become flat blobs.

Who may build a file from a xorb? Knowing its hash is never enough: a shard may name only xorbs that
the same user has uploaded, with all their bytes. A xorb that somebody else uploaded is answered
exactly like one that does not exist, and there is neither a lookup of chunks nor a download of
xorbs. On top of that the proof for each term must be right, and the bytes of the files, put
together here, must have the SHA-256 and the Xet hash that the shard says.

Clients deduplicate against what they uploaded in the last three weeks, and remember it by the
address of the Xet service. That address is different for every user and every hub
(:meth:`XetService.realm`), so people who share a machine, and hubs that are made anew on the same
port, do not get into each other's way.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, TooLarge
from plait.hub.database import Blob, Repository, Xorb, XorbOwner, now
from plait.hub.permissions import Actor
from plait.hub.xet.hashing import ZERO, MerkleTree, file_hash, range_hash, to_text
from plait.hub.xet.shard import MAX_SHARD, ShardFile, Term, read_shard
from plait.hub.xet.store import XorbStore
from plait.hub.xet.xorb import Source, XorbIndex

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MEMORY_OF_CLIENTS = timedelta(days=30)
"""Clients forget after three weeks what they uploaded, and a week later for certain."""

_AT_ONCE = 500
"""Databases bound the number of parameters of one statement."""


class XetService:
    """The Xet side of a hub's store."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        settings = hub.settings
        self.store = XorbStore(settings.xorb_dir, settings.temporary_dir, settings.max_xorb)

    def realm(self, actor: Actor) -> str:
        """The part of the Xet service's address that is this user's on this hub alone."""
        text = f"xet-realm\0{actor.user_id}".encode()
        return hmac.new(self.hub.secret, text, hashlib.sha256).hexdigest()[:16]

    def add_xorb(self, actor: Actor, name: str, body: Source) -> bool:
        """Check and keep a xorb that ``actor`` uploads; False if it was known.

        Raises:
            BadInput: it is damaged, or not the xorb of that name.
            TooLarge: it is larger than a xorb may be.
        """
        index, inserted = self.store.write(name, body)
        with self.hub.session(write=True) as session:
            known = session.get(Xorb, name)
            if known is None:
                session.add(Xorb(hash=name, size=index.size, raw_size=index.raw_size))
            else:
                known.created_at = now()
            session.merge(XorbOwner(user_id=actor.user_id, hash=name))
        return inserted

    def add_shard(self, actor: Actor, repo: Repository, body: Source) -> int:
        """Put the files of a shard together as blobs that ``repo`` may refer to; return how many.

        Raises:
            BadInput: a term names chunks that ``actor`` may not use, or a hash is wrong.
            TooLarge: the shard, or a file in it, is larger than it may be.
        """
        count = 0
        for file in read_shard(_Bounded(body, MAX_SHARD)):
            self._add_file(actor, repo, file)
            count += 1
        return count

    def collect(self, *, dry_run: bool = False) -> list[str]:
        """Remove xorbs that no client remembers and return their names.

        Files are blobs of their own: a xorb serves only later uploads of similar bytes.
        """
        cut = now() - MEMORY_OF_CLIENTS
        removed = []
        for name in self.store:
            with self.hub.session(write=not dry_run) as session:
                row = session.get(Xorb, name)
                if row is not None and row.created_at >= cut:
                    continue
                if row is None and not self._old(name, cut.timestamp()):
                    continue  # Its upload is still under way.
                removed.append(name)
                if dry_run:
                    continue
                for table in (XorbOwner, Xorb):
                    session.execute(delete(table).where(table.hash == name))
            # The rows go first: without them nobody can ask for the file.
            self.store.delete(name)
        return removed

    def _old(self, name: str, cut: float) -> bool:
        try:
            return self.store.path(name).stat().st_mtime < cut
        except FileNotFoundError:
            return False

    def _add_file(self, actor: Actor, repo: Repository, file: ShardFile) -> None:
        if file.size > self.hub.settings.max_blob:
            raise TooLarge(
                f"A file of {file.size} bytes is larger than the {self.hub.settings.max_blob} "
                "bytes that this hub takes. Split it."
            )
        names = {term.xorb: to_text(term.xorb) for term in file.terms}
        with self.hub.session() as session:
            usable = self._usable(session, actor, set(names.values()))
        tree = MerkleTree()
        for term in file.terms:
            self._check_term(term, names[term.xorb], usable, tree)
        if (file_hash(tree.root()) if file.terms else ZERO) != file.hash:
            raise BadInput(f"The chunks of file {to_text(file.hash)} do not make that hash.")
        xet_hash = to_text(file.hash)
        if not self._stored(file.sha256, file.size, xet_hash):
            self.hub.blobs.write(self._chunks(file.terms, names), file.sha256, file.size)
        with self.hub.session(write=True) as session:
            self.hub.grant_blob(session, repo, file.sha256, file.size, xet_hash)

    def _usable(self, session: Session, actor: Actor, wanted: set[str]) -> set[str]:
        usable: set[str] = set()
        names = sorted(wanted)
        for start in range(0, len(names), _AT_ONCE):
            usable.update(
                session.scalars(
                    select(XorbOwner.hash).where(
                        XorbOwner.user_id == actor.user_id,
                        XorbOwner.hash.in_(names[start : start + _AT_ONCE]),
                    )
                )
            )
        return usable

    def _check_term(self, term: Term, name: str, usable: set[str], tree: MerkleTree) -> None:
        if name not in usable or not self.store.exists(name):
            raise BadInput(
                f"The shard names xorb {name}, which this hub does not have from you. Remove the "
                "client's Xet cache (HF_XET_CACHE, usually ~/.cache/huggingface/xet) and upload "
                "again."
            )
        index: XorbIndex = self.store.index(name)
        if term.stop > len(index.chunks):
            raise BadInput(
                f"The shard names chunk {term.stop - 1} of xorb {name}, "
                f"which has {len(index.chunks)} chunks."
            )
        chunks = index.chunks[term.start : term.stop]
        if range_hash(chunk.hash for chunk in chunks) != term.proof:
            raise BadInput(
                f"The verification hash for chunks {term.start} to {term.stop} of xorb {name} "
                "is wrong."
            )
        if sum(chunk.size for chunk in chunks) != term.size:
            raise BadInput(
                f"The shard says that chunks {term.start} to {term.stop} of xorb {name} have "
                f"{term.size} bytes, which is wrong."
            )
        for chunk in chunks:
            tree.add(chunk.hash, chunk.size)

    def _stored(self, sha256: str, size: int, xet_hash: str) -> bool:
        """Tell whether these very chunks have been put together before and are still there."""
        with self.hub.session() as session:
            blob = session.get(Blob, sha256)
        return (
            blob is not None
            and blob.xet_hash == xet_hash
            and blob.size == size
            and self.hub.blobs.touch(sha256)
        )

    def _chunks(self, terms: Iterable[Term], names: dict[bytes, str]) -> Iterator[bytes]:
        for term in terms:
            yield from self.store.read(names[term.xorb], term.start, term.stop)


class _Bounded:
    """A stream that refuses to give more than ``limit`` bytes."""

    def __init__(self, stream: Source, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int = -1, /) -> bytes:
        """Read like the stream itself.

        Raises:
            TooLarge: the limit is reached.
        """
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(f"A shard may have at most {MAX_SHARD} bytes.")
        return data
