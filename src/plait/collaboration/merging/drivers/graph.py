# SPDX-License-Identifier: Apache-2.0
"""The driver of knowledge graphs: all of a graph's files are merged at once.

Statements are united and nothing is deleted; values that contradict each other are ranked by the
graph's policy and by people's decisions, and are no conflict of files. A merge that breaks a shape
or a rule of main's is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from plait.collaboration.merging.drivers.base import FileConflict, Outcome, Work
from plait.errors import BadInput, Conflict
from plait.hub.git.operations import AddBytes, CopyFile, Delete, Operation
from plait.recipes.graph import FILE

if TYPE_CHECKING:
    from plait.graphs.graph import Graph
    from plait.graphs.merging import Merged
    from plait.graphs.violations import Violation

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
            Conflict: the result would break a shape or a rule that main holds.
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
        _check(work, main, merged)
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


def _check(work: Work, main: Graph, merged: Merged) -> None:
    """Refuse a merge that breaks shapes or rules; what main broke before is not held against it.

    The judge is main: its shapes and its rules, whatever the pull request makes of them. Those that
    the merge would bring are held to as well.
    """
    from plait.graphs.constraints import check_shapes
    from plait.graphs.rules import check_rules

    for origin, shapes in _shapes(work, main, merged):
        _compare(
            work,
            f"shapes ('{origin}')",
            partial(check_shapes, shapes=shapes, origin=origin),
            main,
            merged.graph,
        )
    files = [main.file] if main.file == merged.graph.file else [main.file, merged.graph.file]
    for file in files:
        _compare(work, f"rules ('{FILE}')", partial(check_rules, file=file), main, merged.graph)


def _shapes(work: Work, main: Graph, merged: Merged) -> list[tuple[str, str]]:
    """Return the shapes to hold to by the name of their file: main's, then what would be new."""
    sides = work.sides
    found: list[tuple[str, str]] = []
    if main.file.shapes is not None:
        if main.file.shapes in sides.at_main:
            found.append((main.file.shapes, _text(work, sides.main, main.file.shapes)))
        elif main.file.shapes not in sides.at_head:
            raise BadInput(_lacking(main.file.shapes))
    path = merged.graph.file.shapes
    if path is not None:
        # Who names a file as shapes brings it, or main has it under that name.
        oid = sides.head if path in sides.at_head else sides.main
        if path not in (sides.at_head if oid == sides.head else sides.at_main):
            raise BadInput(_lacking(path))
        one = (path, _text(work, oid, path))
        if one not in found:
            found.append(one)
    return found


def _lacking(path: str) -> str:
    return f"graph.yaml names the shapes '{path}', which are not there."


def _text(work: Work, oid: str, path: str) -> str:
    try:
        return work.sides.content(oid, path).decode()
    except UnicodeDecodeError:
        raise BadInput(f"'{path}' is not UTF-8.") from None


def _compare(
    work: Work, what: str, find: Callable[[Graph], list[Violation]], main: Graph, merged: Graph
) -> None:
    work.check()
    found = [one for one in find(merged) if one.severity == "violation"]
    if not found:
        return
    work.check()
    before = {(one.entity, one.path, one.value, one.message) for one in find(main)}
    fresh = [one for one in found if (one.entity, one.path, one.value, one.message) not in before]
    if fresh:
        told = "; ".join(
            f"{one.entity} {one.path}: {one.message}".replace("\n", " ")[:300]
            for one in fresh[:SHOWN]
        )
        raise Conflict(f"The merged graph would break its {what} in {len(fresh):,} places: {told}")


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
