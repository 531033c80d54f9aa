# SPDX-License-Identifier: Apache-2.0
"""What stands in a collection, for those who may see it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from plait.hub.database import Account, Collection, CollectionItem, Repository
from plait.hub.names import REPOSITORY_TYPES
from plait.hub.permissions import Actor
from plait.hub.visibility import readable

_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class CollectedItem:
    """An item and what it names; ``position`` counts the items that the reader sees."""

    item: CollectionItem
    position: int
    repository: Repository | None = None
    collection: Collection | None = None

    @property
    def name(self) -> str:
        """The repository's name, the collection's slug or the paper's number."""
        if self.repository is not None:
            return self.repository.full_name
        return slug_of(self.collection) if self.collection is not None else self.item.item_id


def slug_of(collection: Collection) -> str:
    """Return ``namespace/title-id``."""
    words = _WORDS.sub("-", collection.title.lower()).strip("-")[:60].strip("-")
    return f"{collection.namespace.name}/{words}{'-' if words else ''}{collection.public_id}"


class ItemReader:
    """Reads items as one actor sees them.

    An item whose repository or collection the actor may not read is not there.
    """

    def __init__(self, actor: Actor, visible: ColumnElement[bool]) -> None:
        self._actor = actor
        self._visible = visible

    def all(self, session: Session, collection_id: int) -> list[CollectedItem]:
        """List a collection's items in order."""
        rows = self._shown(CollectionItem.collection_id == collection_id).order_by(
            CollectionItem.position, CollectionItem.id
        )
        return self._load(session, list(session.scalars(rows))).get(collection_id, [])

    def first(
        self, session: Session, collections: Sequence[int], count: int
    ) -> dict[int, list[CollectedItem]]:
        """List the first items of each of these collections, in one query."""
        if not collections:
            return {}
        rank = func.row_number().over(
            partition_by=CollectionItem.collection_id,
            order_by=(CollectionItem.position, CollectionItem.id),
        )
        inner = (
            self._shown(CollectionItem.collection_id.in_(collections))
            .with_only_columns(CollectionItem.id.label("id"), rank.label("rank"))
            .subquery()
        )
        rows = (
            select(CollectionItem)
            .join(inner, inner.c.id == CollectionItem.id)
            .where(inner.c.rank <= count)
            .order_by(CollectionItem.collection_id, CollectionItem.position, CollectionItem.id)
        )
        return self._load(session, list(session.scalars(rows)))

    def holding(self, kind: str, name: str) -> Select[Any]:
        """Select the ids of the collections that hold this item, if the actor may see it."""
        query = self._shown(CollectionItem.item_type == kind)
        if kind in REPOSITORY_TYPES:
            namespace, _, rest = name.partition("/")
            query = query.where(
                CollectionItem.repository_id.in_(
                    select(Repository.id)
                    .join(Account, Account.id == Repository.namespace_id)
                    .where(
                        Repository.type == kind,
                        Account.name_key == namespace.lower(),
                        Repository.name_key == rest.lower(),
                    )
                )
            )
        else:
            query = query.where(
                CollectionItem.item_id == (name[-24:] if kind == "collection" else name)
            )
        return query.with_only_columns(CollectionItem.collection_id)

    def _shown(self, condition: ColumnElement[bool]) -> Select[Any]:
        nested = aliased(Collection)
        allowed = select(Repository.id).where(readable(self._actor))
        inner = select(nested.public_id).where(
            nested.id.in_(select(Collection.id).where(self._visible))
        )
        return select(CollectionItem).where(
            condition,
            or_(
                CollectionItem.repository_id.in_(allowed),
                and_(CollectionItem.item_type == "collection", CollectionItem.item_id.in_(inner)),
                CollectionItem.item_type == "paper",
            ),
        )

    def _load(
        self, session: Session, rows: Sequence[CollectionItem]
    ) -> dict[int, list[CollectedItem]]:
        """Join the rows with what they name, in two queries however many they are."""
        repositories: dict[int, Repository] = {}
        ids = sorted({row.repository_id for row in rows if row.repository_id is not None})
        for start in range(0, len(ids), 500):
            found = select(Repository).where(Repository.id.in_(ids[start : start + 500]))
            repositories |= {repo.id: repo for repo in session.scalars(found)}
        collections: dict[str, Collection] = {}
        names = sorted({row.item_id for row in rows if row.item_type == "collection"})
        for start in range(0, len(names), 500):
            nested = select(Collection).where(Collection.public_id.in_(names[start : start + 500]))
            collections |= {c.public_id: c for c in session.scalars(nested)}
        items: dict[int, list[CollectedItem]] = defaultdict(list)
        for row in rows:
            shown = items[row.collection_id]
            shown.append(
                CollectedItem(
                    row,
                    len(shown),
                    repositories.get(row.repository_id or 0),
                    collections.get(row.item_id) if row.item_type == "collection" else None,
                )
            )
        return items
