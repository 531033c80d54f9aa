# SPDX-License-Identifier: Apache-2.0
"""The driver of knowledge graphs: all of a graph's files are merged at once.

Statements are united and nothing is deleted; values that contradict each other are ranked by the
graph's policy and by people's decisions, and are no conflict of files. A merge that breaks a shape
which main holds is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plait.collaboration.merging.drivers.base import FileConflict, Outcome, Work
from plait.errors import BadInput, Conflict
from plait.hub.git.operations import AddBytes, CopyFile, Delete, Operation
from plait.recipes.graph import FILE

if TYPE_CHECKING:
    from plait.graphs.graph import Graph
    from plait.graphs.merging import Merged

NEEDED = ("graph/entities.parquet", "graph/statements.parquet")
TABLES = (*NEEDED, "graph/identities.parquet", "graph/decisions.parquet")
SHOWN = 20
"""Conflicts and violations that a note lists."""


class GraphDriver:
    """Merges `graph.yaml` and the tables in `graph/` of a data set that holds a graph."""

    name = "graph"
    whole = True

    def claims(self, work: Work, path: str) -> bool:
        """Tell whether a file belongs to a knowledge graph."""
        if path != FILE and path not in TABLES:
            return False
        held = (work.sides.at_main, work.sides.at_head)
        return work.sides.repo.type == "dataset" and all(
            one in entries for entries in held for one in NEEDED
        )

    def large(self, work: Work, paths: Sequence[str]) -> bool:
        """Say that it is: Parquet that strangers wrote is unpacked in workers alone."""
        return bool(paths)

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Merge the pull request's graph with main's.

        Raises:
            BadInput: one of the graphs is damaged.
            Conflict: the result would break a shape that main holds.
        """
        from plait.graphs.merging import merge
        from plait.graphs.storage import graph_files

        sides = work.sides
        main = _graph(work, sides.main, "main")
        pull = _graph(work, sides.head, "the pull request")
        had = all(one in sides.at_fork for one in NEEDED)
        base = _graph(work, sides.fork, "the merge base") if had else None
        work.check()
        try:
            merged = merge(base, [main, pull])
        except BadInput as error:
            return Outcome(conflicts=(FileConflict(FILE, self.name, error.message, text=True),))
        work.check()
        _check_shapes(work, main, merged)
        files = graph_files(merged.graph)
        operations: list[Operation] = []
        for path in (FILE, *TABLES):
            data = files.get(path)
            entry = sides.at_main.get(path)
            if data is None:
                if entry is not None or path in sides.at_head:
                    operations.append(Delete(path))
                continue
            if entry is not None and sides.content(sides.main, path) == data:
                # Said all the same: git may have taken the pull request's version.
                operations.append(CopyFile(path, path, revision=sides.main))
                continue
            operations.append(_stored(work, path, data))
        return Outcome(tuple(operations), notes=(_note(merged, main),))


def _graph(work: Work, oid: str, origin: str) -> Graph:
    from plait.graphs.storage import read_graph_from

    entries = {
        work.sides.fork: work.sides.at_fork,
        work.sides.main: work.sides.at_main,
        work.sides.head: work.sides.at_head,
    }[oid]

    def read(path: str) -> bytes | None:
        return work.sides.content(oid, path) if path in entries else None

    # What a contributor's program wrote is not believed: two statements must not pass for one.
    return read_graph_from(read, origin, verify=True)


def _check_shapes(work: Work, main: Graph, merged: Merged) -> None:
    path = merged.graph.file.shapes
    if path is None:
        return
    from plait.graphs.constraints import check_shapes

    # The shapes are main's own: a pull request cannot loosen the rule that judges it.
    oid = work.sides.main if path in work.sides.at_main else work.sides.head
    entries = work.sides.at_main if oid == work.sides.main else work.sides.at_head
    if path not in entries:
        raise BadInput(f"graph.yaml names the shapes '{path}', which are not there.")
    try:
        shapes = work.sides.content(oid, path).decode()
    except UnicodeDecodeError:
        raise BadInput(f"'{path}' is not UTF-8.") from None
    found = [one for one in check_shapes(merged.graph, shapes, path) if one.severity == "violation"]
    if not found:
        return
    work.check()
    before = {(one.entity, one.path, one.message) for one in check_shapes(main, shapes, path)}
    fresh = [one for one in found if (one.entity, one.path, one.message) not in before]
    if fresh:
        told = "; ".join(
            f"{one.entity} {one.path}: {one.message}".replace("\n", " ")[:200]
            for one in fresh[:SHOWN]
        )
        raise Conflict(
            f"The merged graph would break its shapes ('{path}') in {len(fresh):,} places: {told}"
        )


def _stored(work: Work, path: str, data: bytes) -> Operation:
    entries = [work.sides.at_main.get(path), work.sides.at_head.get(path)]
    large = any(entry is not None and entry.lfs is not None for entry in entries)
    if not large and len(data) <= work.sides.hub.settings.max_regular_file:
        return AddBytes(path, data)
    if work.store is None:
        raise BadInput(f"'{path}' is a large file; it is merged by a job.")
    return work.store(path, data)


def _told(merged: Merged, main: Graph, still: int) -> str:
    """Say in a sentence what the merge did."""
    conflicts = merged.ranked.conflicts
    statements = len(merged.graph) - len(main)
    entities = merged.graph.entities.num_rows - main.entities.num_rows
    parts = [f"{statements:,} statements and {entities:,} entities added"]
    if merged.deprecated:
        parts.append(f"{merged.deprecated:,} statements that it left out are deprecated")
    if conflicts:
        parts.append(f"{len(conflicts):,} contradictions, of which {still:,} wait for a person")
    return "; ".join(parts)


def _note(merged: Merged, main: Graph) -> Mapping[str, Any]:
    from plait.graphs import schema

    conflicts = merged.ranked.conflicts
    still = [one for one in conflicts if one.open]
    return {
        "kind": "graph",
        "path": "graph",
        "text": _told(merged, main, len(still)),
        "added": {
            name: merged.graph.table(name).num_rows - main.table(name).num_rows
            for name in schema.TABLES
        },
        "deprecated": merged.deprecated,
        "conflicts": len(conflicts),
        "open": len(still),
        "contradictions": len(merged.ranked.identities.contradictions),
        "shown": [
            {
                "subject": one.subject,
                "predicate": one.predicate,
                "decided_by": one.decided_by,
                "options": [
                    {"value": option.value, "sources": list(option.sources)}
                    for option in one.options
                ],
            }
            for one in (still or conflicts)[:SHOWN]
        ],
        "notes": list(merged.notes),
    }
