# SPDX-License-Identifier: Apache-2.0
"""A visit to a graph: its revision, what is asked of it, and what every one of its pages shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from fastapi import Response

from plait.collaboration.graphs import GraphRevision, revision_of
from plait.errors import NotFound
from plait.graphs.lookup import Entity, Filters, Index, Statement
from plait.web.here import Here

LONGEST = 400
"""Characters of a literal that a page shows."""


@dataclass(frozen=True)
class Fact:
    """A statement as the pages show it, seen from one of its entities."""

    statement: Statement
    predicate: str
    """As people call it."""
    inverse: bool
    """The entity is its object."""
    subject: Entity
    other: Entity | None
    said: str
    """The name of the other entity, or the literal."""
    source: str
    link: str
    """An address that the literal is, else empty."""


class GraphVisit:
    """A visit to the graph that a repository holds at a revision."""

    def __init__(self, at: Here) -> None:
        self.at = at.files()
        query = at.visit.request.query_params
        self.revision = query.get("revision", "")[:200] or "main"
        if at.record.type != "dataset":
            raise NotFound("Only data sets hold knowledge graphs.")

    @cached_property
    def found(self) -> GraphRevision:
        """The graph, at the revision of the address."""
        return revision_of(self.at.visit.hub, self.at.visit.actor, self.at.record, self.revision)

    @property
    def language(self) -> str:
        """The language that names are shown in."""
        return self.at.visit.t.language

    def wanted(self, name: str, most: int = 1024) -> str:
        """Return what the address asks for under a name."""
        return self.at.visit.request.query_params.get(name, "").strip()[:most]

    def filters(self) -> Filters:
        """Return which statements the address asks for."""
        query = self.at.visit.request.query_params
        sources = tuple(one[:1024] for one in query.getlist("source") if one)[:50]
        try:
            sure = min(max(float(query.get("confidence") or 0), 0.0), 1.0)
        except ValueError:
            sure = 0.0
        # NaN compares with nothing.
        return Filters((), sources, sure if sure == sure else 0.0, deprecated=True)

    def address(self, page: str = "", **query: str) -> str:
        """Return the address of one of the graph's pages at the same revision."""
        given = {**({"revision": self.revision} if self.revision != "main" else {}), **query}
        base = f"{self.at.view.url}/graph{f'/{page}' if page else ''}"
        return f"{base}?{urlencode(given)}" if given else base

    def facts(self, index: Index, entity: Entity, held: Sequence[Statement]) -> list[Fact]:
        """Return statements as they look from an entity."""
        ends = {one.subject for one in held} | {
            one.object for one in held if one.object is not None
        }
        entities = index.numbered(ends)
        found = []
        for one in held:
            inverse = one.subject != entity.no
            other = one.subject if inverse else one.object
            value = (one.value or "")[:LONGEST]
            found.append(
                Fact(
                    one,
                    self.label(index, one.predicate),
                    inverse,
                    entities[one.subject],
                    None if other is None else entities[other],
                    value if other is None else entities[other].named(self.language),
                    self.source(index, one.source),
                    value if value.startswith(("https://", "http://")) else "",
                )
            )
        return found

    def label(self, index: Index, predicate: str) -> str:
        """Return what people call a predicate, in the visitor's language if it is known."""
        known = index.file.predicates.get(predicate)
        labels: Mapping[str, str] = known.label if known is not None else {}
        return labels.get(self.language) or labels.get("en") or _short(predicate)

    def source(self, index: Index, name: str) -> str:
        """Return what people call a source."""
        known = index.file.sources.get(name)
        return (known.title if known is not None else "") or name

    def render(self, template: str, index: Index, current: str, **values: Any) -> Response:
        """Render one of the graph's pages."""
        return self.at.visit.render(
            template,
            repo=self.at.view,
            graph=self,
            current=current,
            counts=index.counts,
            title=index.file.title or self.at.view.name,
            **values,
        )


def _short(name: str) -> str:
    """Return the telling end of an address."""
    if "://" not in name:
        return name
    return name.rstrip("/#").replace("#", "/").rpartition("/")[2] or name
