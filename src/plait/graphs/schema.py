# SPDX-License-Identifier: Apache-2.0
"""The tables of a knowledge graph: their columns, what a cell may hold, their order.

Facts are rows in the manner of Wikidata's statements: each keeps where it comes from, how sure and
how old it is, and a rank. Nothing is overwritten: two sources that disagree are two rows, and what
is preferred is a rank that a policy or a person gave, and can take back.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from plait.errors import MissingExtra
from plait.recipes.graph import DATATYPES, ENTITY

if TYPE_CHECKING:
    import pyarrow as pa

PREFERRED, NORMAL, DEPRECATED = "preferred", "normal", "deprecated"
RANKS = (PREFERRED, NORMAL, DEPRECATED)
SAME, DIFFERENT = "same", "different"
RELATIONS = (SAME, DIFFERENT)

MAX_ID = 1024
"""Characters of an identifier."""
MAX_LABEL = 4096
MAX_VALUE = 1 << 20
"""Characters of a literal, or of an evidence."""
MAX_ITEMS = 10_000
"""Types or sources of an entity, or pieces of evidence of a statement."""
MAX_LABELS = 2_000
"""Labels of one entity: more is no entity but an attempt to fill memories."""

TABLES = ("entities", "statements", "identities", "decisions")

KEYS = {
    "entities": ("id",),
    "statements": ("id",),
    "identities": ("a", "b", "relation", "source"),
    "decisions": ("statement",),
}
"""What names a row of a table; rows of one key are one."""

ORDER = {
    "entities": ("id",),
    "statements": ("subject", "predicate", "object", "value", "source", "id"),
    "identities": ("a", "b", "relation", "source"),
    "decisions": ("statement",),
}
"""How a table's rows are sorted when they are written."""

IDENTITY = (
    "subject", "predicate", "object", "value", "datatype", "language", "source", "valid_from",
    "valid_to",
)  # fmt: skip
"""The columns that a statement's identifier is made of: what is said, of when, and by whom."""


def arrow() -> Any:
    """Return pyarrow.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingExtra("pyarrow", "graph") from None
    return pyarrow


def schema(table: str) -> pa.Schema:
    """Return the Arrow schema of one of `TABLES`.

    * *entities*: `id`, an IRI or a name of the graph's own; `labels`, texts with their language
      (BCP 47, empty: none), the source that calls it so, and whether it is that source's main name;
      `types`, identifiers of classes; `sources` that know the entity.
    * *statements*: `id` (see `statement_id`); `subject`; `predicate`; either `object`, an entity's
      identifier, or `value`, a literal's lexical form with `datatype` and `language`; `source`, a
      name of ``graph.yaml``; `licence` (SPDX); `confidence` from 0 to 1; `recorded`, when the
      source said it, and `valid_from`, `valid_to`, each an ISO 8601 date or time, maybe
      partial; `rank`; `evidence`, sentences or addresses that it was read from.
    * *identities*: that two entities are the `same`, or `different`, who or what says so
      (`source`), by what `method`, with what `score` and `explanation` (JSON).
    * *decisions*: the `statement` that a person chose among those that disagree, `by`, `at`,
      `reason`.
    """
    pa = arrow()
    text, many = pa.string(), pa.list_(pa.field("element", pa.string()))

    def need(name: str, kind: Any = text) -> Any:
        return pa.field(name, kind, nullable=False)

    label = pa.struct([need("text"), need("language"), need("source"), need("main", pa.bool_())])
    fields: dict[str, list[Any]] = {
        "entities": [
            need("id"),
            need("labels", pa.list_(pa.field("element", label))),
            need("types", many),
            need("sources", many),
        ],
        "statements": [
            need("id"),
            need("subject"),
            need("predicate"),
            pa.field("object", text),
            pa.field("value", text),
            need("datatype"),
            pa.field("language", text),
            need("source"),
            pa.field("licence", text),
            pa.field("confidence", pa.float64()),
            pa.field("recorded", text),
            pa.field("valid_from", text),
            pa.field("valid_to", text),
            need("rank"),
            need("evidence", many),
        ],
        "identities": [
            need("a"),
            need("b"),
            need("relation"),
            need("source"),
            pa.field("method", text),
            pa.field("score", pa.float64()),
            pa.field("recorded", text),
            pa.field("explanation", text),
        ],
        "decisions": [
            need("statement"),
            need("by"),
            pa.field("at", text),
            pa.field("reason", text),
        ],
    }
    return pa.schema(fields[table])


_encode = json.JSONEncoder(ensure_ascii=False).encode


def statement_id(statement: Any) -> str:
    """Return a statement's identifier: 128 bits of BLAKE2b over what is said, of when, by whom.

    Args:
        statement: a mapping with the columns of `IDENTITY`; those that lack are null.

    The same statement of the same source has the same identifier in every graph, so that graphs are
    united by it; what is *about* a statement (confidence, rank, evidence) is no part of it.
    """
    said = _encode([statement.get(name) for name in IDENTITY])
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def is_entity(datatype: str) -> bool:
    """Tell whether a statement's object is an entity."""
    return datatype == ENTITY


__all__ = [
    "DATATYPES",
    "DEPRECATED",
    "DIFFERENT",
    "ENTITY",
    "IDENTITY",
    "KEYS",
    "MAX_ID",
    "MAX_ITEMS",
    "MAX_LABEL",
    "MAX_LABELS",
    "MAX_VALUE",
    "NORMAL",
    "ORDER",
    "PREFERRED",
    "RANKS",
    "RELATIONS",
    "SAME",
    "TABLES",
    "arrow",
    "is_entity",
    "schema",
    "statement_id",
]
