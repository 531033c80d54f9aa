# SPDX-License-Identifier: Apache-2.0
"""Single values of a table: when two are the same, which of three holds, values in other types."""

from __future__ import annotations

import json
from typing import Any

from plait.errors import BadInput
from plait.tables.reading import Row

MISSING: Any = object()
"""Stands for a column that a row does not have."""


def project(row: Row | None, column: str) -> Any:
    """Return a row's value in a column, `MISSING` if there is none."""
    return MISSING if row is None else row.values.get(column, MISSING)


def rendered(row: Row) -> str:
    """Return what a row is written as, as far as two spellings of it can be told apart."""
    return row.text if row.text is not None else row.identity


def merge_values(base: Any, ours: Any, theirs: Any) -> tuple[Any, bool]:
    """Return the value that holds, and whether the sides agree on one.

    The same whichever side is ours: of two spellings of one number (1 and 1.0) the one holds that
    was not there before, else the first by its text.
    """
    if same(ours, theirs) or same(theirs, base):
        return ours, True
    if same(ours, base):
        return theirs, True
    if alike(ours, theirs):
        return min(ours, theirs, key=repr), True
    if alike(theirs, base):
        return ours, True
    if alike(ours, base):
        return theirs, True
    return ours, False


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and of one kind."""
    if one is MISSING or other is MISSING:
        return one is other
    if type(one) is not type(other):
        return False
    if isinstance(one, list | dict):
        return json.dumps(one, sort_keys=True, default=str) == json.dumps(
            other, sort_keys=True, default=str
        )
    if isinstance(one, float) and one != one and other != other:
        return True
    return bool(one == other)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two values are the same number."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    return numbers and bool(one == other)


def to_type(value: Any, before: str, after: str, column: str) -> Any:
    """Return a value in the form of another type.

    Args:
        value: of a row.
        before: the type that its table has, in words (Arrow's for Parquet).
        after: the type that the merged table has.
        column: for the message.

    Raises:
        BadInput: the value has no such form.
    """
    if value is None or " or " in after or before == after:
        return value
    try:
        if after in ("text", "string", "large_string"):
            return value if isinstance(value, str) else json.dumps(value, default=str)
        if after == "number" or after.startswith(("int", "uint")):
            return _whole(value) if after != "number" else _number(value)
        if after in ("double", "float", "halffloat"):
            number = float(value)
            if isinstance(value, int) and int(number) != value:
                raise ValueError
            return number
    except (TypeError, ValueError, OverflowError):
        raise BadInput(
            f"Column '{column}' holds {str(value)[:60]!r}, which has no form as {after}. Choose "
            "the other side's type, or bring the values into one type in the pull request."
        ) from None
    return value


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def _number(value: Any) -> int | float:
    if isinstance(value, int | float):
        return value
    number = float(value)
    return int(value) if str(value).lstrip("-").isdigit() else number
