# SPDX-License-Identifier: Apache-2.0
"""The audit log on a page: filters, entries in words, older ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from plait.hub import Account
from plait.hub.database import AuditEntry
from plait.web.visit import Visit

PAGE = 50
ACTIONS = (
    "login", "password", "token", "user", "account", "org", "member", "team", "repo", "ref",
    "access", "like", "discussion", "pull", "collection", "webhook", "lfs", "hub",
)  # fmt: skip
"""How actions begin."""


def audit_values(visit: Visit, account: Account | None = None) -> dict[str, Any]:
    """Return what a page of the audit log shows: all of it, or what concerns an account.

    Raises:
        Forbidden: the visitor may not read it.
    """
    query = visit.request.query_params
    given = {
        name: query.get(name, "").strip()[:200]
        for name in ("who", "action", "target", "since", "until")
    }
    cursor = query.get("cursor", "")[:40]
    until = _day(given["until"])
    page = visit.hub.audit.list(
        visit.actor,
        account=account,
        who=given["who"],
        action=given["action"],
        target=given["target"],
        since=_day(given["since"]),
        until=until + timedelta(days=1) if until else None,
        limit=PAGE,
        cursor=cursor or None,
    )
    return {
        "entries": [_shown(entry) for entry in page.items],
        "given": given,
        "narrowed": any(given.values()),
        "actions": ACTIONS,
        "first": visit.link(cursor=None) if cursor else None,
        "more": visit.link(cursor=page.cursor) if page.cursor else None,
    }


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError:
        return None


def _shown(entry: AuditEntry) -> Mapping[str, Any]:
    details = entry.details or {}
    return {
        "position": entry.position,
        "at": entry.at,
        "actor": entry.actor,
        "token": entry.token_id,
        "address": entry.address,
        "action": entry.action,
        "target": entry.target,
        "details": [
            (
                str(name)[:60],
                (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:300],
            )
            for name, value in list(details.items())[:12]
            if value not in (None, "", [], {})
        ],
        "hash": entry.hash,
    }
