# SPDX-License-Identifier: Apache-2.0
"""A graph's statements as numbers, and their splits into training, validation and test.

A split is by statement, and statements that say each other stay together: ``borders(a, b)`` in
training gives away ``borders(b, a)`` in the test, as an inverse predicate and one that repeats
another do (Toutanova and Chen 2015; Dettmers et al. 2018, arXiv:1707.01476). Such predicates are
those that ``graph.yaml`` calls symmetric or inverse, and those found in the statements.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.graph import Graph
from plait.graphs.view import collapsed, truthy
from plait.recipes.graph import GraphFile

Rows = NDArray[np.int64]
"""Triples [n, 3]: the numbers of subject, predicate and object."""

LEAST = 20
"""Statements below this teach nothing that could be measured."""
CONTAINED = 0.8
"""A predicate repeats another (or its reverse) if so many of its pairs are the other's."""
LEAST_SHARED = 5


@dataclass(frozen=True)
class Literal:
    """A value that stands among the entities."""

    value: str
    datatype: str
    language: str | None


@dataclass(frozen=True)
class Triples:
    """Distinct triples of a graph's view, sorted, and the names of their numbers."""

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    rows: Rows
    sources: tuple[tuple[str, ...], ...]
    """Of each row, the sources that say it."""
    literals: Mapping[str, Literal]
    """Values that were taken for entities, by the names they have among `entities`."""
    types: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """The types of entities that have some, by number."""


@dataclass(frozen=True)
class Split:
    """Three parts of the triples."""

    training: Rows
    validation: Rows
    testing: Rows
    together: int = 0
    """Statements that were kept in one part with another that says the same."""
    leaking: int = 0
    """Held-out statements whose repetition or reverse is in training: not 0 in given splits."""
    repeating: tuple[tuple[str, str, str], ...] = ()
    """Pairs of predicates, and whether the second is `the same` as the first or its `reverse`."""

    @property
    def all(self) -> Rows:
        """All rows."""
        return np.concatenate([self.training, self.validation, self.testing])


def triples(
    graph: Graph, *, literals: Collection[str] = (), relations: Collection[str] | None = None
) -> Triples:
    """Return what a graph says of entities as numbered triples: identities as one, ranks applied.

    Args:
        literals: predicates whose values count as entities, as a currency or a region.
        relations: the predicates to keep (default: all).

    Raises:
        BadInput: a predicate is unknown, or there are fewer than `LEAST` statements.
    """
    table = truthy(collapsed(graph)).statements
    names = (
        "subject", "predicate", "object", "value", "datatype", "language", "source",
    )  # fmt: skip
    columns = [table.column(name).to_pylist() for name in names]
    predicates = sorted(set(columns[1]))
    for wanted in [*literals, *(relations or ())]:
        check_relation(wanted, predicates)
    kept: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    values: dict[str, Literal] = {}
    for subject, predicate, target, value, datatype, language, source in zip(*columns, strict=True):
        if relations is not None and predicate not in relations:
            continue
        if target is None:
            if predicate not in literals:
                continue
            target = literal_name(value, datatype, language)
            values[target] = Literal(value, datatype, language)
        kept[subject, predicate, target].add(source)
    if len(kept) < LEAST:
        others = sorted(
            {p for p, v in zip(columns[1], columns[3], strict=True) if v is not None} - {*literals}
        )
        hint = f" Values become entities with --literals, as {', '.join(others[:5])}." * bool(
            others
        )
        raise BadInput(
            f"The graph has {len(kept):,} statements between entities; at least {LEAST} are needed "
            f"to learn from them.{hint}"
        )
    entities = sorted({one for s, _, o in kept for one in (s, o)})
    used = sorted({p for _, p, _ in kept})
    number = {name: place for place, name in enumerate(entities)}
    place_of = {name: place for place, name in enumerate(used)}
    ordered = sorted((number[s], place_of[p], number[o], s, p, o) for s, p, o in kept)
    types = {}
    found = collapsed(graph).entities
    for identifier, held in zip(
        found.column("id").to_pylist(), found.column("types").to_pylist(), strict=True
    ):
        if held and identifier in number:
            types[number[identifier]] = tuple(held)
    return Triples(
        tuple(entities),
        tuple(used),
        np.array([one[:3] for one in ordered], dtype=np.int64).reshape(-1, 3),
        tuple(tuple(sorted(kept[one[3:]])) for one in ordered),
        values,
        types,
    )


