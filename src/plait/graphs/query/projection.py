# SPDX-License-Identifier: Apache-2.0
"""A graph as a database of the embedded engine (Ladybug): a copy that is rebuilt whenever it lacks.

The repository's tables are the graph; what is made here may be thrown away at any time. It is
written once, by one process, into a hidden folder that is renamed when whole; afterwards it is only
ever opened for reading.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plait.errors import MissingExtra, TooLarge
from plait.graphs import schema
from plait.graphs.exchange.cypher import quoted
from plait.graphs.graph import Graph
from plait.graphs.propertygraph import NODE, RESERVED, nodes, relationships
from plait.graphs.storage import PATHS
from plait.recipes.graph import ENTITY, FILE

MAX_PREDICATES = 2_000
MAX_COLUMNS = 1_000
LAYOUT = 2
"""Changes when what is written changes, or the engine's format: older copies are made anew."""
_POOL = 512 * 2**20
_RELATIONSHIP = {
    "id": "STRING", "source": "STRING", "licence": "STRING", "confidence": "DOUBLE",
    "recorded": "STRING", "valid_from": "STRING", "valid_to": "STRING", "rank": "STRING",
    "evidence": "STRING[]",
}  # fmt: skip
_KINDS = {bool: "BOOLEAN", int: "INT64", float: "DOUBLE", str: "STRING"}


def fingerprint(folder: Path) -> str:
    """Return a name for the content of a graph's folder: of the bytes of its files."""
    held = hashlib.blake2b(digest_size=16)
    for path in (FILE, *PATHS):
        file = folder / path
        held.update(path.encode())
        if file.is_file():
            held.update(hashlib.blake2b(file.read_bytes()).digest())
    return held.hexdigest()


def ensure(
    graph: Callable[[], Graph],
    folder: Path,
    key: str,
    progress: Callable[[float, str], None] = lambda fraction, stage: None,
) -> Path:
    """Return the database of a graph in a cache folder, made if it is not there.

    Args:
        graph: reads the graph when it is needed.
        key: names the graph's content, as a commit's id.

    Raises:
        MissingExtra: the engine is not installed.
        TooLarge: it has more predicates than the engine is given tables.
    """
    target = folder / f"{key}.{LAYOUT}.lbug"
    if target.exists():
        return target
    found = graph()
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / f".{key}.{LAYOUT}.{id(target):x}"
    try:
        build(found, hidden, progress)
        if not target.exists():  # two may build at once; both made the same
            hidden.replace(target)
    finally:
        for leftover in folder.glob(hidden.name + "*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    return target


def build(
    graph: Graph,
    path: Path,
    progress: Callable[[float, str], None] = lambda fraction, stage: None,
) -> None:
    """Write a graph into a new database; deprecated statements are left out.

    Raises:
        TooLarge: it has more predicates than the engine is given tables.
    """
    lb = ladybug()
    database = lb.Database(str(path), buffer_pool_size=_POOL)
    try:
        connection = lb.Connection(database)
        _nodes(connection, graph, progress)
        _relationships(connection, graph, progress)
        connection.execute("CHECKPOINT")
        connection.close()
    finally:
        database.close()


def _nodes(connection: Any, graph: Graph, progress: Callable[[float, str], None]) -> None:
    pa = schema.arrow()
    rows = [row for batch in nodes(graph) for row in batch]
    columns = _columns(rows)
    fixed = {"id": "STRING PRIMARY KEY", "name": "STRING", "names": "STRING[]", "types": "STRING[]",
             "sources": "STRING[]"}  # fmt: skip
    wanted = fixed | {name: _KINDS[kind] for name, kind in columns.items()}
    described = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted.items())
    connection.execute(f"CREATE NODE TABLE {NODE}({described})")
    progress(0.1, "writing nodes")
    arrays = {
        "id": pa.array([row["id"] for row in rows], pa.string()),
        "name": pa.array([row["properties"]["name"] for row in rows], pa.string()),
    }
    for name in ("names", "types", "sources"):
        arrays[name] = pa.array([row["properties"][name] for row in rows], pa.list_(pa.string()))
    for name, kind in columns.items():
        arrow = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[kind]
        arrays[name] = pa.array([_one(row["properties"].get(name), kind) for row in rows], arrow)
    table = pa.table({name: arrays[name] for name in wanted})
    if table.num_rows:
        connection.execute(f"COPY {NODE} FROM $rows", {"rows": table})


