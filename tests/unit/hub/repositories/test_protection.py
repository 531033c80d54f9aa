# SPDX-License-Identifier: Apache-2.0
"""Protected branches against writers who would rather not ask: every door, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from plait.collaboration import jobs
from plait.collaboration.merging.handler import check_still_allowed
from plait.collaboration.requests import request_merge
from plait.errors import BadInput, Conflict, Forbidden, NotFound, PlaitError, RepositoryNotFound
from plait.hub import SYSTEM, Actor, AddBytes, Discussion, Hub, Repository
from plait.hub.database import AuditEntry
from plait.hub.repositories.protection import Rule
from plait.hub.repositories.statuses import combined

from ..conftest import World
from ..git.test_receive import MAIN, Pack, Pusher


@dataclass
class Place:
    """``ann`` administers ``shop``; ``wil`` and ``may`` write; ``bob`` proposes."""

    world: World
    hub: Hub
    repo: Repository
    ann: Actor
    wil: Actor
    may: Actor
    bob: Actor

    def protect(self, **values: object) -> None:
        rule = replace(Rule("main", push=(), reviews=1), **values)  # type: ignore[arg-type]
        self.hub.protection.put(self.ann, self.repo, rule)

    def propose(self, actor: Actor, text: bytes = b"new") -> Discussion:
        outcome = self.hub.commits.apply(
            actor, self.repo, "main", [AddBytes("a.txt", text)], "change", create_pr=True
        )
        assert outcome.discussion is not None
        return outcome.discussion

    def push_to(self, pull: Discussion, actor: Actor) -> None:
        self.hub.commits.apply(
            actor, self.repo, f"refs/pr/{pull.number}", [AddBytes("b.txt", b"b")], "more"
        )

    def merge(self, actor: Actor, pull: Discussion) -> str | None:
        return request_merge(self.hub, actor, self.repo, pull).landed


@pytest.fixture
def place(world: World) -> Place:
    hub, repo = world.hub, world.repo()
    shop = hub.accounts.get("shop")
    for name in ("wil", "may"):
        world.add(name)
        hub.accounts.add_member(shop, world.accounts[name], "write")
    return Place(
        world, hub, repo, world.actor("ann"), world.actor("wil"), world.actor("may"),
        world.actor("bob"),
    )  # fmt: skip


def test_nobody_gets_past_a_protected_main(place: Place) -> None:
    hub, repo = place.hub, place.repo
    place.protect()
    head = hub.git.resolve(repo)
    for actor in (place.wil, place.ann):
        with pytest.raises(Forbidden, match="protected"):
            hub.commits.apply(actor, repo, "main", [AddBytes("x", b"x")], "directly")
        with pytest.raises(Forbidden, match="protected"):
            hub.commits.may_commit(actor, repo, "main")
        made = Pack()
        new = made.commit(made.tree((0o100644, "x", made.add("blob", b"x"))), head)
        pusher = Pusher(hub, actor, repo)
        assert "protected" in pusher.main(made, new)
        root = made.commit(made.tree((0o100644, "x", made.add("blob", b"y"))), message="forced")
        assert "protected" in pusher.main(made, root)
        with pytest.raises(Forbidden, match="squashed"):
            hub.references.super_squash(actor, repo, "main")
    # Nor by moving the whole repository, its end, its team, or its history.
    for act in (
        lambda: hub.repositories.move(place.wil, repo, "wil/model"),
        lambda: hub.repositories.move(place.wil, repo, "shop/other"),
        lambda: hub.repositories.delete(place.wil, repo),
        lambda: hub.repositories.update(place.wil, repo, team_id=None),
        lambda: hub.largefiles.purge(place.wil, repo, ["0" * 64]),
        lambda: hub.protection.remove(place.wil, repo, "main"),
        lambda: hub.protection.put(place.wil, repo, Rule("main")),
    ):
        with pytest.raises(Forbidden):
            act()
    with pytest.raises(Forbidden):
        hub.protection.put(place.bob, repo, Rule("main"))
    assert hub.git.resolve(repo) == head


def test_other_branches_that_match_are_kept_too(place: Place) -> None:
    hub, repo = place.hub, place.repo
    hub.references.create_branch(place.ann, repo, "release/1")
    hub.protection.put(place.ann, repo, Rule("release/*", push=("role:admin",)))
    old = hub.git.resolve(repo, "release/1")
    hub.commits.apply(place.ann, repo, "release/1", [AddBytes("x", b"x")], "named in the rule")
    with pytest.raises(Forbidden):
        hub.commits.apply(place.wil, repo, "release/1", [AddBytes("y", b"y")], "not named")
    with pytest.raises(Forbidden):
        hub.references.create_branch(place.wil, repo, "release/2")
    for actor in (place.wil, place.ann):
        with pytest.raises(Forbidden):
            hub.references.create_branch(actor, repo, "release/1", "main", overwrite=True)
        with pytest.raises(Forbidden):
            hub.references.delete_branch(actor, repo, "release/1")
        ref = "refs/heads/release/1"
        now = hub.git.resolve(repo, "release/1")
        told = Pusher(hub, actor, repo).push((now, "0" * 40, ref))
        assert "protected" in told[ref]
    assert (
        "protected"
        in Pusher(hub, place.ann, repo).push(
            (hub.git.resolve(repo, "release/1"), old, "refs/heads/release/1"),
            packed=Pack().encode(),
        )["refs/heads/release/1"]
    ), "not back either"
    hub.references.create_branch(place.wil, repo, "free")
    hub.references.delete_branch(place.wil, repo, "free")


def test_a_review_counts_only_from_a_maintainer_without_a_part_in_it(place: Place) -> None:
    hub, repo = place.hub, place.repo
    place.protect()
    pull = place.propose(place.wil)
    with pytest.raises(Conflict, match="needs 1 approving review"):
        place.merge(place.ann, pull)
    with pytest.raises(Forbidden, match="their own"):
        hub.reviews.submit(place.wil, repo, pull, "approve")
    hub.reviews.submit(place.bob, repo, pull, "approve")
    with pytest.raises(Conflict, match="it has 0"):
        place.merge(place.wil, pull)
    # Who pushes a commit to a pull request and then approves it is no second pair of eyes.
    place.push_to(pull, place.may)
    hub.reviews.submit(place.may, repo, pull, "approve")
    with pytest.raises(Conflict, match="it has 0"):
        place.merge(place.may, pull)
    hub.reviews.submit(place.ann, repo, pull, "approve", "Fine.")
    # It changes after the approval: the approval is for what was seen.
    hub.commits.apply(
        place.wil, repo, f"refs/pr/{pull.number}", [AddBytes("c.txt", b"worse")], "sneak"
    )
    with pytest.raises(Conflict, match="it has 0"):
        place.merge(place.wil, pull)
    states = {one.reviewer: one for one in hub.reviews.list(repo, pull)}
    assert states["ann"].dismissed
    stale = states["ann"].head
    with pytest.raises(Conflict, match="changed meanwhile"):
        hub.reviews.submit(place.ann, repo, pull, "approve", head=stale)
    hub.reviews.submit(place.ann, repo, pull, "reject", "No.")
    with pytest.raises(Conflict, match="ann asked for changes"):
        place.merge(place.wil, pull)
    hub.reviews.submit(place.ann, repo, pull, "approve")
    assert place.merge(place.wil, pull) == hub.git.resolve(repo)
    with pytest.raises(Conflict, match="merged"):
        hub.reviews.submit(place.ann, repo, pull, "approve")


def test_a_reviewer_who_lost_the_role_counts_no_more(place: Place) -> None:
    hub = place.hub
    place.protect()
    pull = place.propose(place.bob)
    hub.reviews.submit(place.may, place.repo, pull, "approve")
    shop = hub.accounts.get("shop")
    hub.accounts.remove_member(shop, place.world.accounts["may"])
    with pytest.raises(Conflict, match="it has 0"):
        place.merge(place.ann, pull)


def test_checks_from_outside_block_until_they_succeed(place: Place) -> None:
    hub, repo = place.hub, place.repo
    place.protect(reviews=0, push=None, contexts=("ci/tests", "ci/licence"))
    with pytest.raises(Forbidden):
        hub.commits.apply(place.wil, repo, "main", [AddBytes("x", b"x")], "past the checks")
    pull = place.propose(place.bob)
    head = hub.git.resolve(repo, f"refs/pr/{pull.number}")
    with pytest.raises(Forbidden):
        hub.statuses.post(place.bob, repo, head, "success", "ci/tests")
    hub.statuses.post(place.wil, repo, head, "success", "ci/tests", "ok", "https://ci.example/1")
    hub.statuses.post(place.wil, repo, head, "pending", "ci/licence")
    with pytest.raises(Conflict, match="'ci/licence' has the state pending"):
        place.merge(place.ann, pull)
    hub.statuses.post(place.wil, repo, head, "success", "ci/licence")
    assert combined(hub.statuses.latest(repo, head)) == "success"
    hub.statuses.post(place.wil, repo, head, "failure", "ci/tests")
    assert combined(hub.statuses.latest(repo, head)) == "failure"
    with pytest.raises(Conflict, match="'ci/tests' has the state failure"):
        place.merge(place.ann, pull)
    hub.statuses.post(place.wil, repo, head, "success", "ci/tests")
    # What was checked is a commit; the next one was not.
    place.push_to(pull, place.bob)
    with pytest.raises(Conflict, match="'ci/tests' has not reported"):
        place.merge(place.ann, pull)
    place.hub.git.set_ref(repo, f"refs/pr/{pull.number}", head)
    assert place.merge(place.ann, pull)


@pytest.mark.parametrize(
    "values",
    [
        {"state": "great"},
        {"context": " "},
        {"context": "a\nb"},
        {"target_url": "javascript:alert(1)"},
        {"description": "x" * 401},
        {"revision": "0" * 40},
    ],
)
def test_a_status_says_only_what_it_may(place: Place, values: dict[str, str]) -> None:
    given = {"revision": "main", "state": "success", **values}
    with pytest.raises(PlaitError):
        place.hub.statuses.post(place.wil, place.repo, **given)
    assert place.hub.statuses.history(place.repo, place.hub.git.resolve(place.repo)) == []


def test_who_may_merge(place: Place) -> None:
    hub, repo = place.hub, place.repo
    hub.teams.create(place.ann, hub.accounts.get("shop"), "mergers", "")
    place.protect(reviews=0, merge=("user:may", "team:mergers"))
    for actor, allowed in ((place.wil, False), (place.ann, False), (place.may, True)):
        pull = place.propose(place.bob, actor.name.encode() if actor.name else b"")
        if allowed:
            assert place.merge(actor, pull)
        else:
            with pytest.raises(Forbidden, match="may not merge into it"):
                place.merge(actor, pull)
    assert hub.protection.rules(repo)[0].merge == ("user:may", "team:mergers")


def test_a_job_asks_again_before_it_lands(place: Place) -> None:
    hub, repo = place.hub, place.repo
    place.protect()
    pull = place.propose(place.bob)
    hub.reviews.submit(place.may, repo, pull, "approve")
    job = jobs.enqueue(
        hub, "merge", {}, repo=repo.id, discussion=pull.id, requested_by=place.wil.user_id
    )
    check_still_allowed(hub, job, repo, pull)
    hub.reviews.submit(place.may, repo, pull, "reject")
    with pytest.raises(Conflict):
        check_still_allowed(hub, job, repo, pull)
    hub.reviews.submit(place.may, repo, pull, "approve")
    hub.accounts.remove_member(hub.accounts.get("shop"), place.world.accounts["wil"])
    with pytest.raises(Forbidden):
        check_still_allowed(hub, job, repo, pull)
    nobody = jobs.enqueue(hub, "merge", {}, repo=repo.id, discussion=pull.id)
    with pytest.raises(Forbidden):
        check_still_allowed(hub, nobody, repo, pull)


@pytest.mark.parametrize(
    "rule",
    [
        Rule("-bad"),
        Rule("main", reviews=11),
        Rule("main", push=("user:nobody-here",)),
        Rule("main", push=("team:none",)),
        Rule("main", merge=("role:king",)),
        Rule("main", contexts=("\x00",)),
        Rule("main", merge=("shop",)),
    ],
)
def test_a_rule_names_only_what_there_is(place: Place, rule: Rule) -> None:
    with pytest.raises(BadInput):
        place.hub.protection.put(place.ann, place.repo, rule)
    assert place.hub.protection.rules(place.repo) == []


def test_rules_are_told_and_can_be_removed(place: Place) -> None:
    hub, repo = place.hub, place.repo
    place.protect()
    hub.protection.remove(place.ann, repo, "main")
    with pytest.raises(NotFound):
        hub.protection.remove(place.ann, repo, "main")
    hub.commits.apply(place.wil, repo, "main", [AddBytes("x", b"x")], "free again")
    with hub.session() as session:
        told = [row.action for row in session.query(AuditEntry)]
    assert {"protection.update", "protection.delete"} <= set(told)
    hub.protection.put(SYSTEM, repo, Rule("main", push=()))
    assert hub.protection.protects(repo, MAIN)


def test_a_name_that_was_taken_again_has_no_rights(place: Place) -> None:
    """A rule holds people, not names: whoever takes a name that became free is not let in."""
    hub, repo = place.hub, place.repo
    place.protect(reviews=0, push=("user:wil",))
    hub.commits.apply(place.wil, repo, "main", [AddBytes("x", b"x")], "let in")
    with hub.session(write=True) as session:
        session.delete(session.merge(place.world.accounts["wil"]))
    again = place.world.add("wil")
    hub.accounts.add_member(hub.accounts.get("shop"), place.world.accounts["wil"], "write")
    assert hub.protection.rules(repo)[0].push in ((), ("user:wil",))
    if again.user_id != place.wil.user_id:
        with pytest.raises(Forbidden):
            hub.commits.apply(
                place.world.actor("wil"), repo, "main", [AddBytes("y", b"y")], "a namesake"
            )


def test_what_nobody_may_see_tells_nothing(world: World) -> None:
    repo = world.repo("shop/veiled", private=True)
    for act in (
        lambda: world.hub.protection.put(world.actor("bob"), repo, Rule("main")),
        lambda: world.hub.statuses.post(world.actor("bob"), repo, "main", "success"),
    ):
        with pytest.raises(RepositoryNotFound):
            act()
