# SPDX-License-Identifier: Apache-2.0
"""Finding repositories: filters, orders and pages, as conditions for the database."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from plait.errors import BadInput
from plait.hub.database import Account, Repository, RepositoryTag
from plait.hub.names import check_text
from plait.hub.permissions import Actor
from plait.hub.visibility import readable

Sort = Literal["updated", "created", "likes", "downloads", "trending", "name"]
SORTS: tuple[Sort, ...] = get_args(Sort)
MAX_PAGE = 1000
MAX_WORDS = 8
MAX_TAGS = 32

_COLUMNS: dict[Sort, Any] = {
    "updated": Repository.updated_at,
    "created": Repository.created_at,
    "likes": Repository.likes,
    "downloads": Repository.downloads,
    "trending": Repository.trending,
    "name": Repository.search_key,
}


@dataclass(frozen=True)
class Page:
    """One page of a listing; ``cursor`` asks for the next, None at the end."""

    items: list[Repository]
    cursor: str | None


@dataclass(frozen=True)
class Filters:
    """What is wanted of repositories; everything given must hold."""

    repo_type: str | None = None
    namespace: str | None = None
    """Of this user or organisation."""
    search: str | Sequence[str] | None = None
    """Words that must all occur in ``namespace/name``, in any case of letters."""
    tags: Sequence[str | Sequence[str]] = ()
    """Tags that must all be present; of several given as one item, any."""
    gated: bool | None = None
    parameters: tuple[int | None, int | None] = (None, None)
    """At least and at most so many numbers in its safetensors files."""


def page(
    session: Session,
    actor: Actor,
    filters: Filters,
    *,
    sort: Sort = "updated",
    reverse: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """List a page of the repositories that the actor may read.

    Raises:
        BadInput: a filter is too long, or the cursor is not one.
    """
    limit = max(1, min(limit, MAX_PAGE))
    query = _ordered(_filtered(select(Repository), actor, filters), sort, reverse, cursor)
    found = list(session.scalars(query.limit(limit + 1)))
    more = len(found) > limit
    found = found[:limit]
    return Page(found, _cursor(found[-1], sort) if more else None)


def count(session: Session, actor: Actor, filters: Filters) -> int:
    """Count what `page` would list on all its pages; raises as `page`."""
    query = _filtered(select(func.count(Repository.id)), actor, filters)
    return session.scalar(query) or 0


def _filtered(query: Select[Any], actor: Actor, filters: Filters) -> Select[Any]:
    words = [filters.search] if isinstance(filters.search, str) else list(filters.search or [])
    tags = [[tag] if isinstance(tag, str) else list(tag) for tag in filters.tags]
    everything = "".join([*words, filters.namespace or "", *(t for any_of in tags for t in any_of)])
    check_text(everything, "The search", 10_000)
    if len(tags) > MAX_TAGS:
        raise BadInput(f"Filter by at most {MAX_TAGS} tags at once, not {len(tags)}.")
    query = query.where(readable(actor))
    if filters.repo_type is not None:
        query = query.where(Repository.type == filters.repo_type)
    if filters.namespace is not None:
        owner = select(Account.id).where(Account.name_key == filters.namespace.lower())
        query = query.where(Repository.namespace_id == owner.scalar_subquery())
    for word in [part for text in words for part in text.lower().split()][:MAX_WORDS]:
        query = query.where(Repository.search_key.contains(word, autoescape=True))
    for any_of in tags:
        query = query.where(_tagged(any_of))
    if filters.gated is not None:
        query = query.where(Repository.gated != "" if filters.gated else Repository.gated == "")
    least, most = filters.parameters
    if least is not None:
        query = query.where(Repository.parameters >= least)
    if most is not None:
        query = query.where(Repository.parameters <= most)
    return query


def _tagged(any_of: Sequence[str]) -> ColumnElement[bool]:
    return Repository.id.in_(
        select(RepositoryTag.repository_id).where(RepositoryTag.tag.in_(list(any_of)))
    )


def _ordered(query: Select[Any], sort: Sort, reverse: bool, cursor: str | None) -> Select[Any]:
    column = _COLUMNS[sort]
    # Names run from A to Z; everything else begins with the most.
    up = (sort == "name") != reverse
    if cursor is not None:
        value, number = _read_cursor(cursor, sort)
        beyond = column > value if up else column < value
        after = Repository.id > number if up else Repository.id < number
        query = query.where(or_(beyond, and_(column == value, after)))
    if up:
        return query.order_by(column, Repository.id)
    return query.order_by(column.desc(), Repository.id.desc())


def _cursor(repo: Repository, sort: Sort) -> str:
    value = getattr(repo, _COLUMNS[sort].key)
    if isinstance(value, datetime):
        value = value.isoformat()
    text = json.dumps([sort, value, repo.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, sort: Sort) -> tuple[Any, int]:
    with suppress(ValueError, RecursionError):
        given = json.loads(base64.urlsafe_b64decode(cursor[:1000] + "=="))
        if (
            isinstance(given, list)
            and len(given) == 3
            and given[0] == sort
            and type(given[2]) is int
            and abs(given[2]) < 2**62
        ):
            value = given[1]
            if sort in ("updated", "created") and isinstance(value, str):
                value = datetime.fromisoformat(value)
                if value.tzinfo is not None:
                    return value, given[2]
            elif sort == "name" and isinstance(value, str):
                return check_text(value, "The cursor", 1000), given[2]
            elif sort == "trending" and isinstance(value, float | int):
                return float(value), given[2]
            elif sort in ("likes", "downloads") and type(value) is int and abs(value) < 2**62:
                return value, given[2]
    raise BadInput("The cursor of this listing is not one that the hub gave. Start again.")
