# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from plait.errors import BadInput, Forbidden
from plait.hub import ANONYMOUS, SYSTEM, Actor, Hub
from plait.hub.audit import BEGINNING, canonical, entry_hash
from plait.hub.database import AuditEntry, now
from plait.settings import Settings

from .conftest import World


def note(hub: Hub, action: str = "login", actor: Actor = SYSTEM, **details: Any) -> None:
    with hub.session(write=True) as session:
        hub.events.record(session, actor, action, **details)


def tamper(hub: Hub, change: Any) -> None:
    """Change the table behind the log's back, as somebody with the database's password can."""
    with hub.session(write=True) as session:
        if hub.engine.dialect.name == "sqlite":
            for verb in ("update", "delete"):
                session.execute(text(f"DROP TRIGGER IF EXISTS audit_entries_no_{verb}"))
        else:
            session.execute(
                text("DROP TRIGGER IF EXISTS audit_entries_append_only ON audit_entries")
            )
        session.execute(change)


def test_what_is_done_is_in_the_log(world: World) -> None:
    world.hub.accounts.add_member(world.accounts["shop"], world.accounts["bob"], "read")
    newest = world.hub.audit.list(SYSTEM).items[0]
    assert (newest.action, newest.target, newest.actor) == ("member.add", "shop", "plait")
    assert newest.details == {"user": "bob", "role": "read"}
    assert newest.namespace_id == world.accounts["shop"].id
    verdict = world.hub.audit.verify()
    assert verdict.broken is None
    assert verdict.entries == verdict.position == newest.position
    assert verdict.hash == newest.hash


def test_what_was_rolled_back_is_not(world: World) -> None:
    before = world.hub.audit.verify()
    with pytest.raises(RuntimeError), world.hub.session(write=True) as session:
        world.hub.events.record(session, SYSTEM, "login")
        raise RuntimeError
    assert world.hub.audit.verify() == before
    note(world.hub)
    assert world.hub.audit.verify().position == before.position + 1


def test_several_in_one_transaction_follow_each_other(world: World) -> None:
    with world.hub.session(write=True) as session:
        for number in range(3):
            world.hub.events.record(session, SYSTEM, "login", number=number)
    newest = world.hub.audit.list(SYSTEM, limit=3).items
    assert [entry.details["number"] for entry in newest] == [2, 1, 0]
    assert newest[0].previous == newest[1].hash


def test_the_first_entry_and_its_hash(hub: Hub) -> None:
    note(hub, actor=Actor(5, "ann", address="203.0.113.7"), means="password")
    (entry,) = hub.audit.entries()
    assert entry.previous == BEGINNING
    assert canonical(entry) == (
        '{"action":"login","actor":"ann","actor_id":5,"address":"203.0.113.7","at":"'
        + entry.at.isoformat(timespec="microseconds")
        + '","details":{"means":"password"},"namespace_id":null,"position":1,'
        '"repository_id":null,"target":"","token_id":null}'
    )
    assert entry.hash == entry_hash(entry)


def test_the_database_refuses_to_change_it(world: World) -> None:
    note(world.hub)
    for change in (
        update(AuditEntry).values(actor="eve"),
        delete(AuditEntry).where(AuditEntry.position == 1),
    ):
        with (
            pytest.raises(DatabaseError, match="append-only"),
            world.hub.session(write=True) as session,
        ):
            session.execute(change)
    assert world.hub.audit.verify().broken is None


COLUMNS = {
    "actor": "eve", "actor_id": 99, "token_id": 3, "address": "::1", "action": "x", "target": "y",
    "namespace_id": 1234, "repository_id": 1234, "details": {"a": 1}, "at": now(),
    "previous": "0" * 64, "hash": "1" * 64,
}  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_entry_is_found(world: World, column: str) -> None:
    for _ in range(4):
        note(world.hub)
    last = world.hub.audit.verify().position
    tamper(
        world.hub,
        update(AuditEntry)
        .where(AuditEntry.position == last - 2)
        .values(**{column: COLUMNS[column]}),
    )
    assert world.hub.audit.verify().broken == last - 2


def test_every_column_is_sealed() -> None:
    assert set(COLUMNS) | {"position"} == set(AuditEntry.__table__.columns.keys())


