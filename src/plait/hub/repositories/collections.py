# SPDX-License-Identifier: Apache-2.0
"""Collections: lists of repositories, papers and other collections that people put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, and_, false, func, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, Forbidden, NotFound
from plait.hub.database import Account, Collection, CollectionItem, now
from plait.hub.names import REPOSITORY_TYPES, check_text
from plait.hub.permissions import Action, Actor, Resource, can
from plait.hub.repositories.collected import CollectedItem, ItemReader, slug_of
from plait.hub.repositories.cursors import read_cursor, write_cursor

if TYPE_CHECKING:
    from plait.hub.facade import Hub

CollectionSort = Literal["lastModified", "trending", "upvotes"]
THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")
MAX_TITLE = 120
MAX_DESCRIPTION = 400
MAX_NOTE = 500
MAX_ITEMS = 1000
MAX_COLLECTIONS = 1000
"""In one namespace."""
MAX_PAGE = 100
PREVIEW = 4
"""Items shown of each collection in a listing."""

_PUBLIC_ID = re.compile(r"[0-9a-f]{24}\Z")
_PAPER = re.compile(r"\A[0-9]{4}\.[0-9]{4,5}\Z")


class CollectionExists(Conflict):
    """The namespace has a collection of that title; ``slug`` names it."""

    def __init__(self, message: str, slug: str) -> None:
        super().__init__(message)
        self.slug = slug


@dataclass(frozen=True)
class Collected:
    """A collection and those of its items that the reader may see, in order."""

    collection: Collection
    items: list[CollectedItem] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """``namespace/title-id``."""
        return slug_of(self.collection)


@dataclass(frozen=True)
class CollectionPage:
    """One page of a listing; ``cursor`` asks for the next, None at the end."""

    items: list[Collected]
    cursor: str | None


def visible_collections(actor: Actor) -> ColumnElement[bool]:
    """Return the condition that holds for exactly the collections that the actor may read."""
    if actor.is_system:
        return true()
    if actor.disabled:
        return false()
    public = Collection.private.is_(False)
    if not actor.signed_in or actor.scope == "none":
        return public
    own: ColumnElement[bool] = true()
    if not actor.is_admin:
        own = Collection.namespace_id.in_([actor.user_id, *actor.roles])
    if actor.scope == "fine-grained":
        own = and_(own, Collection.namespace_id.in_(list(actor.namespace_grants)))
    return or_(public, own)


def resource_of_collection(collection: Collection) -> Resource:
    """Reduce a collection to what `can` needs: it is read and written as a repository would be."""
    return Resource(collection.namespace_id, bool(collection.private), collection.created_by)


class Collections:
    """The collections of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create(
        self,
        actor: Actor,
        namespace: str,
        title: str,
        *,
        description: str = "",
        private: bool = False,
    ) -> Collected:
        """Make an empty collection.

        Raises:
            BadInput: the title is empty or a text too long.
            Forbidden: the actor may not create in that namespace.
            CollectionExists: it has one of that title.
        """
        title = _title(title)
        check_text(description, "A collection's description", MAX_DESCRIPTION)
        owner = self._hub.accounts.find(namespace)
        if owner is None or not can(actor, "namespace.create", owner):
            raise Forbidden(
                f"You may not create collections under {namespace[:96]!a}. Use a write token of "
                "a member who may, or another namespace."
            )
        with self._hub.session(write=True) as session:
            taken = _of_title(session, owner.id, title)
            if taken is not None:
                raise _exists(taken)
            count = select(func.count()).where(Collection.namespace_id == owner.id)
            if (session.scalar(count) or 0) >= MAX_COLLECTIONS:
                raise Conflict(f"A namespace may have {MAX_COLLECTIONS} collections. Delete some.")
            collection = Collection(
                namespace_id=owner.id,
                title=title,
                title_key=_key(title),
                description=description,
                private=private,
                created_by=actor.user_id,
            )
            session.add(collection)
            try:
                session.flush()
            except IntegrityError:
                raise Conflict("A collection of that title was made just now.") from None
            session.refresh(collection, ["namespace"])
            self._tell(session, actor, "collection.create", collection)
        return Collected(collection)

    def get(self, actor: Actor, slug: str) -> Collected:
        """Return a collection with the items that the actor may see.

        Raises:
            NotFound: there is none, or the actor may not read it.
        """
        with self._hub.session() as session:
            collection = self._find(session, actor, slug)
            items = ItemReader(actor, visible_collections(actor)).all(session, collection.id)
        return Collected(collection, items)

    def list(
        self,
        actor: Actor,
        *,
        owners: Sequence[str] = (),
        items: Sequence[str] = (),
        search: str = "",
        sort: CollectionSort = "lastModified",
        limit: int = 20,
        cursor: str | None = None,
    ) -> CollectionPage:
        """List collections, newest or most liked first, each with its first items.

        Args:
            actor: whose view.
            owners: only of these users and organisations.
            items: only with all of these, as ``models/ns/name`` or ``papers/2311.12983``.
            search: words that must all be in the title.
            sort: by last change or by votes.
            limit: page size, at most 100.
            cursor: from the page before.

        Raises:
            BadInput: the cursor or an item is not one.
        """
        check_text("".join([search, *owners, *items]), "The search", 10_000)
        query = select(Collection).where(visible_collections(actor))
        if owners:
            keys = [owner.lower() for owner in owners[:50]]
            query = query.where(
                Collection.namespace_id.in_(select(Account.id).where(Account.name_key.in_(keys)))
            )
        for word in search.lower().split()[:8]:
            query = query.where(Collection.title_key.contains(word, autoescape=True))
        reader = ItemReader(actor, visible_collections(actor))
        for item in items[:20]:
            query = query.where(Collection.id.in_(reader.holding(*_read_item(item))))
        by_votes = sort != "lastModified"
        column: Any = Collection.upvotes if by_votes else Collection.updated_at
        if cursor is not None:
            value, number = read_cursor(cursor, int if by_votes else datetime, int)
            query = query.where(or_(column < value, and_(column == value, Collection.id < number)))
        limit = max(1, min(limit, MAX_PAGE))
        query = query.order_by(column.desc(), Collection.id.desc()).limit(limit + 1)
        with self._hub.session() as session:
            found = list(session.scalars(query))
            more, found = len(found) > limit, found[:limit]
            first = reader.first(session, [collection.id for collection in found], PREVIEW)
        rows = [Collected(collection, first.get(collection.id, [])) for collection in found]
        if not more:
            return CollectionPage(rows, None)
        last = found[-1]
        keys_of_last = [last.upvotes if by_votes else last.updated_at, last.id]
        return CollectionPage(rows, write_cursor(keys_of_last))

    def update(
        self,
        actor: Actor,
        slug: str,
        *,
        title: str | None = None,
        description: str | None = None,
        private: bool | None = None,
        theme: str | None = None,
        position: int | None = None,
    ) -> Collected:
        """Change what a collection says of itself; None keeps what was there.

        Raises:
            NotFound, Forbidden: the actor may not.
            BadInput: a value is not allowed.
            CollectionExists: another one has that title.
        """
        if theme is not None and theme not in THEMES:
            raise BadInput(f"There is no theme {theme[:40]!a}. Use one of: {', '.join(THEMES)}.")
        if description is not None:
            check_text(description, "A collection's description", MAX_DESCRIPTION)
        with self._hub.session(write=True) as session:
            collection = self._find(session, actor, slug, "repo.write")
            if title is not None:
                title = _title(title)
                taken = _of_title(session, collection.namespace_id, title)
                if taken is not None and taken.id != collection.id:
                    raise _exists(taken)
                collection.title, collection.title_key = title, _key(title)
            if description is not None:
                collection.description = description
            if private is not None:
                collection.private = private
            if theme is not None:
                collection.theme = theme
            if position is not None:
                collection.position = position
            self._changed(session, actor, collection)
        return self.get(actor, slug)

    def delete(self, actor: Actor, slug: str) -> None:
        """Remove a collection, also from those that list it.

        Raises:
            NotFound, Forbidden: the actor may not.
        """
        with self._hub.session(write=True) as session:
            collection = self._find(session, actor, slug, "repo.write")
            self._tell(session, actor, "collection.delete", collection)
            listed = select(CollectionItem).where(
                CollectionItem.item_type == "collection",
                CollectionItem.item_id == collection.public_id,
            )
            for item in session.scalars(listed):
                session.delete(item)
            session.delete(collection)

    def add_item(
        self, actor: Actor, slug: str, item_type: str, item_id: str, note: str = ""
    ) -> Collected:
        """Put something at the end of a collection.

        Raises:
            NotFound, Forbidden: the actor may not, or may not read the item.
            Conflict: it is in the collection already, or that is full.
        """
        check_text(note, "A note", MAX_NOTE)
        with self._hub.session(write=True) as session:
            collection = self._find(session, actor, slug, "repo.write")
            fresh = self._item(session, actor, item_type, item_id)
            same = select(CollectionItem).where(
                CollectionItem.collection_id == collection.id,
                CollectionItem.item_type == fresh.item_type,
                CollectionItem.item_id == fresh.item_id,
                CollectionItem.repository_id.is_(None)
                if fresh.repository_id is None
                else CollectionItem.repository_id == fresh.repository_id,
            )
            if session.scalar(same.limit(1)) is not None:
                raise Conflict(f"{item_id[:200]!a} is in this collection already.")
            last, count = session.execute(
                select(func.max(CollectionItem.position), func.count()).where(
                    CollectionItem.collection_id == collection.id
                )
            ).one()
            if count >= MAX_ITEMS:
                raise Conflict(f"A collection may hold {MAX_ITEMS} items. Start another one.")
            fresh.collection_id, fresh.note = collection.id, note
            fresh.position = 0 if last is None else last + 1
            session.add(fresh)
            self._changed(session, actor, collection)
        return self.get(actor, slug)

    def update_item(
        self,
        actor: Actor,
        slug: str,
        public_id: str,
        *,
        note: str | None = None,
        position: int | None = None,
    ) -> CollectedItem:
        """Change an item's note, or move it to ``position`` among those that the actor sees.

        Raises:
            NotFound, Forbidden: the actor may not, or does not see such an item.
        """
        if note is not None:
            check_text(note, "A note", MAX_NOTE)
        with self._hub.session(write=True) as session:
            collection = self._find(session, actor, slug, "repo.write")
            reader = ItemReader(actor, visible_collections(actor))
            shown = reader.all(session, collection.id)
            item = _chosen(shown, public_id)
            if note is not None:
                item.item.note = note
            if position is not None:
                _move(session, collection, shown, item, position)
            self._changed(session, actor, collection)
            session.flush()
            return _chosen(reader.all(session, collection.id), public_id)

    def delete_item(self, actor: Actor, slug: str, public_id: str) -> None:
        """Take an item out of a collection.

        Raises:
            NotFound, Forbidden: the actor may not, or does not see such an item.
        """
        with self._hub.session(write=True) as session:
            collection = self._find(session, actor, slug, "repo.write")
            reader = ItemReader(actor, visible_collections(actor))
            item = _chosen(reader.all(session, collection.id), public_id)
            session.delete(item.item)
            self._changed(session, actor, collection)

    def _find(
        self, session: Session, actor: Actor, slug: str, action: Action = "repo.read"
    ) -> Collection:
        """Return the collection; the title in a slug may be an old one, the id decides."""
        namespace, _, tail = slug.partition("/")
        match = _PUBLIC_ID.search(tail)
        found = None
        if match and namespace.isascii():
            query = (
                select(Collection)
                .join(Account, Account.id == Collection.namespace_id)
                .where(Collection.public_id == match[0], Account.name_key == namespace.lower())
            )
            if action != "repo.read":
                # Two changes at once take turns.
                query = query.with_for_update(of=Collection)
            found = session.scalar(query)
        if found is None or not can(actor, "repo.read", resource_of_collection(found)):
            raise NotFound(
                f"There is no collection {slug[:200]!a}. If it is private, use a token that may "
                "read it."
            )
        if not can(actor, action, resource_of_collection(found)):
            raise Forbidden(
                f"You may not change the collection {slug[:200]!a}. Use a write token of a member "
                f"of '{found.namespace.name}' who may."
            )
        return found

    def _item(self, session: Session, actor: Actor, kind: str, name: str) -> CollectionItem:
        if kind in REPOSITORY_TYPES:
            repo = self._hub.repositories.get(actor, kind, name)
            return CollectionItem(repository_id=repo.id, item_type=kind, item_id="")
        if kind == "collection":
            collection = self._find(session, actor, name)
            return CollectionItem(item_type=kind, item_id=collection.public_id)
        if kind == "paper":
            if not _PAPER.match(name):
                raise BadInput(f"{name[:40]!a} is not the number of a paper, as '2307.09288'.")
            return CollectionItem(item_type=kind, item_id=name)
        raise BadInput(
            f"A collection cannot hold a {kind[:40]!a}. It holds models, datasets, spaces, papers "
            "and collections."
        )

    def _changed(self, session: Session, actor: Actor, collection: Collection) -> None:
        collection.updated_at = now()
        self._tell(session, actor, "collection.update", collection)

    def _tell(self, session: Session, actor: Actor, action: str, collection: Collection) -> None:
        self._hub.events.record(
            session, actor, action, account=collection.namespace, target=slug_of(collection)
        )


