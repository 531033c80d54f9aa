# SPDX-License-Identifier: Apache-2.0
"""What each contribution to a model gained, and an organisation's sum over all models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from plait.api.context import Caller, HubOf
from plait.api.routing import Name, Namespace
from plait.collaboration.merging import standing
from plait.collaboration.merging.standing import Standing

router = APIRouter(tags=["credit"])


@router.get("/api/plait/models/{namespace}/{name}/credit")
def model_credit(hub: HubOf, actor: Caller, namespace: Namespace, name: Name) -> dict[str, Any]:
    """List the Shapley values of the contributions to a model's main."""
    repo = hub.repositories.get(actor, "model", f"{namespace}/{name}")
    rows = standing.of_model(hub, repo)
    return {
        "contributions": [
            {
                "number": one.number,
                "organisation": one.holder,
                "author": one.author,
                "value": one.value,
                "error": one.error,
                "tasks": one.tasks,
                "metric": one.metric,
                "revision": one.revision,
            }
            for one in rows
        ],
        "organisations": [{**_plain(one), "organisation": one.holder} for one in
                          standing.by_holder(rows)],
        "total": sum(one.value for one in rows),
    }  # fmt: skip


@router.get("/api/plait/accounts/{namespace}/credit")
def account_credit(hub: HubOf, actor: Caller, namespace: Namespace) -> dict[str, Any]:
    """List what an organisation's or a user's contributions gained, in models one may read."""
    account = hub.accounts.get(namespace)
    rows = standing.of_account(hub, actor, account)
    return {"models": [{**_plain(one), "model": one.repository} for one in rows]}


def _plain(one: Standing) -> dict[str, Any]:
    return {
        "value": one.value,
        "error": one.error,
        "contributions": list(one.contributions),
        "metric": one.metric,
    }
