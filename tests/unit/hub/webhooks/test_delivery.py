# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from huggingface_hub import WebhookPayload

from plait.errors import BadInput, Conflict, Forbidden, NotFound, Unsupported
from plait.hub import ANONYMOUS, AddBytes, Hub
from plait.hub.database import Delivery, Webhook, now
from plait.hub.webhooks import SIGNATURE_HEADER, sign_message, verify_message
from plait.hub.webhooks.delivery import DELAYS, SHARE, deliver_due, forget_old
from plait.settings import load_settings

from ..conftest import World
from .receiver import Receiver, receiving


@pytest.fixture
def town(tmp_path: Path, empty_hub: Path, places: dict[str, str]) -> Iterator[World]:
    """A hub whose operator lets webhooks go to this machine."""
    shutil.copytree(empty_hub, tmp_path / "town")
    settings = load_settings(
        tmp_path / "town", places, webhook_http=1, webhook_hosts="127.0.0.1", webhook_timeout=5
    )
    with Hub.open(settings) as hub:
        people = {name: hub.accounts.create_user(name) for name in ("ann", "bob", "eve")}
        people["shop"] = hub.accounts.create_organization("shop", people["ann"])
        yield World(hub, people)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def hook(world: World, receiver: Receiver, who: str, *watched: str, **more: object) -> Webhook:
    items = [dict(zip(("type", "name"), item.split(":"), strict=True)) for item in watched]
    url = f"http://127.0.0.1:{receiver.port}/hook"
    return world.hub.webhooks.create(world.actor(who), url, items, **more)  # type: ignore[arg-type]


def deliver(world: World, **more: object) -> int:
    sent = 0
    while count := deliver_due(world.hub, **more):  # type: ignore[arg-type]
        sent += count
        if "moment" in more:
            break
    return sent


def told(receiver: Receiver) -> list[tuple[str, str]]:
    events = [json.loads(body)["event"] for _, _, body in receiver.got]
    return [(event["scope"], event["action"]) for event in events]


def test_what_happens_to_a_repository_is_told(town: World, receiver: Receiver) -> None:
    hub, ann = town.hub, town.actor("ann")
    secret = "some-secret"
    made = hook(town, receiver, "ann", "org:shop", secret=secret)
    repo = town.repo("shop/model")
    hub.commits.apply(ann, repo, "main", [AddBytes("a.txt", b"a")], "one")
    hub.repositories.update(ann, repo, private=True)
    hub.references.create_branch(ann, repo, "side")
    discussion = hub.discussions.create(ann, repo, "Title", "What I <b>mean</b>")
    hub.discussions.add_comment(ann, discussion, "More")
    hub.repositories.move(ann, repo, "shop/renamed")
    deliver(town)
    hub.discussions.add_comment(ann, discussion, "Nobody will read this")
    hub.repositories.delete(ann, hub.repositories.get(ann, "model", "shop/renamed"))
    deliver(town)
    assert ("repo", "create") in told(receiver)
    assert ("repo.content", "update") in told(receiver)
    assert ("repo.config", "update") in told(receiver)
    assert ("repo", "move") in told(receiver)
    # The repository is gone: only that is told of what had not been sent before.
    assert told(receiver)[-1] == ("repo", "delete")
    for _, headers, body in receiver.got:
        message = WebhookPayload.model_validate_json(body)
        assert message.webhook.id == made.public_id
        assert message.webhook.version == 3
        assert headers["X-Webhook-Secret"] == secret
        assert len(headers["X-Plait-Delivery"]) == 24
        assert verify_message(secret, body, headers[SIGNATURE_HEADER])
        assert not verify_message(secret, body + b" ", headers[SIGNATURE_HEADER])
        assert not verify_message("other", body, headers[SIGNATURE_HEADER])


@pytest.fixture
def settled(town: World, receiver: Receiver) -> World:
    """Everything is sent before the test goes on."""
    town.repo("shop/model")
    return town


