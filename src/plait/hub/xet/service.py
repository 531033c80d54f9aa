# SPDX-License-Identifier: Apache-2.0
"""Xet: xorbs come in, shards say which files they make, and files are read out of them.

Who may build a file from a xorb? Knowing its hash is never enough: a shard may name only xorbs that
the same user has uploaded, with all their bytes. A xorb that somebody else uploaded is answered
exactly like one that does not exist, and there is no lookup of chunks. On top of that the proof for
each term must be right, and the bytes of the files, put together here once, must have the SHA-256
and the Xet hash that the shard says.

Who may read? A file is read through a repository and a commit of it: the repository must have been
granted the file (`BlobGrant`) and the commit must hold it. Of a xorb only the chunks that the file
is made of are sent (:mod:`plait.api.xet`).

Clients deduplicate against what they uploaded in the last three weeks, and remember it by the
address of the Xet service. That address is different for every user and every hub
(:meth:`XetService.realm`), so people who share a machine, and hubs that are made anew on the same
port, do not get into each other's way.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, NotFound, TooLarge
from plait.hub.database import (
    Blob,
    BlobGrant,
    Repository,
    XetFile,
    XetFileXorb,
    Xorb,
    lock_name,
    now,
)
from plait.hub.permissions import Actor
from plait.hub.storage.base import CHUNK
from plait.hub.xet.hashing import ZERO, MerkleTree, file_hash, from_text, range_hash, to_text
from plait.hub.xet.shard import MAX_SHARD, ShardFile, Term, read_shard
from plait.hub.xet.store import XorbStore
from plait.hub.xet.terms import FileTerm, Piece, pack_terms, plan
from plait.hub.xet.xorb import Source

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MEMORY_OF_CLIENTS = timedelta(days=30)
"""Clients forget after three weeks what they uploaded, and a week later for certain."""

WORTH_XET = 256 * 1024
"""Smaller files are not offered for reading by Xet: a plain download costs a client less."""
_AT_ONCE = 500
"""Databases bound the number of parameters of one statement."""
_COMMITS_IN_MEMORY = 8
_FILES = 200
_TERMS = 50_000
"""Files of a shard that are kept in one transaction, and about how many terms they may have."""


@dataclass(frozen=True)
class _Made:
    """A file of a shard, checked: as it will be kept."""

    sha256: str
    size: int
    xet_hash: str
    terms: bytes
    xorbs: list[str]


class XetService:
    """The Xet side of a hub's store."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.store = XorbStore(hub)
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[int, str], frozenset[bytes]] = OrderedDict()

    def realm(self, actor: Actor) -> str:
        """The part of the Xet service's address that is this user's on this hub alone."""
        text = f"xet-realm\0{actor.user_id}".encode()
        return hmac.new(self.hub.secret, text, hashlib.sha256).hexdigest()[:16]

    # -- uploads --------------------------------------------------------------------------------

    def add_xorb(self, actor: Actor, name: str, body: Source) -> bool:
        """Check and keep a xorb that ``actor`` uploads; False if it was known.

        Raises:
            BadInput: it is damaged, or not the xorb of that name.
            TooLarge: it is larger than a xorb may be.
        """
        return self.store.write(name, body, actor.user_id)

    def add_shard(self, actor: Actor, repo: Repository, body: Source) -> int:
        """Keep the files of a shard as blobs that ``repo`` may refer to; return how many.

        Raises:
            BadInput: a term names chunks that ``actor`` may not use, or a hash is wrong.
            TooLarge: the shard, or a file in it, is larger than it may be.
        """
        count = 0
        batch: list[ShardFile] = []
        for file in read_shard(_Bounded(body, MAX_SHARD)):
            if file.size > self.hub.settings.max_blob:
                raise TooLarge(
                    f"A file of {file.size} bytes is larger than the "
                    f"{self.hub.settings.max_blob} bytes that this hub takes. Split it."
                )
            batch.append(file)
            count += 1
            if len(batch) == _FILES or sum(len(one.terms) for one in batch) > _TERMS:
                self._add_files(actor, repo, batch)
                batch = []
        self._add_files(actor, repo, batch)
        return count

    def _add_files(self, actor: Actor, repo: Repository, files: list[ShardFile]) -> None:
        """Check files and keep them, in one transaction."""
        if not files:
            return
        # Touched now, they stay until the files' own rows keep them.
        xorbs = {to_text(term.xorb) for file in files for term in file.terms}
        usable = self.store.touch(actor.user_id, xorbs)
        made = sorted((self._check_file(file, usable) for file in files), key=lambda m: m.sha256)
        with self.hub.session(write=True) as session:
            # In the order of their names, so that no two wait for each other.
            for file in made:
                self._keep(session, file)
                self.hub.grant_blob(session, repo, file.sha256, file.size, user_id=actor.user_id)

    def _check_file(self, file: ShardFile, usable: set[str]) -> _Made:
        names = {term.xorb: to_text(term.xorb) for term in file.terms}
        tree = MerkleTree()
        for term in file.terms:
            self._check_term(term, names[term.xorb], usable, tree)
        if (file_hash(tree.root()) if file.terms else ZERO) != file.hash:
            raise BadInput(f"The chunks of file {to_text(file.hash)} do not make that hash.")
        terms = pack_terms(
            FileTerm(names[term.xorb], term.start, term.stop, term.size) for term in file.terms
        )
        made = _Made(file.sha256, file.size, to_text(file.hash), terms, sorted(names.values()))
        if not self._known(made):
            self._check_bytes(made)
        return made

    def _check_term(self, term: Term, name: str, usable: set[str], tree: MerkleTree) -> None:
        if name not in usable:
            raise BadInput(
                f"The shard names xorb {name}, which this hub does not have from you. Remove the "
                "client's Xet cache (HF_XET_CACHE, usually ~/.cache/huggingface/xet) and upload "
                "again."
            )
        index = self.store.index(name)
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

    def _known(self, made: _Made) -> bool:
        """Tell whether these very chunks have been put together before."""
        with self.hub.session() as session:
            blob = session.get(Blob, made.sha256)
            there = session.get(XetFile, made.sha256) is not None
        return (
            there and blob is not None and (blob.xet_hash, blob.size) == (made.xet_hash, made.size)
        )

    def _check_bytes(self, made: _Made) -> None:
        """Put the file together, in passing, and compare its SHA-256."""
        digest = hashlib.sha256()
        for piece in plan(made.terms, self.store.index, 0, made.size):
            for data in self.store.read(piece.xorb, piece.start, piece.stop):
                digest.update(data)
        if digest.hexdigest() != made.sha256:
            raise BadInput(
                f"The bytes of file {made.xet_hash} have sha256 {digest.hexdigest()} and not "
                f"{made.sha256}. Upload it again."
            )

    def _keep(self, session: Session, made: _Made) -> None:
        lock_name(session, f"blobs/{made.sha256}")
        blob = session.get(Blob, made.sha256, with_for_update=True)
        if blob is None:
            blob = Blob(sha256=made.sha256, size=made.size, flat=False, xet_hash=made.xet_hash)
            session.add(blob)
        if session.get(XetFile, made.sha256) is None:
            blob.xet_hash = made.xet_hash
            session.flush()
            session.add(XetFile(sha256=made.sha256, terms=made.terms))
            for start in range(0, len(made.xorbs), _AT_ONCE):
                some = made.xorbs[start : start + _AT_ONCE]
                rows = [{"sha256": made.sha256, "xorb": name} for name in some]
                session.execute(insert(XetFileXorb), rows)
        session.flush()

    # -- reading --------------------------------------------------------------------------------

    def read_range(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """Yield bytes of a blob that is made of xorbs, about a megabyte at a time.

        Raises:
            NotFound: no such blob.
            PlaitError: a xorb is missing or damaged.
        """
        with self.hub.session() as session:
            made = session.get(XetFile, sha256)
        if made is None:
            raise NotFound(f"The hub does not have the bytes of sha256 {sha256}.")
        return _gather(self._data(plan(made.terms, self.store.index, start, end)))

    def _data(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            skip, left = piece.skip, piece.take
            for data in self.store.read(piece.xorb, piece.start, piece.stop):
                part = data[skip : skip + left] if skip or left < len(data) else data
                skip = 0
                left -= len(part)
                yield part

    def present(self, sha256: str) -> bool:
        """Tell whether all xorbs of a blob are there, reading none."""
        with self.hub.session() as session:
            xorbs = session.scalars(
                select(XetFileXorb.xorb).where(XetFileXorb.sha256 == sha256)
            ).all()
        return all(self.store.present(name) for name in xorbs)

    def find(self, repo: Repository, commit: str, xet_hash: str) -> tuple[Blob, bytes]:
        """Return the blob and terms of a file that ``repo`` holds at a commit.

        Raises:
            NotFound: the commit holds no such file, or it is not made of xorbs.
        """
        from_text(xet_hash)
        with self.hub.session() as session:
            rows = session.execute(
                select(Blob, XetFile.terms)
                .join(XetFile, XetFile.sha256 == Blob.sha256)
                .join(BlobGrant, BlobGrant.sha256 == Blob.sha256)
                .where(Blob.xet_hash == xet_hash, BlobGrant.repository_id == repo.id)
            ).all()
        held = self._held_at(repo, commit) if rows else frozenset[bytes]()
        for blob, terms in rows:
            if bytes.fromhex(blob.sha256) in held:
                return blob, terms
        raise NotFound(f"There is no file {xet_hash} in this revision. Look the file up again.")

    def find_plain(self, repo: Repository, commit: str, sha256: str) -> Blob:
        """Return a blob that is stored in one piece and that ``repo`` holds at a commit.

        Raises:
            NotFound: the commit holds no such file.
        """
        with self.hub.session() as session:
            blob = session.scalar(
                select(Blob)
                .join(BlobGrant, BlobGrant.sha256 == Blob.sha256)
                .where(Blob.sha256 == sha256, Blob.flat, BlobGrant.repository_id == repo.id)
            )
        if blob is None or bytes.fromhex(sha256) not in self._held_at(repo, commit):
            raise NotFound(f"There is no file {sha256} in this revision. Look the file up again.")
        return blob

    def hashes(self, repo: Repository, names: Iterable[str]) -> dict[str, str]:
        """Return the Xet hashes of those blobs of ``repo`` that can be read by Xet, by SHA-256."""
        wanted, found = sorted(set(names)), dict[str, str]()
        with self.hub.session() as session:
            for start in range(0, len(wanted), _AT_ONCE):
                rows = session.execute(
                    select(Blob.sha256, Blob.xet_hash)
                    .join(XetFile, XetFile.sha256 == Blob.sha256)
                    .join(BlobGrant, BlobGrant.sha256 == Blob.sha256)
                    .where(
                        BlobGrant.repository_id == repo.id,
                        Blob.sha256.in_(wanted[start : start + _AT_ONCE]),
                    )
                )
                found.update((sha256, xet_hash) for sha256, xet_hash in rows if xet_hash)
        return found

    def _held_at(self, repo: Repository, commit: str) -> frozenset[bytes]:
        """Return the SHA-256 of all large files of a commit."""
        key = (repo.id, commit)
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
                return found
        entries = self.hub.git.tree(repo, commit, recursive=True)
        found = frozenset(bytes.fromhex(entry.lfs.sha256) for entry in entries if entry.lfs)
        with self._lock:
            self._held[key] = found
            while len(self._held) > _COMMITS_IN_MEMORY:
                self._held.popitem(last=False)
        return found

    # -- housekeeping ---------------------------------------------------------------------------

    def collect(self, *, dry_run: bool = False) -> list[str]:
        """Remove xorbs that no file needs and no client remembers, and return their names."""
        cut = now() - MEMORY_OF_CLIENTS
        with self.hub.session() as session:
            needed = select(XetFileXorb.xorb)
            names = session.scalars(
                select(Xorb.hash)
                .where(Xorb.touched_at < cut, Xorb.hash.not_in(needed))
                .order_by(Xorb.hash)
            ).all()
        return [name for name in names if dry_run or self.store.delete_older(name, cut)]

    def verify(self, sha256: str) -> list[str]:
        """Name the xorbs of a blob that are missing or damaged."""
        with self.hub.session() as session:
            xorbs = session.scalars(
                select(XetFileXorb.xorb)
                .where(XetFileXorb.sha256 == sha256)
                .order_by(XetFileXorb.xorb)
            ).all()
        return [problem for name in xorbs if (problem := self.store.verify(name)) is not None]


def _gather(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces into larger ones: each costs its receiver the same."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


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
