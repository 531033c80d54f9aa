# SPDX-License-Identifier: Apache-2.0
"""``plait graph show``, ``merge``, ``check``: what is in graphs, and making one of several."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.graph.options import Folder, Out, graph
from plait.cli.options import Json, print_json


@graph.command("show")
def show(folder: Folder, as_json: Json = False) -> None:
    """Say what is in a graph: entities, statements by predicate, sources, conflicts."""
    import pyarrow.compute as pc

    from plait.graphs.merging import rank
    from plait.graphs.storage import read_graph

    found = read_graph(folder)
    ranked = rank(found)
    counted = {
        row["values"]: row["counts"]
        for row in pc.value_counts(found.statements.column("predicate")).to_pylist()
    }
    sources = {
        row["values"]: row["counts"]
        for row in pc.value_counts(found.statements.column("source")).to_pylist()
    }
    facts: dict[str, Any] = {
        "entities": found.entities.num_rows,
        "statements": len(found),
        "identities": found.identities.num_rows,
        "predicates": dict(sorted(counted.items(), key=lambda one: (-one[1], one[0]))),
        "sources": dict(sorted(sources.items(), key=lambda one: (-one[1], one[0]))),
        "conflicts": len(ranked.conflicts),
        "open": sum(one.open for one in ranked.conflicts),
        "contradictions": len(ranked.identities.contradictions),
    }
    if as_json:
        print_json(facts)
        return
    for name in ("entities", "statements", "identities", "conflicts", "open", "contradictions"):
        print(f"{name:<16} {facts[name]:>12,}")
    for name in ("predicates", "sources"):
        print(f"\n{name}")
        for key, count in list(facts[name].items())[:30]:
            print(f"  {key:<40} {count:>12,}")


@graph.command("merge")
def merge(
    folders: Annotated[list[Path], typer.Argument(help="The graphs to merge.")],
    out: Out,
    base: Annotated[
        Path | None, typer.Option(help="The graph that all of them were made from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Merge graphs: nothing is deleted, what contradicts is ranked, no order is better."""
    from plait.graphs.merging import merge as merge_graphs
    from plait.graphs.storage import read_graph, write_graph

    start = read_graph(base, verify=True) if base else None
    merged = merge_graphs(start, [read_graph(one, verify=True) for one in folders])
    write_graph(merged.graph, out)
    conflicts = merged.ranked.conflicts
    if as_json:
        print_json(
            {
                "added": dict(merged.added),
                "deprecated": merged.deprecated,
                "conflicts": [
                    {
                        "subject": one.subject,
                        "predicate": one.predicate,
                        "decided_by": one.decided_by or None,
                        "options": [
                            {"value": option.value, "sources": list(option.sources)}
                            for option in one.options
                        ],
                    }
                    for one in conflicts
                ],
            }
        )
        return
    print(
        f"{len(merged.graph):,} statements of {merged.graph.entities.num_rows:,} entities are in "
        f"{out}; {len(conflicts):,} contradictions, {sum(one.open for one in conflicts):,} of them "
        "wait for a person."
    )
    for one in [one for one in conflicts if one.open][:20] or conflicts[:20]:
        values = " | ".join(f"{o.value} ({', '.join(o.sources)})" for o in one.options)
        print(
            f"  {one.subject} {one.predicate}: {values}"
            + (f" by {one.decided_by}" * (not one.open))
        )


@graph.command("check")
def check(
    folder: Folder,
    shapes: Annotated[
        Path | None, typer.Option(help="SHACL shapes in Turtle (default: those of graph.yaml).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a graph's tables, identities, rules and shapes; exit status 1 if something is wrong.

    Rules are those of graph.yaml: functional, symmetric, inverse, transitive, acyclic, disjoint,
    domain, range. What `gates` does not name is told and is no error.
    """
    from plait.errors import BadInput
    from plait.graphs.constraints import check_shapes
    from plait.graphs.identity import resolve
    from plait.graphs.rules import check_rules
    from plait.graphs.storage import read_graph

    found = read_graph(folder, verify=True)
    path = shapes or (folder / found.file.shapes if found.file.shapes else None)
    violations = check_rules(found)
    if path is not None:
        if not path.is_file():
            raise BadInput(f"There are no shapes {path}.")
        violations += check_shapes(found, path.read_text("utf-8"), str(path))
    contradictions = resolve(found).contradictions
    if as_json:
        print_json(
            {
                "violations": [vars(one) for one in violations],
                "contradictions": [vars(one) for one in contradictions],
            }
        )
    else:
        for one in violations:
            print(f"{one.severity}: {one.entity} {one.path} {one.value} {one.message}")
        for other in contradictions:
            print(f"contradiction: {' = '.join(other.path)}, but {other.a} ≠ {other.b}")
        print(
            f"{len(found):,} statements, {len(violations):,} findings of shapes and rules, "
            f"{len(contradictions):,} contradictions of identities",
            file=sys.stderr,
        )
    if contradictions or any(one.severity == "violation" for one in violations):
        raise typer.Exit(1)
