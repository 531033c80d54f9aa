# SPDX-License-Identifier: Apache-2.0
"""Branch rules, reviews, and commit statuses in GitHub's form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Number, Revision
from plait.api.wire import date
from plait.errors import NotFound
from plait.hub.database import CommitStatus
from plait.hub.repositories.protection import Rule, requirements_json
from plait.hub.repositories.statuses import DEFAULT_CONTEXT, combined

router = APIRouter(tags=["protection"])

BASE = "/api/plait/{kind:type}/{namespace}/{name}"


class _Rule(BaseModel):
    push: list[str] | None = None
    merge: list[str] | None = None
    reviews: int = 0
    contexts: list[str] = Field(default_factory=list)


class _Status(BaseModel):
    state: str
    context: str = DEFAULT_CONTEXT
    description: str | None = None
    target_url: str | None = None


class _Review(BaseModel):
    verdict: Literal["approve", "reject"]
    comment: str = ""
    head: str | None = None


@router.get(BASE + "/protection")
def list_rules(hub: HubOf, user: User, repo: Readable) -> dict[str, Any]:
    """List the rules of a repository's branches."""
    hub.repositories.require(user, repo, "repo.write")
    return {"rules": [_rule(rule) for rule in hub.protection.rules(repo)]}


@router.put(BASE + "/protection/{revision}")
def put_rule(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Rule
) -> dict[str, Any]:
    """Make the rule of a branch or pattern, or replace it."""
    rule = Rule(
        revision,
        None if body.push is None else tuple(body.push),
        None if body.merge is None else tuple(body.merge),
        body.reviews,
        tuple(body.contexts),
    )
    return _rule(hub.protection.put(user, repo, rule))


@router.delete(BASE + "/protection/{revision}")
def remove_rule(hub: HubOf, user: User, repo: Readable, revision: Revision) -> dict[str, Any]:
    """Remove the rule of a branch or pattern."""
    hub.protection.remove(user, repo, revision)
    return {}


@router.post(BASE + "/statuses/{revision}", status_code=201)
def post_status(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Status
) -> dict[str, Any]:
    """Say what a check found about a commit."""
    status = hub.statuses.post(
        user,
        repo,
        revision,
        body.state,
        body.context,
        body.description or "",
        body.target_url or "",
    )
    return _status(status)


@router.get(BASE + "/statuses/{revision}")
def list_statuses(
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    revision: Revision,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Show a commit's state: the newest of each check together, and every status, newest first."""
    sha = hub.git.resolve(repo, revision)
    latest = hub.statuses.latest(repo, sha)
    return {
        "sha": sha,
        "state": combined(latest),
        "total_count": len(latest),
        "statuses": [_status(one) for one in latest],
        "history": [_status(one) for one in hub.statuses.history(repo, sha, limit)],
    }


@router.post(BASE + "/pulls/{number}/review")
def review(hub: HubOf, user: User, repo: Readable, number: Number, body: _Review) -> dict[str, Any]:
    """Approve a pull request's newest commit, or ask for changes."""
    discussion = hub.discussions.get(repo, number)
    hub.reviews.submit(user, repo, discussion, body.verdict, body.comment, body.head)
    return requirements_json(hub.protection.requirements(repo, discussion))


@router.get(BASE + "/pulls/{number}/requirements")
def requirements(hub: HubOf, actor: Caller, repo: Readable, number: Number) -> dict[str, Any]:
    """Show what a pull request still needs before it may be merged."""
    discussion = hub.discussions.get(repo, number)
    if not discussion.is_pull_request:
        raise NotFound(f"Discussion {number} of '{repo.full_name}' is not a pull request.")
    return requirements_json(hub.protection.requirements(repo, discussion))


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "pattern": rule.pattern,
        "push": None if rule.push is None else list(rule.push),
        "merge": None if rule.merge is None else list(rule.merge),
        "reviews": rule.reviews,
        "contexts": list(rule.contexts),
    }


def _status(status: CommitStatus) -> dict[str, Any]:
    return {
        "id": status.id,
        "sha": status.sha,
        "state": status.state,
        "context": status.context,
        "description": status.description or None,
        "target_url": status.target_url or None,
        "creator": {"login": status.creator.name} if status.creator is not None else None,
        "created_at": date(status.created_at),
    }
