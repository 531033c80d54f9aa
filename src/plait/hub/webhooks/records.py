# SPDX-License-Identifier: Apache-2.0
"""Making, changing and removing webhooks, and what became of their messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, Forbidden, NotFound, Unauthorized, Unsupported
from plait.hub.database import Account, Delivery, Repository, Webhook, WebhookWatch
from plait.hub.names import REPOSITORY_TYPES
from plait.hub.permissions import Actor, can
from plait.hub.repositories.cursors import read_cursor, write_cursor
from plait.hub.visibility import readable
from plait.hub.webhooks.addresses import check_address

if TYPE_CHECKING:
    from plait.hub.facade import Hub

DOMAINS = ("repo", "discussion")
MAX_WEBHOOKS = 100
"""Of one user."""
MAX_WATCHED = 100
MAX_PAGE = 100

_SECRET = re.compile(r"\A[\x21-\x7e]{1,255}\Z")


@dataclass(frozen=True)
class DeliveryPage:
    """One page of a webhook's messages, newest first; ``cursor`` asks for the next."""

    items: list[Delivery]
    cursor: str | None


class Webhooks:
    """The webhooks of one hub; everybody sees and changes their own alone."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create(
        self,
        actor: Actor,
        url: str,
        watched: Sequence[Mapping[str, str]],
        domains: Sequence[str] = DOMAINS,
        secret: str | None = None,
    ) -> Webhook:
        """Make a webhook of the actor's.

        Args:
            actor: whose it is; it is told what they may read.
            url: where messages go.
            watched: what it watches, each with ``type`` (user, org, model, dataset or space) and
                ``name``.
            domains: ``repo`` and ``discussion``, or one of them.
            secret: sent along with each message and used to sign it.

        Raises:
            BadInput: a value is not allowed.
            NotFound: there is nothing to watch of that name.
            Conflict: the actor has as many as anybody may have.
        """
        user_id = _owner(actor)
        check_address(url, self._hub.settings)
        if not watched:
            raise BadInput(
                "A webhook needs something to watch: a user, organisation or repository."
            )
        with self._hub.session(write=True) as session:
            count = select(func.count()).where(Webhook.user_id == user_id)
            if (session.scalar(count) or 0) >= MAX_WEBHOOKS:
                raise Conflict(f"A user may have {MAX_WEBHOOKS} webhooks. Delete one first.")
            webhook = Webhook(
                user_id=user_id,
                url=url,
                domains={"items": _domains(domains)},
                secret=_secret(secret),
            )
            session.add(webhook)
            session.flush()
            self._watch(session, actor, webhook, watched)
            self._tell(session, actor, "webhook.create", webhook)
            return webhook

    def list(self, actor: Actor) -> list[Webhook]:
        """List the actor's webhooks, oldest first."""
        user_id = _owner(actor)
        with self._hub.session() as session:
            query = select(Webhook).where(Webhook.user_id == user_id).order_by(Webhook.id)
            return list(session.scalars(query))

    def get(self, actor: Actor, public_id: str) -> Webhook:
        """Return a webhook of the actor's.

        Raises:
            NotFound: there is none of that id that is theirs.
        """
        with self._hub.session() as session:
            return _find(session, actor, public_id)

    def update(
        self,
        actor: Actor,
        public_id: str,
        *,
        url: str | None = None,
        watched: Sequence[Mapping[str, str]] = (),
        domains: Sequence[str] | None = None,
        secret: str | None = None,
    ) -> Webhook:
        """Change a webhook; None, or nothing watched, keeps what was there.

        Raises:
            BadInput, NotFound: as for making one.
        """
        if url is not None:
            check_address(url, self._hub.settings)
        with self._hub.session(write=True) as session:
            webhook = _find(session, actor, public_id)
            if url is not None:
                webhook.url = url
            if watched:
                self._watch(session, actor, webhook, watched)
            if domains is not None:
                webhook.domains = {"items": _domains(domains)}
            if secret is not None:
                webhook.secret = _secret(secret)
            self._tell(session, actor, "webhook.update", webhook)
            return webhook

    def set_disabled(self, actor: Actor, public_id: str, disabled: bool) -> Webhook:
        """Stop or resume a webhook; what happens while it is stopped is not told later.

        Raises:
            NotFound: there is none of that id that is theirs.
        """
        with self._hub.session(write=True) as session:
            webhook = _find(session, actor, public_id)
            webhook.disabled = disabled
            webhook.failing_since = None
            self._tell(session, actor, "webhook.update", webhook)
            return webhook

    def delete(self, actor: Actor, public_id: str) -> None:
        """Remove a webhook and its messages.

        Raises:
            NotFound: there is none of that id that is theirs.
        """
        with self._hub.session(write=True) as session:
            webhook = _find(session, actor, public_id)
            self._tell(session, actor, "webhook.delete", webhook)
            session.delete(webhook)

    def deliveries(
        self, actor: Actor, public_id: str, *, limit: int = 30, cursor: str | None = None
    ) -> DeliveryPage:
        """List a webhook's messages, those about what its owner may (still) read.

        Raises:
            NotFound: there is no webhook of that id that is theirs.
            BadInput: the cursor is not one.
        """
        limit = max(1, min(limit, MAX_PAGE))
        with self._hub.session() as session:
            webhook = _find(session, actor, public_id)
            query = select(Delivery).where(Delivery.webhook_id == webhook.id, _told(actor))
            if cursor is not None:
                query = query.where(Delivery.id < read_cursor(cursor, int)[0])
            found = list(session.scalars(query.order_by(Delivery.id.desc()).limit(limit + 1)))
        more, found = len(found) > limit, found[:limit]
        return DeliveryPage(found, write_cursor([found[-1].id]) if more else None)

    def replay(self, actor: Actor, public_id: str, delivery_id: str) -> Delivery:
        """Send a message once more; returns the new one.

        Raises:
            NotFound: there is no such message that the actor may read.
            Conflict: the webhook is disabled.
            TooManyRequests: too many in an hour.
        """
        self._hub.limits.spend("webhook-test", actor)
        with self._hub.session(write=True) as session:
            webhook = _find(session, actor, public_id)
            old = session.scalar(
                select(Delivery).where(
                    Delivery.webhook_id == webhook.id,
                    Delivery.public_id == delivery_id,
                    _told(actor),
                )
            )
            if old is None:
                raise NotFound(f"There is no delivery {delivery_id[:40]!a} of this webhook.")
            if webhook.disabled:
                raise Conflict("The webhook is disabled. Enable it first.")
            again = Delivery(
                webhook_id=webhook.id, repository_id=old.repository_id, payload=old.payload
            )
            session.add(again)
            session.flush()
            return again

    def _watch(
        self,
        session: Session,
        actor: Actor,
        webhook: Webhook,
        watched: Sequence[Mapping[str, str]],
    ) -> None:
        if len(watched) > MAX_WATCHED:
            raise BadInput(f"A webhook may watch {MAX_WATCHED} things, not {len(watched)}.")
        session.execute(delete(WebhookWatch).where(WebhookWatch.webhook_id == webhook.id))
        names: list[dict[str, str]] = []
        for item in watched:
            kind, name = str(item.get("type", "")), str(item.get("name", ""))
            watch = WebhookWatch(webhook_id=webhook.id)
            if kind in REPOSITORY_TYPES:
                repo = self._hub.repositories.get(actor, kind, name)
                watch.repository_id, name = repo.id, repo.full_name
            elif kind in ("user", "org"):
                account = self._hub.accounts.find(name)
                wanted = "user" if kind == "user" else "organization"
                if account is None or account.kind != wanted:
                    raise NotFound(f"There is no {wanted} named {name[:96]!a} to watch.")
                watch.account_id, name = account.id, account.name
            elif kind == "bucket":
                raise Unsupported("Plait has no buckets to watch.")
            else:
                raise BadInput(
                    f"A webhook cannot watch a {kind[:40]!a}. It watches users, orgs, models, "
                    "datasets and spaces."
                )
            if {"type": kind, "name": name} not in names:
                names.append({"type": kind, "name": name})
                session.add(watch)
        webhook.watched = {"items": names}

    def _tell(self, session: Session, actor: Actor, action: str, webhook: Webhook) -> None:
        # The address itself may hold a key; its host says enough.
        host = urlsplit(webhook.url).hostname or ""
        owner = session.get(Account, webhook.user_id)
        self._hub.events.record(
            session, actor, action, account=owner, target=webhook.public_id, host=host[:253]
        )


