# SPDX-License-Identifier: Apache-2.0
"""Conflicts of functional predicates, and which value a policy or a person prefers.

Ranks are computed anew from what is said: whoever merges the same statements in another order gets
the same ranks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.graphs import schema
from plait.graphs.graph import Graph
from plait.graphs.identity import Identities, resolve
from plait.graphs.literals import canonical, numeric
from plait.recipes.graph import ASK, ENTITY, GraphFile


@dataclass(frozen=True)
class Option:
    """One of the values that sources give, and what speaks for it."""

    value: str
    """An entity's identifier (that of its class), or a literal in its canonical form."""
    datatype: str
    language: str | None
    statements: tuple[str, ...]
    sources: tuple[str, ...]
    trust: float
    """The highest of its sources'."""
    recency: str
    """The latest of its statements' `recorded`; empty if none has one."""
    votes: int
    """How many sources say so."""
    confidence: float


@dataclass(frozen=True)
class Conflict:
    """A functional predicate of one entity with several values at one time."""

    subject: str
    predicate: str
    options: tuple[Option, ...]
    """The preferred one first, if one is; else by value."""
    decided_by: str
    """`decision`, the criterion of the policy that told them apart, or empty: people are asked."""

    @property
    def open(self) -> bool:
        """Whether nothing and nobody has decided yet."""
        return not self.decided_by


@dataclass(frozen=True)
class Ranked:
    """A graph whose functional predicates are ranked, and its conflicts, sorted."""

    graph: Graph
    identities: Identities
    conflicts: tuple[Conflict, ...]


def rank(graph: Graph, identities: Identities | None = None) -> Ranked:
    """Rank the values of functional predicates by decisions of people, then by policy.

    The preferred value's statements become `preferred`, the others' `normal`; what is `deprecated`
    stays so and takes no part. Values whose times do not meet are no conflict. What all criteria of
    the policy find equal is left open, and all of it stays `normal`.
    """
    identities = identities or resolve(graph)
    functional = sorted(name for name, one in graph.file.predicates.items() if one.functional)
    if not functional or not graph.statements.num_rows:
        return Ranked(graph, identities, ())
    pa = schema.arrow()
    import pyarrow.compute as pc

    table = graph.statements
    mask = pc.and_(
        pc.is_in(table.column("predicate"), value_set=pa.array(functional)),
        pc.not_equal(table.column("rank"), schema.DEPRECATED),
    )
    rows = table.filter(mask).to_pylist()
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[identities.of(row["subject"]), row["predicate"]].append(row)
    chosen = _decisions(graph)
    ranks: dict[str, str] = {row["id"]: schema.NORMAL for row in rows}
    conflicts = []
    for (subject, predicate), held in sorted(groups.items()):
        for options in _clashes(_options(held, identities, graph.file)):
            conflict = _decide(subject, predicate, options, chosen, graph.file)
            conflicts.append(conflict)
            if not conflict.open:
                ranks.update(dict.fromkeys(conflict.options[0].statements, schema.PREFERRED))
    return Ranked(_with_ranks(graph, ranks), identities, tuple(conflicts))


def _options(
    rows: Iterable[Mapping[str, Any]], identities: Identities, file: GraphFile
) -> list[tuple[Option, list[tuple[str, str]]]]:
    """Group statements by what they say; with each the times of which they say it.

    Numbers are one if their values are, be they integers, decimals or doubles.
    """
    said: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    shown: dict[tuple[str, str, str], tuple[int, str, str]] = {}
    for row in rows:
        entity = row["datatype"] == ENTITY
        value = identities.of(row["object"]) if entity else canonical_or_raw(row)
        number = None if entity else numeric(value, row["datatype"])
        key = (number or value, "number" if number else row["datatype"], row["language"] or "")
        said[key].append(row)
        name = (len(value), value, row["datatype"])
        shown[key] = min(name, shown.get(key, name))
    options = []
    for key, held in sorted(said.items()):
        (_, value, datatype), language = shown[key], key[2]
        sources = sorted({row["source"] for row in held})
        option = Option(
            value,
            datatype,
            language or None,
            tuple(sorted(row["id"] for row in held)),
            tuple(sources),
            max(file.trust(source) for source in sources),
            max((row["recorded"] or "" for row in held), default=""),
            len(sources),
            max((1.0 if row["confidence"] is None else row["confidence"]) for row in held),
        )
        options.append(
            (option, [(row["valid_from"] or "", row["valid_to"] or "~") for row in held])
        )
    return options


def canonical_or_raw(row: Mapping[str, Any]) -> str:
    """Return a literal's canonical form, or the text itself where it is none of its datatype."""
    from plait.errors import BadInput

    try:
        return canonical(row["value"], row["datatype"])
    except BadInput:
        return str(row["value"])


def _clashes(found: list[tuple[Option, list[tuple[str, str]]]]) -> list[list[Option]]:
    """Return the groups of values that some moment has at once; texts by language."""
    clashes = []
    for language in sorted({option.language or "" for option, _ in found}):
        held = [one for one in found if (one[0].language or "") == language]
        while held:
            group = [held.pop(0)]
            grown = True
            while grown:
                meets = [
                    other for other in held if any(_overlap(times, other[1]) for _, times in group)
                ]
                held = [other for other in held if other not in meets]
                group += meets
                grown = bool(meets)
            if len(group) > 1:
                clashes.append([option for option, _ in group])
    return clashes


def _overlap(a: Sequence[tuple[str, str]], b: Sequence[tuple[str, str]]) -> bool:
    # ISO 8601 sorts as text; a partial date stands for its beginning.
    return any(x < end and start < y for x, y in a for start, end in b)


def _decide(
    subject: str,
    predicate: str,
    options: Sequence[Option],
    chosen: Mapping[str, tuple[str, str]],
    file: GraphFile,
) -> Conflict:
    by_value = sorted(options, key=lambda one: (one.value, one.datatype))
    decisions = [
        (chosen[statement], option)
        for option in by_value
        for statement in option.statements
        if statement in chosen
    ]
    if decisions:
        best = max(decisions, key=lambda one: one[0])[1]
        return Conflict(subject, predicate, _first(best, by_value), "decision")
    policy = file.policy_of(predicate)
    left = by_value
    for criterion in () if policy == (ASK,) else policy:
        most = max(getattr(one, criterion) for one in left)
        left = [one for one in left if getattr(one, criterion) == most]
        if len(left) == 1:
            return Conflict(subject, predicate, _first(left[0], by_value), criterion)
    return Conflict(subject, predicate, tuple(by_value), "")


def _first(best: Option, options: Sequence[Option]) -> tuple[Option, ...]:
    return (best, *(one for one in options if one is not best))


def _decisions(graph: Graph) -> dict[str, tuple[str, str]]:
    """Return what people chose; of two decisions in one conflict the later holds."""
    return {
        row["statement"]: (row["at"] or "", row["statement"]) for row in graph.decisions.to_pylist()
    }


def _with_ranks(graph: Graph, ranks: Mapping[str, str]) -> Graph:
    pa = schema.arrow()
    table = graph.statements
    held = zip(table.column("id").to_pylist(), table.column("rank").to_pylist(), strict=True)
    column = pa.array([ranks.get(identifier, old) for identifier, old in held], pa.string())
    place = table.schema.get_field_index("rank")
    # The order of rows does not depend on ranks, so the table need not be sorted again.
    changed = table.set_column(place, table.schema.field(place), column)
    return Graph(graph.entities, changed, graph.identities, graph.decisions, graph.file)
