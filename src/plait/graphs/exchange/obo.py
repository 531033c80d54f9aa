# SPDX-License-Identifier: Apache-2.0
"""Ontologies in OBO format 1.4, read by fastobo.

Terms, instances and relations are entities; ``is_a`` and ``relationship`` are statements,
definitions, comments and cross-references literals, synonyms names. Obsolete terms are read with a
statement that says so; nothing is left out silently.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plait.errors import BadInput, MissingExtra
from plait.graphs.exchange.formats import Imported, Progress

_STEP = 5_000
_ENTITIES = {"is_a": "is_a", "union_of": "union_of", "disjoint_from": "disjoint_from",
             "instance_of": "instance_of", "replaced_by": "replaced_by", "consider": "consider",
             "inverse_of": "inverse_of", "domain": "domain", "range": "range",
             "equivalent_to": "equivalent_to"}  # fmt: skip
_TEXTS = {"def": "definition", "comment": "comment", "namespace": "namespace", "subset": "subset",
          "creation_date": "created", "created_by": "created_by"}  # fmt: skip


def read(path: Path, into: Imported, *, format: str, progress: Progress) -> None:
    """Read an ontology.

    Raises:
        BadInput: naming the line that cannot be parsed.
        MissingExtra: fastobo is not installed.
    """
    try:
        import fastobo
    except ImportError:
        raise MissingExtra("fastobo", "graph") from None
    try:
        for done, frame in enumerate(fastobo.iter(str(path), ordered=True), start=1):
            _frame(into, frame)
            if done % _STEP == 0:
                progress(done, "reading terms")
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line:,}" if line else str(path)
        raise BadInput(f"{where}: {getattr(error, 'msg', None) or error}") from None


def _frame(into: Imported, frame: Any) -> None:
    identifier = str(frame.id)
    kind = type(frame).__name__.removesuffix("Frame")
    builder, source = into.builder, into.source
    builder.entity(identifier, types=[kind], sources=[source])
    for clause in frame:
        tag = clause.raw_tag()
        if tag == "name":
            builder.label(identifier, str(clause.name), source=source)
        elif tag == "synonym":
            builder.label(identifier, str(clause.synonym.desc), source=source, main=False)
        elif tag == "relationship":
            target = str(clause.term if hasattr(clause, "term") else clause.instance)
            builder.statement(identifier, str(clause.typedef), object=target, source=source)
        elif tag == "xref":
            builder.statement(identifier, "xref", value=str(clause.xref.id), source=source)
        elif tag == "is_obsolete":
            obsolete = clause.raw_value()
            builder.statement(
                identifier, "obsolete", value=obsolete, datatype="boolean", source=source
            )
        elif tag == "def":
            builder.statement(identifier, "definition", value=str(clause.definition), source=source)
        elif tag in _ENTITIES:
            target = clause.raw_value().split()[-1]
            builder.statement(identifier, _ENTITIES[tag], object=target, source=source)
        elif tag in _TEXTS:
            builder.statement(identifier, _TEXTS[tag], value=clause.raw_value(), source=source)
        elif tag == "property_value":
            into.note("property_value lines are kept as texts.")
            builder.statement(identifier, "property_value", value=clause.raw_value(), source=source)
        else:
            into.note(f"'{tag}' lines have no place in a graph and were left out.")
