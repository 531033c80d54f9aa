# SPDX-License-Identifier: Apache-2.0
"""Mentions, subscriptions, labels, locks, feeds: nobody is told of what they may not read."""

from __future__ import annotations

import pytest

from plait.errors import BadInput, Forbidden, NotFound, PlaitError
from plait.hub import ANONYMOUS
from plait.hub.notifications import mentions

from .conftest import World


def test_names_in_code_and_addresses_are_no_mentions() -> None:
    text = "@ann and (@shop/core), mail a@b.c, `@no`\n```\n@never\n``` @end."
    assert mentions(text) == [("ann", ""), ("shop", "core"), ("end", "")]
    assert len(mentions(" ".join(f"@u{k}" for k in range(500)))) == 20


def test_a_mention_tells_a_user_once_and_can_be_read(world: World) -> None:
    repo, ann, bob = world.repo(), world.actor("ann"), world.actor("bob")
    thread = world.hub.discussions.create(ann, repo, "Plan", "Well, @bob? @ann @nobody")
    page = world.hub.notifications.list(bob)
    assert [(one.reason, one.discussion.number) for one in page.items] == [
        ("mention", thread.number)
    ]
    assert world.hub.notifications.unread(ann) == 0  # nobody is told of what they wrote themselves
    # Who is somebody else cannot read it away.
    assert world.hub.notifications.mark_read(world.actor("eve"), [page.items[0].id]) == 0
    assert world.hub.notifications.mark_read(bob, [page.items[0].id]) == 1
    assert world.hub.notifications.unread(bob) == 0
    with pytest.raises(PlaitError, match="Log in"):
        world.hub.notifications.list(ANONYMOUS)


def test_in_private_repositories_only_readers_are_told_and_only_while_they_are(
    world: World,
) -> None:
    hub, shop = world.hub, world.accounts["shop"]
    repo, ann = world.repo("shop/veiled", private=True), world.actor("ann")
    hub.accounts.add_member(shop, world.accounts["bob"], "write")
    hub.discussions.create(ann, repo, "Secret", "@bob @eve @shop")
    assert hub.notifications.list(world.actor("eve")).items == []
    assert len(hub.notifications.list(world.actor("bob")).items) == 1
    assert hub.activity.of_account(world.actor("eve"), shop).items == []
    assert hub.activity.of_account(ANONYMOUS, world.accounts["ann"]).items == []
    assert hub.activity.of_account(world.actor("bob"), shop).items
    hub.social.follow(world.actor("bob"), "shop")
    assert hub.activity.followed(world.actor("bob")).items
    hub.accounts.remove_member(shop, world.accounts["bob"])
    # What was there before is out of view as well.
    assert hub.notifications.list(world.actor("bob")).items == []
    assert hub.notifications.unread(world.actor("bob")) == 0
    assert hub.activity.followed(world.actor("bob")).items == []


def test_wishes_decide_what_is_told(world: World) -> None:
    hub, repo, ann, bob = world.hub, world.repo(), world.actor("ann"), world.actor("bob")
    thread = hub.discussions.create(ann, repo, "Plan")
    hub.notifications.set_wish(bob, repo, "watch")
    hub.discussions.add_comment(ann, thread, "one")
    assert [n.reason for n in hub.notifications.list(bob).items] == ["watch"]
    hub.notifications.set_wish(bob, repo, "mute", thread)
    hub.discussions.add_comment(ann, thread, "two")
    assert len(hub.notifications.list(bob).items) == 1
    hub.discussions.add_comment(ann, thread, "three @bob")  # one's own name is heard all the same
    assert len(hub.notifications.list(bob).items) == 2
    hub.notifications.set_wish(bob, repo, "mute")
    hub.discussions.add_comment(ann, thread, "four @bob")
    assert len(hub.notifications.list(bob).items) == 2
    with pytest.raises(BadInput):
        hub.notifications.set_wish(bob, repo, "nonsense")


def test_hiding_a_comment_takes_back_what_it_told(world: World) -> None:
    hub, repo, ann, eve = world.hub, world.repo(), world.actor("ann"), world.actor("eve")
    thread = hub.discussions.create(ann, repo, "Plan")
    spam = hub.discussions.add_comment(eve, thread, "@bob buy this")
    assert hub.notifications.unread(world.actor("bob")) == 1
    hub.discussions.hide(ann, thread, spam.id)
    assert hub.notifications.unread(world.actor("bob")) == 0


def test_a_locked_discussion_is_for_writers(world: World) -> None:
    hub, repo, ann, bob = world.hub, world.repo(), world.actor("ann"), world.actor("bob")
    thread = hub.discussions.create(bob, repo, "Mine")
    with pytest.raises(Forbidden):
        hub.discussions.set_locked(bob, thread, True)
    hub.discussions.set_locked(ann, thread, True)
    with pytest.raises(Forbidden, match="locked"):
        hub.discussions.add_comment(bob, thread, "but")
    with pytest.raises(Forbidden, match="locked"):
        hub.discussions.rename(bob, thread, "but")
    with pytest.raises(Forbidden, match="locked"):
        hub.discussions.set_status(bob, thread, "closed")
    hub.discussions.add_comment(ann, thread, "Enough.")
    hub.discussions.set_locked(ann, thread, False)
    hub.discussions.add_comment(bob, thread, "Thank you.")


def test_labels_belong_to_writers_and_filter(world: World) -> None:
    hub, repo, ann, bob = world.hub, world.repo(), world.actor("ann"), world.actor("bob")
    thread = hub.discussions.create(bob, repo, "Broken")
    hub.discussions.create(bob, repo, "Other")
    with pytest.raises(Forbidden):
        hub.labels.put(bob, repo, "bug")
    hub.labels.put(ann, repo, "Bug", colour="red")
    assert hub.labels.put(ann, repo, "bug").name == "bug"  # the same one, renamed
    with pytest.raises(BadInput):
        hub.labels.put(ann, repo, "x", colour="pink; }")
    with pytest.raises(Forbidden):
        hub.labels.assign(bob, repo, thread, ["bug"])
    with pytest.raises(NotFound):
        hub.labels.assign(ann, repo, thread, ["none"])
    hub.labels.assign(ann, repo, thread, ["BUG"])
    assert [one.number for one in hub.discussions.list(repo, label="bug")] == [thread.number]
    assert hub.discussions.count(repo, label="nothing") == 0
    hub.labels.remove(ann, repo, "bug")
    assert hub.labels.of([thread])[thread.id] == []
