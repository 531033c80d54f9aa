# SPDX-License-Identifier: Apache-2.0
"""Finding repositories: filters, orders and pages, as conditions for the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select
from sqlalchemy.orm import Session, aliased

from plait.errors import BadInput
from plait.hub.database import Account, Repository, RepositoryTag
from plait.hub.names import check_text
from plait.hub.permissions import Actor
from plait.hub.repositories.cursors import read_cursor, write_cursor
from plait.hub.repositories.facts import HIDDEN
from plait.hub.visibility import readable

Sort = Literal["updated", "created", "likes", "downloads", "trending", "name"]
SORTS: tuple[Sort, ...] = get_args(Sort)
MAX_PAGE = 1000
MAX_WORDS = 8
MAX_TAGS = 32
MAX_TAGS_COUNTED = 20_000

_COLUMNS: dict[Sort, Any] = {
    "updated": Repository.updated_at,
    "created": Repository.created_at,
    "likes": Repository.likes,
    "downloads": Repository.downloads,
    "trending": Repository.trending,
    "name": Repository.search_key,
}
_KINDS: dict[Sort, type] = {
    "updated": datetime,
    "created": datetime,
    "trending": float,
    "name": str,
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
    query = _ordered(filtered(select(Repository), actor, filters), sort, reverse, cursor)
    found = list(session.scalars(query.limit(limit + 1)))
    more = len(found) > limit
    found = found[:limit]
    return Page(found, _cursor(found[-1], sort) if more else None)


def count(session: Session, actor: Actor, filters: Filters) -> int:
    """Count what `page` would list on all its pages; raises as `page`."""
    query = filtered(select(func.count(Repository.id)), actor, filters)
    return session.scalar(query) or 0


def public_tags(session: Session, repo_type: str, limit: int = MAX_TAGS_COUNTED) -> dict[str, int]:
    """Count the tags of the public repositories of a type, the most frequent first."""
    counted = func.count()
    query = (
        select(RepositoryTag.tag, counted)
        .join(Repository, Repository.id == RepositoryTag.repository_id)
        .where(Repository.type == repo_type, Repository.private.is_(False))
        .where(not_(RepositoryTag.tag.startswith(HIDDEN)))
        .group_by(RepositoryTag.tag)
        .order_by(counted.desc(), RepositoryTag.tag)
        .limit(limit)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def filtered(query: Select[Any], actor: Actor, filters: Filters) -> Select[Any]:
    """Narrow a query of `Repository` to what the filters want and the actor may read.

    Raises:
        BadInput: a filter is too long.
    """
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
    parts = [part for text in words for part in text.lower().split()][:MAX_WORDS]
    if parts:
        query = query.where(Repository.id.in_(_named(filters.repo_type, parts)))
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


def _named(repo_type: str | None, parts: Sequence[str]) -> Select[Any]:
    """Select the ids of those whose name holds all parts, out of an index that has the names."""
    named = aliased(Repository)
    query = select(named.id)
    if repo_type is not None:
        query = query.where(named.type == repo_type)
    return query.where(*(named.search_key.contains(part, autoescape=True) for part in parts))


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
    return write_cursor([sort, getattr(repo, _COLUMNS[sort].key), repo.id])


def _read_cursor(cursor: str, sort: Sort) -> tuple[Any, int]:
    name, value, number = read_cursor(cursor, str, _KINDS.get(sort, int), int)
    if name != sort:
        raise BadInput("The cursor is of a list in another order. Start again.")
    return value, number
