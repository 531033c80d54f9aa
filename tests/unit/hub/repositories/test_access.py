# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import (
    BadInput,
    Conflict,
    DisabledRepository,
    Forbidden,
    GatedRepository,
    NotFound,
    RepositoryNotFound,
    Unauthorized,
)
from plait.hub import ANONYMOUS, AddBytes, Repository
from plait.hub.repositories.access import Field, check_answers

from ..conftest import World


def gated(world: World, gate: str = "manual", card: str = "") -> Repository:
    repo, ann = world.repo(), world.actor("ann")
    if card:
        world.hub.commits.apply(ann, repo, "main", [AddBytes("README.md", card.encode())], "card")
    return world.hub.repositories.update(ann, repo, gated=gate)  # type: ignore[arg-type]


def test_a_request_goes_from_pending_to_accepted_to_rejected_and_back(world: World) -> None:
    repo, ann, bob, access = gated(world), world.actor("ann"), world.actor("bob"), world.hub.access
    require = world.hub.repositories.require
    with pytest.raises(GatedRepository):
        require(bob, repo, "repo.files")
    assert access.ask(bob, repo).status == "pending"
    with pytest.raises(GatedRepository):
        require(bob, repo, "repo.files")
    assert [r.user.name for r in access.list(ann, repo, "pending").items] == ["bob"]
    access.decide(ann, repo, "accepted", user="BOB")
    require(bob, repo, "repo.files")
    require(world.actor("bob", "read"), repo, "repo.files")
    assert access.count(ann, repo) == {"pending": 0, "accepted": 1, "rejected": 0}
    request = access.list(ann, repo, "accepted").items[0]
    access.decide(ann, repo, "rejected", request_id=request.public_id, reason="no more")
    with pytest.raises(GatedRepository):
        require(bob, repo, "repo.files")
    with pytest.raises(Conflict, match=r"refused .*: no more"):
        access.ask(bob, repo)
    access.decide(ann, repo, "pending", user="bob")
    access.withdraw(bob, repo)
    assert access.state(bob, repo) is None


def test_auto_lets_in_at_once_and_everybody_else_stays_outside(world: World) -> None:
    repo = gated(world, "auto")
    assert world.hub.access.ask(world.actor("bob"), repo).status == "accepted"
    world.hub.repositories.require(world.actor("bob"), repo, "repo.files")
    for actor in (ANONYMOUS, world.actor("eve"), world.actor("eve", "read")):
        world.hub.repositories.require(actor, repo, "repo.read")
        with pytest.raises(GatedRepository, match="Ask for access at"):
            world.hub.repositories.require(actor, repo, "repo.files")
    world.hub.repositories.require(world.actor("ann", "read"), repo, "repo.files")


def test_acceptance_counts_for_its_repository_alone(world: World) -> None:
    first = gated(world, "auto")
    second = world.hub.repositories.update(
        world.actor("ann"), world.repo("shop/other"), gated="manual"
    )
    world.hub.access.ask(world.actor("bob"), first)
    with pytest.raises(GatedRepository):
        world.hub.repositories.require(world.actor("bob"), second, "repo.files")


def test_decisions_that_are_already_so_are_refused(world: World) -> None:
    repo, ann, access = gated(world), world.actor("ann"), world.hub.access
    access.grant(ann, repo, "bob")
    with pytest.raises(BadInput, match="already"):
        access.grant(ann, repo, "bob")
    for status in ("accepted", "rejected", "pending"):
        if status != "accepted":
            access.decide(ann, repo, status, user="bob")  # type: ignore[arg-type]
        with pytest.raises(NotFound, match="already"):
            access.decide(ann, repo, status, user="bob")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no user"):
        access.grant(ann, repo, "nobody")
    with pytest.raises(NotFound, match="no user"):
        access.grant(ann, repo, "shop")
    with pytest.raises(NotFound, match="no access request"):
        access.decide(ann, repo, "accepted", user="eve")
    with pytest.raises(BadInput):
        access.decide(ann, repo, "accepted", user="bob", request_id="x")
    with pytest.raises(BadInput, match="reason"):
        access.decide(ann, repo, "accepted", user="bob", reason="because")


