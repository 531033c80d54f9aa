# SPDX-License-Identifier: Apache-2.0
"""Which entities fit a place of a predicate: its subjects, or its objects, by what is seen there.

An entity fits where it stands already, or by a declared type that is common there. Entities without
types are told by what else they do: one that has a role (as "object of `directed_by`") which most
of those in the place have fits too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.graphs.learn.triples import Literal, Rows, Triples

COMMON_TYPE = 0.1
"""A type counts if so many of the entities with types in the place have it."""
COMMON_ROLE = 0.5
"""A role counts if so many of the entities in the place have it."""


@dataclass(frozen=True)
class Places:
    """For each predicate, the entities that fit as its subject and as its object, sorted."""

    subjects: tuple[NDArray[np.int64], ...]
    objects: tuple[NDArray[np.int64], ...]

    def fits(self, rows: Rows) -> NDArray[np.bool_]:
        """Tell of each triple whether both its entities fit."""
        made = np.zeros(len(rows), dtype=bool)
        for kind in np.unique(rows[:, 1]).tolist():
            here = rows[:, 1] == kind
            made[here] = np.isin(rows[here, 0], self.subjects[kind]) & np.isin(
                rows[here, 2], self.objects[kind]
            )
        return made


def places(found: Triples, training: Rows) -> Places:
    """Return which entities fit each place, by the training statements and the types.

    A literal is never a subject.
    """
    from scipy import sparse

    size, count = len(found.entities), len(found.relations)
    # column r: subject of r; column count + r: object of r
    entity = np.concatenate([training[:, 0], training[:, 2]])
    role = np.concatenate([training[:, 1], training[:, 1] + count])
    ones = np.ones(len(entity), dtype=np.int32)
    roles = (sparse.csr_matrix((ones, (entity, role)), (size, 2 * count)) > 0).astype(np.int32)
    typed, types = _types(found.types, size)
    together = (roles.T @ roles).toarray()
    by_type = (roles.T @ types).toarray()
    with_types = roles.T @ typed.astype(np.int32)
    spoken = literals(found.entities, found.literals)
    made: list[NDArray[np.int64]] = []
    for one in range(2 * count):
        many = int(together[one, one])
        wanted = together[one] >= max(1.0, COMMON_ROLE * many)
        wanted[one] = True
        fits = np.asarray(roles[:, wanted].sum(axis=1)).reshape(-1) > 0
        fits &= ~typed | (np.asarray(roles[:, [one]].todense()).reshape(-1) > 0)
        if with_types[one]:
            usual = by_type[one] >= max(1.0, COMMON_TYPE * with_types[one])
            fits |= np.asarray(types[:, usual].sum(axis=1)).reshape(-1) > 0
        if one < count:
            fits &= ~spoken
        made.append(np.flatnonzero(fits))
    return Places(tuple(made[:count]), tuple(made[count:]))


def literals(entities: tuple[str, ...], held: Mapping[str, Literal]) -> NDArray[np.bool_]:
    """Tell of each entity whether it is a literal."""
    return np.fromiter((name in held for name in entities), dtype=bool, count=len(entities))


def _types(types: Mapping[int, tuple[str, ...]], size: int) -> tuple[NDArray[np.bool_], Any]:
    """Return who has types [entities], and which [entities, types]."""
    from scipy import sparse

    names = sorted({name for held in types.values() for name in held})
    number = {name: place for place, name in enumerate(names)}
    pairs = [(entity, number[name]) for entity, held in types.items() for name in held]
    rows, columns = (np.array([pair[at] for pair in pairs], dtype=np.int64) for at in (0, 1))
    made = sparse.csr_matrix(
        (np.ones(len(pairs), dtype=np.int32), (rows, columns)), (size, max(1, len(names)))
    )
    return np.isin(np.arange(size), list(types)), made
