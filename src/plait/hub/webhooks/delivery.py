# SPDX-License-Identifier: Apache-2.0
"""Sending what waits: leased by one process at a time, retried for hours, then given up."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import anyio
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from plait.hub.database import Account, Delivery, Repository, Webhook, now
from plait.hub.people.actors import load_actor
from plait.hub.permissions import can
from plait.hub.webhooks.addresses import Resolver, look_up
from plait.hub.webhooks.sending import Outcome, send_message
from plait.hub.webhooks.signatures import SIGNATURE_HEADER, sign_message

if TYPE_CHECKING:
    from plait.hub.facade import Hub

DELAYS = (30, 300, 1800, 7200, 28800)
"""Seconds between attempts; the last is repeated if the operator wants more."""
BATCH = 16
"""Messages on their way at one time, of one process."""
SHARE = 4
"""Of them for one webhook."""
KEPT = timedelta(days=30)
"""How long the owner can look at a message that arrived or was given up."""
_GRACE = 60


@dataclass(frozen=True)
class _Letter:
    """A leased delivery, with all that sending it needs."""

    delivery: Delivery
    webhook: Webhook


def deliver_due(
    hub: Hub,
    *,
    moment: datetime | None = None,
    resolver: Resolver = look_up,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Send the messages that are due, a batch of them, and return how many were tried.

    Several processes may call this at once. One that dies leaves its messages to the others, who
    send them again: a message arrives at least once, and carries its id in ``X-Plait-Delivery``.
    """
    moment = moment or now()
    letters = _take(hub, moment)
    if not letters:
        return 0
    outcomes: dict[int, Outcome] = {}

    async def send(webhook_id: int) -> None:
        # One place is told in the order in which things happened.
        for letter in letters:
            if letter.webhook.id == webhook_id:
                outcomes[letter.delivery.id] = await _send(hub, letter, resolver, tls)

    async def send_all() -> None:
        async with anyio.create_task_group() as group:
            for webhook_id in {letter.webhook.id for letter in letters}:
                group.start_soon(send, webhook_id)

    anyio.run(send_all)
    for letter in letters:
        _record(hub, letter, outcomes[letter.delivery.id], moment)
    return len(letters)


def forget_old(hub: Hub, moment: datetime | None = None) -> int:
    """Remove messages that ended long ago and return how many."""
    old = (moment or now()) - KEPT
    with hub.session(write=True) as session:
        ids = list(
            session.scalars(
                select(Delivery.id)
                .where(Delivery.state.in_(("delivered", "failed")), Delivery.finished_at < old)
                .limit(500)
            )
        )
        session.execute(delete(Delivery).where(Delivery.id.in_(ids)))
    return len(ids)


def _take(hub: Hub, moment: datetime) -> list[_Letter]:
    """Lease due messages; drop those whose owner may not read what they are about any more."""
    due = (
        select(Delivery)
        .where(Delivery.state.in_(("waiting", "sending")), Delivery.due_at <= moment)
        .order_by(Delivery.due_at, Delivery.id)
        .limit(4 * BATCH)
    )
    # Looking needs no lock: an idle process does not stand in the way of those who write.
    with hub.session() as session:
        if session.scalar(due.limit(1)) is None:
            return []
    until = moment + timedelta(seconds=SHARE * hub.settings.webhook_timeout + _GRACE)
    letters: list[_Letter] = []
    shares: Counter[int] = Counter()
    with hub.session(write=True) as session:
        for delivery in session.scalars(due.with_for_update(skip_locked=True, of=Delivery)).all():
            if len(letters) == BATCH:
                break
            webhook = session.get(Webhook, delivery.webhook_id)
            if webhook is None or not _may_be_told(session, webhook, delivery):
                session.delete(delivery)
                continue
            if webhook.disabled:
                _give_up(delivery, moment, "The webhook was disabled before this was sent.")
                continue
            if shares[webhook.id] == SHARE:
                continue
            shares[webhook.id] += 1
            delivery.state = "sending"
            delivery.attempts += 1
            delivery.due_at = until
            letters.append(_Letter(delivery, webhook))
    return letters


def _may_be_told(session: Session, webhook: Webhook, delivery: Delivery) -> bool:
    owner = session.get(Account, webhook.user_id)
    if owner is None or owner.disabled_at is not None:
        return False
    if delivery.repository_id is None:
        return True
    repo = session.get(Repository, delivery.repository_id)
    return repo is not None and can(load_actor(session, owner, "write"), "repo.read", repo)


async def _send(
    hub: Hub, letter: _Letter, resolver: Resolver, tls: ssl.SSLContext | None
) -> Outcome:
    webhook, delivery = letter.webhook, letter.delivery
    body = json.dumps(delivery.payload, ensure_ascii=False).encode()
    headers = {"X-Plait-Delivery": delivery.public_id}
    if webhook.secret:
        headers["X-Webhook-Secret"] = webhook.secret
        headers[SIGNATURE_HEADER] = sign_message(webhook.secret, body)
    return await send_message(webhook.url, body, headers, hub.settings, resolver=resolver, tls=tls)


def _record(hub: Hub, letter: _Letter, outcome: Outcome, moment: datetime) -> None:
    with hub.session(write=True) as session:
        delivery = session.get(Delivery, letter.delivery.id, with_for_update={"of": Delivery})
        webhook = session.get(Webhook, letter.webhook.id, with_for_update={"of": Webhook})
        if delivery is None or webhook is None:
            return
        if delivery.state != "sending" or delivery.attempts != letter.delivery.attempts:
            return  # another process has taken it up meanwhile
        delivery.status, delivery.answer = outcome.status, outcome.answer
        if outcome.arrived:
            delivery.state, delivery.finished_at = "delivered", moment
            webhook.failing_since = None
            return
        webhook.failing_since = webhook.failing_since or moment
        if delivery.attempts < hub.settings.webhook_attempts:
            _postpone(session, delivery, moment)
            return
        _give_up(delivery, moment, outcome.answer)
        patience = timedelta(seconds=hub.settings.webhook_patience)
        if moment - webhook.failing_since >= patience:
            webhook.disabled = True


def _postpone(session: Session, delivery: Delivery, moment: datetime) -> None:
    """Wait before the next attempt, with the other messages to the same place.

    Those that were not tried yet would fail as well, and keep others' messages waiting.
    """
    delay = DELAYS[min(delivery.attempts, len(DELAYS)) - 1]
    delivery.state, delivery.due_at = "waiting", moment + timedelta(seconds=delay)
    session.execute(
        update(Delivery)
        .where(
            Delivery.webhook_id == delivery.webhook_id,
            Delivery.state == "waiting",
            Delivery.due_at < delivery.due_at,
            Delivery.id != delivery.id,
            Delivery.attempts == 0,
        )
        .values(due_at=delivery.due_at)
    )


def _give_up(delivery: Delivery, moment: datetime, reason: str) -> None:
    delivery.state, delivery.finished_at = "failed", moment
    delivery.answer = reason
