# SPDX-License-Identifier: Apache-2.0
"""Xet uploads: xorbs come in, shards say which files they make, files become flat blobs.

Who may build a file from a xorb? Knowing its hash is never enough. A shard of user U for
repository R may name xorb X when all of this holds:

* X was uploaded to R, or by U to any repository, or to (or used by) a repository that U may read;
* the shard's proof for each term is right, which takes the hash of every chunk of the term, and
  those are shown to nobody: there is no lookup of chunks and no download of xorbs;
* the files' bytes, put together here, have the SHA-256 and the Xet hash that the shard says.

A xorb that U may not use is answered exactly like one that does not exist. Clients deduplicate
against what they themselves uploaded in the last three weeks, so these rules cost them nothing,
unless two users who may not read each other's repositories share one cache folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, TooLarge
from plait.hub.database import Blob, Repository, Xorb, XorbGrant, XorbOwner, now
from plait.hub.permissions import Actor, can
from plait.hub.xet.hashing import ZERO, MerkleTree, file_hash, range_hash, to_text
from plait.hub.xet.shard import MAX_SHARD, ShardFile, Term, read_shard
from plait.hub.xet.store import XorbStore
from plait.hub.xet.xorb import Source, XorbIndex

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MEMORY_OF_CLIENTS = timedelta(days=30)
"""Clients forget after three weeks what they uploaded, and a week later for certain."""


class XetService:
    """The Xet side of a hub's store."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        settings = hub.settings
        self.store = XorbStore(settings.xorb_dir, settings.temporary_dir, settings.max_xorb)

    def add_xorb(self, actor: Actor, repo: Repository, name: str, body: Source) -> bool:
        """Check and keep a xorb that ``actor`` uploads to ``repo``; False if it was known.

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
            if actor.user_id is not None:
                session.merge(XorbOwner(user_id=actor.user_id, hash=name))
            session.merge(XorbGrant(repository_id=repo.id, hash=name))
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
                for table in (XorbOwner, XorbGrant, Xorb):
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
            usable = self._usable(session, actor, repo, set(names.values()))
        tree = MerkleTree()
        for term in file.terms:
            self._check_term(term, names[term.xorb], usable, tree)
        if (file_hash(tree.root()) if file.terms else ZERO) != file.hash:
            raise BadInput(f"The chunks of file {to_text(file.hash)} do not make that hash.")
        xet_hash = to_text(file.hash)
        if not self._stored(file.sha256, file.size, xet_hash):
            self.hub.blobs.write(self._chunks(file.terms, names), file.sha256, file.size)
        with self.hub.session(write=True) as session:
            self._remember(session, repo, file, xet_hash, names.values())

    def _usable(
        self, session: Session, actor: Actor, repo: Repository, wanted: set[str]
    ) -> set[str]:
        granted: set[str] = set()
        for part in _parts(sorted(wanted)):
            rows = session.scalars(
                select(XorbOwner.hash).where(
                    XorbOwner.user_id == actor.user_id, XorbOwner.hash.in_(part)
                )
            )
            granted.update(rows)
            rows = session.scalars(
                select(XorbGrant.hash).where(
                    XorbGrant.repository_id == repo.id, XorbGrant.hash.in_(part)
                )
            )
            granted.update(rows)
            missing = [name for name in part if name not in granted]
            holders = session.execute(
                select(XorbGrant.hash, Repository)
                .join(Repository, Repository.id == XorbGrant.repository_id)
                .where(XorbGrant.hash.in_(missing))
            )
            granted.update(name for name, holder in holders if can(actor, "repo.read", holder))
        return granted

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

    def _remember(
        self,
        session: Session,
        repo: Repository,
        file: ShardFile,
        xet_hash: str,
        names: Iterable[str],
    ) -> None:
        self.hub.grant_blob(session, repo, file.sha256, file.size, xet_hash)
        for name in set(names):
            session.merge(XorbGrant(repository_id=repo.id, hash=name))


def _parts(names: list[str], size: int = 500) -> Iterator[list[str]]:
    """Cut a list for ``IN (…)``; databases bound the number of parameters."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


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
