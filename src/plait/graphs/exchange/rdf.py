# SPDX-License-Identifier: Apache-2.0
"""RDF through Oxigraph: N-Triples, N-Quads, Turtle, TriG, JSON-LD, RDF/XML.

A statement is a triple. What is about it (source, confidence, rank, …) hangs on a reifier of the
triple (RDF 1.2, the successor of RDF-star), where the format has that; in the formats with named
graphs each source is one. Names are ``rdfs:label`` and ``skos:altLabel``, classes ``rdf:type``,
identities ``owl:sameAs`` and ``owl:differentFrom``. Deprecated statements are written as quoted
triples alone: they are spoken of and not asserted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from plait.errors import BadInput, MissingExtra
from plait.graphs import schema
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.exchange.names import VOCABULARY, Names
from plait.graphs.graph import Builder, Graph
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
_NAMES = _MAIN + _OTHER
_REIFIES, _TYPE = RDF + "reifies", RDF + "type"
_WHOLE = ("int", "long", "short", "byte", "nonNegativeInteger", "positiveInteger", "unsignedInt",
          "unsignedLong", "negativeInteger", "nonPositiveInteger")  # fmt: skip
_ABOUT = ("source", "licence", "confidence", "recorded", "valid_from", "valid_to", "rank")
_QUADS = ("nquads", "trig", "jsonld")
_STEP = 50_000
_KEPT = 1 << 16
"""Nodes that are kept when they have been made; most are needed again soon."""
WINDOW = 1_000
"""Triples that may stand between one and what is said about it, before a file is read whole."""
_NESTED = "A statement about a statement was left out."


def read(path: Path, into: Imported, *, format: str, progress: Progress) -> None:
    """Read RDF; the name of a graph, or a reifier's source, is the statement's source.

    Raises:
        BadInput: naming the line that cannot be parsed.
        MissingExtra: Oxigraph is not installed.
    """
    ox = _oxigraph()
    names = Names(into.builder.file.prefixes)
    try:
        _Stream(ox, into, names).read(_parse(ox, path, format), progress)
    except _ScatteredError:
        # What is said about statements stands far from them; only the whole file tells.
        into.builder, into.notes = Builder(into.builder.file), Counter()
        _read_whole(ox, into, names, _parse(ox, path, format), progress)


class _ScatteredError(Exception):
    """A file says something of a statement that was taken for whole already."""


class _Stream:
    """Takes triples with what is said about them as they come, near each other, and keeps few.

    That is how Plait and most programs write them. A triple waits until `WINDOW` others have come,
    since what is about it follows it, if anything does.

    Raises:
        _ScatteredError: something about a triple comes later than that.
    """

    def __init__(self, ox: Any, into: Imported, names: Names) -> None:
        self._ox, self._into, self._names = ox, into, names
        # Of each triple that waits: the sources that assert it, and what reifiers say.
        self._waiting: dict[Any, tuple[list[str], list[dict[str, Any]]]] = {}
        self._plain: set[int] = set()
        self._annotated: set[int] = set()
        """Hashes of the triples that no longer wait."""
        self._closed: set[int] = set()
        """Hashes of the reifiers whose quads have ended."""
        self._subjects: set[str] = set()
        """Blank nodes that are subjects of statements, and so must be no reifiers."""
        self._reifier: Any = None
        self._triple: Any = None
        self._row: dict[str, Any] = {}

    def read(self, quads: Iterator[Any], progress: Progress) -> None:
        """Add all of a file's statements."""
        ox, names = self._ox, self._names
        for done, quad in enumerate(quads, start=1):
            if done % _STEP == 0:
                progress(done, "reading triples")
            subject, predicate = quad.subject, quad.predicate.value
            if self._reifier is not None and subject != self._reifier:
                self._close()
            if predicate == _REIFIES and isinstance(quad.object, ox.Triple):
                self._open(subject, quad.object)
            elif predicate.startswith(VOCABULARY) and subject == self._reifier:
                _tell(names, self._row, predicate, quad.object.value)
            elif isinstance(subject, ox.BlankNode) and (
                subject == self._reifier or hash(subject.value) in self._closed
            ):
                if predicate.startswith(VOCABULARY):
                    raise _ScatteredError
            elif predicate.startswith(VOCABULARY):
                raise _ScatteredError
            elif isinstance(subject, ox.Triple) or isinstance(quad.object, ox.Triple):
                self._into.note(_NESTED)
            else:
                if isinstance(subject, ox.BlankNode):
                    self._subjects.add(subject.value)
                source = _source(ox, self._into, names, quad)
                if not _describe(ox, self._into, names, quad, source):
                    self._wait(quad, source)
        if self._reifier is not None:
            self._close()
        while self._waiting:
            self._release()

    def _open(self, reifier: Any, triple: Any) -> None:
        if self._reifier is not None or hash(_key(reifier)) in self._closed:
            raise _ScatteredError  # one reifier of two triples, or come back to
        if _key(reifier) in self._subjects:
            raise _ScatteredError
        self._reifier, self._triple, self._row = reifier, triple, {"evidence": []}

    def _close(self) -> None:
        triple, row = self._triple, self._row
        self._closed.add(hash(_key(self._reifier)))
        self._reifier = self._triple = None
        if hash(triple) in self._plain or hash(triple) in self._annotated:
            raise _ScatteredError
        if row.get("rank") == schema.DEPRECATED:
            _statement(self._ox, self._into, self._names, triple, self._into.source, row)
        self._waiting.setdefault(triple, ([], []))[1].append(row)
        self._bound()

    def _wait(self, quad: Any, source: str) -> None:
        triple = self._ox.Triple(quad.subject, quad.predicate, quad.object)
        if hash(triple) in self._annotated:
            raise _ScatteredError
        self._waiting.setdefault(triple, ([], []))[0].append(source)
        self._bound()

    def _bound(self) -> None:
        if len(self._waiting) > WINDOW:
            self._release()

    def _release(self) -> None:
        triple = next(iter(self._waiting))
        sources, rows = self._waiting.pop(triple)
        (self._annotated if rows else self._plain).add(hash(triple))
        _assert(self._ox, self._into, self._names, triple, sources, rows)