def _owner(actor: Actor) -> int:
    if actor.user_id is None:
        raise Unauthorized("Webhooks belong to users. Use a token.")
    if not can(actor, "account.self"):
        raise Forbidden("Webhooks hold secrets of yours. Use a token of scope 'write'.")
    return actor.user_id


def _find(session: Session, actor: Actor, public_id: str) -> Webhook:
    user_id = _owner(actor)
    found = session.scalar(
        select(Webhook).where(Webhook.public_id == public_id, Webhook.user_id == user_id)
    )
    if found is None:
        raise NotFound(f"You have no webhook {public_id[:40]!a}.")
    return found


def _told(actor: Actor) -> Any:
    return or_(
        Delivery.repository_id.is_(None),
        Delivery.repository_id.in_(select(Repository.id).where(readable(actor))),
    )


def _domains(domains: Sequence[str]) -> list[str]:
    wrong = [domain for domain in domains if domain not in DOMAINS]
    if wrong or not domains:
        raise BadInput("A webhook's domains are 'repo' and 'discussion', or one of them.")
    return [domain for domain in DOMAINS if domain in domains]


def _secret(secret: str | None) -> str | None:
    if secret and not _SECRET.match(secret):
        raise BadInput(
            "A webhook's secret travels in a header: 1 to 255 characters of ASCII, no spaces."
        )
    return secret or None