def _title(title: str) -> str:
    title = " ".join(check_text(title, "A collection's title", MAX_TITLE).split())
    if not title:
        raise BadInput("A collection needs a title.")
    return title


def _key(title: str) -> str:
    return title.lower()[:MAX_TITLE]


def _of_title(session: Session, namespace_id: int, title: str) -> Collection | None:
    return session.scalar(
        select(Collection).where(
            Collection.namespace_id == namespace_id, Collection.title_key == _key(title)
        )
    )


def _exists(taken: Collection) -> CollectionExists:
    return CollectionExists(
        f"There is a collection of that title already: {slug_of(taken)}.", slug_of(taken)
    )


def _read_item(text: str) -> tuple[str, str]:
    """Read ``models/ns/name``, ``papers/2311.12983`` or ``collections/ns/title-id``."""
    kind, _, name = text.partition("/")
    if name and kind.removesuffix("s") in (*REPOSITORY_TYPES, "paper", "collection"):
        return kind.removesuffix("s"), name
    raise BadInput(f"item={text[:100]!a} is not one. Write it as 'models/namespace/name'.")


def _chosen(shown: Sequence[CollectedItem], public_id: str) -> CollectedItem:
    for item in shown:
        if item.item.public_id == public_id:
            return item
    raise NotFound(f"There is no item {public_id[:40]!a} in this collection.")


def _move(
    session: Session,
    collection: Collection,
    shown: Sequence[CollectedItem],
    item: CollectedItem,
    position: int,
) -> None:
    """Put the item before the one at ``position`` now; those unseen keep their order."""
    rest = [other.item.id for other in shown if other is not item]
    before = rest[position] if position < len(rest) else None
    every = session.scalars(
        select(CollectionItem)
        .where(CollectionItem.collection_id == collection.id)
        .order_by(CollectionItem.position, CollectionItem.id)
    )
    order = [other for other in every if other.id != item.item.id]
    at = next((i for i, other in enumerate(order) if other.id == before), len(order))
    order.insert(at, item.item)
    for number, other in enumerate(order):
        if other.position != number:
            other.position = number
