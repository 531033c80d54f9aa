# SPDX-License-Identifier: Apache-2.0
"""What shapes and rules find in a graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SEVERITIES = ("violation", "warning", "info")
MAX_SHOWN = 1_000


@dataclass(frozen=True)
class Violation:
    """One thing that a shape or a rule forbids, or remarks on."""

    entity: str
    path: str
    """The predicate, or empty."""
    value: str
    message: str
    severity: str
    """`violation`, `warning` or `info`."""
    shape: str


def gravest_first(found: Iterable[Violation]) -> list[Violation]:
    """Return violations in an order that depends on what they say alone, the gravest first."""
    return sorted(
        found,
        key=lambda one: (
            SEVERITIES.index(one.severity),
            one.entity,
            one.path,
            one.value,
            one.message,
        ),
    )