def test_a_rewritten_entry_is_found_by_the_next(world: World) -> None:
    for _ in range(3):
        note(world.hub)
    entries = list(world.hub.audit.entries())
    forged = entries[-2]
    forged.actor = "eve"
    tamper(
        world.hub,
        update(AuditEntry)
        .where(AuditEntry.position == forged.position)
        .values(actor="eve", hash=entry_hash(forged)),
    )
    assert world.hub.audit.verify().broken == entries[-1].position


def test_a_removed_entry_is_found(world: World) -> None:
    for _ in range(3):
        note(world.hub)
    last = world.hub.audit.verify().position
    tamper(world.hub, delete(AuditEntry).where(AuditEntry.position == last - 1))
    verdict = world.hub.audit.verify()
    assert verdict.broken == last - 1
    assert "missing" in verdict.reason


def test_a_cut_end_is_found_with_what_was_noted(world: World) -> None:
    for _ in range(3):
        note(world.hub)
    noted = world.hub.audit.verify()
    assert world.hub.audit.verify(position=noted.position, expected=noted.hash).broken is None
    tamper(world.hub, delete(AuditEntry).where(AuditEntry.position == noted.position))
    assert world.hub.audit.verify().broken is None
    later = world.hub.audit.verify(position=noted.position, expected=noted.hash)
    assert later.broken == noted.position
    note(world.hub, "something else")
    assert world.hub.audit.verify(position=noted.position, expected=noted.hash).broken


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@effort(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    value=json_values, target=st.text(max_size=400), name=st.text(max_size=120), address=st.text()
)
def test_whatever_strangers_write_keeps_the_chain_whole(
    hub: Hub, value: Any, target: str, name: str, address: str
) -> None:
    with hub.session(write=True) as session:
        hub.events.record(session, Actor(1, name, address=address), "x", target=target, value=value)
    assert hub.audit.verify().broken is None


def test_long_details_are_named_by_their_hash(hub: Hub) -> None:
    note(hub, text="x" * 50_000)
    (entry,) = hub.audit.entries()
    assert set(entry.details) == {"too_long", "sha256"}
    assert hub.audit.verify().broken is None


def test_threads_make_one_chain(hub: Hub) -> None:
    def work() -> None:
        for _ in range(8):
            note(hub)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = hub.audit.verify()
    assert (verdict.entries, verdict.broken) == (48, None)


def _many(settings: Settings) -> None:
    with Hub.open(settings) as hub:
        for _ in range(10):
            note(hub)


def test_processes_make_one_chain(hub: Hub) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_many, args=(hub.settings,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    verdict = hub.audit.verify()
    assert (verdict.entries, verdict.broken) == (20, None)


def test_who_may_read_what(world: World) -> None:
    audit, shop, bob = world.hub.audit, world.accounts["shop"], world.accounts["bob"]
    ann = world.actor("ann")
    world.hub.accounts.add_member(shop, bob, "write")
    for actor, account in (
        (ANONYMOUS, None), (ANONYMOUS, shop), (ann, None), (world.actor("eve"), shop),
        (world.actor("bob"), shop), (world.actor("ann", "read"), shop), (ann, bob),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            audit.list(actor, account=account)
    own = audit.list(ann, account=shop).items
    assert own and all(entry.namespace_id == shop.id for entry in own)
    mine = audit.list(world.actor("bob"), account=bob).items
    assert {entry.action for entry in mine} == {"user.create", "token.create"}
    root = world.add("root", admin=True)
    assert len(audit.list(root, limit=200).items) > len(own)


def test_filters_and_pages(world: World) -> None:
    audit = world.hub.audit
    world.actor("bob")
    everything = audit.list(SYSTEM, limit=200).items
    pages, cursor = [], None
    while True:
        page = audit.list(SYSTEM, limit=2, cursor=cursor)
        pages += page.items
        cursor = page.cursor
        if cursor is None:
            break
    assert [e.position for e in pages] == [e.position for e in everything]
    tokens = audit.list(SYSTEM, action="token").items
    assert {entry.action for entry in tokens} == {"token.create"}
    assert audit.list(SYSTEM, action="tok").items == []
    assert {e.target for e in audit.list(SYSTEM, target="bob").items} == {"bob"}
    assert audit.list(SYSTEM, who="nobody").items == []
    assert audit.list(SYSTEM, since=now() + timedelta(hours=1)).items == []
    until = audit.list(SYSTEM, until=now() + timedelta(hours=1), limit=200).items
    assert len(until) == len(everything)
    with pytest.raises(BadInput, match="cursor"):
        audit.list(SYSTEM, cursor="x")
