# SPDX-License-Identifier: Apache-2.0
"""Which tags a listing's repositories carry, and how many carry each: what filters offer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import desc, func, not_, select

from plait.hub.database import Repository, RepositoryTag
from plait.hub.permissions import Actor
from plait.hub.repositories.listing import Filters, filtered

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MOST = 400
KEPT_SECONDS = 60.0
_KEPT = 256


@dataclass(frozen=True)
class TagCount:
    """A tag and how many of the listed repositories carry it."""

    tag: str
    count: int


class Facets:
    """The tags of one hub's listings.

    Counting all tags reads as many rows as the listing has, so an answer is kept for a minute,
    for the same filters and the same reader alone.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._known: OrderedDict[Any, tuple[float, list[TagCount]]] = OrderedDict()
        self._lock = threading.Lock()

    def tags(self, actor: Actor, filters: Filters) -> list[TagCount]:
        """Count the tags of the repositories that the actor may read; the most frequent first.

        Raises:
            BadInput: a filter is too long.
        """
        key = (actor.user_id, actor.token_id, repr(filters))
        with self._lock:
            found = self._known.get(key)
            if found is not None and time.monotonic() - found[0] < KEPT_SECONDS:
                return found[1]
        counted = func.count()
        query = (
            select(RepositoryTag.tag, counted)
            .where(
                RepositoryTag.repository_id.in_(filtered(select(Repository.id), actor, filters)),
                # Links between repositories are for searching, and would name what is private.
                not_(RepositoryTag.tag.contains(":"))
                | RepositoryTag.tag.startswith("license:")
                | RepositoryTag.tag.startswith("task_categories:")
                | RepositoryTag.tag.startswith("domain:")
                | RepositoryTag.tag.startswith("size_categories:"),
            )
            .group_by(RepositoryTag.tag)
            .order_by(desc(counted), RepositoryTag.tag)
            .limit(MOST)
        )
        with self._hub.session() as session:
            tags = [TagCount(tag, count) for tag, count in session.execute(query)]
        with self._lock:
            self._known[key] = (time.monotonic(), tags)
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return tags