def _columns(rows: list[Any]) -> Mapping[str, type]:
    """Return the literal predicates and the kind of their column, the narrowest that fits all."""
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row["properties"].items():
            if name in RESERVED:
                continue
            held = value[0] if isinstance(value, list) else value
            kinds.setdefault(name, set()).add(type(held))
    lowered: dict[str, str] = {}
    columns: dict[str, type] = {}
    for name in sorted(kinds)[:MAX_COLUMNS]:
        # The engine does not tell upper from lower case in names of columns.
        if lowered.setdefault(name.lower(), name) != name:
            continue
        found = kinds[name]
        if found == {int, float}:
            columns[name] = float
        else:
            columns[name] = found.pop() if len(found) == 1 else str
    return columns


def _one(value: Any, kind: type) -> Any:
    held = value[0] if isinstance(value, list) else value
    if held is None or isinstance(held, kind):
        return held
    if kind is str and isinstance(held, bool):
        return "true" if held else "false"
    return kind(held)


def _relationships(connection: Any, graph: Graph, progress: Callable[[float, str], None]) -> None:
    pa = schema.arrow()
    import pyarrow.compute as pc

    edges = graph.statements.filter(pc.equal(graph.statements.column("datatype"), ENTITY))
    predicates = pc.unique(edges.column("predicate")).to_pylist()
    if len(predicates) > MAX_PREDICATES:
        raise TooLarge(
            f"The graph has {len(predicates):,} predicates between entities; {MAX_PREDICATES:,} "
            "can be asked about with Cypher. Ask with SPARQL, or export a part of it."
        )
    made: set[str] = set()
    held: dict[str, list[dict[str, Any]]] = {}
    described = ", ".join(f"{name} {kind}" for name, kind in _RELATIONSHIP.items())
    for predicate, rows in relationships(graph):
        held.setdefault(predicate, []).extend(rows)
    names = _table_names(sorted(held))
    for place, (predicate, rows) in enumerate(sorted(held.items())):
        table = names[predicate]
        if table not in made:
            connection.execute(
                f"CREATE REL TABLE {quoted(table)}(FROM {NODE} TO {NODE}, {described})"
            )
            made.add(table)
        arrays = {
            "from": pa.array([row["subject"] for row in rows], pa.string()),
            "to": pa.array([row["object"] for row in rows], pa.string()),
        }
        for name, kind in _RELATIONSHIP.items():
            arrow = {
                "STRING": pa.string(),
                "DOUBLE": pa.float64(),
                "STRING[]": pa.list_(pa.string()),
            }[kind]
            arrays[name] = pa.array([row["properties"].get(name) for row in rows], arrow)
        connection.execute(f"COPY {quoted(table)} FROM $rows", {"rows": pa.table(arrays)})
        progress(0.2 + 0.8 * (place + 1) / len(held), "writing relationships")


def _table_names(predicates: list[str]) -> dict[str, str]:
    """Return each predicate's table: its name, numbered where names differ in case alone."""
    seen: dict[str, int] = {NODE.lower(): 1}
    names = {}
    for predicate in predicates:
        count = seen.get(predicate.lower(), 0)
        seen[predicate.lower()] = count + 1
        names[predicate] = predicate if not count else f"{predicate}_{count + 1}"
    return names


def ladybug() -> Any:
    """Return the engine.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ladybug as module
    except ImportError:
        raise MissingExtra("ladybug", "graph") from None
    return module