def test_each_kind_of_message(settled: World, receiver: Receiver) -> None:
    town, hub, ann = settled, settled.hub, settled.actor("ann")
    repo = hub.repositories.get(ann, "model", "shop/model")
    hook(town, receiver, "ann", "model:shop/model")
    commit = hub.commits.apply(ann, repo, "main", [AddBytes("a.txt", b"a")], "one")
    deliver(town)
    content = json.loads(receiver.got[-1][2])
    assert content["repo"]["headSha"] == commit.oid
    assert content["updatedRefs"] == [
        {"ref": "refs/heads/main", "oldSha": repo.head, "newSha": commit.oid}
    ]
    assert content["repo"]["url"] == {
        "web": f"{hub.settings.url}/shop/model",
        "api": f"{hub.settings.url}/api/models/shop/model",
    }
    hub.repositories.move(ann, repo, "ann/moved")
    deliver(town)
    move = json.loads(receiver.got[-1][2])
    assert (move["repo"]["name"], move["movedTo"]["name"]) == ("shop/model", "ann/moved")


def test_discussions_are_told_with_their_comments(settled: World, receiver: Receiver) -> None:
    town, hub, ann = settled, settled.hub, settled.actor("ann")
    repo = hub.repositories.get(ann, "model", "shop/model")
    hook(town, receiver, "bob", "model:shop/model", domains=["discussion"])
    discussion = hub.discussions.create(ann, repo, "Title", "What I mean")
    event = hub.discussions.add_comment(ann, discussion, "More")
    hub.discussions.edit(ann, discussion, event.id, "More of it")
    hub.discussions.hide(ann, discussion, event.id)
    hub.discussions.set_status(ann, discussion, "closed")
    hub.commits.apply(ann, repo, "main", [AddBytes("a.txt", b"a")], "not of this domain")
    deliver(town)
    assert told(receiver) == [
        ("discussion", "create"),
        ("discussion.comment", "create"),
        ("discussion.comment", "update"),
        ("discussion.comment", "update"),
        ("discussion", "update"),
    ]
    first, second, third, fourth, last = (
        WebhookPayload.model_validate_json(got[2]) for got in receiver.got
    )
    assert first.discussion and first.comment
    assert (first.discussion.title, first.comment.content) == ("Title", "What I mean")
    assert second.comment and second.comment.id == event.id
    assert third.comment and third.comment.content == "More of it"
    assert fourth.comment and fourth.comment.hidden and fourth.comment.content is None
    assert last.discussion and last.discussion.status == "closed"


def test_who_watches_a_person_is_told_of_mentions(settled: World, receiver: Receiver) -> None:
    town, hub, ann = settled, settled.hub, settled.actor("ann")
    repo = hub.repositories.get(ann, "model", "shop/model")
    hook(town, receiver, "bob", "user:bob")
    hook(town, receiver, "eve", "user:bob", domains=["repo"])
    discussion = hub.discussions.create(ann, repo, "Title", "What I mean, @eve")
    comment = hub.discussions.add_comment(ann, discussion, "And you, @bob?")
    hub.discussions.add_comment(ann, discussion, "In code, `@bob` is nobody.")
    secret = town.repo("shop/secret", private=True)
    hub.discussions.create(ann, secret, "Secret", "@bob")
    deliver(town)
    assert told(receiver) == [("discussion.mention", "create")]
    content = json.loads(receiver.got[0][2])
    assert content["comment"]["id"] == comment.id
    assert content["comment"]["content"] == "And you, @bob?"
    assert content["discussion"]["num"] == discussion.number
    assert content["repo"]["name"] == "shop/model"


