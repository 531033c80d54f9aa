# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from plait.errors import BadInput, Conflict, Forbidden, NotFound
from plait.hub import ANONYMOUS, SYSTEM, Actor, can
from plait.hub.database import Collection
from plait.hub.permissions import ROLES
from plait.hub.repositories.collections import (
    CollectionExists,
    resource_of_collection,
    visible_collections,
)
from plait.hub.repositories.cursors import read_cursor, write_cursor

from ..conftest import World


def test_a_collection_and_its_slug(world: World) -> None:
    ann = world.actor("ann")
    made = world.hub.collections.create(ann, "shop", "  Our   Best: Models! ")
    assert made.collection.title == "Our Best: Models!"
    assert made.slug == f"shop/our-best-models-{made.collection.public_id}"
    with pytest.raises(CollectionExists) as exists:
        world.hub.collections.create(ann, "SHOP", "our best: models!")
    assert exists.value.slug == made.slug
    renamed = world.hub.collections.update(ann, made.slug, title="Others")
    assert renamed.slug == f"shop/others-{made.collection.public_id}"
    # An address from before still leads there; another namespace or id does not.
    assert world.hub.collections.get(ANONYMOUS, made.slug).slug == renamed.slug
    for wrong in (made.slug.replace("shop", "ann"), "shop/" + "0" * 24, "shop", "", "é/x"):
        with pytest.raises(NotFound):
            world.hub.collections.get(ann, wrong)
    with pytest.raises(BadInput):
        world.hub.collections.create(ann, "shop", " \n ")


def test_items_that_a_reader_may_not_see_are_not_there(world: World) -> None:
    hub, ann, eve = world.hub, world.actor("ann"), world.actor("eve")
    world.repo("shop/open")
    world.repo("shop/secret", private=True)
    slug = hub.collections.create(ann, "shop", "Mixed").slug
    inner = hub.collections.create(ann, "shop", "Inner", private=True).slug
    hub.collections.add_item(ann, slug, "model", "shop/secret", "hidden words")
    hub.collections.add_item(ann, slug, "collection", inner)
    hub.collections.add_item(ann, slug, "model", "shop/open")
    hub.collections.add_item(ann, slug, "paper", "2307.09288")
    assert [i.name for i in hub.collections.get(ann, slug).items] == [
        "shop/secret",
        inner,
        "shop/open",
        "2307.09288",
    ]
    for stranger in (eve, ANONYMOUS):
        shown = hub.collections.get(stranger, slug).items
        assert [(i.name, i.position) for i in shown] == [("shop/open", 0), ("2307.09288", 1)]
        assert [c.slug for c in hub.collections.list(stranger).items] == [slug]
        listed = hub.collections.list(stranger, owners=["shop"]).items[0].items
        assert [i.name for i in listed] == ["shop/open", "2307.09288"]
        assert hub.collections.list(stranger, items=["models/shop/secret"]).items == []
        assert hub.collections.list(stranger, items=[f"collections/{inner}"]).items == []
        assert len(hub.collections.list(stranger, items=["models/shop/open"]).items) == 1
        with pytest.raises(NotFound):
            hub.collections.get(stranger, inner)
    assert len(hub.collections.list(ann, items=["models/shop/secret"]).items) == 1
    # Nobody puts what they cannot read into a collection of their own.
    own = hub.collections.create(eve, "eve", "Guesses").slug
    for kind, name in [("model", "shop/secret"), ("collection", inner), ("model", "no/such")]:
        with pytest.raises(NotFound):
            hub.collections.add_item(eve, own, kind, name)
    for kind, name in [("paper", "../x"), ("bucket", "a/b"), ("paper", "")]:
        with pytest.raises(BadInput):
            hub.collections.add_item(eve, own, kind, name)
    hub.collections.delete(ann, inner)
    assert [i.name for i in hub.collections.get(ann, slug).items][1] == "shop/open"


def test_only_members_who_may_write_change_a_collection(world: World) -> None:
    hub, ann, bob = world.hub, world.actor("ann"), world.actor("bob")
    slug = hub.collections.create(ann, "shop", "Ours").slug
    world.repo("shop/model")
    for act in (
        lambda: hub.collections.create(bob, "shop", "Theirs"),
        lambda: hub.collections.update(bob, slug, title="x"),
        lambda: hub.collections.delete(bob, slug),
        lambda: hub.collections.add_item(bob, slug, "model", "shop/model"),
        lambda: hub.collections.update(world.actor("ann", "read"), slug, title="x"),
    ):
        with pytest.raises(Forbidden):
            act()
    hub.accounts.add_member(world.accounts["shop"], world.accounts["bob"], "contributor")
    bob = world.actor("bob")
    own = hub.collections.create(bob, "shop", "Of a contributor").slug
    hub.collections.update(bob, own, theme="green")
    with pytest.raises(Forbidden):
        hub.collections.update(bob, slug, theme="green")
    with pytest.raises(BadInput):
        hub.collections.update(ann, slug, theme="plaid")


