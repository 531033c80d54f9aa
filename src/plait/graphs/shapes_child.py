# SPDX-License-Identifier: Apache-2.0
"""The process that checks shapes: a job on stdin, what was found on stdout, then its end.

Shapes are programs that strangers write: SPARQL that never ends, rules that breed statements, a
query that asks another server. All of it happens here, with bounds on memory and processor time,
and without a way to the network.
"""

from __future__ import annotations

import json
import re
import resource
import socket
import sys
from typing import Any

SH = "http://www.w3.org/ns/shacl#"
_QUERIES = ("select", "ask", "construct", "update")
_OUTSIDE = re.compile(r"(?<![?$:\w])(SERVICE|FROM|LOAD)\b(?!:)", re.IGNORECASE)
_QUOTED = re.compile(
    r"""\#[^\n]* | <[^>\s]*> | \"{3}(?:\\.|.)*?\"{3} | '{3}(?:\\.|.)*?'{3}
    | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'""",
    re.VERBOSE | re.DOTALL,
)
"""What a query holds that is no word of it: comments, addresses, texts."""


def main() -> int:
    """Check the graph that the job names."""
    job = json.load(sys.stdin)
    for limit, most in (
        (resource.RLIMIT_DATA, int(job["memory"])),
        (resource.RLIMIT_CPU, int(job["seconds"])),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    socket.socket.connect = _offline  # type: ignore[method-assign]
    try:
        answer = check(job["data"], job["shapes"], int(job["most"]))
    except MemoryError:
        answer = {"error": "memory"}
    json.dump(answer, sys.stdout)
    return 0


def _offline(*_: object) -> None:
    raise OSError("shapes are checked without a network")


def check(data: str, shapes: str, most: int) -> dict[str, Any]:
    """Return what shapes find in a file of N-Triples, or what is wrong with the shapes.

    Rules (SHACL Advanced Features) are applied until they say nothing new, before shapes are
    checked; pySHACL gives up after a hundred rounds.
    """
    import pyshacl
    import rdflib
    from pyshacl.errors import ValidationFailure
    from rdflib.plugins import sparql

    sparql.SPARQL_LOAD_GRAPHS = False
    graph = rdflib.Graph().parse(data, format="nt")
    try:
        wanted = rdflib.Graph().parse(data=shapes, format="turtle")
    except MemoryError:
        raise
    except Exception as error:
        return {"error": "turtle", "message": _line(error)}
    if any(wanted.triples((None, rdflib.OWL.imports, None))):
        return {"error": "imports"}
    for name in _QUERIES:
        for text in wanted.objects(predicate=rdflib.URIRef(SH + name)):
            outside = _OUTSIDE.search(_QUOTED.sub(" ", str(text)))
            if outside:
                return {"error": "outside", "message": outside[1].upper()}
    if any(wanted.triples((None, rdflib.URIRef(SH + "js"), None))) or any(
        wanted.triples((None, None, rdflib.URIRef(SH + "JSRule")))
    ):
        return {"error": "script"}
    try:
        _, report, told = pyshacl.validate(
            graph,
            shacl_graph=wanted,
            advanced=True,
            iterate_rules=True,
            js=False,
            meta_shacl=False,
            inplace=True,
        )
    except MemoryError:
        raise
    except Exception as error:
        return {"error": "shacl", "message": _line(error)}
    if isinstance(report, ValidationFailure) or not isinstance(report, rdflib.Graph):
        return {"error": "shacl", "message": _line(told)}
    found = [_told(report, one) for one in report.objects(predicate=rdflib.URIRef(SH + "result"))]
    order = {"Violation": 0, "Warning": 1, "Info": 2}
    found.sort(
        key=lambda one: (order.get(one["resultSeverity"][1].rpartition("#")[2], 0), str(one))
    )
    return {"found": found[:most], "count": len(found)}


def _told(report: Any, node: Any) -> dict[str, tuple[str, str]]:
    """Return a result's properties: of each its kind (iri or text) and what it says."""
    import rdflib

    made = {}
    for name in ("focusNode", "resultPath", "value", "resultMessage", "resultSeverity",
                 "sourceShape"):  # fmt: skip
        value = report.value(node, rdflib.URIRef(SH + name))
        kind = "iri" if isinstance(value, rdflib.URIRef) else "text"
        made[name] = (kind, "" if value is None else str(value))
    return made


def _line(error: object) -> str:
    return " ".join(str(error).split())[:1000]


if __name__ == "__main__":
    sys.exit(main())
