# SPDX-License-Identifier: Apache-2.0
"""Copies of whole repositories."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pygit2
from sqlalchemy.exc import IntegrityError

from plait.errors import Conflict, EntryNotFound, Forbidden
from plait.hub.database import BlobGrant, Repository
from plait.hub.git.objects import ref_commit
from plait.hub.git.store import MAIN
from plait.hub.names import split_repository
from plait.hub.permissions import Actor, can
from plait.hub.repositories.moves import take_name
from plait.hub.storage.blobs import storage_errors, sync_folder
from plait.hub.upkeep.reachable import pointers

if TYPE_CHECKING:
    from plait.hub.facade import Hub

_REFS = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]


def duplicate(
    hub: Hub,
    actor: Actor,
    source: Repository,
    full_name: str,
    *,
    private: bool | None = None,
    team_id: int | None = None,
) -> Repository:
    """Make a repository with the branches and tags of another, their history and their files.

    Discussions, pull requests, likes and access requests stay with the source. No bytes of large
    files are copied: both refer to the same. The copy is as private and as gated as its source
    unless ``private`` says otherwise.

    Raises:
        RepositoryNotFound, GatedRepository, Forbidden: the actor may not read the source's files,
            or not create there.
        BadInput: the name is not allowed.
        Conflict: that name is taken.
        EntryNotFound: the hub does not have some large file of the source.
    """
    hub.repositories.require(actor, source, "repo.files")
    namespace_name, name = split_repository(full_name)
    namespace = hub.accounts.find(namespace_name)
    if namespace is None or not can(actor, "namespace.create", namespace):
        raise Forbidden(f"You may not create repositories under '{namespace_name}'.")
    conflict = Conflict(f"You already created this {source.type} repo: {namespace.name}/{name}")
    if hub.repositories.find(source.type, f"{namespace.name}/{name}") is not None:
        raise conflict
    folder = hub.git.folder / f"copy-{secrets.token_hex(8)}.git.new"
    try:
        with storage_errors("the copy"):
            head = _clone(hub.git.path(source), folder)
        files = sorted({pointer.sha256 for pointer, _ in pointers(pygit2.Repository(str(folder)))})
        for sha256 in files:
            # Touched, so that `plait gc` leaves it even if the source is deleted at this moment.
            if not hub.blobs.touch(sha256):
                raise EntryNotFound(
                    f"The hub lacks a large file of '{source.full_name}' (sha256 {sha256}). "
                    "Upload it again, or delete it, before you copy the repository."
                )
        with hub.session(write=True) as session:
            repo = Repository(
                type=source.type,
                namespace_id=namespace.id,
                name=name,
                name_key=name.lower(),
                search_key=f"{namespace.name_key}/{name.lower()}",
                private=source.private if private is None else private,
                gated=source.gated,
                created_by=actor.user_id,
                created_with=actor.token_id,
                card={},
                facts={key: source.facts[key] for key in ("sdk",) if key in source.facts},
                head=head,
            )
            session.add(repo)
            session.flush()
            repo.team_id = hub.repositories.team_for(session, actor, namespace.id, team_id)
            take_name(session, repo.type, namespace.name_key, repo.name_key)
            granted = [
                BlobGrant(repository_id=repo.id, sha256=sha256, user_id=actor.user_id)
                for sha256 in files
            ]
            session.add_all(granted)
            session.flush()
            target = hub.git.path(repo)
            if target.exists():
                # What a crash left of a creation that never became visible.
                shutil.move(target, target.with_name(f"{target.name}.deleted"))
            folder.rename(target)
            sync_folder(hub.git.folder)
            session.refresh(repo, ["namespace"])
            # A private source's name is for those who may read it, not for all who hear of this.
            told = "" if source.private else source.full_name
            hub.events.record(session, actor, "repo.duplicate", repo=repo, source=told)
    except IntegrityError:
        raise conflict from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return hub.repositories.refresh(repo)


def _clone(source: Path, target: Path) -> str | None:
    """Copy branches, tags and what they reach into a new bare repository; return main's commit."""
    git = pygit2.init_repository(str(target), bare=True, initial_head="main")
    for leftover in ("hooks", "info"):
        shutil.rmtree(target / leftover, ignore_errors=True)
    (target / "description").unlink(missing_ok=True)
    # Fetched rather than copied: what only pull requests or nothing refers to stays behind.
    git.remotes.create_anonymous(source.as_uri()).fetch(_REFS)
    (target / "FETCH_HEAD").unlink(missing_ok=True)
    return ref_commit(git, MAIN)
