# SPDX-License-Identifier: Apache-2.0
"""Whether a graph holds to its shapes: SHACL (W3C) with its rules, by pySHACL.

Shapes are checked on what the graph says when its identities and ranks are taken for true: a
conflict that was decided breaks no ``sh:maxCount 1``, one that is open does. A process of its own
checks them, since shapes are programs that strangers may have written.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput, MissingExtra, TooLarge
from plait.graphs.exchange import rdf
from plait.graphs.exchange.names import Names
from plait.graphs.graph import Graph
from plait.graphs.view import collapsed, truthy
from plait.graphs.violations import MAX_SHOWN, SEVERITIES, Violation, gravest_first

MAX_STATEMENTS = 500_000
"""rdflib holds about 1 KB a triple and checks some ten thousand of them a second."""
MAX_SHAPES = 2 * 2**20
_PATIENCE = 4
"""How much longer than its processor time a check may take, on a machine with other work."""


@dataclass(frozen=True)
class Bounds:
    """What checking shapes may take: processor time in seconds, memory in bytes."""

    seconds: int = 300
    memory: int = 4 * 2**30


def check_shapes(
    graph: Graph, shapes: str, origin: str = "shapes.ttl", bounds: Bounds | None = None
) -> list[Violation]:
    """Return what a graph's shapes forbid, the gravest first.

    What ``sh:rule`` derives is taken for said, until no rule says anything new.

    Raises:
        BadInput: the shapes are no Turtle, no SHACL, or reach out of the graph.
        TooLarge: the graph is larger than can be checked, the shapes are, or they do not come to an
            end within `bounds`.
        MissingExtra: pySHACL is not installed.
    """
    if importlib.util.find_spec("pyshacl") is None:
        raise MissingExtra("pyshacl", "graph")
    bounds = bounds or Bounds()
    if len(shapes) > MAX_SHAPES:
        raise TooLarge(f"{origin} has more than {MAX_SHAPES:,} characters.")
    if len(graph) > MAX_STATEMENTS:
        raise TooLarge(
            f"The graph has {len(graph):,} statements; shapes are checked on up to "
            f"{MAX_STATEMENTS:,}. Check a part of it, or take `shapes` out of graph.yaml."
        )
    with tempfile.TemporaryDirectory(prefix="plait-shapes-") as place:
        data = Path(place) / "graph.nt"
        with data.open("wb") as out:
            rdf.write(
                truthy(collapsed(graph)),
                out,
                format="ntriples",
                progress=lambda done, stage: None,
                annotations=False,
            )
        answer = _ask(data, shapes, origin, bounds)
    names = Names(graph.file.prefixes)
    return gravest_first(_violation(one, names) for one in answer["found"])


def _ask(data: Path, shapes: str, origin: str, bounds: Bounds) -> dict[str, Any]:
    job = {
        "data": str(data),
        "shapes": shapes,
        "seconds": bounds.seconds,
        "memory": bounds.memory,
        "most": MAX_SHOWN,
    }
    too_long = TooLarge(
        f"Checking {origin} took more than {bounds.seconds:,} seconds or "
        f"{bounds.memory / 2**30:g} GiB of memory and was ended. Look for a rule that always says "
        "something new, or for a query that joins everything with everything."
    )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "plait.graphs.shapes_child"],
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=bounds.seconds * _PATIENCE,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise too_long from None
    error = answer.get("error")
    if error is None:
        return answer
    if error == "memory":
        raise too_long
    said = answer.get("message", "")
    raise BadInput(
        {
            "turtle": f"{origin} is no Turtle: {said}",
            "imports": f"{origin} imports other files; write their shapes into it.",
            "outside": f"{origin} holds a query with {said}, which reaches out of the graph.",
            "script": f"{origin} holds rules or constraints in JavaScript, which are not run.",
        }.get(error, f"{origin} cannot be used: {said}")
    )


def _violation(told: Mapping[str, tuple[str, str]], names: Names) -> Violation:
    def one(name: str) -> str:
        kind, text = told[name]
        return names.identifier(text) if kind == "iri" else text

    severity = told["resultSeverity"][1].rpartition("#")[2].lower()
    return Violation(
        entity=one("focusNode"),
        path=one("resultPath"),
        value=one("value"),
        message=one("resultMessage"),
        severity=severity if severity in SEVERITIES else "violation",
        shape=one("sourceShape"),
    )