def test_only_those_who_may_read_are_told(settled: World, receiver: Receiver) -> None:
    town, hub, ann = settled, settled.hub, settled.actor("ann")
    made = {who: hook(town, receiver, who, "org:shop") for who in ("ann", "bob")}
    secret = town.repo("shop/secret", private=True)
    deliver(town)
    assert len(receiver.got) == 1
    assert json.loads(receiver.got[0][2])["webhook"]["id"] == made["ann"].public_id
    # Bob could read the message's repository when it was written, and cannot when it is sent.
    repo = hub.repositories.get(ann, "model", "shop/model")
    receiver.got.clear()
    hub.commits.apply(ann, repo, "main", [AddBytes("private.txt", b"a")], "one")
    with hub.session() as session:
        assert session.query(Delivery).where(Delivery.state == "waiting").count() == 2
    hub.repositories.update(ann, repo, private=True)
    deliver(town)
    assert {json.loads(g[2])["webhook"]["id"] for g in receiver.got} == {made["ann"].public_id}
    bob = town.actor("bob")
    assert hub.webhooks.deliveries(bob, made["bob"].public_id).items == []
    with pytest.raises(NotFound):
        hook(town, receiver, "bob", f"model:{secret.full_name}")
    # Whose account was closed is told nothing either.
    repo = hub.repositories.get(ann, "model", "shop/model")
    with hub.session(write=True) as session:
        session.get(type(town.accounts["ann"]), town.accounts["ann"].id).disabled_at = now()  # type: ignore[union-attr]
        hub.events.record(session, ann, "repo.settings", repo=repo, private=True)
        assert session.query(Delivery).where(Delivery.state == "waiting").count() == 0


def test_what_an_owner_lost_sight_of_is_not_shown(settled: World, receiver: Receiver) -> None:
    town, hub, ann, bob = settled, settled.hub, settled.actor("ann"), settled.actor("bob")
    made = hook(town, receiver, "bob", "org:shop")
    repo = hub.repositories.get(ann, "model", "shop/model")
    hub.commits.apply(ann, repo, "main", [AddBytes("a.txt", b"a")], "one")
    deliver(town)
    page = hub.webhooks.deliveries(bob, made.public_id)
    assert [d.state for d in page.items] == ["delivered"]
    hub.repositories.update(ann, repo, private=True)
    assert hub.webhooks.deliveries(bob, made.public_id).items == []
    with pytest.raises(NotFound):
        hub.webhooks.replay(bob, made.public_id, page.items[0].public_id)


def test_retries_then_gives_up_and_disables(settled: World, receiver: Receiver) -> None:
    town, hub, ann = settled, settled.hub, settled.actor("ann")
    made = hook(town, receiver, "ann", "org:shop")
    receiver.answer = lambda: (500, {}, b"not now")
    repo = hub.repositories.get(ann, "model", "shop/model")
    hub.references.create_branch(ann, repo, "one")
    moment = now() + timedelta(seconds=1)
    for number, delay in enumerate((*DELAYS, 0)):
        assert deliver(town, moment=moment) == 1, number
        assert deliver(town, moment=moment) == 0
        moment += timedelta(seconds=delay)
    (given_up,) = hub.webhooks.deliveries(ann, made.public_id).items
    assert (given_up.state, given_up.attempts, given_up.status) == ("failed", 6, 500)
    assert given_up.answer == "not now"
    assert not hub.webhooks.get(ann, made.public_id).disabled
    assert len({g[1]["X-Plait-Delivery"] for g in receiver.got}) == 1
    # Nothing arrived for days: it is disabled, and tells nothing more.
    again = hub.webhooks.replay(ann, made.public_id, given_up.public_id)
    moment += timedelta(days=3)
    for delay in (*DELAYS, 0):
        deliver(town, moment=moment)
        moment += timedelta(seconds=delay)
    assert hub.webhooks.get(ann, made.public_id).disabled
    hub.references.create_branch(ann, repo, "two")
    assert len(hub.webhooks.deliveries(ann, made.public_id).items) == 2
    with pytest.raises(Conflict):
        hub.webhooks.replay(ann, made.public_id, again.public_id)
    hub.webhooks.set_disabled(ann, made.public_id, False)
    receiver.answer = lambda: (204, {}, b"")
    hub.webhooks.replay(ann, made.public_id, again.public_id)
    deliver(town)
    assert hub.webhooks.deliveries(ann, made.public_id).items[0].state == "delivered"
    assert forget_old(hub, moment + timedelta(days=40)) == 3
    assert hub.webhooks.deliveries(ann, made.public_id).items == []


