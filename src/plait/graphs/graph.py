# SPDX-License-Identifier: Apache-2.0
"""A knowledge graph in memory: its Arrow tables and its graph.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.checking import check_tables
from plait.graphs.gathering import Entities, Statements, first_line, packed
from plait.graphs.literals import canonical
from plait.recipes.graph import ENTITY, GraphFile

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Graph:
    """A graph; its tables hold to `schema.schema` and are in canonical order."""

    entities: pa.Table
    statements: pa.Table
    identities: pa.Table
    decisions: pa.Table
    file: GraphFile = field(default_factory=GraphFile)

    def table(self, name: str) -> pa.Table:
        """Return one of `schema.TABLES`."""
        found: pa.Table = getattr(self, name)
        return found

    def with_tables(self, **tables: pa.Table) -> Graph:
        """Return the graph with other tables, checked and put in order."""
        return replace(self, **{name: ordered(name, table) for name, table in tables.items()})

    def __len__(self) -> int:
        return int(self.statements.num_rows)


def empty(file: GraphFile | None = None) -> Graph:
    """Return a graph without anything in it."""
    return Graph(
        **{name: schema.schema(name).empty_table() for name in schema.TABLES},
        file=file or GraphFile(),
    )


def make(file: GraphFile | None = None, **rows: Sequence[Mapping[str, Any]]) -> Graph:
    """Make a graph of rows by table; a statement without `id` gets its own.

    Raises:
        BadInput: a row does not hold to the schema; naming the table, the row and the column.
    """
    unknown = set(rows) - set(schema.TABLES)
    if unknown:
        raise BadInput(f"A graph has no table '{min(unknown)}'; its tables are entities, …")
    builder = Builder(file)
    for name, found in rows.items():
        for row in found:
            builder.add(name, row)
    return builder.build()


def ordered(name: str, table: pa.Table) -> pa.Table:
    """Return a table in canonical order, checked.

    Raises:
        BadInput: a row does not hold to the schema, or a key is there twice.
    """
    pa = schema.arrow()
    wanted = schema.schema(name)
    missing = [column for column in wanted.names if column not in table.column_names]
    if missing:
        raise BadInput(
            f"The table of {name} lacks the column '{missing[0]}'; it has "
            f"{', '.join(map(str, table.column_names))}."
        )
    try:
        cast = table.select(wanted.names).cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise BadInput(
            f"The table of {name} does not hold to its schema: {first_line(error)}"
        ) from None
    keys = [(column, "ascending") for column in schema.ORDER[name]]
    made = cast.sort_by(keys).combine_chunks()
    check_tables(name, made)
    return made


class Builder:
    """Gathers rows in any order, from as many sources as there are, and makes a graph of them.

    Rows of one key are united: labels, types, sources and evidence are unions, and of what is about
    a statement the latest and surest stays.
    """

    def __init__(self, file: GraphFile | None = None) -> None:
        self.file = file or GraphFile()
        self._entities = Entities()
        self._statements = Statements()
        self._rows: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {
            "identities": {}, "decisions": {},
        }  # fmt: skip

    def __contains__(self, identifier: object) -> bool:
        """Tell whether an entity was added; those that are only named in statements were not."""
        return identifier in self._entities

    def add(self, table: str, row: Mapping[str, Any]) -> None:
        """Add a row to one of the tables."""
        if table == "entities":
            self.entity(
                str(row["id"]),
                labels=row.get("labels", ()),
                types=row.get("types", ()),
                sources=row.get("sources", ()),
            )
        elif table == "statements":
            self._statements.add(dict(row))
        else:
            key = tuple(str(row[name]) for name in schema.KEYS[table])
            self._rows[table].setdefault(key, dict(row))

    def entity(
        self,
        identifier: str,
        *,
        labels: Iterable[Mapping[str, Any]] = (),
        types: Iterable[str] = (),
        sources: Iterable[str] = (),
    ) -> None:
        """Add an entity, or more about one that is there."""
        self._entities.add(identifier, labels, types, sources)

    def label(
        self, identifier: str, text: str, *, language: str = "", source: str = "", main: bool = True
    ) -> None:
        """Add a name of an entity."""
        label = {"text": text, "language": language, "source": source, "main": main}
        self.entity(identifier, labels=[label], sources=[source] if source else [])

    def statement(
        self,
        subject: str,
        predicate: str,
        *,
        object: str | None = None,
        value: str | None = None,
        datatype: str | None = None,
        source: str,
        evidence: Iterable[str] = (),
        rank: str = schema.NORMAL,
        **about: Any,
    ) -> str:
        """Add a statement and return its identifier; a literal is kept in its canonical form.

        Args:
            object: of a statement about two entities, the second.
            value: of a statement with a literal, the literal; its `datatype` is ``graph.yaml``'s
                for the predicate, else string.
            about: the other columns of the table.

        Raises:
            BadInput: the literal is none of its datatype, or both or neither are given.
        """
        if (object is None) == (value is None):
            raise BadInput(f"A statement needs either an object or a value: {subject} {predicate}.")
        known = self.file.predicates.get(predicate)
        if object is not None:
            datatype = ENTITY
        elif datatype is None:
            datatype = known.datatype if known and known.datatype else "string"
            if datatype == ENTITY:
                raise BadInput(
                    f"The objects of {predicate} are entities; '{(value or '')[:60]}' is a text."
                )
        if value is not None:
            value = canonical(value, datatype)
        return self._statements.add(
            {
                "subject": subject,
                "predicate": predicate,
                "object": object,
                "value": value,
                "datatype": datatype,
                "source": source,
                "rank": rank,
                "evidence": list(evidence),
                **about,
            }
        )

    def build(self) -> Graph:
        """Make the graph; entities that are only named in statements are added to the table.

        Raises:
            BadInput: a row does not hold to the schema.
        """
        statements = self._statements.table()
        self._entities.add_named(statements)
        tables = {"entities": self._entities.table(), "statements": statements} | {
            name: packed(name, list(rows.values())) for name, rows in self._rows.items()
        }
        return Graph(
            **{name: ordered(name, table) for name, table in tables.items()}, file=self.file
        )
