# SPDX-License-Identifier: Apache-2.0
"""An index that is read: entities by name, type or identifier; statements of an entity."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from plait.errors import NotFound, TooLarge
from plait.graphs.lookup.names import key_of
from plait.recipes.graph import GraphFile, parse_graph_file

SECONDS = 10.0
"""How long one visit to an index may look."""
MOST_ENTITIES = 1_000
"""Entities of one answer."""


@dataclass(frozen=True)
class Entity:
    """An entity, or several that identity claims make one."""

    no: int
    id: str
    name: str
    degree: int
    """Statements that name it."""
    labels: tuple[Mapping[str, Any], ...]
    types: tuple[str, ...]
    sources: tuple[str, ...]

    def named(self, language: str) -> str:
        """Return its shortest main name in a language, else that which is shown everywhere."""
        texts = [
            (not one["main"], len(one["text"]), one["text"])
            for one in self.labels
            if one["language"].partition("-")[0] in _ALSO.get(language, (language,))
        ]
        return str(min(texts)[2]) if texts else self.name

    def to_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "id": self.id,
            "name": self.name,
            "labels": [dict(one) for one in self.labels],
            "types": list(self.types),
            "sources": list(self.sources),
            "statements": self.degree,
        }


@dataclass(frozen=True)
class Statement:
    """A statement; `subject` and `object` are numbers of entities in the index."""

    id: str
    subject: int
    predicate: str
    object: int | None
    value: str | None
    datatype: str
    language: str | None
    source: str
    licence: str | None
    confidence: float | None
    recorded: str | None
    valid_from: str | None
    valid_to: str | None
    rank: str
    contribution: int | None
    """Which of the index's contributions brought it."""
    evidence: tuple[str, ...]

    def to_json(self, names: Mapping[int, Entity]) -> dict[str, Any]:
        """Return it as the API tells it, with the names of its entities."""
        subject = names[self.subject]
        told: dict[str, Any] = {
            "id": self.id,
            "subject": subject.id,
            "subject_name": subject.name,
            "predicate": self.predicate,
        }
        if self.object is not None:
            other = names[self.object]
            told |= {"object": other.id, "object_name": other.name}
        else:
            told |= {"value": self.value, "datatype": self.datatype, "language": self.language}
        for name in ("source", "licence", "confidence", "recorded", "valid_from", "valid_to",
                     "rank"):  # fmt: skip
            told[name] = getattr(self, name)
        return {**told, "evidence": list(self.evidence)}