def test_a_failing_receiver_does_not_keep_others_waiting(
    settled: World, receiver: Receiver
) -> None:
    town, hub, ann = settled, settled.hub, settled.actor("ann")
    made = hook(town, receiver, "ann", "org:shop")
    receiver.answer = lambda: (500, {}, b"")
    repo = hub.repositories.get(ann, "model", "shop/model")
    for number in range(SHARE + 6):
        hub.references.create_branch(ann, repo, f"b{number}")
    moment = now() + timedelta(seconds=1)
    assert deliver(town, moment=moment) == SHARE
    assert deliver(town, moment=moment) == 0
    waiting = hub.webhooks.deliveries(ann, made.public_id, limit=100).items
    assert all(d.due_at > moment for d in waiting)


def test_a_killed_sender_leaves_its_message_to_others(settled: World, receiver: Receiver) -> None:
    town, hub, ann = settled, settled.hub, settled.actor("ann")
    hook(town, receiver, "ann", "org:shop")
    hub.references.create_branch(ann, hub.repositories.get(ann, "model", "shop/model"), "one")
    moment = now()
    with hub.session(write=True) as session:
        (delivery,) = session.query(Delivery).all()
        delivery.state, delivery.attempts = "sending", 1
        delivery.due_at = moment + timedelta(seconds=60)
    assert deliver(town, moment=moment) == 0
    assert deliver(town, moment=moment + timedelta(seconds=61)) == 1
    assert len(receiver.got) == 1


def test_what_is_rolled_back_is_not_told(settled: World, receiver: Receiver) -> None:
    hub, ann = settled.hub, settled.actor("ann")
    hook(settled, receiver, "ann", "org:shop")
    repo = hub.repositories.get(ann, "model", "shop/model")
    with pytest.raises(RuntimeError), hub.session(write=True) as session:
        hub.events.record(session, ann, "repo.settings", repo=repo, private=True)
        raise RuntimeError
    assert deliver(settled) == 0


def test_webhooks_are_their_owners_alone(settled: World, receiver: Receiver) -> None:
    hub, ann, bob = settled.hub, settled.actor("ann"), settled.actor("bob")
    made = hook(settled, receiver, "ann", "user:ann", secret="s")
    for act in (hub.webhooks.get, hub.webhooks.delete, hub.webhooks.deliveries):
        with pytest.raises(NotFound):
            act(bob, made.public_id)
    for scope in ("read", "contributor"):
        with pytest.raises(Forbidden):
            hub.webhooks.list(settled.actor("ann", scope))
    with pytest.raises(Exception, match="token"):
        hub.webhooks.list(ANONYMOUS)
    url = "https://example.org/"
    for watched in ([], [{"type": "planet", "name": "x"}], [{"type": "user", "name": "ann"}] * 101):
        with pytest.raises(BadInput):
            hub.webhooks.create(ann, url, watched)
    for kind, name in [("user", "shop"), ("org", "ann"), ("model", "no/such"), ("user", "é")]:
        with pytest.raises(NotFound):
            hub.webhooks.create(ann, url, [{"type": kind, "name": name}])
    with pytest.raises(Unsupported):
        hub.webhooks.create(ann, url, [{"type": "bucket", "name": "a/b"}])
    for secret in ("two words", "é", "a\nb", "x" * 256):
        with pytest.raises(BadInput):
            hub.webhooks.update(ann, made.public_id, secret=secret)
    with pytest.raises(BadInput):
        hub.webhooks.update(ann, made.public_id, domains=["repo", "jobs"])
    kept = hub.webhooks.update(ann, made.public_id, watched=[], domains=["repo"])
    assert kept.watched["items"] == [{"type": "user", "name": "ann"}]


def test_signatures_are_not_good_for_ever() -> None:
    header = sign_message("key", b"body", 1000)
    assert verify_message("key", b"body", header, moment=1100)
    assert not verify_message("key", b"body", header, moment=1301)
    for wrong in ("", "t=1000", "t=,v1=", "v1=x,t=1000", f"{header},v1=0", "t=é,v1=é"):
        assert not verify_message("key", b"body", wrong, moment=1000)
