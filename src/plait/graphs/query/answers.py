# SPDX-License-Identifier: Apache-2.0
"""What a query may take, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Bounds of one query."""

    seconds: float = 10.0
    rows: int = 1_000
    bytes: int = 16 * 2**20
    """Of the whole answer, as JSON."""
    memory: int = 2 * 2**30
    """Of the process that computes it."""


@dataclass(frozen=True)
class Answer:
    """A table; nodes and relationships in it are mappings of their properties.

    A node has `types`, a relationship `predicate`, `subject` and `object` beside its
    properties; a path is ``{"nodes": […], "relationships": […]}``.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    seconds: float
    engine: str
    """What computed it, with its version."""
