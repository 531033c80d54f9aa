# SPDX-License-Identifier: Apache-2.0
"""The key ``merge`` of ``plait.yaml``: which driver merges which file, and how tables merge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from plait.errors import BadInput
from plait.recipes._reading import choice, keys, number, short, text, texts

MAX_PATTERNS = 200
CONTAMINATION = ("refuse", "show")
_DRIVER = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class TableSpec:
    """How tables of some paths are merged."""

    key: tuple[str, ...] | None = None
    """The columns that tell rows apart; none of them: whole rows; None: found by their names."""
    texts: tuple[str, ...] = ()
    """The columns by which rows are near duplicates; none: those that hold longer texts."""
    likeness: float = 0.8
    """The share of runs of three words from which on two rows are near duplicates."""


@dataclass(frozen=True)
class MergeSpec:
    """What a repository says of merging its files; patterns are globs over whole paths."""

    drivers: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, TableSpec] = field(default_factory=dict)
    tests: tuple[str, ...] = ()
    """Files whose rows no pull request may bring into others; none: told by their names."""
    contamination: str = "refuse"

    def driver(self, path: str) -> str | None:
        """Return the driver that the first pattern which fits a path names."""
        return next((name for glob, name in self.drivers.items() if fnmatchcase(path, glob)), None)

    def table(self, path: str) -> TableSpec:
        """Return how a table of this path is merged."""
        found = (spec for glob, spec in self.tables.items() if fnmatchcase(path, glob))
        return next(found, TableSpec())


def parse_merge(value: object, where: str) -> MergeSpec:
    """Read the key ``merge``.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    if value is None:
        return MergeSpec()
    data = keys(value, where, ("drivers", "tables", "tests", "contamination"))
    drivers: dict[str, str] = {}
    for glob, name in _patterns(data.get("drivers"), f"{where}.drivers").items():
        if not isinstance(name, str) or not _DRIVER.fullmatch(name):
            raise BadInput(
                f"{where}.drivers['{short(glob)}'] must name a driver, like text or table, not "
                f"'{short(name)}'."
            )
        drivers[glob] = name
    tables = _patterns(data.get("tables"), f"{where}.tables")
    return MergeSpec(
        drivers=drivers,
        tables={g: _table(spec, f"{where}.tables['{short(g)}']") for g, spec in tables.items()},
        tests=texts(data.get("tests") or [], f"{where}.tests", most=MAX_PATTERNS),
        contamination=choice(
            data.get("contamination", "refuse"), f"{where}.contamination", CONTAMINATION
        ),
    )


def _patterns(value: object, where: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > MAX_PATTERNS:
        raise BadInput(
            f"{where} must be a mapping of at most {MAX_PATTERNS} patterns, like 'data/*.csv'."
        )
    for glob in value:
        text(glob, f"A pattern of {where}")
    return value


def _table(value: object, where: str) -> TableSpec:
    data = keys(value, where, ("key", "texts", "likeness"))
    key = data.get("key")
    return TableSpec(
        key=None if key is None else _columns(key, f"{where}.key"),
        texts=_columns(data.get("texts") or [], f"{where}.texts"),
        likeness=number(data.get("likeness", 0.8), f"{where}.likeness", 0.1, 1),
    )


def _columns(value: object, where: str) -> tuple[str, ...]:
    return texts([value] if isinstance(value, str) else value, where, most=20)
