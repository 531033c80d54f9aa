# SPDX-License-Identifier: Apache-2.0
"""``plait graph import``, ``export``, ``send``, ``receive``: from and to other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.graph.options import (
    Folder,
    FormatName,
    Out,
    SourceName,
    clear_line,
    graph,
    show_count,
    viewed,
)

if TYPE_CHECKING:
    from plait.graphs.exchange.bolt import Server


Uri = Annotated[str, typer.Argument(help="The database's address, as bolt://HOST:7687.")]
User = Annotated[str, typer.Option(envvar="NEO4J_USERNAME", help="Who asks.")]
Password = Annotated[str, typer.Option(envvar="NEO4J_PASSWORD", help="Best given by the variable.")]
Database = Annotated[str | None, typer.Option(help="The database's name.")]


@graph.command("import")
def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="A file, the folder of a WordNet database, or a set that PyKEEN's package "
            "carries: pykeen:umls, pykeen:kinships, pykeen:nations."
        ),
    ],
    out: Out,
    source: SourceName = "",
    format: FormatName = None,
    like: Annotated[
        Path | None,
        typer.Option(help="A graph.yaml with what is known of predicates and prefixes."),
    ] = None,
    licence: Annotated[str, typer.Option(help="The source's licence (SPDX).")] = "",
) -> None:
    """Make a graph of another program's file: triples, RDF, GraphML, OBO, WordNet."""
    from dataclasses import replace

    from plait.errors import BadInput
    from plait.graphs.exchange import import_graph
    from plait.graphs.exchange.bundled import PREFIX, import_bundled
    from plait.graphs.storage import write_graph
    from plait.recipes.graph import GraphFile, Source, parse_graph_file

    bundled = str(path).startswith(PREFIX)
    if not source and not bundled:
        raise BadInput("Name the statements' origin with --source, as --source geonames.")

    file = parse_graph_file(like.read_text("utf-8"), str(like)) if like else GraphFile()
    if licence and source:
        file = replace(file, sources={**file.sources, source: Source(licence=licence)})
    if bundled:
        made = import_bundled(str(path), file=file, licence=licence, progress=show_count)
    else:
        made = import_graph(path, source=source, format=format, file=file, progress=show_count)
    graph = made.graph
    write_graph(graph, out, card={"license": licence} if licence else None)
    clear_line()
    print(
        f"{graph.entities.num_rows:,} entities and {len(graph):,} statements are in {out}",
        file=sys.stderr,
    )
    for sentence, count in made.notes.most_common():
        print(f"  {count:,} × {sentence}", file=sys.stderr)


@graph.command("export")
def export(
    folder: Folder,
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    format: FormatName = None,
    gexf: Annotated[str, typer.Option(help="GEXF's version: 1.3 or 1.2.")] = "1.3",
    view: Annotated[
        bool,
        typer.Option(
            "--view", help="Write entities that are one as one, and of conflicts the preferred."
        ),
    ] = False,
) -> None:
    """Write a graph for another program: RDF, CSV, GraphML, GEXF for Gephi, a Cypher script."""
    from plait.graphs.exchange import export_graph, format_named
    from plait.graphs.storage import read_graph

    options = {}
    if format_named(format, path, writing=True).name == "gexf":
        options["version"] = gexf
    found = read_graph(folder)
    export_graph(
        viewed(found) if view else found, path, format=format, progress=show_count, **options
    )
    clear_line()
    print(f"{path} has {path.stat().st_size:,} bytes", file=sys.stderr)


@graph.command("send")
def send(
    folder: Folder, uri: Uri, user: User = "", password: Password = "", database: Database = None
) -> None:
    """Write a graph into Neo4j, or what else speaks Bolt; an interrupted run goes on."""
    from plait.graphs.exchange.bolt import send as send_graph
    from plait.graphs.storage import read_graph

    sent = send_graph(
        read_graph(folder), _server(uri, user, password, database), progress=show_count
    )
    clear_line()
    print(
        f"Sent {sent['nodes']:,} nodes and {sent['relationships']:,} relationships", file=sys.stderr
    )


@graph.command("receive")
def receive(
    uri: Uri,
    out: Out,
    source: SourceName,
    user: User = "",
    password: Password = "",
    database: Database = None,
    key: Annotated[str, typer.Option(help="The property that identifies a node.")] = "id",
    name: Annotated[str, typer.Option(help="The property that names a node.")] = "name",
) -> None:
    """Read a graph out of Neo4j, or what else speaks Bolt; an interrupted run goes on."""
    from plait.graphs.exchange.receiving import receive as receive_graph
    from plait.graphs.storage import write_graph

    spool = out.with_name(f".{out.name}.receiving")
    made = receive_graph(
        _server(uri, user, password, database),
        source=source,
        key=key,
        name=name,
        spool=spool,
        progress=show_count,
    )
    found = made.graph
    write_graph(found, out)
    spool.unlink(missing_ok=True)
    clear_line()
    print(
        f"{found.entities.num_rows:,} entities and {len(found):,} statements are in {out}",
        file=sys.stderr,
    )


def _server(uri: str, user: str, password: str, database: str | None) -> Server:
    from plait.graphs.exchange.bolt import Server

    return Server(uri, user, password, database)