def _read_whole(
    ox: Any, into: Imported, names: Names, quads: Iterator[Any], progress: Progress
) -> None:
    """Read a file whose triples and what is about them stand in any order, holding all of it."""
    reifiers: dict[str, list[Any]] = defaultdict(list)
    others = []
    for done, quad in enumerate(quads, start=1):
        if done % _STEP == 0:
            progress(done, "reading triples")
        predicate = quad.predicate.value
        if predicate == _REIFIES and isinstance(quad.object, ox.Triple):
            reifiers[_key(quad.subject)].append(quad.object)
        else:
            others.append(quad)
    told: dict[str, dict[str, Any]] = {key: {"evidence": []} for key in reifiers}
    for quad in others:
        key = _key(quad.subject)
        if key in told and quad.predicate.value.startswith(VOCABULARY):
            _tell(names, told[key], quad.predicate.value, quad.object.value)
    quoted: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for key, triples in reifiers.items():
        for triple in triples:
            quoted[triple].append(told[key])
    for quad in others:
        reifier = _key(quad.subject) in reifiers
        if isinstance(quad.subject, ox.Triple) or isinstance(quad.object, ox.Triple):
            into.note(_NESTED)
        elif not reifier or not (
            isinstance(quad.subject, ox.BlankNode) or quad.predicate.value.startswith(VOCABULARY)
        ):
            source = _source(ox, into, names, quad)
            if not _describe(ox, into, names, quad, source):
                triple = ox.Triple(quad.subject, quad.predicate, quad.object)
                _assert(ox, into, names, triple, [source], quoted.get(triple, []))
    for triple, rows in quoted.items():
        for row in rows:
            if row.get("rank") == schema.DEPRECATED:
                _statement(ox, into, names, triple, into.source, row)


def _tell(names: Names, row: dict[str, Any], predicate: str, value: str) -> None:
    """Put what a reifier says into the row about its triple."""
    name = predicate[len(VOCABULARY) :]
    if name == "evidence":
        row["evidence"].append(value)
    elif name == "source":
        row["source"] = names.identifier(value)
    elif name == "confidence":
        try:
            row["confidence"] = float(value)
        except ValueError:
            raise BadInput(f"The confidence '{value[:40]}' is no number.") from None
    elif name in _ABOUT:
        row[name] = value