def test_only_administrators_see_and_decide(world: World) -> None:
    repo, bob, access = gated(world), world.actor("bob"), world.hub.access
    access.ask(bob, repo)
    for actor in (bob, world.actor("eve"), world.actor("ann", "read"), ANONYMOUS):
        with pytest.raises(Forbidden):
            access.list(actor, repo, "pending")
        with pytest.raises(Forbidden):
            access.decide(actor, repo, "accepted", user="bob")
        with pytest.raises(Forbidden):
            access.grant(actor, repo, "eve")
        with pytest.raises(Forbidden):
            access.count(actor, repo)


def test_who_may_ask(world: World) -> None:
    repo, access = gated(world), world.hub.access
    with pytest.raises(Unauthorized):
        access.ask(ANONYMOUS, repo)
    with pytest.raises(Forbidden):
        access.ask(world.actor("bob", "read"), repo)
    with pytest.raises(Conflict, match="already"):
        access.ask(world.actor("ann"), repo)
    with pytest.raises(BadInput, match="not gated"):
        access.ask(world.actor("bob"), world.repo("shop/open"))
    secret = world.hub.repositories.update(
        world.actor("ann"), world.repo("shop/secret", private=True), gated="auto"
    )
    with pytest.raises(RepositoryNotFound):
        access.ask(world.actor("bob"), secret)


def test_the_cards_questions_must_be_answered(world: World) -> None:
    card = """---
extra_gated_fields:
  Company: text
  Born: date_picker
  I agree: checkbox
  Use:
    type: select
    options: [Research, {label: Other, value: other}]
---
"""
    repo, bob, ask = gated(world, card=card), world.actor("bob"), world.hub.access.ask
    good = {"Company": " Acme ", "Born": "2000-01-02", "I agree": "on", "Use": "other"}
    for name, value in (
        ("Company", ""),
        ("Company", "x" * 3000),
        ("Born", "yesterday"),
        ("I agree", "false"),
        ("Use", "Crime"),
    ):
        with pytest.raises(BadInput, match=name):
            ask(bob, repo, {**good, name: value})
        with pytest.raises(BadInput, match=name):
            ask(bob, repo, {key: answer for key, answer in good.items() if key != name})
    found = ask(bob, repo, {**good, "more": "dropped"})
    assert found.fields == {**good, "Company": "Acme", "I agree": True}


def test_pages_of_requests_join(world: World) -> None:
    repo, access = gated(world), world.hub.access
    for n in range(5):
        access.ask(world.add(f"user{n}"), repo)
    seen: list[str] = []
    cursor = None
    while True:
        page = access.list(world.actor("ann"), repo, "pending", limit=2, cursor=cursor)
        seen += [request.user.name for request in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"user{n}" for n in (4, 3, 2, 1, 0)]
    with pytest.raises(BadInput):
        access.list(world.actor("ann"), repo, "pending", cursor="x")


def test_a_disabled_repository_is_closed_to_all_but_seen(world: World) -> None:
    repo, root = world.repo(), world.add("root", admin=True)
    with pytest.raises(Forbidden, match="administrators"):
        world.hub.repositories.update(world.actor("ann"), repo, disabled=True)
    closed = world.hub.repositories.update(root, repo, disabled=True)
    for actor in (ANONYMOUS, world.actor("ann"), world.actor("bob")):
        world.hub.repositories.require(actor, closed, "repo.read")
        with pytest.raises(DisabledRepository, match="is disabled"):
            world.hub.repositories.require(actor, closed, "repo.files")
    opened = world.hub.repositories.update(root, closed, disabled=False)
    world.hub.repositories.require(ANONYMOUS, opened, "repo.files")


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.text(), st.lists)))
def test_answers_are_accepted_or_refused_with_a_sentence(answers: dict[str, object]) -> None:
    fields = [Field("a", "text"), Field("b", "checkbox"), Field("c", "select", ("x",))]
    try:
        found = check_answers(fields, answers)
    except BadInput as error:
        assert error.message.endswith(".")
    else:
        assert set(found) == {"a", "b", "c"}
