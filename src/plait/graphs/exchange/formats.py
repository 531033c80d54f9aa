# SPDX-License-Identifier: Apache-2.0
"""The formats by name and suffix, and the two calls that every caller uses."""

from __future__ import annotations

import importlib
import os
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.graphs.graph import Builder, Graph
from plait.recipes.graph import GraphFile, Source

Progress = Callable[[int, str], None]
"""Called with the rows done and what is being done; where a cancelled run stops."""


@dataclass(frozen=True)
class Format:
    """A format: its module, which offers `read` or `write` or both, and its suffixes."""

    name: str
    module: str
    suffixes: tuple[str, ...]
    reads: bool
    writes: bool
    says: str


FORMATS = {
    one.name: one
    for one in (
        Format("csv", "tabular", (".csv",), True, True, "a table: subject, predicate, object, …"),
        Format("tsv", "tabular", (".tsv", ".txt"), True, True, "triples with tabs between"),
        Format("ntriples", "rdf", (".nt",), True, True, "RDF: N-Triples, with RDF 1.2's quoted"),
        Format("nquads", "rdf", (".nq",), True, True, "RDF: N-Quads, a graph for each source"),
        Format(
            "turtle", "rdf", (".ttl",), True, True, "RDF: Turtle, with RDF 1.2's quoted triples"
        ),
        Format("trig", "rdf", (".trig",), True, True, "RDF: TriG, a graph for each source"),
        Format("jsonld", "rdf", (".jsonld",), True, True, "RDF: JSON-LD"),
        Format("rdfxml", "rdf", (".rdf", ".owl", ".xml"), True, True, "RDF/XML"),
        Format("graphml", "graphml", (".graphml",), True, True, "GraphML 1.0"),
        Format("gexf", "gexf", (".gexf",), True, True, "GEXF 1.3 (or 1.2) for Gephi"),
        Format("cypher", "cypher", (".cypher", ".cql"), False, True, "a Cypher script"),
        Format("obo", "obo", (".obo",), True, False, "an ontology in OBO format"),
        Format("wordnet", "wordnet", (), True, False, "the folder of a WordNet database"),
    )
}


@dataclass
class Imported:
    """What was read, and what could not be kept as it was."""

    builder: Builder
    source: str
    notes: Counter[str] = field(default_factory=Counter)
    """Sentences about what was dropped or changed, and how often."""

    def note(self, sentence: str) -> None:
        """Count something that the format says and a graph cannot hold."""
        self.notes[sentence] += 1

    @property
    def graph(self) -> Graph:
        """The graph that was read."""
        return self.builder.build()


def format_named(name: str | None, path: Path | str, *, writing: bool = False) -> Format:
    """Return a format by its name, or by a path's suffix.

    Raises:
        BadInput: there is none of that name, or it cannot be read or written.
    """
    suffix = Path(path).suffix.lower()
    able = {key: one for key, one in FORMATS.items() if (one.writes if writing else one.reads)}
    found = (
        FORMATS.get(name)
        if name is not None
        else next((one for one in FORMATS.values() if suffix in one.suffixes), None)
    )
    if found is None or found.name not in able:
        what = f"'{name}'" if name is not None else f"what ends in '{suffix}'"
        raise BadInput(
            f"Plait does not {'write' if writing else 'read'} {what}. "
            f"Formats are {', '.join(sorted(able))}; name one with --format."
        )
    return found


def import_graph(
    path: Path | str,
    *,
    source: str,
    format: str | None = None,
    file: GraphFile | None = None,
    progress: Progress = lambda done, stage: None,
    **options: Any,
) -> Imported:
    """Read a graph from another program's file.

    Args:
        source: the name under which its statements are kept; added to ``graph.yaml``.
        file: what is known of predicates and prefixes beforehand.
        options: the format's own.

    Raises:
        BadInput: the file cannot be read; with the line.
    """
    path = Path(path)
    found = format_named(format, path)
    if not path.exists():
        raise BadInput(f"There is no {path}.")
    known = file or GraphFile()
    sources = {**known.sources} if source in known.sources else {**known.sources, source: Source()}
    made = Imported(
        Builder(replace(known, sources=sources)),
        source,
    )
    _module(found).read(path, made, format=found.name, progress=progress, **options)
    return made


def export_graph(
    graph: Graph,
    path: Path | str,
    *,
    format: str | None = None,
    progress: Progress = lambda done, stage: None,
    **options: Any,
) -> Path:
    """Write a graph into another program's file, whole or not at all.

    Raises:
        BadInput: the format cannot be written, or not with these options.
    """
    path = Path(path)
    found = format_named(format, path, writing=True)
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with hidden.open("xb") as out:
            _module(found).write(graph, out, format=found.name, progress=progress, **options)
            out.flush()
            os.fsync(out.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
    return path


def _module(found: Format) -> Any:
    return importlib.import_module(f"plait.graphs.exchange.{found.module}")