def literal_name(value: str, datatype: str, language: str | None) -> str:
    """Return what a value is called among entities, as N-Triples would write it."""
    return f'"{value}"@{language}' if language else f'"{value}"^^{datatype}'


def check_relation(name: str, known: Iterable[str]) -> None:
    """Refuse a predicate that is not there.

    Raises:
        BadInput: naming the nearest that is.
    """
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise BadInput(
        f"The graph has no predicate '{name}'" + f"; the nearest is '{near[0]}'." * bool(near)
    )


def repeating(found: Triples, file: GraphFile) -> list[tuple[int, int, str]]:
    """Return pairs of predicates of which one gives the other's statements away.

    Declared ones, and those of which `CONTAINED` of the pairs of the smaller (at least
    `LEAST_SHARED`) are pairs of the larger, or its reversed pairs.
    """
    from scipy import sparse

    count = len(found.relations)
    heads, kinds, tails = found.rows.T
    size = len(found.entities)
    pairs, place = np.unique(
        np.concatenate([heads * size + tails, tails * size + heads]), return_inverse=True
    )
    ones = np.ones(len(heads), dtype=np.int32)
    straight = sparse.csr_matrix((ones, (kinds, place[: len(heads)])), (count, len(pairs)))
    reverse = sparse.csr_matrix((ones, (kinds, place[len(heads) :])), (count, len(pairs)))
    many = np.bincount(kinds, minlength=count)
    result: set[tuple[int, int, str]] = set()
    for other, how in ((straight, "the same"), (reverse, "reverse")):
        shared = (straight @ other.T).tocoo()
        for a, b, common in zip(shared.row, shared.col, shared.data, strict=True):
            if a > b or (a == b and how == "the same") or common < LEAST_SHARED:
                continue
            if common >= CONTAINED * min(many[a], many[b]):
                result.add((int(a), int(b), how))
    number = {name: place for place, name in enumerate(found.relations)}
    for name, known in file.predicates.items():
        if name in number and known.symmetric:
            result.add((number[name], number[name], "reverse"))
        if name in number and known.inverse in number:
            a, b = sorted((number[name], number[known.inverse]))
            result.add((a, b, "reverse"))
    return sorted(result)


