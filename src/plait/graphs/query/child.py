# SPDX-License-Identifier: Apache-2.0
"""The process that runs one query: a question on stdin, an answer on stdout, then its end.

A query that eats memory, or trips over a fault of the engine, takes nothing with it.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    """Answer the question on stdin."""
    asked = json.load(sys.stdin)
    limits = asked["limits"]
    # The engine reserves addresses for a whole database, far more than it ever fills.
    asked["reserved"] = _reserved(Path(asked["path"]))
    memory = int(limits["memory"]) + (asked["reserved"] if asked["language"] == "cypher" else 0)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    seconds = int(limits["seconds"]) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (4 * seconds, 4 * seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    run = {"cypher": _cypher, "sparql": _sparql}[asked["language"]]
    started = time.monotonic()
    try:
        answer = run(asked, limits)
    except MemoryError:
        answer = {"error": "memory"}
    except Exception as error:
        answer = {"error": "query", "message": str(error)[:2000]}
    answer["seconds"] = time.monotonic() - started
    json.dump(answer, sys.stdout, ensure_ascii=False, default=str)
    return 0


def _reserved(path: Path) -> int:
    """Return the addresses to reserve: a power of two with room for the database's file."""
    return max(1 << 30, 1 << (2 * path.stat().st_size).bit_length())


def _cypher(asked: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    import ladybug

    database = ladybug.Database(
        asked["path"],
        read_only=True,
        buffer_pool_size=int(limits["memory"]) // 4,
        max_db_size=asked["reserved"],
    )
    connection = ladybug.Connection(database, num_threads=1)
    connection.set_query_timeout(max(1, int(1000 * limits["seconds"])))
    result = connection.execute(asked["query"], asked["parameters"] or None)
    names = result.get_column_names()
    rows: list[Any] = []
    size = 0
    truncated = False
    while result.has_next():
        row = [_shaped(one) for one in result.get_next()]
        size += len(json.dumps(row, default=str))
        if len(rows) >= limits["rows"] or size > limits["bytes"]:
            truncated = True
            break
        rows.append(row)
    return {
        "columns": names,
        "rows": rows,
        "truncated": truncated,
        "engine": f"Ladybug {ladybug.__version__}",
    }


def _shaped(value: Any) -> Any:
    """Give nodes, relationships and paths the shape that all engines share."""
    if isinstance(value, dict):
        if "_NODES" in value:
            ids = {_key(node["_ID"]): node.get("id") for node in value["_NODES"]}
            return {
                "nodes": [_shaped(one) for one in value["_NODES"]],
                "relationships": [_relationship(one, ids) for one in value["_RELS"]],
            }
        if "_SRC" in value:
            return _relationship(value, {})
        if "_LABEL" in value:
            return {k: v for k, v in value.items() if not k.startswith("_") and v is not None}
        return {key: _shaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shaped(one) for one in value]
    return value


def _relationship(value: dict[str, Any], ids: dict[Any, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in value.items() if not k.startswith("_") and v is not None}
    ends = {
        name: ids[_key(value[end])]
        for name, end in (("subject", "_SRC"), ("object", "_DST"))
        if _key(value[end]) in ids
    }
    return {"predicate": value["_LABEL"], **ends, **kept}


def _key(identity: dict[str, Any]) -> tuple[Any, Any]:
    return identity["table"], identity["offset"]


def _sparql(asked: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    import pyoxigraph as ox

    # A copy of RDF in memory: what a query's process holds dies with it.
    store = ox.Store()
    formats = {".nq": ox.RdfFormat.N_QUADS, ".nt": ox.RdfFormat.N_TRIPLES}
    path = Path(asked["path"])
    store.bulk_load(path=str(path), format=formats[path.suffix])
    # Oxigraph looks at no clock; the alarm ends this process.
    signal.setitimer(signal.ITIMER_REAL, limits["seconds"])
    found = store.query(asked["query"], use_default_graph_as_union=True)
    engine = f"Oxigraph {ox.__version__}"
    if isinstance(found, ox.QueryBoolean):
        return {"columns": ["answer"], "rows": [[bool(found)]], "truncated": False,
                "engine": engine}  # fmt: skip
    if isinstance(found, ox.QuerySolutions):
        names = [one.value for one in found.variables]
        shaped = ([_term(ox, one[name]) for name in names] for one in found)
    else:
        names = ["subject", "predicate", "object"]
        shaped = ([_term(ox, t) for t in (x.subject, x.predicate, x.object)] for x in found)
    rows: list[Any] = []
    size = 0
    for row in shaped:
        size += len(json.dumps(row))
        if len(rows) >= limits["rows"] or size > limits["bytes"]:
            return {"columns": names, "rows": rows, "truncated": True, "engine": engine}
        rows.append(row)
    return {"columns": names, "rows": rows, "truncated": False, "engine": engine}


def _term(ox: Any, term: Any) -> Any:
    if term is None:
        return None
    if isinstance(term, ox.Literal | ox.NamedNode):
        return term.value
    return str(term)


if __name__ == "__main__":
    sys.exit(main())