def _key(node: Any) -> str:
    return str(getattr(node, "value", node))


def _source(ox: Any, into: Imported, names: Names, quad: Any) -> str:
    if isinstance(quad.graph_name, ox.DefaultGraph):
        return into.source
    return names.identifier(quad.graph_name.value)


def _describe(ox: Any, into: Imported, names: Names, quad: Any, source: str) -> bool:
    """Take a name, a class or an identity; return whether the triple was one of these."""
    predicate = quad.predicate.value
    literal = isinstance(quad.object, ox.Literal)
    if literal and predicate in _NAMES:
        into.builder.label(
            _entity(ox, names, quad.subject),
            quad.object.value,
            language=quad.object.language or "",
            source=source,
            main=predicate in _MAIN,
        )
        return True
    if literal or (predicate != _TYPE and predicate not in _SAME):
        return False
    subject, other = _entity(ox, names, quad.subject), _entity(ox, names, quad.object)
    if predicate == _TYPE:
        into.builder.entity(subject, types=[other], sources=[source])
    elif other != subject:
        row = claim(subject, other, _SAME[predicate], source=source, method="asserted")
        into.builder.add("identities", row)
    return True


def _assert(
    ox: Any,
    into: Imported,
    names: Names,
    triple: Any,
    sources: list[str],
    rows: list[dict[str, Any]],
) -> None:
    """Add a triple that these sources assert, with each of what reifiers say of it."""
    for source in sources:
        for row in rows or [{}]:
            if row.get("rank") != schema.DEPRECATED:
                _statement(ox, into, names, triple, source, row)


def _statement(
    ox: Any, into: Imported, names: Names, triple: Any, source: str, row: dict[str, Any]
) -> None:
    about = {"source": source, **row}
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
        quads = (one.triple for one in quads)
    ox.serialize(quads, out, format=_format(ox, format), **options)


def _quads(
    ox: Any, graph: Graph, names: Names, *, quoted: bool, progress: Progress
) -> Iterator[Any]:
    @lru_cache(_KEPT)
    def node(identifier: str) -> Any:
        if identifier.startswith("_:"):
            return ox.BlankNode(identifier[2:])
        return ox.NamedNode(names.iri(identifier))

    def literal(value: str, datatype: str, language: str | None) -> Any:
        if language:
            return ox.Literal(value, language=language)
        if datatype in ("string", "langString"):
            return ox.Literal(value)
        return ox.Literal(value, datatype=datatypes[datatype])

    @lru_cache(_KEPT)
    def named(predicate: str) -> Any:
        return ox.NamedNode(names.iri(predicate))

    label, alternative = ox.NamedNode(_MAIN[0]), ox.NamedNode(_OTHER[0])
    kind = ox.NamedNode(_TYPE)
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
    reifies = ox.NamedNode(_REIFIES)
    about = {name: ox.NamedNode(VOCABULARY + name) for name in (*_ABOUT, "evidence")}
    datatypes = {name: ox.NamedNode(XSD + name) for name in schema.DATATYPES}
    for done, row in enumerate(_each(graph.statements), start=1):
        if done % _STEP == 0:
            progress(done, "writing triples")
        value = (
            node(row["object"])
            if row["datatype"] == ENTITY
            else literal(row["value"], row["datatype"], row["language"])
        )
        triple = ox.Triple(node(row["subject"]), named(row["predicate"]), value)
        where = node(row["source"])
        if row["rank"] != schema.DEPRECATED:
            yield ox.Quad(triple.subject, triple.predicate, triple.object, where)
        if quoted:
            reifier = ox.BlankNode("s" + row["id"])
            yield ox.Quad(reifier, reifies, triple)
            for name in _ABOUT:
                if row[name] is not None:
                    said = where if name == "source" else _about_literal(ox, name, row[name])
                    yield ox.Quad(reifier, about[name], said)
            for one in row["evidence"]:
                yield ox.Quad(reifier, about["evidence"], ox.Literal(one))


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
