# SPDX-License-Identifier: Apache-2.0
"""Whether a graph holds to its shapes: SHACL (W3C), by pySHACL.

Shapes are checked on what the graph says when its identities and ranks are taken for true: a
conflict that was decided breaks no ``sh:maxCount 1``, one that is open does.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from plait.errors import BadInput, MissingExtra, TooLarge
from plait.graphs.exchange import rdf
from plait.graphs.exchange.names import Names
from plait.graphs.graph import Graph
from plait.graphs.view import collapsed, truthy

MAX_STATEMENTS = 500_000
"""rdflib holds about 1 KB a triple and checks some ten thousand of them a second."""
MAX_SHAPES = 2 * 2**20
MAX_SHOWN = 1_000


@dataclass(frozen=True)
class Violation:
    """One thing that a shape forbids."""

    entity: str
    path: str
    """The predicate, or empty."""
    value: str
    message: str
    severity: str
    """`violation`, `warning` or `info`."""
    shape: str


def check_shapes(graph: Graph, shapes: str, origin: str = "shapes.ttl") -> list[Violation]:
    """Return what a graph's shapes forbid, the gravest first.

    Raises:
        BadInput: the shapes are no Turtle, or no SHACL.
        TooLarge: the graph is larger than can be checked, or the shapes are.
        MissingExtra: pySHACL is not installed.
    """
    try:
        import pyshacl
        import rdflib
    except ImportError:
        raise MissingExtra("pyshacl", "graph") from None
    if len(shapes) > MAX_SHAPES:
        raise TooLarge(f"{origin} has more than {MAX_SHAPES:,} characters.")
    if len(graph) > MAX_STATEMENTS:
        raise TooLarge(
            f"The graph has {len(graph):,} statements; shapes are checked on up to "
            f"{MAX_STATEMENTS:,}. Check a part of it, or take `shapes` out of graph.yaml."
        )
    names = Names(graph.file.prefixes)
    out = io.BytesIO()
    rdf.write(
        truthy(collapsed(graph)),
        out,
        format="ntriples",
        progress=lambda done, stage: None,
        annotations=False,
    )
    data = rdflib.Graph().parse(data=out.getvalue(), format="nt")
    try:
        wanted = rdflib.Graph().parse(data=shapes, format="turtle")
    except Exception as error:
        raise BadInput(f"{origin} is no Turtle: {error}") from None
    if any(wanted.triples((None, rdflib.OWL.imports, None))):
        raise BadInput(f"{origin} imports other files; write their shapes into it.")
    try:
        _, report, _ = pyshacl.validate(
            data, shacl_graph=wanted, advanced=False, js=False, meta_shacl=False, inplace=True
        )
    except Exception as error:
        raise BadInput(f"{origin} cannot be used: {error}") from None
    found = [_violation(report, node, names) for node in _results(report)]
    order = {"violation": 0, "warning": 1, "info": 2}
    found.sort(key=lambda one: (order[one.severity], one.entity, one.path, one.value, one.message))
    return found[:MAX_SHOWN]


_SH = "http://www.w3.org/ns/shacl#"


def _results(report: Any) -> list[Any]:
    import rdflib

    return list(report.objects(predicate=rdflib.URIRef(_SH + "result")))


def _violation(report: Any, node: Any, names: Names) -> Violation:
    import rdflib

    def one(name: str) -> str:
        value = report.value(node, rdflib.URIRef(_SH + name))
        if value is None:
            return ""
        text = str(value)
        return names.identifier(text) if isinstance(value, rdflib.URIRef) else text

    severity = one("resultSeverity").rpartition("#")[2].lower()
    return Violation(
        entity=one("focusNode"),
        path=one("resultPath"),
        value=one("value"),
        message=one("resultMessage"),
        severity=severity if severity in ("violation", "warning", "info") else "violation",
        shape=one("sourceShape"),
    )
