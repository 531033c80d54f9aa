# SPDX-License-Identifier: Apache-2.0
"""Vectors of a graph's entities: trained on what is known of it, or given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.graphs.knowledge.questions import Material, Question
from plait.graphs.learn.embeddings import Embeddings, load
from plait.graphs.learn.training import Options, Progress, embed
from plait.graphs.learn.triples import Rows, Triples, split
from plait.recipes.graph import GraphFile

SHARES = (0.05, 0.05)
"""Held out for early stopping and for the embeddings' own figures."""


@dataclass(frozen=True)
class EntityVectors:
    """Vectors by the identifiers that questions have; of literals, the literal in quotes."""

    entities: tuple[str, ...]
    values: NDArray[np.float32]
    """[entities, width]."""


def vectors_of(
    held: Material,
    file: GraphFile,
    options: Options,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Embeddings:
    """Train embeddings on the known statements.

    Raises:
        BadInput: nothing can be held out for early stopping.
        Cancelled: if `cancelled` says so.
        MissingExtra: PyKEEN is not installed.
    """
    used = np.unique(held.known[:, [0, 2]])
    kinds = np.unique(held.known[:, 1])
    rows = np.stack(
        [
            np.searchsorted(used, held.known[:, 0]),
            np.searchsorted(kinds, held.known[:, 1]),
            np.searchsorted(used, held.known[:, 2]),
        ],
        axis=1,
    )
    found = Triples(
        tuple(held.entities[one] for one in used.tolist()),
        tuple(held.relations[one] for one in kinds.tolist()),
        rows,
        ((),) * len(rows),
        {},
    )
    parts = split(found, file, shares=SHARES, seed=options.seed)
    return embed(found, parts, options, progress=progress, cancelled=cancelled)


def by_name(found: Embeddings) -> EntityVectors:
    """Return embeddings' vectors by what questions call the entities."""
    return EntityVectors(names_of(found), found.entities)


def names_of(found: Embeddings) -> tuple[str, ...]:
    """Return what questions call the entities of embeddings."""
    literals = found.triples.literals
    return tuple(
        f'"{literals[one].value}"' if one in literals else one for one in found.triples.entities
    )


def given(folder: Path | str, held: Material) -> Embeddings:
    """Read embeddings of a graph from a folder, as `plait graph embed` writes it.

    Raises:
        BadInput: there are none, or entities that the graph's sentences name have no vector there;
            with how to train them.
    """
    found = load(folder)
    there = set(names_of(found))
    wanted = np.unique(held.facts[:, [0, 2]]).tolist()
    said = {"literal": 0, "entity": 0}
    lacking = []
    for one in wanted:
        literal = held.entities[one].startswith('"')
        said["literal" if literal else "entity"] += 1
        if not literal and held.entities[one] not in there:
            lacking.append(one)
    if lacking:
        shown = ", ".join(f"{held.entities[one]} ({held.names[one]})" for one in lacking[:3])
        more = " and others" * (len(lacking) > 3)
        kinds = [
            held.relations[kind]
            for kind in np.unique(held.facts[:, 1]).tolist()
            if any(
                held.entities[target].startswith('"')
                for target in held.facts[held.facts[:, 1] == kind][:, 2].tolist()
            )
        ]
        options = "".join(f" --literals {kind}" for kind in kinds)
        raise BadInput(
            f"The embeddings in {folder} have no vectors of {len(lacking):,} of the "
            f"{said['entity']:,} entities that the graph's sentences name: {shown}{more}. Train "
            f"them on this graph: plait graph embed GRAPH -o FOLDER{options}"
        )
    return found


def seen(found: Embeddings, held: Material, asked: tuple[Question, ...]) -> NDArray[np.bool_]:
    """Return which questions ask about a statement that embeddings were trained on [questions].

    A false one counts as the true one that it was made of. Of symmetric predicates either way is
    the same statement.
    """
    names = names_of(found)
    kinds = found.triples.relations
    rows: Rows = found.split.training
    said = {(names[s], kinds[p], names[o]) for s, p, o in rows.tolist()}

    def has(row: tuple[int, int, int]) -> bool:
        s, p, o = held.entities[row[0]], held.relations[row[1]], held.entities[row[2]]
        return (s, p, o) in said or (row[1] in held.symmetric and (o, p, s) in said)

    true = [has(one.row) for one in asked if one.true]
    return np.repeat(np.array(true, dtype=bool), 2)
