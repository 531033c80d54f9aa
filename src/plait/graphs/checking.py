# SPDX-License-Identifier: Apache-2.0
"""Whether the rows of a graph's tables are what they must be; the first that is not is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.literals import TIME

if TYPE_CHECKING:
    import pyarrow as pa

_IDENTIFIERS = {
    "entities": ("id",),
    "statements": ("id", "subject", "predicate", "object", "source"),
    "identities": ("a", "b", "source"),
    "decisions": ("statement", "by"),
}
_WORDS = {
    "entities": (),
    "statements": ("language", "licence"),
    "identities": ("method",),
    "decisions": (),
}
"""Columns that may be empty, and are as short as identifiers."""
_TEXTS = {
    "entities": (),
    "statements": ("value",),
    "identities": ("explanation",),
    "decisions": ("reason",),
}
_TIMES = {
    "entities": (),
    "statements": ("recorded", "valid_from", "valid_to"),
    "identities": ("recorded",),
    "decisions": ("at",),
}
_LISTS = {
    "entities": (("types", schema.MAX_ID), ("sources", schema.MAX_ID)),
    "statements": (("evidence", schema.MAX_VALUE),),
    "identities": (),
    "decisions": (),
}
"""Lists of texts, and how long each may be."""
_FORBIDDEN = r"[\x00-\x1f\x7f]"
"""Control characters: they break the formats that graphs go through."""


def check_tables(name: str, table: pa.Table) -> None:
    """Check a table of `schema.TABLES` that is sorted by its order.

    Raises:
        BadInput: a row that cannot be, with its number in canonical order and what to change.
    """
    for column in schema.schema(name):
        if not column.nullable and table.column(column.name).null_count:
            _refuse(name, table, table.column(column.name).is_null(), f"has no {column.name}")
    for column in (*_IDENTIFIERS[name], *_WORDS[name]):
        _identifier(name, table, column, empty=column in _WORDS[name])
    for column in _TEXTS[name]:
        _long(name, table, column, schema.MAX_VALUE)
    for column in _TIMES[name]:
        good = _compute().match_substring_regex(table.column(column), TIME)
        _refuse(name, table, _compute().invert(good), f"has a {column} that is no date")
    for column, most in _LISTS[name]:
        _list(name, table, column, most)
    _unique(name, table)
    if name == "entities":
        _entities(table)
    elif name == "statements":
        _statements(table)
    elif name == "identities":
        _identities(table)


def _compute() -> Any:
    schema.arrow()
    import pyarrow.compute

    return pyarrow.compute


def _refuse(name: str, table: pa.Table, bad: Any, what: str) -> None:
    """Refuse the first row for which `bad` is true, if there is one."""
    pc = _compute()
    place = pc.index(pc.fill_null(bad, False), True).as_py()
    if place < 0:
        return
    row = {
        key: value
        for key, value in table.slice(place, 1).to_pylist()[0].items()
        if value not in (None, [])
    }
    shown = ", ".join(f"{key} {str(value)[:80]!r}" for key, value in list(row.items())[:5])
    raise BadInput(f"Row {place + 1:,} of {name} {what}: {shown}.")


def _long(name: str, table: pa.Table, column: str, most: int) -> None:
    pc = _compute()
    bad = pc.greater(pc.utf8_length(table.column(column)), most)
    _refuse(name, table, bad, f"has a {column} of more than {most:,} characters")


def _list(name: str, table: pa.Table, column: str, most: int) -> None:
    """Check how many items a list has, and how long each is."""
    pc = _compute()
    values = table.column(column)
    items = schema.MAX_ITEMS
    _refuse(
        name,
        table,
        pc.greater(pc.list_value_length(values), items),
        f"has more than {items:,} {column}",
    )
    inside = pc.list_flatten(values)
    if inside.null_count:
        _refuse(
            name, table, _rows_with(table, values, inside.is_null()), f"has no text in {column}"
        )
    bad = pc.greater(pc.utf8_length(inside), most)
    _refuse(
        name,
        table,
        _rows_with(table, values, bad),
        f"has something in {column} of more than {most:,} characters",
    )


def _rows_with(table: pa.Table, values: Any, bad: Any) -> Any:
    """Mark the rows whose list holds an item that is bad."""
    pc = _compute()
    import pyarrow

    rows = pc.unique(pc.list_parent_indices(values.combine_chunks()).filter(bad))
    return (
        pc.is_in(pyarrow.array(range(table.num_rows)), value_set=rows)
        if len(rows)
        else (pyarrow.array([False]))
    )


def _identifier(name: str, table: pa.Table, column: str, *, empty: bool = False) -> None:
    pc = _compute()
    values = table.column(column)
    lengths = pc.utf8_length(values)
    most = schema.MAX_ID
    _refuse(
        name, table, pc.greater(lengths, most), f"has a {column} of more than {most} characters"
    )
    if not empty and (name, column) != ("statements", "source"):
        _refuse(name, table, pc.equal(lengths, 0), f"has an empty {column}")
    _refuse(
        name,
        table,
        pc.match_substring_regex(values, _FORBIDDEN),
        f"has control characters in its {column}",
    )


def _unique(name: str, table: pa.Table) -> None:
    keys = list(schema.KEYS[name])
    counted = table.group_by(keys).aggregate([([], "count_all")])
    if counted.num_rows == table.num_rows:
        return
    pc = _compute()
    twice = counted.filter(pc.greater(counted.column("count_all"), 1)).slice(0, 1).to_pylist()[0]
    said = ", ".join(f"{key} {twice[key]!r}" for key in keys)
    raise BadInput(f"The table of {name} has {twice['count_all']} rows for {said}; keep one.")


def _entities(table: pa.Table) -> None:
    pc = _compute()
    labels = table.column("labels")
    most = schema.MAX_LABELS
    _refuse(
        "entities",
        table,
        pc.greater(pc.list_value_length(labels), most),
        f"has more than {most:,} labels",
    )
    inside = pc.list_flatten(labels)
    bad = inside.is_null()
    for field, longest in (
        ("text", schema.MAX_LABEL),
        ("language", schema.MAX_ID),
        ("source", schema.MAX_ID),
    ):
        texts = pc.struct_field(inside, field)
        bad = pc.or_kleene(
            bad, pc.or_kleene(texts.is_null(), pc.greater(pc.utf8_length(texts), longest))
        )
    _refuse(
        "entities",
        table,
        _rows_with(table, labels, bad),
        f"has a label without a text, or of more than {schema.MAX_LABEL:,} characters",
    )


def _statements(table: pa.Table) -> None:
    pc = _compute()
    entity = pc.equal(table.column("datatype"), schema.ENTITY)
    has_object = pc.is_valid(table.column("object"))
    has_value = pc.is_valid(table.column("value"))
    _refuse(
        "statements",
        table,
        pc.equal(has_object, has_value),
        "must have either an object (an entity) or a value (a literal)",
    )
    _refuse(
        "statements",
        table,
        pc.not_equal(entity, has_object),
        "has an object whose datatype is not 'entity', or the other way round",
    )
    import pyarrow

    for column, known in (("datatype", schema.DATATYPES), ("rank", schema.RANKS)):
        good = pc.is_in(table.column(column), value_set=pyarrow.array(known))
        _refuse("statements", table, pc.invert(good), f"has a {column} that is none of {known}")
    confidence = table.column("confidence")
    outside = pc.or_(
        pc.or_(pc.less(confidence, 0.0), pc.greater(confidence, 1.0)), pc.is_nan(confidence)
    )
    _refuse("statements", table, outside, "has a confidence outside 0 to 1")


def _identities(table: pa.Table) -> None:
    pc = _compute()
    import pyarrow

    good = pc.is_in(table.column("relation"), value_set=pyarrow.array(schema.RELATIONS))
    _refuse(
        "identities", table, pc.invert(good), f"has a relation that is none of {schema.RELATIONS}"
    )
    _refuse(
        "identities",
        table,
        pc.greater_equal(table.column("a"), table.column("b")),
        "must name two entities, the one that sorts first as a",
    )
