# SPDX-License-Identifier: Apache-2.0
"""RDF through Oxigraph: N-Triples, N-Quads, Turtle, TriG, JSON-LD, RDF/XML.

A statement is a triple. What is about it (source, confidence, rank, …) hangs on a reifier of the
triple (RDF 1.2, the successor of RDF-star), where the format has that; in the formats with named
graphs each source is one. Names are ``rdfs:label`` and ``skos:altLabel``, classes ``rdf:type``,
identities ``owl:sameAs`` and ``owl:differentFrom``. Deprecated statements are written as quoted
triples alone: they are spoken of and not asserted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from plait.errors import BadInput, MissingExtra
from plait.graphs import schema
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.exchange.names import VOCABULARY, Names
from plait.graphs.graph import Graph
from plait.graphs.identity import claim
from plait.recipes.graph import ENTITY

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
OWL = "http://www.w3.org/2002/07/owl#"
XSD = "http://www.w3.org/2001/XMLSchema#"

_MAIN = (RDFS + "label", SKOS + "prefLabel")
_OTHER = (SKOS + "altLabel",)
_SAME = {OWL + "sameAs": schema.SAME, OWL + "differentFrom": schema.DIFFERENT}
_WHOLE = ("int", "long", "short", "byte", "nonNegativeInteger", "positiveInteger", "unsignedInt",
          "unsignedLong", "negativeInteger", "nonPositiveInteger")  # fmt: skip
_ABOUT = ("source", "licence", "confidence", "recorded", "valid_from", "valid_to", "rank")
_QUADS = ("nquads", "trig", "jsonld")
_STEP = 50_000


def read(path: Path, into: Imported, *, format: str, progress: Progress) -> None:
    """Read RDF; the name of a graph, or a reifier's source, is the statement's source.

    Raises:
        BadInput: naming the line that cannot be parsed.
        MissingExtra: Oxigraph is not installed.
    """
    ox = _oxigraph()
    names = Names(into.builder.file.prefixes)
    about = _annotations(ox, path, format, names)
    done = 0
    for quad in _parse(ox, path, format):
        done += 1
        if done % _STEP == 0:
            progress(done, "reading triples")
        if quad.predicate.value == RDF + "reifies":
            continue
        if isinstance(quad.subject, ox.BlankNode) and quad.subject.value in about.reifiers:
            continue
        source = into.source
        if not isinstance(quad.graph_name, ox.DefaultGraph):
            source = names.identifier(quad.graph_name.value)
        _add(ox, into, names, quad, source, about)
    for triple, rows in about.quoted.items():
        for row in rows:
            if row.get("rank") == schema.DEPRECATED:
                _quoted(ox, into, names, triple, row)


class _About:
    """What reifiers say: of each triple, and which blank nodes are reifiers."""

    def __init__(self) -> None:
        self.reifiers: dict[str, Any] = {}
        self.quoted: dict[Any, list[dict[str, Any]]] = defaultdict(list)


def _annotations(ox: Any, path: Path, format: str, names: Names) -> _About:
    """Read the file once for its reifiers: a triple may be parsed before what is said about it."""
    about = _About()
    for quad in _parse(ox, path, format):
        if quad.predicate.value == RDF + "reifies" and isinstance(quad.object, ox.Triple):
            about.reifiers[_key(quad.subject)] = quad.object
    if not about.reifiers:
        return about
    told: dict[str, dict[str, Any]] = {key: {"evidence": []} for key in about.reifiers}
    for quad in _parse(ox, path, format):
        row = told.get(_key(quad.subject))
        if row is None or not quad.predicate.value.startswith(VOCABULARY):
            continue
        name = quad.predicate.value[len(VOCABULARY) :]
        value = quad.object.value
        if name == "evidence":
            row["evidence"].append(value)
        elif name == "source":
            row["source"] = names.identifier(value)
        elif name in _ABOUT:
            row[name] = float(value) if name == "confidence" else value
    for key, triple in about.reifiers.items():
        about.quoted[triple].append(told[key])
    return about


def _key(node: Any) -> str:
    return str(getattr(node, "value", node))


def _add(ox: Any, into: Imported, names: Names, quad: Any, source: str, about: _About) -> None:
    if isinstance(quad.subject, ox.Triple) or isinstance(quad.object, ox.Triple):
        into.note("A statement about a statement was left out.")
        return
    subject = _entity(ox, names, quad.subject)
    predicate = quad.predicate.value
    builder = into.builder
    if predicate in _MAIN + _OTHER and isinstance(quad.object, ox.Literal):
        builder.label(
            subject,
            quad.object.value,
            language=quad.object.language or "",
            source=source,
            main=predicate in _MAIN,
        )
        return
    if predicate == RDF + "type" and not isinstance(quad.object, ox.Literal):
        builder.entity(subject, types=[_entity(ox, names, quad.object)], sources=[source])
        return
    if predicate in _SAME and not isinstance(quad.object, ox.Literal):
        other = _entity(ox, names, quad.object)
        if other != subject:
            row = claim(subject, other, _SAME[predicate], source=source, method="asserted")
            builder.add("identities", row)
        return
    rows = about.quoted.get(ox.Triple(quad.subject, quad.predicate, quad.object)) or [{}]
    for row in rows:
        if row.get("rank") != schema.DEPRECATED:
            _statement(ox, into, names, quad, {"source": source, **row})


def _quoted(ox: Any, into: Imported, names: Names, triple: Any, row: dict[str, Any]) -> None:
    _statement(ox, into, names, triple, {"source": into.source, **row})


def _statement(ox: Any, into: Imported, names: Names, triple: Any, about: dict[str, Any]) -> None:
    subject = _entity(ox, names, triple.subject)
    predicate = names.identifier(triple.predicate.value)
    if not isinstance(triple.object, ox.Literal):
        into.builder.statement(
            subject, predicate, object=_entity(ox, names, triple.object), **about
        )
        return
    literal = triple.object
    datatype, value = _datatype(literal), literal.value
    if datatype is None:
        into.note(f"Values of the datatype {literal.datatype.value} are kept as texts.")
        datatype = "string"
    try:
        into.builder.statement(
            subject, predicate, value=value, datatype=datatype, language=literal.language, **about
        )
    except BadInput:
        # Data found in the wild; its text is worth more than a refusal of the whole file.
        into.note(f"A value that is no {datatype} is kept as a text.")
        into.builder.statement(subject, predicate, value=value, datatype="string", **about)


def _datatype(literal: Any) -> str | None:
    if literal.language:
        return "langString"
    iri = literal.datatype.value
    name = iri[len(XSD) :] if iri.startswith(XSD) else None
    if name in _WHOLE:
        return "integer"
    if name == "float":
        return "double"
    return name if name in schema.DATATYPES and name != ENTITY else None


def _entity(ox: Any, names: Names, node: Any) -> str:
    if isinstance(node, ox.BlankNode):
        return f"_:{node.value}"
    return names.identifier(node.value)


def write(
    graph: Graph, out: BinaryIO, *, format: str, progress: Progress, annotations: bool = True
) -> None:
    """Write RDF.

    Args:
        annotations: also write what is about statements (in JSON-LD and RDF/XML, which have no
            place for it, only the source's graph, or nothing).
    """
    ox = _oxigraph()
    names = Names(graph.file.prefixes)
    quoted = annotations and format in ("ntriples", "turtle", "nquads", "trig")
    options: dict[str, Any] = {}
    if format in ("turtle", "trig", "rdfxml"):
        options["prefixes"] = dict(graph.file.prefixes)
    quads = _quads(ox, graph, names, quoted=quoted, progress=progress)
    if format not in _QUADS:
        quads = (ox.Triple(one.subject, one.predicate, one.object) for one in quads)
    ox.serialize(quads, out, format=_format(ox, format), **options)


def _quads(
    ox: Any, graph: Graph, names: Names, *, quoted: bool, progress: Progress
) -> Iterator[Any]:
    def node(identifier: str) -> Any:
        if identifier.startswith("_:"):
            return ox.BlankNode(identifier[2:])
        return ox.NamedNode(names.iri(identifier))

    def literal(value: str, datatype: str, language: str | None) -> Any:
        if language:
            return ox.Literal(value, language=language)
        if datatype in ("string", "langString"):
            return ox.Literal(value)
        return ox.Literal(value, datatype=ox.NamedNode(XSD + datatype))

    label, alternative = ox.NamedNode(_MAIN[0]), ox.NamedNode(_OTHER[0])
    kind = ox.NamedNode(RDF + "type")
    for row in _each(graph.entities):
        subject = node(row["id"])
        for one in row["labels"]:
            text = ox.Literal(one["text"], language=one["language"] or None)
            where = node(one["source"]) if one["source"] else ox.DefaultGraph()
            yield ox.Quad(subject, label if one["main"] else alternative, text, where)
        for one in row["types"]:
            yield ox.Quad(subject, kind, node(one))
    for row in _each(graph.identities):
        iri = next(iri for iri, relation in _SAME.items() if relation == row["relation"])
        yield ox.Quad(node(row["a"]), ox.NamedNode(iri), node(row["b"]), node(row["source"]))
    reifies = ox.NamedNode(RDF + "reifies")
    for done, row in enumerate(_each(graph.statements), start=1):
        if done % _STEP == 0:
            progress(done, "writing triples")
        value = (
            node(row["object"])
            if row["datatype"] == ENTITY
            else literal(row["value"], row["datatype"], row["language"])
        )
        triple = ox.Triple(node(row["subject"]), ox.NamedNode(names.iri(row["predicate"])), value)
        where = node(row["source"])
        if row["rank"] != schema.DEPRECATED:
            yield ox.Quad(triple.subject, triple.predicate, triple.object, where)
        if quoted:
            reifier = ox.BlankNode("s" + row["id"])
            yield ox.Quad(reifier, reifies, triple)
            for name in _ABOUT:
                if row[name] is not None:
                    said = where if name == "source" else _about_literal(ox, name, row[name])
                    yield ox.Quad(reifier, ox.NamedNode(VOCABULARY + name), said)
            for one in row["evidence"]:
                yield ox.Quad(reifier, ox.NamedNode(VOCABULARY + "evidence"), ox.Literal(one))


def _about_literal(ox: Any, name: str, value: Any) -> Any:
    if name == "confidence":
        return ox.Literal(repr(float(value)), datatype=ox.NamedNode(XSD + "double"))
    return ox.Literal(str(value))


def _each(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_STEP):
        yield from batch.to_pylist()


def _parse(ox: Any, path: Path, format: str) -> Iterator[Any]:
    try:
        yield from ox.parse(path=str(path), format=_format(ox, format), base_iri="urn:plait:")
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line:,}" if line else str(path)
        raise BadInput(f"{where}: {getattr(error, 'msg', None) or error}") from None


def _format(ox: Any, name: str) -> Any:
    formats = {
        "ntriples": ox.RdfFormat.N_TRIPLES,
        "nquads": ox.RdfFormat.N_QUADS,
        "turtle": ox.RdfFormat.TURTLE,
        "trig": ox.RdfFormat.TRIG,
        "jsonld": ox.RdfFormat.JSON_LD,
        "rdfxml": ox.RdfFormat.RDF_XML,
    }
    return formats[name]


def _oxigraph() -> Any:
    try:
        import pyoxigraph
    except ImportError:
        raise MissingExtra("pyoxigraph", "graph") from None
    return pyoxigraph
