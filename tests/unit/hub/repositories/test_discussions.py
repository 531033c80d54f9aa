# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import BadInput, Conflict, Forbidden, NotFound, RepositoryNotFound
from plait.hub import ANONYMOUS, SYSTEM, AddBytes, Discussion

from ..conftest import World


def begin(world: World, *, pull_request: bool = False, who: str = "bob") -> Discussion:
    found = world.hub.repositories.find("model", "shop/model") or world.repo()
    return world.hub.discussions.create(
        world.actor(who), found, "  A \n title ", "Why", pull_request
    )


def test_discussions_and_pull_requests_share_one_row_of_numbers(world: World) -> None:
    first, second = begin(world), begin(world, pull_request=True)
    assert (first.number, first.title, first.status, first.is_pull_request) == (
        1,
        "A title",
        "open",
        False,
    )
    assert (second.number, second.status, second.is_pull_request) == (2, "draft", True)
    repo = world.hub.discussions.repository(second)
    git = world.hub.git
    assert git.resolve(repo, "refs/pr/2") == git.resolve(repo)
    assert git.head(repo, "refs/pr/1") is None
    assert second.author is not None
    assert second.author.name == "bob"


def test_who_may_talk(world: World) -> None:
    public, secret = world.repo(), world.repo("shop/secret", private=True)
    create = world.hub.discussions.create
    for actor in (ANONYMOUS, world.actor("bob", "read")):
        with pytest.raises(Forbidden):
            create(actor, public, "x")
    with pytest.raises(RepositoryNotFound):
        create(world.actor("bob"), secret, "x")
    own = create(world.actor("ann"), secret, "x")
    for step in (
        lambda: world.hub.discussions.add_comment(world.actor("bob"), own, "hi"),
        lambda: world.hub.discussions.set_status(world.actor("bob"), own, "closed"),
        lambda: world.hub.discussions.rename(world.actor("bob"), own, "hi"),
    ):
        with pytest.raises(RepositoryNotFound):
            step()


