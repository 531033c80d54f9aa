# SPDX-License-Identifier: Apache-2.0
"""Branches and tags, and that every change of a ref is told exactly once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, Forbidden, PreconditionFailed
from plait.hub import AddBytes
from plait.hub.events import Event
from plait.hub.git.store import Author

from ..conftest import World

Told = list[tuple[str | None, list[dict[str, Any]]]]


@pytest.fixture
def told(world: World) -> Told:
    """Every ``ref.update`` since, with who did it."""
    heard: Told = []

    def listen(session: Session, event: Event) -> None:
        if event.action == "ref.update":
            heard.append((event.actor.name, event.details["updated"]))

    world.hub.events.listeners.append(listen)
    return heard


def test_each_change_is_told_once(world: World, told: Told) -> None:
    hub, ann = world.hub, world.actor("ann")
    repo = world.repo()
    told.clear()
    start = hub.git.resolve(repo)
    one = hub.commits.apply(ann, repo, "main", [AddBytes("a", b"1")], "one").oid
    assert hub.commits.apply(ann, repo, "main", [AddBytes("a", b"1")], "one").oid == one
    hub.commits.apply(ann, repo, "main", [AddBytes("a", b"1")], "nothing changes")
    hub.references.create_branch(ann, repo, "dev")
    hub.references.create_tag(ann, repo, "v1", message="annotated")
    hub.references.delete_tag(ann, repo, "v1")
    hub.references.delete_branch(ann, repo, "dev")
    squashed = hub.references.super_squash(ann, repo, "main")
    assert told == [
        ("ann", [{"ref": "refs/heads/main", "old": start, "new": one}]),
        ("ann", [{"ref": "refs/heads/dev", "old": None, "new": one}]),
        ("ann", [{"ref": "refs/tags/v1", "old": None, "new": one}]),
        ("ann", [{"ref": "refs/tags/v1", "old": one, "new": None}]),
        ("ann", [{"ref": "refs/heads/dev", "old": one, "new": None}]),
        ("ann", [{"ref": "refs/heads/main", "old": one, "new": squashed}]),
    ]
    assert hub.repositories.get(ann, "model", repo.full_name).head == squashed


def test_what_commits_at_one_time_did_is_told_as_it_happened(world: World, told: Told) -> None:
    hub, ann = world.hub, world.actor("ann")
    repo = world.repo()
    start = hub.git.resolve(repo)
    told.clear()

    def work(number: int) -> None:
        hub.commits.apply(ann, repo, "main", [AddBytes(f"f{number}", b"x")], f"n {number}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps = {updates[0]["old"]: updates[0]["new"] for _, updates in told}
    here, seen = start, 0
    while here in steps:
        here, seen = steps[here], seen + 1
    assert (here, seen) == (hub.git.resolve(repo), 8)


def test_refused_changes_are_not_told(world: World, told: Told) -> None:
    hub, ann = world.hub, world.actor("ann")
    repo = world.repo()
    told.clear()
    start = hub.git.resolve(repo)
    with pytest.raises(BadInput, match="Cannot delete refs/heads/main"):
        hub.references.delete_branch(ann, repo, "main")
    with pytest.raises(Conflict):
        hub.references.create_branch(ann, repo, "main")
    with pytest.raises(Forbidden):
        hub.references.create_branch(world.actor("bob"), repo, "mine")
    hub.git.commit(
        repo,
        ref="refs/heads/main",
        operations=[AddBytes("a", b"")],
        message="x",
        author=Author("ann"),
    )
    with pytest.raises(PreconditionFailed):
        hub.commits.apply(ann, repo, "main", [AddBytes("b", b"")], "late", parent=start)
    assert told == []
