# SPDX-License-Identifier: Apache-2.0
"""Writing down, with the change itself, who is to be told of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from plait.hub.database import Account, Delivery, Repository, Webhook, WebhookWatch
from plait.hub.events import Event
from plait.hub.people.actors import load_actor
from plait.hub.permissions import can
from plait.hub.webhooks.payloads import VERSION, describe, domain_of
from plait.settings import Settings

MAX_TOLD = 1000
"""Webhooks told of one event, the oldest first."""


class Outbox:
    """Listens to the hub's events and keeps a message for each webhook that watches.

    A message is written in the transaction of the change: it is sent if the change happened.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, session: Session, event: Event) -> None:
        """Keep messages for those who watch what an event is about, and may read it."""
        domain = domain_of(event.action)
        if domain is None or event.repo is None:
            return
        watching = _watching(session, event, event.repo, domain)
        if not watching:
            return
        message = describe(session, self._settings, event)
        if message is None:
            return
        gone = event.action == "repo.delete"
        for webhook in watching:
            session.add(
                Delivery(
                    webhook_id=webhook.id,
                    repository_id=None if gone else event.repo.id,
                    payload={
                        **message,
                        "webhook": {"id": webhook.public_id, "version": VERSION},
                    },
                )
            )


def _watching(session: Session, event: Event, repo: Repository, domain: str) -> list[Webhook]:
    places = [repo.namespace_id, *_namespace_before(session, event)]
    watched = or_(WebhookWatch.account_id.in_(places), WebhookWatch.repository_id == repo.id)
    if event.action == "discussion.mention":
        # Those who watch a repository hear of the comment itself.
        watched = WebhookWatch.account_id.in_(list(event.details.get("users", ())))
    ids = select(WebhookWatch.webhook_id).where(watched)
    found = session.execute(
        select(Webhook, Account)
        .join(Account, Account.id == Webhook.user_id)
        .where(Webhook.id.in_(ids), Webhook.disabled.is_(False))
        .order_by(Webhook.id)
        .limit(MAX_TOLD)
    ).all()
    readers: dict[int, bool] = {}
    for _, owner in found:
        if owner.id not in readers:
            readers[owner.id] = can(load_actor(session, owner, "write"), "repo.read", repo)
    return [
        webhook
        for webhook, owner in found
        if readers[owner.id] and domain in webhook.domains.get("items", ())
    ]


def _namespace_before(session: Session, event: Event) -> list[int]:
    """Those who watch the namespace that a repository left are told that it left."""
    before: Any = event.details.get("from_name")
    if event.action != "repo.move" or not isinstance(before, str):
        return []
    key = before.partition("/")[0].lower()
    return list(session.scalars(select(Account.id).where(Account.name_key == key)))