def groups(found: Triples, pairs: Sequence[tuple[int, int, str]]) -> NDArray[np.int64]:
    """Return each row's group: rows of one pair of entities by predicates that repeat are one."""
    above = list(range(len(found.relations)))

    def top(one: int) -> int:
        while above[one] != one:
            above[one] = above[above[one]]
            one = above[one]
        return one

    for a, b, _ in pairs:
        above[top(a)] = top(b)
    family = np.array([top(one) for one in range(len(above))], dtype=np.int64)
    heads, kinds, tails = found.rows.T
    low, high = np.minimum(heads, tails), np.maximum(heads, tails)
    keys = np.stack([low, high, family[kinds]], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    return np.asarray(group.reshape(-1), dtype=np.int64)


def split(
    found: Triples, file: GraphFile, *, shares: tuple[float, float] = (0.1, 0.1), seed: int = 0
) -> Split:
    """Split triples at random into training, validation and test.

    Statements that repeat each other stay together. Every entity and predicate of the held-out
    parts is in training, which a model could otherwise know nothing of.

    Args:
        shares: of the statements, those for validation and for the test; what may not be held out
            without losing an entity stays in training, so that a sparse graph gives fewer.

    Raises:
        BadInput: nothing can be held out.
    """
    if min(shares) <= 0 or sum(shares) >= 0.9:
        raise BadInput("Validation and test must each have a share above 0, together below 0.9.")
    pairs = repeating(found, file)
    group = groups(found, pairs)
    members: list[list[int]] = [[] for _ in range(int(group.max()) + 1)]
    for row, one in enumerate(group.tolist()):
        members[one].append(row)
    left_entities = np.bincount(
        found.rows[:, [0, 2]].reshape(-1), minlength=len(found.entities)
    ).tolist()
    left_kinds = np.bincount(found.rows[:, 1], minlength=len(found.relations)).tolist()
    part = np.zeros(len(found.rows), dtype=np.int8)
    wanted = [round(share * len(found.rows)) for share in shares]
    held = [0, 0]
    rows = found.rows.tolist()
    for one in np.random.default_rng(seed).permutation(len(members)).tolist():
        here = next((p for p in (1, 0) if held[p] < wanted[p]), None)
        if here is None:
            break
        entities: dict[int, int] = defaultdict(int)
        kinds: dict[int, int] = defaultdict(int)
        for row in members[one]:
            head, kind, tail = rows[row]
            entities[head] += 1
            entities[tail] += 1
            kinds[kind] += 1
        if any(left_entities[e] <= n for e, n in entities.items()) or any(
            left_kinds[k] <= n for k, n in kinds.items()
        ):
            continue
        for e, n in entities.items():
            left_entities[e] -= n
        for k, n in kinds.items():
            left_kinds[k] -= n
        part[members[one]] = here + 1
        held[here] += len(members[one])
    if not min(held):
        raise BadInput(
            "No statement can be held out for validation and test: nearly every entity is in one "
            "statement alone. Add statements, or give splits of your own by source."
        )
    together = sum(len(one) for one in members if len(one) > 1)
    return _made(found, part, pairs, together, 0)


def split_by_sources(
    found: Triples, file: GraphFile, *, validation: Collection[str], testing: Collection[str]
) -> Split:
    """Split triples by who says them: what a test source says is the test, whoever else says it.

    Raises:
        BadInput: a source is unknown, or a part is empty. Held-out statements of entities and
            predicates that training does not know are left out.
    """
    known = {one for said in found.sources for one in said}
    for name in [*validation, *testing]:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
            raise BadInput(f"No statement has the source '{name}'; the nearest is '{near[0]}'.")
    part = np.zeros(len(found.rows), dtype=np.int8)
    for row, said in enumerate(found.sources):
        if set(said) & set(testing):
            part[row] = 2
        elif set(said) & set(validation):
            part[row] = 1
    training = found.rows[part == 0]
    entities = np.isin(found.rows[:, [0, 2]], training[:, [0, 2]]).all(axis=1)
    kinds = np.isin(found.rows[:, 1], training[:, 1])
    part[(part > 0) & ~(entities & kinds)] = -1
    for name, at in (("training", 0), ("validation", 1), ("test", 2)):
        if not (part == at).any():
            raise BadInput(f"Nothing is left for the {name} when these sources are held out.")
    pairs = repeating(found, file)
    group = groups(found, pairs)
    leaking = np.isin(group[part > 0], group[part == 0]).sum()
    return _made(found, part, pairs, 0, int(leaking))


def _made(
    found: Triples, part: Any, pairs: Sequence[tuple[int, int, str]], together: int, leaking: int
) -> Split:
    names = found.relations
    return Split(
        found.rows[part == 0],
        found.rows[part == 1],
        found.rows[part == 2],
        together=together,
        leaking=leaking,
        repeating=tuple((names[a], names[b], how) for a, b, how in pairs),
    )


__all__ = [
    "LEAST",
    "Literal",
    "Rows",
    "Split",
    "Triples",
    "check_relation",
    "literal_name",
    "repeating",
    "schema",
    "split",
    "split_by_sources",
    "triples",
]
