# SPDX-License-Identifier: Apache-2.0
"""The large files of a repository over all its history: listing, purging, copying to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pygit2
from pygit2.enums import SortMode
from sqlalchemy import delete, select

from plait.errors import BadInput, Conflict, PreconditionFailed
from plait.hub.database import Blob, BlobGrant, Discussion, DiscussionEvent, Repository
from plait.hub.git.objects import raw_target
from plait.hub.git.pointers import is_sha256
from plait.hub.git.rewriting import Rewriter
from plait.hub.git.store import RefUpdate
from plait.hub.permissions import Actor
from plait.hub.storage.blobs import storage_errors
from plait.hub.upkeep.reachable import tree_pointers

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MAX_NAMED = 1000
"""Files that one call may purge or copy; clients send no more."""
_TRIES = 5
_SLICE = 500
_ORDER = ("refs/heads/main", "refs/heads/", "refs/tags/", "refs/pr/")


@dataclass(frozen=True)
class LargeFile:
    """A large file that some commit of a repository refers to."""

    sha256: str
    size: int
    path: str
    """One of the paths that it has or had."""
    pointer: str
    """Git's id of the pointer file."""
    ref: str
    """A ref that reaches it."""
    pushed_at: datetime


class LargeFiles:
    """The large files of one hub's repositories."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def list(self, actor: Actor, repo: Repository) -> list[LargeFile]:
        """List the large files that any commit on any ref refers to, the last pushed first.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not write to the repository.
        """
        self._hub.repositories.require(actor, repo, "repo.write")
        git = self._hub.git.open(repo)
        found: dict[str, tuple[int, str, str, str, datetime]] = {}
        seen: set[Any] = set()
        walked: set[Any] = set()
        for ref in sorted(git.references, key=_rank):
            try:
                tip = git.references[ref].peel(pygit2.Commit)
            except (pygit2.GitError, KeyError, ValueError):
                continue
            for commit in git.walk(tip.id, SortMode.TOPOLOGICAL | SortMode.TIME):
                if commit.id in walked:
                    continue
                walked.add(commit.id)
                moment = datetime.fromtimestamp(commit.commit_time, UTC)
                for pointer, path in tree_pointers(git, commit.tree, "", seen):
                    name = ref.removeprefix("refs/heads/")
                    entry = (pointer.size, path, str(commit.id), name, moment)
                    found.setdefault(pointer.sha256, entry)
        granted = self._granted(repo, list(found))
        files = []
        for sha256, (size, path, oid, ref, moment) in found.items():
            if sha256 in granted:
                pointer_oid = str(git[oid].tree[path].id)
                pushed = granted[sha256]
                files.append(LargeFile(sha256, size, path, pointer_oid, ref, pushed or moment))
        return sorted(files, key=lambda file: (file.pushed_at, file.sha256), reverse=True)

    def purge(
        self, actor: Actor, repo: Repository, names: Sequence[str], *, rewrite: bool = True
    ) -> int:
        """Remove large files from a repository for good; return how many refs moved.

        With ``rewrite`` every commit that refers to one of them is made anew without it, and all
        refs move at once. Then the repository's right to the bytes goes, and the bytes
        themselves where no other repository has a right to them. A process that is killed in
        between leaves whole refs; the same call again completes it. Calling it for files that are
        gone is harmless.

        Args:
            actor: who removes them.
            repo: from where.
            names: their SHA-256.
            rewrite: leave no pointer behind; otherwise pointers stay and lead nowhere.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not administer the repository.
            BadInput: a name is not a SHA-256, or there are too many.
            Conflict: commits kept arriving; nothing was removed.
        """
        hub = self._hub
        hub.repositories.require(actor, repo, "repo.admin")
        hub.protection.guard(actor, repo, "remove files from the history of")
        wanted = sorted(set(names))
        if len(wanted) > MAX_NAMED:
            raise BadInput(f"Remove at most {MAX_NAMED} files at once, not {len(wanted)}.")
        for sha256 in wanted:
            if not is_sha256(sha256):
                raise BadInput(f"{sha256[:80]!a} is not a SHA-256 (64 lowercase hex digits).")
        if not wanted:
            return 0
        moved = self._rewrite(actor, repo, frozenset(wanted)) if rewrite else 0
        with hub.session(write=True) as session:
            for start in range(0, len(wanted), _SLICE):
                session.execute(
                    delete(BlobGrant).where(
                        BlobGrant.repository_id == repo.id,
                        BlobGrant.sha256.in_(wanted[start : start + _SLICE]),
                    )
                )
            hub.events.record(
                session, actor, "lfs.purge", repo=repo, files=wanted, rewritten=rewrite
            )
        for sha256 in wanted:
            self._drop_bytes(sha256)
        hub.repositories.refresh(repo)
        return moved

    def copy(
        self, actor: Actor, source: Repository, target: Repository, names: Sequence[str]
    ) -> dict[str, str]:
        """Let a repository refer to large files of another; return why some cannot be, by name.

        No bytes are copied. Commits of the target may then name them.

        Raises:
            RepositoryNotFound, GatedRepository, Forbidden: the actor may not read the source's
                files, or neither write nor propose to the target.
            BadInput: there are too many.
        """
        hub = self._hub
        hub.repositories.require(actor, source, "repo.files")
        hub.repositories.require(actor, target, "repo.propose")
        wanted = sorted(set(names))
        if len(wanted) > MAX_NAMED:
            raise BadInput(f"Copy at most {MAX_NAMED} files at once, not {len(wanted)}.")
        # Only what the source's commits refer to: bytes that somebody uploaded there and never
        # committed are not for its readers.
        git = hub.git.open(source)
        reachable = _reachable(git, frozenset(wanted))
        granted = self._granted(source, sorted(reachable))
        with hub.session(write=True) as session:
            sizes = hub.blobs.touch_all(granted, session)
            for sha256 in sizes:
                session.merge(
                    BlobGrant(repository_id=target.id, sha256=sha256, user_id=actor.user_id)
                )
        missing = f"'{source.full_name}' has no such file, or the hub lacks its bytes."
        return {name[:64]: missing for name in wanted if name not in sizes}

    def _granted(self, repo: Repository, names: Sequence[str]) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        with self._hub.session() as session:
            for start in range(0, len(names), _SLICE):
                rows = session.execute(
                    select(BlobGrant.sha256, BlobGrant.created_at).where(
                        BlobGrant.repository_id == repo.id,
                        BlobGrant.sha256.in_(names[start : start + _SLICE]),
                    )
                )
                found.update((row.sha256, row.created_at) for row in rows)
        return found

    def _rewrite(self, actor: Actor, repo: Repository, names: frozenset[str]) -> int:
        hub = self._hub
        rewriter: Rewriter | None = None
        for _ in range(_TRIES):
            git = hub.git.open(repo)
            refs = [ref for ref in git.references if ref.startswith("refs/")]
            old = {ref: raw_target(git, ref) for ref in refs}
            if rewriter is None:
                rewriter = Rewriter(git, names)
            with storage_errors("the rewritten history"):
                new = {ref: rewriter.target(oid) for ref, oid in old.items() if oid is not None}
            updates = [RefUpdate(ref, old[ref], new[ref]) for ref in new if new[ref] != old[ref]]
            if not updates:
                return 0
            refused = hub.git.push(
                repo,
                updates,
                atomic=True,
                # A ref that was made since would keep the files alive.
                check=partial(_same, hub, repo, frozenset(old)),
                let_in=lambda: None,
            )
            if not refused:
                self._follow(repo, rewriter.commits)
                hub.references.moved(actor, repo, [rewriter.peeled(u) for u in updates])
                return len(updates)
        raise Conflict(
            f"Commits to '{repo.full_name}' kept arriving while its history was rewritten. "
            "Nothing was removed. Try again when it is quieter."
        )

    def _follow(self, repo: Repository, commits: Mapping[str, str]) -> None:
        """Let what is recorded of pull requests name the new commits."""
        with self._hub.session(write=True) as session:
            discussions = list(
                session.scalars(select(Discussion).where(Discussion.repository_id == repo.id))
            )
            for discussion in discussions:
                merged = commits.get(discussion.merge_commit or "")
                if merged is not None:
                    discussion.merge_commit = merged
            numbers = [discussion.id for discussion in discussions]
            for start in range(0, len(numbers), _SLICE):
                events = session.scalars(
                    select(DiscussionEvent).where(
                        DiscussionEvent.discussion_id.in_(numbers[start : start + _SLICE]),
                        DiscussionEvent.type.in_(("commit", "status-change")),
                    )
                )
                for event in events:
                    oid = commits.get(str(event.data.get("oid")))
                    if oid is not None:
                        event.data = {**event.data, "oid": oid}

    def _drop_bytes(self, sha256: str) -> None:
        """Remove a blob to which no repository has a right any more."""
        with self._hub.session(write=True) as session:
            # Whoever gains a right to it now touches this row first, and waits for us or finds
            # it gone; or came before, and is seen here.
            row = session.get(Blob, sha256, with_for_update={"of": Blob})
            if row is None:
                return
            others = select(BlobGrant.repository_id).where(BlobGrant.sha256 == sha256).limit(1)
            if session.scalar(others) is not None:
                return
            session.delete(row)
        self._hub.blobs.delete_orphan(sha256, None)


def _rank(ref: str) -> tuple[int, str]:
    return next((i for i, prefix in enumerate(_ORDER) if ref.startswith(prefix)), 9), ref


def _reachable(git: Any, names: frozenset[str]) -> set[str]:
    found: set[str] = set()
    seen: set[Any] = set()
    walker = git.walk(None, SortMode.TIME)
    for ref in git.references:
        try:
            walker.push(git.references[ref].peel(pygit2.Commit).id)
        except (pygit2.GitError, KeyError, ValueError):
            continue
    for commit in walker:
        if len(found) == len(names):
            break
        for pointer, _ in tree_pointers(git, commit.tree, "", seen):
            if pointer.sha256 in names:
                found.add(pointer.sha256)
    return found


def _same(hub: Hub, repo: Repository, known: frozenset[str], _update: RefUpdate) -> None:
    git = hub.git.open(repo)
    if frozenset(ref for ref in git.references if ref.startswith("refs/")) != known:
        raise PreconditionFailed("Another ref was made at this moment.")
