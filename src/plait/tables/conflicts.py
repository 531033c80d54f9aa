# SPDX-License-Identifier: Apache-2.0
"""Where two versions of a table contradict each other, and how a person settles it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from plait.errors import BadInput

Side = Literal["main", "pull"]
"""Main's value or the pull request's: ours and theirs of the merge."""


@dataclass(frozen=True)
class Value:
    """A value that a person wrote, in place of either side's."""

    value: Any


@dataclass(frozen=True)
class RowConflict:
    """A row that both sides changed in ways that contradict; `column` None: one side removed it.

    Values are None where that side has no such row.
    """

    key: tuple[Any, ...]
    column: str | None
    base: Any
    ours: Any
    theirs: Any

    @property
    def id(self) -> str:
        """The same for this cell in every attempt, so that it can be settled by name."""
        told = json.dumps([list(self.key), self.column], ensure_ascii=False, default=str)
        return sha256(told.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """Say it in a few words."""
        key = ", ".join(str(part)[:40] for part in self.key)
        if self.column is None:
            return f"row {key}: changed by one side, removed by the other"
        return f"row {key}, column '{self.column}': {_short(self.ours)} or {_short(self.theirs)}"


@dataclass(frozen=True)
class Settlement:
    """What a person decided: for single cells by their `id`, for columns' types, for the rest."""

    cells: Mapping[str, Side | Value] = field(default_factory=dict)
    types: Mapping[str, Side] = field(default_factory=dict)
    rest: Side | None = None

    def of(self, conflict: RowConflict) -> Side | Value | None:
        """Return what was decided of a conflict, None if nothing was.

        Raises:
            BadInput: a value was written for a whole row.
        """
        found = self.cells.get(conflict.id, self.rest)
        if isinstance(found, Value) and conflict.column is None:
            raise BadInput(
                f"{str(conflict).capitalize()}. Settle it with 'main' or 'pull', not with a value."
            )
        return found


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return f"'{text[:40]}{'…' if len(text) > 40 else ''}'"
