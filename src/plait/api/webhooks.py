# SPDX-License-Identifier: Apache-2.0
"""Webhooks, as the Hub's clients make and change them, and what became of their messages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from plait.api.context import HubOf, User
from plait.api.wire import date, page
from plait.errors import BadInput, Unsupported
from plait.hub.database import Delivery, Webhook
from plait.hub.webhooks import DeliveryPage

router = APIRouter(tags=["webhooks"])

WebhookId = Annotated[str, Path(description="Id of the webhook.", max_length=64)]
DeliveryId = Annotated[str, Path(description="Id of the message.", max_length=64)]


class _Watched(BaseModel):
    type: str
    name: str


class _Webhook(BaseModel):
    watched: list[_Watched] = []
    url: str | None = None
    jobSourceId: str | None = None  # noqa: N815
    domains: list[str] | None = None
    secret: str | None = None

    def check(self) -> None:
        if self.jobSourceId is not None:
            raise Unsupported("Plait runs no hosted jobs: a webhook here sends to a url.")

    def items(self) -> list[dict[str, str]]:
        return [item.model_dump() for item in self.watched]


@router.get("/api/settings/webhooks")
def list_webhooks(hub: HubOf, user: User) -> list[dict[str, Any]]:
    """List the caller's webhooks."""
    return [_wire(webhook) for webhook in hub.webhooks.list(user)]


@router.post("/api/settings/webhooks")
def create(hub: HubOf, user: User, body: _Webhook) -> dict[str, Any]:
    """Make a webhook."""
    body.check()
    if body.url is None:
        raise BadInput("A webhook needs a url.")
    domains = ("repo", "discussion") if body.domains is None else body.domains
    made = hub.webhooks.create(user, body.url, body.items(), domains, body.secret)
    return {"webhook": _wire(made)}


@router.get("/api/settings/webhooks/{webhook_id}")
def get(hub: HubOf, user: User, webhook_id: WebhookId) -> dict[str, Any]:
    """Describe one of the caller's webhooks."""
    return {"webhook": _wire(hub.webhooks.get(user, webhook_id))}


@router.post("/api/settings/webhooks/{webhook_id}")
def update(hub: HubOf, user: User, webhook_id: WebhookId, body: _Webhook) -> dict[str, Any]:
    """Change a webhook; what is not sent stays as it is."""
    body.check()
    changed = hub.webhooks.update(
        user,
        webhook_id,
        url=body.url,
        watched=body.items(),
        domains=body.domains,
        secret=body.secret,
    )
    return {"webhook": _wire(changed)}


@router.delete("/api/settings/webhooks/{webhook_id}")
def delete(hub: HubOf, user: User, webhook_id: WebhookId) -> dict[str, Any]:
    """Remove a webhook and its messages."""
    hub.webhooks.delete(user, webhook_id)
    return {"success": True}


@router.post("/api/settings/webhooks/{webhook_id}/enable")
def enable(hub: HubOf, user: User, webhook_id: WebhookId) -> dict[str, Any]:
    """Resume a webhook."""
    return {"webhook": _wire(hub.webhooks.set_disabled(user, webhook_id, False))}


@router.post("/api/settings/webhooks/{webhook_id}/disable")
def disable(hub: HubOf, user: User, webhook_id: WebhookId) -> dict[str, Any]:
    """Stop a webhook."""
    return {"webhook": _wire(hub.webhooks.set_disabled(user, webhook_id, True))}


@router.get("/api/plait/webhooks/{webhook_id}/deliveries")
def deliveries(
    request: Request,
    hub: HubOf,
    user: User,
    webhook_id: WebhookId,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
    cursor: str | None = None,
) -> JSONResponse:
    """List a webhook's messages, newest first."""
    found: DeliveryPage = hub.webhooks.deliveries(user, webhook_id, limit=limit, cursor=cursor)
    return page(request, hub.settings, [_delivery(item) for item in found.items], found.cursor)


@router.post("/api/plait/webhooks/{webhook_id}/deliveries/{delivery_id}/replay")
def replay(
    hub: HubOf, user: User, webhook_id: WebhookId, delivery_id: DeliveryId
) -> dict[str, Any]:
    """Send a message once more."""
    return _delivery(hub.webhooks.replay(user, webhook_id, delivery_id))


def _wire(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.public_id,
        "url": webhook.url,
        "watched": webhook.watched.get("items", []),
        "domains": webhook.domains.get("items", []),
        "secret": webhook.secret,
        "disabled": webhook.disabled,
        "failingSince": date(webhook.failing_since) if webhook.failing_since else None,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.public_id,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "dueAt": date(delivery.due_at) if delivery.state == "waiting" else None,
        "status": delivery.status,
        "answer": delivery.answer,
        "createdAt": date(delivery.created_at),
        "finishedAt": date(delivery.finished_at) if delivery.finished_at else None,
        "payload": delivery.payload,
    }
