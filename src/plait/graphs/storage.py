# SPDX-License-Identifier: Apache-2.0
"""A knowledge graph as the folder of a repository: Parquet tables, ``graph.yaml`` and a card.

Equal graphs have equal bytes (with one version of Arrow): rows are in canonical order, and pages
are cut where the content says so, that an edit changes few of them and a hub stores only those.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.cards import dump_card, parse_card
from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.graph import Graph, ordered
from plait.graphs.schema import arrow
from plait.graphs.unpacking import unpack
from plait.recipes.graph import FILE, format_graph_file, parse_graph_file

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "graph"
TAG = "knowledge-graph"


def path_of(table: str) -> str:
    """Return a table's path in a repository."""
    return f"{FOLDER}/{table}.parquet"


PATHS = {path_of(table): table for table in schema.TABLES}
"""The tables by their paths."""


def read_graph(folder: Path | str, *, verify: bool = False) -> Graph:
    """Read the graph in a folder.

    Args:
        verify: compute every statement's identifier again; for what strangers made.

    Raises:
        BadInput: a table is damaged or does not hold to the schema.
        TooLarge: its tables would take more than `unpacking.MAX_MEMORY`.
    """
    folder = Path(folder)

    def read(path: str) -> bytes | None:
        file = folder / path
        return file.read_bytes() if file.is_file() else None

    return read_graph_from(read, str(folder), verify=verify)


def read_graph_from(
    read: Callable[[str], bytes | None], origin: str, *, verify: bool = False
) -> Graph:
    """Read a graph through a function that returns a file's bytes by path, or None.

    Raises:
        BadInput: a table is damaged or does not hold to the schema.
        TooLarge: its tables would take more than `unpacking.MAX_MEMORY`.
    """
    content = read(FILE)
    files, origins = {}, {}
    for table in schema.TABLES:
        data = read(path_of(table))
        if data is None and table in ("entities", "statements"):
            raise BadInput(
                f"{origin} holds no {path_of(table)}: it is no knowledge graph. "
                "See docs/graphs.md, or make one with `plait graph import`."
            )
        if data is not None:
            files[table], origins[table] = data, f"{origin}: {path_of(table)}"
    tables = {name: schema.schema(name).empty_table() for name in schema.TABLES}
    for name, table in unpack(files, origins).items():
        tables[name] = _in_order(name, table, origins[name])
    try:
        text = (content or b"").decode()
    except UnicodeDecodeError:
        raise BadInput(f"{origin}: {FILE} is not UTF-8.") from None
    graph = Graph(**tables, file=parse_graph_file(text, f"{origin}: {FILE}"))
    if verify:
        check_identifiers(graph.statements, origin)
    return graph


def table_bytes(name: str, table: pa.Table) -> bytes:
    """Return a table as the bytes of its Parquet file."""
    arrow()
    import pyarrow.parquet as parquet

    out = io.BytesIO()
    parquet.write_table(
        ordered(name, table),
        out,
        compression="zstd",
        row_group_size=1 << 17,
        use_content_defined_chunking=True,
        store_schema=False,
    )
    return out.getvalue()


def graph_files(graph: Graph) -> dict[str, bytes]:
    """Return the files of a graph by their paths; empty optional tables are left out."""
    files = {FILE: format_graph_file(graph.file).encode()}
    for table in schema.TABLES:
        if table in ("entities", "statements") or graph.table(table).num_rows:
            files[path_of(table)] = table_bytes(table, graph.table(table))
    return files


def write_graph(graph: Graph, folder: Path | str, *, card: Mapping[str, Any] | None = None) -> Path:
    """Write a graph into a folder, each file whole or not at all, with a card if it has none.

    Args:
        card: more keys for the head of the card, as `license`.
    """
    folder = Path(folder)
    files = graph_files(graph)
    readme = folder / "README.md"
    found = readme.read_text("utf-8") if readme.is_file() else ""
    files["README.md"] = card_text(graph, found, card or {}).encode()
    for table in schema.TABLES:
        if path_of(table) not in files:
            (folder / path_of(table)).unlink(missing_ok=True)
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with hidden.open("xb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            hidden.replace(target)
        finally:
            hidden.unlink(missing_ok=True)
    return folder


def card_text(graph: Graph, text: str, more: Mapping[str, Any]) -> str:
    """Return a card that says it is a graph, and how `datasets` loads its tables."""
    card = parse_card(text)
    data = {**card.data, **more}
    tags = list(data.get("tags") or [])
    data["tags"] = tags if TAG in tags else [*tags, TAG]
    shown = [
        name
        for name in ("statements", "entities", "identities", "decisions")
        if name in ("statements", "entities") or graph.table(name).num_rows
    ]
    data["configs"] = [
        {"config_name": name, "data_files": path_of(name)}
        | ({"default": True} if name == "statements" else {})
        for name in shown
    ]
    body = card.text.strip() or (
        f"# {graph.file.title or 'A knowledge graph'}\n\n"
        f"{graph.entities.num_rows:,} entities, {graph.statements.num_rows:,} statements."
    )
    return dump_card(data, body + "\n")


def check_identifiers(statements: pa.Table, origin: str) -> None:
    """Check that every statement's identifier is that of what it says.

    Raises:
        BadInput: one is not; two statements could otherwise pass for one.
    """
    columns = [statements.column(name) for name in schema.IDENTITY]
    held = statements.column("id")
    for batch in range(0, statements.num_rows, 100_000):
        rows = zip(*(column.slice(batch, 100_000).to_pylist() for column in columns), strict=True)
        found = held.slice(batch, 100_000).to_pylist()
        for place, (row, identifier) in enumerate(zip(rows, found, strict=True)):
            wanted = schema.statement_id(dict(zip(schema.IDENTITY, row, strict=True)))
            if identifier != wanted:
                raise BadInput(
                    f"{origin}: row {batch + place + 1:,} of statements has the identifier "
                    f"{identifier!r}, but what it says has {wanted}."
                )


def _in_order(name: str, table: pa.Table, origin: str) -> pa.Table:
    try:
        return ordered(name, table)
    except BadInput as error:
        raise BadInput(f"{origin}: {error.message}") from None
