# SPDX-License-Identifier: Apache-2.0
"""GraphML 1.0, as yEd, NetworkX, igraph and Gephi read and write it.

By http://graphml.graphdrawing.org. Reading takes a node's ``label`` or ``name`` as its name and its
other data as literals; an edge's ``label``, ``predicate`` or ``type`` names the predicate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.exchange.xml import Writer, elements, local
from plait.graphs.graph import Graph
from plait.graphs.propertygraph import RESERVED, nodes, relationships

_NAMES = ("label", "name")
_PREDICATES = ("predicate", "label", "type")
_DATATYPES = {"int": "integer", "long": "integer", "float": "double", "double": "double",
              "boolean": "boolean", "string": "string"}  # fmt: skip
_ABOUT = ("source", "licence", "recorded", "valid_from", "valid_to", "rank")
_STEP = 20_000


def read(
    path: Path, into: Imported, *, format: str, progress: Progress, predicate: str = "related"
) -> None:
    """Read GraphML.

    Args:
        predicate: what an edge without a name is called.

    Raises:
        BadInput: the file is not XML, or an edge lacks an end.
    """
    keys: dict[str, tuple[str, str]] = {}
    done = 0
    for element in elements(path, ("key", "node", "edge")):
        kind = local(element.tag)
        if kind == "key":
            name = element.get("attr.name") or element.get("id", "")
            keys[element.get("id", "")] = (name, _DATATYPES.get(element.get("attr.type", ""), ""))
            continue
        data = _data(element, keys)
        if kind == "node":
            _node(into, element.get("id"), data, path)
        else:
            _edge(into, element, data, path, predicate)
        done += 1
        if done % _STEP == 0:
            progress(done, "reading GraphML")


def _data(element: Any, keys: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    held = {}
    for one in element:
        if local(one.tag) == "data" and one.text is not None and one.text.strip():
            name, datatype = keys.get(one.get("key", ""), (one.get("key", ""), ""))
            held[name] = (one.text, datatype or "string")
    return held


def _node(into: Imported, identifier: str | None, data: Any, path: Path) -> None:
    if not identifier:
        raise BadInput(f"{path}: a node has no id.")
    into.builder.entity(identifier, sources=[into.source])
    for name, (value, datatype) in data.items():
        if name in _NAMES:
            into.builder.label(identifier, value.strip(), source=into.source)
        elif name == "types":
            into.builder.entity(identifier, types=value.split(" | "))
        elif name not in RESERVED:
            try:
                into.builder.statement(
                    identifier, name, value=value, datatype=datatype, source=into.source
                )
            except BadInput:
                into.note(f"A value of '{name}' that is no {datatype} is kept as a text.")
                into.builder.statement(
                    identifier, name, value=value, datatype="string", source=into.source
                )


def _edge(into: Imported, element: Any, data: Any, path: Path, predicate: str) -> None:
    start, end = element.get("source"), element.get("target")
    if not start or not end:
        raise BadInput(f"{path}: an edge has no source or no target.")
    name = next((data[one][0].strip() for one in _PREDICATES if one in data), predicate)
    about: dict[str, Any] = {key: data[key][0] for key in _ABOUT if key in data}
    if "confidence" in data:
        about["confidence"] = float(data["confidence"][0])
    about.setdefault("source", into.source)
    about.setdefault("rank", schema.NORMAL)
    into.builder.statement(start, name, object=end, **about)


def write(graph: Graph, out: BinaryIO, *, format: str, progress: Progress) -> None:
    """Write GraphML; deprecated statements are left out, several values are joined by `` | ``."""
    node_keys: dict[str, str] = {"label": "n0", "types": "n1", "sources": "n2"}
    for batch in nodes(graph):
        for row in batch:
            for key in row["properties"]:
                if key not in RESERVED:
                    node_keys.setdefault(key, f"n{len(node_keys)}")
    edge_keys = {
        name: f"e{place}" for place, name in enumerate(("predicate", "confidence", *_ABOUT))
    }
    writer = Writer(out)
    writer.start("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    for kind, keys in (("node", node_keys), ("edge", edge_keys)):
        for name, key in keys.items():
            is_number = name == "confidence"
            options = {
                "for_": kind,
                "attr.name": name,
                "attr.type": "double" if is_number else "string",
            }
            writer.element("key", id=key, **options)
    writer.start("graph", id="G", edgedefault="directed")
    done = 0
    for batch in nodes(graph):
        for row in batch:
            writer.start("node", id=row["id"])
            properties = row["properties"]
            writer.element("data", properties["name"], key=node_keys["label"])
            for name, values in (("types", row["labels"]), ("sources", properties["sources"])):
                if values:
                    writer.element("data", " | ".join(values), key=node_keys[name])
            for name, value in properties.items():
                if name not in RESERVED:
                    held = value if isinstance(value, list) else [value]
                    writer.element("data", " | ".join(map(_shown, held)), key=node_keys[name])
            writer.end()
        done += len(batch)
        progress(done, "writing nodes")
    for predicate, rows in relationships(graph):
        for row in rows:
            about = row["properties"]
            writer.start("edge", id=about["id"], source=row["subject"], target=row["object"])
            writer.element("data", predicate, key=edge_keys["predicate"])
            for name in ("confidence", *_ABOUT):
                if about.get(name) is not None:
                    writer.element("data", str(about[name]), key=edge_keys[name])
            writer.end()
        done += len(rows)
        progress(done, "writing edges")
    writer.end()
    writer.end()


def _shown(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
