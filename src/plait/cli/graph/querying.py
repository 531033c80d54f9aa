# SPDX-License-Identifier: Apache-2.0
"""``plait graph query``: Cypher and SPARQL."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.graph.options import Folder, clear_line, graph, show_fraction, viewed
from plait.cli.options import Json, print_json


@graph.command("query")
def query(
    folder: Folder,
    question: Annotated[str, typer.Argument(help="Cypher, or SPARQL with --sparql.")],
    sparql: Annotated[bool, typer.Option("--sparql", help="The question is SPARQL.")] = False,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="A parameter of the query: NAME=VALUE.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=600.0, help="Time allowed.")] = 10.0,
    rows: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows at most.")] = 1_000,
    as_json: Json = False,
) -> None:
    """Ask a graph; the answer sees what is one as one, and of conflicts the preferred.

    Cypher is computed by Ladybug on a copy of the graph that is kept until the graph changes.
    """
    from plait.errors import BadInput
    from plait.graphs.exchange import export_graph
    from plait.graphs.query import Limits, ask_embedded, ask_sparql
    from plait.graphs.query.projection import ensure, fingerprint
    from plait.graphs.storage import read_graph

    limits = Limits(seconds=seconds, rows=rows)
    given = {}
    for one in parameter or []:
        name, equals, value = one.partition("=")
        if not equals:
            raise BadInput(f"A parameter is NAME=VALUE, not '{one}'.")
        given[name] = value
    if sparql:
        with tempfile.TemporaryDirectory() as folder_of_copy:
            rdf = export_graph(
                viewed(read_graph(folder)), Path(folder_of_copy) / "graph.nq", annotations=False
            )
            answer = ask_sparql(rdf, question, limits)
    else:
        cache = folder / ".plait" / "query"
        database = ensure(
            lambda: viewed(read_graph(folder)), cache, fingerprint(folder), show_fraction
        )
        clear_line()
        answer = ask_embedded(database, question, given, limits)
    if as_json:
        print_json(
            {"columns": answer.columns, "rows": answer.rows, "truncated": answer.truncated,
             "seconds": round(answer.seconds, 3), "engine": answer.engine}
        )  # fmt: skip
        return
    print("\t".join(answer.columns))
    for row in answer.rows:
        print("\t".join("" if one is None else str(one) for one in row))
    note = f"{len(answer.rows):,} rows in {answer.seconds:.2f} s by {answer.engine}"
    print(note + ("; there are more" if answer.truncated else ""), file=sys.stderr)
