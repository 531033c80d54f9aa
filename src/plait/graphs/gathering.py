# SPDX-License-Identifier: Apache-2.0
"""Rows of a graph gathered one by one, in any order, and kept as columns.

A statement as a Python object takes five times the memory that it takes as a row of an Arrow table.
So only the latest are objects; the others are packed, some ten thousands at a time, and what turns
out to be there twice is joined in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plait.errors import BadInput
from plait.graphs import schema

if TYPE_CHECKING:
    import pyarrow as pa

FRESH = 1 << 15
"""Statements that are kept as objects before they are packed."""
_NOTHING: frozenset[str] = frozenset()


class Statements:
    """Statements, each once by its identifier."""

    def __init__(self) -> None:
        self._fresh: dict[str, dict[str, Any]] = {}
        self._packed: list[pa.Table] = []

    def add(self, row: dict[str, Any]) -> str:
        """Add a row and return its identifier; the row is kept, not copied.

        Raises:
            BadInput: its identifier is another statement's.
        """
        row.setdefault("rank", schema.NORMAL)
        evidence = row.get("evidence")
        row["evidence"] = sorted(set(evidence)) if evidence else []
        identifier = schema.statement_id(row)
        if row.setdefault("id", identifier) != identifier:
            raise BadInput(
                f"The statement {row['id']} says something else than its identifier: what it says "
                f"has the identifier {identifier}."
            )
        held = self._fresh.get(identifier)
        self._fresh[identifier] = row if held is None else joined(held, row)
        if len(self._fresh) >= FRESH:
            self._pack()
        return identifier

    def table(self) -> pa.Table:
        """Return all of them, in no order; those that were added several times are joined.

        Raises:
            BadInput: a row does not hold to the schema.
        """
        pa = schema.arrow()
        import pyarrow.compute as pc

        self._pack()
        if not self._packed:
            return schema.schema("statements").empty_table()
        made = pa.concat_tables(self._packed)
        if len(self._packed) == 1:
            return made
        counted = made.group_by("id").aggregate([([], "count_all")])
        several = counted.filter(pc.greater(counted.column("count_all"), 1)).column("id")
        if not len(several):
            return made
        chosen = pc.is_in(made.column("id"), value_set=several.combine_chunks())
        rows: dict[str, dict[str, Any]] = {}
        for row in made.filter(chosen).to_pylist():
            held = rows.get(row["id"])
            rows[row["id"]] = row if held is None else joined(held, row)
        once = made.filter(pc.invert(chosen))
        return pa.concat_tables([once, packed("statements", list(rows.values()))])

    def _pack(self) -> None:
        if self._fresh:
            rows, self._fresh = list(self._fresh.values()), {}
            self._packed.append(packed("statements", rows))


class Entities:
    """Entities by their identifiers, with what several said of each united."""

    def __init__(self) -> None:
        self._sources: dict[str, frozenset[str]] = {}
        self._types: dict[str, frozenset[str]] = {}
        self._labels: dict[str, dict[tuple[str, str, str], bool]] = {}
        # Most entities have one of a few sets of sources and types: each set is kept once.
        self._sets: dict[frozenset[str], frozenset[str]] = {_NOTHING: _NOTHING}

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._sources

    def add(
        self,
        identifier: str,
        labels: Iterable[Mapping[str, Any]] = (),
        types: Iterable[str] = (),
        sources: Iterable[str] = (),
    ) -> None:
        """Add an entity, or more about one that is there."""
        self._sources[identifier] = self._with(self._sources.get(identifier, _NOTHING), sources)
        if types:
            self._types[identifier] = self._with(self._types.get(identifier, _NOTHING), types)
        for label in labels:
            held = self._labels.setdefault(identifier, {})
            key = (label["text"], label.get("language", ""), label.get("source", ""))
            held[key] = held.get(key, False) or bool(label.get("main", False))

    def add_named(self, statements: pa.Table) -> None:
        """Add what a table of statements is about, with the statements' sources."""
        import pyarrow.compute as pc

        for end in ("subject", "object"):
            pairs = statements.select([end, "source"])
            pairs = pairs.filter(pc.is_valid(pairs.column(end))).group_by([end, "source"])
            for batch in pairs.aggregate([]).to_batches(max_chunksize=FRESH):
                for identifier, source in zip(
                    batch.column(end).to_pylist(), batch.column("source").to_pylist(), strict=True
                ):
                    held = self._sources.get(identifier, _NOTHING)
                    if source not in held:
                        self._sources[identifier] = self._with(held, (source,))

    def table(self) -> pa.Table:
        """Return all of them, in no order.

        Raises:
            BadInput: a row does not hold to the schema.
        """
        pa = schema.arrow()
        ids = list(self._sources)
        parts = []
        for start in range(0, len(ids), FRESH):
            rows = [
                {
                    "id": one,
                    "labels": [
                        {"text": text, "language": language, "source": source, "main": main}
                        for (text, language, source), main in sorted(
                            self._labels.get(one, {}).items()
                        )
                    ],
                    "types": sorted(self._types.get(one, ())),
                    "sources": sorted(self._sources[one]),
                }
                for one in ids[start : start + FRESH]
            ]
            parts.append(packed("entities", rows))
        return pa.concat_tables(parts) if parts else schema.schema("entities").empty_table()

    def _with(self, held: frozenset[str], more: Iterable[str]) -> frozenset[str]:
        made = held.union(more)
        return self._sets.setdefault(made, made)


def packed(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table of the schema; columns that a row lacks are null.

    Raises:
        BadInput: a row does not hold to the schema.
    """
    pa = schema.arrow()
    wanted = schema.schema(name)
    try:
        columns = [
            pa.array([row.get(column.name) for row in rows], type=column.type) for column in wanted
        ]
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        raise BadInput(
            f"A row of {name} does not hold to its schema: {first_line(error)}"
        ) from None
    return pa.Table.from_arrays(columns, schema=wanted)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def joined(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Unite two rows of one statement: what is later and surer stays, evidence is a union.

    The result does not depend on which comes first, nor on the grouping of more than two.
    """
    return {
        **a,
        "confidence": _most(a.get("confidence"), b.get("confidence")),
        "recorded": _most(a.get("recorded"), b.get("recorded")),
        "licence": _most(a.get("licence"), b.get("licence")),
        "rank": max(a["rank"], b["rank"], key=_FORCE.__getitem__),
        "evidence": sorted({*a["evidence"], *b["evidence"]}),
    }


_FORCE = {schema.NORMAL: 0, schema.PREFERRED: 1, schema.DEPRECATED: 2}
"""Which of two ranks stays: who deprecates a statement knows something against it."""


def _most(a: Any, b: Any) -> Any:
    return max((one for one in (a, b) if one is not None), default=None)