@pytest.mark.parametrize(("title", "says"), [(" ", "empty"), ("x" * 401, "longer")])
def test_titles_have_bounds(world: World, title: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        world.hub.discussions.create(world.actor("bob"), world.repo(), title)
    with pytest.raises(BadInput, match=says):
        world.hub.discussions.rename(world.actor("bob"), begin(world), title)


def test_what_happens_is_kept_in_order(world: World) -> None:
    service, bob = world.hub.discussions, world.actor("bob")
    talk = begin(world)
    service.add_comment(bob, talk, "one")
    service.rename(world.actor("ann"), talk, "Better title")
    service.set_status(bob, talk, "closed", "done")
    service.add_comment(SYSTEM, talk, "The hub says", {"verdict": "passes"})
    events = service.events(talk)
    assert [event.type for event in events] == [
        "comment",
        "comment",
        "title-change",
        "comment",
        "status-change",
        "comment",
    ]
    assert events[2].data == {"from": "A title", "to": "Better title"}
    assert events[4].data == {"status": "closed"}
    assert events[5].author is None
    assert events[5].data["plait"] == {"verdict": "passes"}
    assert len({event.id for event in events}) == 6
    fresh = service.get(service.repository(talk), 1)
    assert (fresh.title, fresh.status) == ("Better title", "closed")


def test_only_the_author_and_writers_change_it(world: World) -> None:
    service, talk = world.hub.discussions, begin(world)
    for step in (
        lambda actor: service.set_status(actor, talk, "closed"),
        lambda actor: service.rename(actor, talk, "mine now"),
    ):
        with pytest.raises(Forbidden):
            step(world.actor("eve"))
        step(world.actor("ann"))
        step(world.actor("bob"))


def test_states(world: World) -> None:
    service, bob = world.hub.discussions, world.actor("bob")
    pull, talk = begin(world, pull_request=True), begin(world)
    service.set_status(bob, pull, "open")
    service.set_status(bob, pull, "draft")
    for wrong in ("merged", "gone", ""):
        with pytest.raises(BadInput):
            service.set_status(bob, pull, wrong)
    with pytest.raises(BadInput, match="draft"):
        service.set_status(bob, talk, "draft")
    first = service.mark_merged(SYSTEM, pull, "a" * 40)
    assert service.mark_merged(SYSTEM, pull, "a" * 40).id == first.id
    fresh = service.get(service.repository(pull), pull.number)
    assert (fresh.status, fresh.merge_commit) == ("merged", "a" * 40)
    with pytest.raises(Conflict, match="merged"):
        service.set_status(bob, pull, "open")


def test_lists_are_filtered_and_counted(world: World) -> None:
    service = world.hub.discussions
    talk, pull = begin(world), begin(world, pull_request=True, who="ann")
    service.set_status(world.actor("bob"), talk, "closed")
    repo = service.repository(talk)

    def numbers(**filters: object) -> list[int]:
        found = [d.number for d in service.list(repo, **filters)]  # type: ignore[arg-type]
        assert len(found) == service.count(repo, **filters)  # type: ignore[arg-type]
        return found

    assert numbers() == [2, 1]
    assert numbers(status="open") == [pull.number]
    assert numbers(status="closed") == [talk.number]
    assert numbers(pull_request=True) == [2]
    assert numbers(author="bob") == [1]
    assert numbers(author="nobody") == []
    assert [d.number for d in service.list(repo, limit=1, skip=1)] == [1]
    with pytest.raises(BadInput):
        service.list(repo, status="strange")


def test_comments_are_changed_by_their_author_and_remember(world: World) -> None:
    service, bob, talk = world.hub.discussions, world.actor("bob"), begin(world)
    event = service.add_comment(bob, talk, "first")
    edited = service.edit(bob, talk, event.id, "second")
    assert (edited.data["raw"], edited.data["edited"]) == ("second", True)
    assert [old["raw"] for old in edited.data["history"]] == ["first"]
    with pytest.raises(Forbidden, match="author"):
        service.edit(world.actor("ann"), talk, event.id, "mine")
    with pytest.raises(NotFound):
        service.edit(bob, talk, "0" * 24, "x")
    with pytest.raises(NotFound):
        service.edit(bob, begin(world), event.id, "another discussion's")
    for wrong in (" ", "x" * (2**18 + 1)):
        with pytest.raises(BadInput):
            service.edit(bob, talk, event.id, wrong)


def test_hiding_a_comment_forgets_what_it_said(world: World) -> None:
    service, bob, talk = world.hub.discussions, world.actor("bob"), begin(world)
    event = service.add_comment(bob, talk, "my password")
    service.edit(bob, talk, event.id, "my other password")
    with pytest.raises(Forbidden):
        service.hide(world.actor("eve"), talk, event.id)
    service.hide(world.actor("ann"), talk, event.id)
    assert "password" not in repr([e.data for e in service.events(talk)])
    with pytest.raises(Conflict):
        service.edit(bob, talk, event.id, "back")


def test_an_empty_comment_is_none(world: World) -> None:
    with pytest.raises(BadInput, match="empty"):
        world.hub.discussions.add_comment(world.actor("bob"), begin(world), " ")


def test_a_left_over_ref_does_not_become_a_discussions(world: World) -> None:
    repo = world.repo()
    world.hub.git.set_ref(repo, "refs/pr/1", world.hub.git.resolve(repo))
    begin(world)
    assert world.hub.git.head(repo, "refs/pr/1") is None


def test_branches_and_tags(world: World) -> None:
    hub, repo, ann = world.hub, world.repo(), world.actor("ann")
    refs = hub.references
    refs.create_branch(ann, repo, "dev")
    refs.create_tag(ann, repo, "v1", "dev", "first")
    oid = hub.commits.apply(ann, repo, "dev", [AddBytes("a", b"1")], "on dev").oid
    assert hub.git.resolve(repo, "dev") == oid
    assert hub.git.resolve(repo, "v1") == hub.git.resolve(repo)
    with pytest.raises(Conflict, match="Reference refs/heads/dev already exists"):
        refs.create_branch(ann, repo, "dev")
    with pytest.raises(BadInput, match="Cannot delete refs/heads/main"):
        refs.delete_branch(ann, repo, "main")
    with pytest.raises(BadInput, match="Invalid reference for a branch"):
        refs.create_branch(ann, repo, "a..b")
    for step in (
        lambda actor: refs.create_branch(actor, repo, "x"),
        lambda actor: refs.delete_branch(actor, repo, "dev"),
        lambda actor: refs.create_tag(actor, repo, "x"),
        lambda actor: refs.delete_tag(actor, repo, "v1"),
        lambda actor: refs.super_squash(actor, repo, "dev"),
    ):
        with pytest.raises(Forbidden):
            step(world.actor("bob"))
    refs.delete_tag(ann, repo, "v1")
    refs.delete_branch(ann, repo, "dev")
    assert [ref.name for ref in hub.git.refs(repo).branches] == ["main"]


def test_squashing_keeps_the_files_and_forgets_the_way(world: World) -> None:
    hub, repo, ann = world.hub, world.repo(), world.actor("ann")
    for n in range(3):
        hub.commits.apply(ann, repo, "main", [AddBytes(f"f{n}", b"1")], f"c{n}")
    pull = begin(world, pull_request=True)
    with pytest.raises(Conflict, match="pull request"):
        hub.references.super_squash(ann, repo, "main")
    hub.discussions.set_status(ann, pull, "closed")
    oid = hub.references.super_squash(ann, repo, "main", "all in one")
    assert hub.git.count_commits(repo, oid) == 1
    assert len(hub.git.tree(repo, oid)) == 4
