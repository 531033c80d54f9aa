# SPDX-License-Identifier: Apache-2.0
"""What people answer about a graph, as changes of its tables; and the process that makes them.

A graph that strangers wrote is read with bounds on memory and processor time, beside the server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from plait.errors import BadInput, PlaitError
from plait.graphs import schema
from plait.graphs.bounds import bound_process
from plait.graphs.graph import Graph, ordered
from plait.graphs.identity import PERSON, claim
from plait.graphs.merging import rank


def settled(
    graph: Graph, statements: Sequence[str], *, by: str, at: str, reason: str = ""
) -> Graph:
    """Return the graph with the decision that some statements hold against those of their conflict.

    A decision about the same conflict that was made before is replaced; ranks are computed anew.

    Raises:
        BadInput: a statement takes part in no conflict.
    """
    among = {
        identifier: conflict
        for conflict in rank(graph).conflicts
        for option in conflict.options
        for identifier in option.statements
    }
    replaced: set[str] = set()
    for identifier in statements:
        if identifier not in among:
            raise BadInput(
                f"The statement {identifier[:64]} takes part in no conflict here. Look at the "
                "conflicts again; the graph may have changed."
            )
        for option in among[identifier].options:
            replaced.update(option.statements)
    rows = [row for row in graph.decisions.to_pylist() if row["statement"] not in replaced]
    rows += [
        {"statement": one, "by": by, "at": at, "reason": reason or None}
        for one in sorted(set(statements))
    ]
    table = schema.arrow().Table.from_pylist(rows, schema=schema.schema("decisions"))
    return rank(graph.with_tables(decisions=ordered("decisions", table))).graph


def judged(graph: Graph, answers: Sequence[tuple[str, str, bool]], *, by: str, at: str) -> Graph:
    """Return the graph with a person's claims that pairs of entities are the same, or are not.

    What the same person said of a pair before is replaced; ranks are computed anew.

    Raises:
        BadInput: an entity is not there, or is to be the same as itself.
    """
    known = set(graph.entities.column("id").to_pylist())
    source = f"{PERSON}{by}"
    rows = []
    for a, b, same in answers:
        for end in (a, b):
            if end not in known:
                raise BadInput(f"The graph has no entity '{end[:200]}'.")
        if a == b:
            raise BadInput("An entity is the same as itself; name two.")
        relation = schema.SAME if same else schema.DIFFERENT
        rows.append(claim(a, b, relation, source=source, score=1.0, recorded=at))
    answered = {(row["a"], row["b"], source) for row in rows}
    kept = [
        row
        for row in graph.identities.to_pylist()
        if (row["a"], row["b"], row["source"]) not in answered
    ]
    table = schema.arrow().Table.from_pylist(kept + rows, schema=schema.schema("identities"))
    return rank(graph.with_tables(identities=ordered("identities", table))).graph


def main() -> int:
    """Change the graph in a folder as stdin says; the changed files are written beside it."""
    from plait.graphs.storage import graph_files, read_graph

    job = json.load(sys.stdin)
    bound_process()
    try:
        graph = read_graph(job["folder"])
        if "statements" in job:
            made = settled(
                graph, job["statements"], by=job["by"], at=job["at"], reason=job["reason"]
            )
        else:
            answers = [(a, b, bool(same)) for a, b, same in job["answers"]]
            made = judged(graph, answers, by=job["by"], at=job["at"])
        changed = []
        for path, data in graph_files(made).items():
            before = Path(job["folder"]) / path
            if path.startswith("graph/") and not (before.is_file() and before.read_bytes() == data):
                target = Path(job["out"]) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                changed.append(path)
        answer: dict[str, object] = {"changed": changed}
    except MemoryError:
        answer = {"error": "memory", "message": ""}
    except PlaitError as error:
        answer = {"error": type(error).__name__, "message": error.message}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