@dataclass(frozen=True)
class Filters:
    """Which statements are wanted; empty means all."""

    predicates: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    confidence: float = 0.0
    """At least; a statement that says nothing of its confidence counts as sure."""
    deprecated: bool = False

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition in SQL, and its values."""
        parts, values = ["1"], list[Any]()
        for column, wanted in (("predicate", self.predicates), ("source", self.sources)):
            if wanted:
                parts.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        if self.confidence > 0:
            parts.append("coalesce(confidence, 1) >= ?")
            values.append(self.confidence)
        if not self.deprecated:
            parts.append("rank <> 'deprecated'")
        return " AND ".join(parts), values


_ALSO = {"en": ("en", "eng"), "zh": ("zh", "zho", "chi", "cmn")}
"""Languages of the pages by all their codes of ISO 639."""
_BEST = "rank <> 'preferred', rank = 'deprecated', coalesce(confidence, 1) DESC, predicate, no"
COLUMNS = (
    "id, subject, predicate, object, value, datatype, language, source, licence, confidence, "
    "recorded, valid_from, valid_to, rank, contribution, evidence"
)


class Index:
    """An index that `build_index` wrote. Every thread opens its own."""

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self.database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        until = time.monotonic() + seconds
        self.database.set_progress_handler(lambda: int(time.monotonic() > until), 10_000)

    @classmethod
    @contextmanager
    def open(cls, path: Path, seconds: float = SECONDS) -> Iterator[Index]:
        """Open an index for a block, which may look for so many seconds.

        Raises:
            TooLarge: it took longer.
        """
        index = cls(path, seconds)
        try:
            yield index
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            raise TooLarge(
                f"Looking took more than {seconds:g} seconds. Ask for less at once."
            ) from None
        finally:
            index.database.close()

    @cached_property
    def counts(self) -> Mapping[str, Any]:
        """How many there are: entities, statements, and statements of each predicate, …"""
        found: Mapping[str, Any] = json.loads(self._about("counts"))
        return found

    @cached_property
    def contributions(self) -> tuple[Mapping[str, str], ...]:
        """The commits that brought the statements, the oldest first: oid, title, author."""
        rows = self.database.execute("SELECT oid, title, author FROM contribution ORDER BY no")
        return tuple({"oid": oid, "title": title, "author": author} for oid, title, author in rows)

    @cached_property
    def file(self) -> GraphFile:
        """The graph's ``graph.yaml``."""
        return parse_graph_file(self._about("file"))

    def entity(self, identifier: str) -> Entity:
        """Return an entity by its identifier, or by that of one that it is the same as.

        Raises:
            NotFound: there is none.
        """
        found = self.find([identifier])
        if not found:
            raise NotFound(
                f"The graph has no entity '{identifier[:200]}'. Look it up by its name first."
            )
        return found[0]

    def find(self, identifiers: Sequence[str]) -> list[Entity]:
        """Return those of some entities that there are, each once."""
        numbers: dict[int, None] = {}
        for one in identifiers:
            row = self.database.execute(
                "SELECT no FROM entity WHERE id = ? UNION ALL SELECT no FROM alias WHERE id = ?",
                (one, one),
            ).fetchone()
            if row is not None:
                numbers.setdefault(row[0])
        held = self.numbered(numbers)
        return [held[no] for no in numbers]

    def numbered(self, numbers: Iterable[int]) -> dict[int, Entity]:
        """Return entities by their numbers."""
        wanted = list(dict.fromkeys(numbers))
        found: dict[int, Entity] = {}
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ", ".join("?" * len(part))
            query = f"SELECT * FROM entity WHERE no IN ({marks})"  # noqa: S608 only marks
            for row in self.database.execute(query, part):
                found[row[0]] = _entity(row)
        return found

    def search(
        self,
        *,
        name: str = "",
        prefix: str = "",
        type: str = "",
        source: str = "",
        after: int = 0,
        limit: int = 50,
    ) -> list[Entity]:
        """Look entities up; those with most statements come first.

        Args:
            name: one of their names, whatever its case, in any language.
            prefix: how one of their names begins, or one of its words.
            type: one of their types.
            source: one that knows them.
            after: how many to leave out from the beginning.
        """
        conditions, values = ["1"], list[Any]()
        if name:
            conditions.append("no IN (SELECT no FROM name WHERE key = ? AND start = 0)")
            values.append(key_of(name))
        if prefix:
            key = key_of(prefix)
            conditions.append("no IN (SELECT no FROM name WHERE key >= ? AND key < ?)")
            values += [key, key + "\U0010ffff"]
        if type:
            conditions.append("no IN (SELECT no FROM type WHERE type = ?)")
            values.append(type)
        if source:
            conditions.append("EXISTS (SELECT 1 FROM json_each(sources) WHERE value = ?)")
            values.append(source)
        query = (
            f"SELECT * FROM entity WHERE {' AND '.join(conditions)} "  # noqa: S608 those above
            "ORDER BY degree DESC, no LIMIT ? OFFSET ?"
        )
        rows = self.database.execute(query, (*values, min(limit, MOST_ENTITIES), after))
        return [_entity(row) for row in rows]

    def mentioned(self, keys: Sequence[str], limit: int = 20) -> list[Entity]:
        """Return entities of which one of the keys is a name, in the order of the keys."""
        numbers: dict[int, None] = {}
        for key in keys:
            rows = self.database.execute(
                "SELECT no FROM name JOIN entity USING (no) WHERE key = ? AND start = 0 "
                "ORDER BY name.main DESC, degree DESC, no LIMIT 5",
                (key,),
            )
            for (no,) in rows:
                numbers.setdefault(no)
            if len(numbers) >= limit:
                break
        held = self.numbered(list(numbers)[:limit])
        return list(held.values())

    def statements(
        self, no: int, filters: Filters | None = None, *, after: int = 0, limit: int = 200
    ) -> list[Statement]:
        """Return the statements that name an entity, those that are preferred and sure first."""
        where, values = (filters or Filters()).where()
        query = (
            f"SELECT {COLUMNS} FROM statement "  # noqa: S608 `where` holds marks, not values
            f"WHERE (subject = ? OR object = ?) AND {where} "
            f"ORDER BY subject <> ?, {_BEST} LIMIT ? OFFSET ?"
        )
        rows = self.database.execute(query, (no, no, *values, no, limit, after))
        return [statement_of(row) for row in rows]

    def between(
        self, numbers: Sequence[int], filters: Filters | None = None, *, limit: int = 20_000
    ) -> list[Statement]:
        """Return statements both of whose ends are among some entities."""
        where, values = (filters or Filters()).where()
        among = json.dumps(list(numbers))
        query = (
            f"SELECT {COLUMNS} FROM statement "  # noqa: S608 `where` holds marks, not values
            "WHERE object IS NOT NULL AND subject IN (SELECT value FROM json_each(?)) "
            f"AND object IN (SELECT value FROM json_each(?)) AND {where} LIMIT ?"
        )
        rows = self.database.execute(query, (among, among, *values, limit))
        return [statement_of(row) for row in rows]

    def _about(self, key: str) -> str:
        found = self.database.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return str(found[0])


def statement_of(row: Sequence[Any]) -> Statement:
    """Return a row of the index as a statement."""
    values: list[Any] = [*row[:-1], tuple(json.loads(row[-1]))]
    return Statement(*values)


def _entity(row: Sequence[Any]) -> Entity:
    no, identifier, name, degree, labels, types, sources = row
    return Entity(
        no, identifier, name, degree,
        tuple(json.loads(labels)), tuple(json.loads(types)), tuple(json.loads(sources)),
    )  # fmt: skip
