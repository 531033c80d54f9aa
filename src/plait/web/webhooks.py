# SPDX-License-Identifier: Apache-2.0
"""One's webhooks: what they watch, whether they run, and what became of their messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from plait.errors import BadInput, NotFound, PlaitError
from plait.hub.database import Webhook
from plait.hub.webhooks.records import DOMAINS
from plait.web.session import Form
from plait.web.sides import own_page, said
from plait.web.visit import Visit, Visitor

PAGE = 30
KINDS = ("user", "org", "model", "dataset", "space")
MOST_SHOWN = 20_000


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/settings/webhooks", listing)
    router.add_api_route("/settings/webhooks/new", new)
    router.add_api_route("/settings/webhooks/new", create, methods=["POST"])
    one = "/settings/webhooks/{id}"
    router.add_api_route(one, show)
    router.add_api_route(one, save, methods=["POST"])
    router.add_api_route(one + "/switch", switch, methods=["POST"])
    router.add_api_route(one + "/delete", delete, methods=["POST"])
    router.add_api_route(one + "/replay", replay, methods=["POST"])


def listing(visit: Visitor) -> Response:
    """List the visitor's webhooks."""
    visit.signed_in()
    return own_page(visit, "webhooks", webhooks=visit.hub.webhooks.list(visit.actor))


def new(visit: Visitor) -> Response:
    """Show the form for a new webhook."""
    visit.signed_in()
    return _form(visit, None, {"watched": f"user {visit.actor.name}", "repo": "yes"})


def _form(
    visit: Visit,
    webhook: Webhook | None,
    form: Mapping[str, str],
    *,
    problem: str = "",
    code: int = 200,
    cursor: str = "",
) -> Response:
    page = (
        visit.hub.webhooks.deliveries(
            visit.actor, webhook.public_id, limit=PAGE, cursor=cursor[:200] or None
        )
        if webhook is not None
        else None
    )
    return own_page(
        visit,
        "webhooks" if webhook is None and not form else "webhook",
        code=code,
        webhook=webhook,
        form=form,
        problem=problem,
        kinds=KINDS,
        deliveries=[
            {
                "record": delivery,
                "sent": json.dumps(delivery.payload, indent=1, ensure_ascii=False)[:MOST_SHOWN],
            }
            for delivery in (page.items if page else ())
        ],
        first=visit.link(cursor=None) if cursor else None,
        more=visit.link(cursor=page.cursor) if page and page.cursor else None,
    )


def _read(form: Mapping[str, str]) -> dict[str, Any]:
    """Read what a form says of a webhook.

    Raises:
        BadInput: a line does not say what to watch.
    """
    watched = []
    for line in form.get("watched", "").splitlines():
        if not line.strip():
            continue
        kind, _, name = line.strip().partition(" ")
        if kind not in KINDS or not name.strip():
            raise BadInput(
                f"Write a line as a kind and a name, such as 'model owner/name', not {line[:80]!a}."
            )
        watched.append({"type": kind, "name": name.strip()})
    return {
        "url": form.get("url", "").strip(),
        "watched": watched,
        "domains": [domain for domain in DOMAINS if form.get(domain)],
        "secret": form.get("secret", "").strip() or None,
    }


def create(visit: Visitor, form: Form) -> Response:
    """Make a webhook."""
    visit.signed_in()
    try:
        made = visit.hub.webhooks.create(visit.actor, **_read(form))
    except PlaitError as error:
        return _form(visit, None, {"repo": "", **form}, **_said(error))
    return visit.go(f"/settings/webhooks/{made.public_id}", "created")


def _said(error: PlaitError) -> dict[str, Any]:
    if isinstance(error, NotFound):
        # What it should watch does not exist for this visitor; the form says so.
        return {"problem": error.message, "code": 404}
    return dict(said(error))


def show(visit: Visitor, id: str, cursor: str = "") -> Response:
    """Show a webhook and its messages."""
    visit.signed_in()
    webhook = visit.hub.webhooks.get(visit.actor, id[:40])
    return _form(visit, webhook, _values(webhook), cursor=cursor)


def _values(webhook: Webhook) -> dict[str, str]:
    items = webhook.watched.get("items", ())
    domains = webhook.domains.get("items", ())
    return {
        "url": webhook.url,
        "watched": "\n".join(f"{item['type']} {item['name']}" for item in items),
        **{domain: "yes" if domain in domains else "" for domain in DOMAINS},
    }


def save(visit: Visitor, id: str, form: Form) -> Response:
    """Change a webhook."""
    visit.signed_in()
    webhook = visit.hub.webhooks.get(visit.actor, id[:40])
    try:
        visit.hub.webhooks.update(visit.actor, webhook.public_id, **_read(form))
    except PlaitError as error:
        return _form(visit, webhook, form, **_said(error))
    return visit.go(f"/settings/webhooks/{webhook.public_id}", "saved")


def switch(visit: Visitor, id: str, form: Form) -> Response:
    """Stop or resume a webhook."""
    visit.signed_in()
    fresh = visit.hub.webhooks.set_disabled(visit.actor, id[:40], form.get("disabled") == "yes")
    return visit.go(f"/settings/webhooks/{fresh.public_id}", "saved")


def delete(visit: Visitor, id: str, form: Form) -> Response:
    """Delete a webhook."""
    visit.signed_in()
    visit.hub.webhooks.delete(visit.actor, id[:40])
    return visit.go("/settings/webhooks", "deleted")


def replay(visit: Visitor, id: str, form: Form) -> Response:
    """Send a message once more."""
    visit.signed_in()
    webhook = visit.hub.webhooks.get(visit.actor, id[:40])
    try:
        visit.hub.webhooks.replay(visit.actor, webhook.public_id, form.get("delivery", "")[:40])
    except PlaitError as error:
        return _form(visit, webhook, _values(webhook), **_said(error))
    return visit.go(f"/settings/webhooks/{webhook.public_id}", "sent")
