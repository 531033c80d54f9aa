# SPDX-License-Identifier: Apache-2.0
"""The process that makes a copy of a graph to be asked: an index, a database, or RDF.

A graph that strangers wrote is read with bounds on memory and processor time, and what asks for it
goes on serving meanwhile. A job on stdin, an answer on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plait.errors import BadInput, PlaitError
from plait.graphs.bounds import bound_process, free_addresses

if TYPE_CHECKING:
    from plait.graphs.graph import Graph
    from plait.graphs.lookup.build import Contribution

KINDS = ("index", "cypher", "sparql")


def make_copy(
    kind: str, folder: Path, out: Path, history: Sequence[Mapping[str, str]] = ()
) -> None:
    """Write a copy of the graph in a folder into a new file.

    Args:
        history: for an index: commits, the oldest first, as `oid`, `title`, `author` and the
            `path` of the statements that were there after it.
        kind: `index` for looking things up, `cypher` for Ladybug, `sparql` for Oxigraph; the latter
            two see what is one as one, and of conflicts the preferred.

    Raises:
        PlaitError: the graph is damaged or too large.
    """
    from plait.graphs.storage import read_graph

    graph = read_graph(folder)
    if kind == "index":
        from plait.graphs.lookup.build import build_index

        build_index(graph, out, [_contribution(one) for one in history])
    elif kind == "cypher":
        from plait.graphs.query.projection import build

        free_addresses()
        build(_viewed(graph), out)
    elif kind == "sparql":
        from plait.graphs.exchange import export_graph

        export_graph(_viewed(graph), out, format="nquads", annotations=False)
    else:
        raise BadInput(f"'{kind}' is no kind of copy; they are {', '.join(KINDS)}.")


def _contribution(one: Mapping[str, str]) -> Contribution:
    from plait.graphs.lookup.build import Contribution

    def statements() -> list[str]:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        try:
            return [
                str(identifier)
                for batch in parquet.ParquetFile(one["path"]).iter_batches(columns=["id"])
                for identifier in batch.column(0).to_pylist()
            ]
        except (pa.ArrowException, OSError, IndexError):
            return []  # a damaged ancestor brought nothing that is known

    return Contribution(one["oid"], one["title"], one["author"], statements)


def _viewed(graph: Graph) -> Graph:
    from plait.graphs.merging import rank
    from plait.graphs.view import collapsed, truthy

    ranked = rank(graph)
    return truthy(collapsed(ranked.graph, ranked.identities))


def main() -> int:
    """Make the copy that stdin names."""
    job = json.load(sys.stdin)
    bound_process()
    try:
        make_copy(job["kind"], Path(job["folder"]), Path(job["out"]), job.get("history", ()))
        answer = {}
    except MemoryError:
        answer = {"error": "memory", "message": ""}
    except PlaitError as error:
        answer = {"error": type(error).__name__, "message": error.message}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