def test_items_move_among_those_seen(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    slug = hub.collections.create(ann, "ann", "Order").slug
    for number in range(4):
        hub.collections.add_item(ann, slug, "paper", f"2000.0000{number}")
    items = hub.collections.get(ann, slug).items
    with pytest.raises(Conflict):
        hub.collections.add_item(ann, slug, "paper", "2000.00001")
    moved = hub.collections.update_item(ann, slug, items[3].item.public_id, position=1, note="n")
    assert (moved.position, moved.item.note) == (1, "n")
    hub.collections.update_item(ann, slug, items[0].item.public_id, position=99)
    names = [item.name[-1] for item in hub.collections.get(ann, slug).items]
    assert names == ["3", "1", "2", "0"]
    hub.collections.delete_item(ann, slug, items[1].item.public_id)
    with pytest.raises(NotFound):
        hub.collections.delete_item(ann, slug, items[1].item.public_id)
    assert [item.name[-1] for item in hub.collections.get(ann, slug).items] == ["3", "2", "0"]


def test_lists_go_on_and_ask_a_bounded_number_of_questions(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    world.repo("shop/model")
    for number in range(7):
        slug = hub.collections.create(ann, "ann", f"Number {number}").slug
        for paper in range(6):
            hub.collections.add_item(ann, slug, "paper", f"2000.0000{paper}")
        hub.collections.add_item(ann, slug, "model", "shop/model")
    for sort in ("lastModified", "upvotes", "trending"):
        seen, cursor = [], None
        while True:
            found = hub.collections.list(ann, sort=sort, limit=3, cursor=cursor)  # type: ignore[arg-type]
            seen += [c.slug for c in found.items]
            assert all(len(c.items) == 4 for c in found.items)
            if (cursor := found.cursor) is None:
                break
        assert len(seen) == len(set(seen)) == 7
    assert [c.collection.title for c in hub.collections.list(ann, search="NUMBER 3").items] == [
        "Number 3"
    ]

    def queries(limit: int) -> int:
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        event.listen(hub.engine, "before_cursor_execute", counted)
        hub.collections.list(ann, limit=limit)
        event.remove(hub.engine, "before_cursor_execute", counted)
        return count

    assert queries(7) == queries(1)


def test_the_condition_agrees_with_the_decision(world: World) -> None:
    hub = world.hub
    hub.accounts.add_member(world.accounts["shop"], world.accounts["bob"], "read")
    root = world.add("root", admin=True)
    for owner in ("ann", "shop"):
        for private in (False, True):
            hub.collections.create(world.actor("ann"), owner, f"{owner} {private}", private=private)
    ids = {name: account.id for name, account in world.accounts.items()}
    actors = [ANONYMOUS, SYSTEM, root, *(world.actor(n) for n in ("ann", "bob", "eve"))]
    actors += [world.actor("ann", "read"), Actor(ids["ann"], "ann", scope="none")]
    actors += [Actor(ids["bob"], "bob", scope="write", roles={ids["shop"]: role}) for role in ROLES]
    actors += [
        Actor(ids["ann"], "ann", scope="fine-grained", namespace_grants={place: "read"})
        for place in ids.values()
    ]
    actors += [Actor(ids["ann"], "ann", scope="fine-grained"), Actor(ids["ann"], disabled=True)]
    with hub.session() as session:
        every = session.query(Collection).all()
        for actor in actors:
            shown = {c.id for c in session.query(Collection).where(visible_collections(actor))}
            assert shown == {
                c.id for c in every if can(actor, "repo.read", resource_of_collection(c))
            }, actor


@given(st.text(max_size=200))
def test_a_cursor_from_a_stranger_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadInput):
        read_cursor(text, str, int)


@given(st.text().filter(lambda t: "\0" not in t and t.isprintable()), st.integers(0, 2**61))
def test_cursors_come_back(text: str, number: int) -> None:
    if len(text) < 50:
        assert read_cursor(write_cursor([text, number]), str, int) == [text, number]
