# SPDX-License-Identifier: Apache-2.0
"""What is written down of a contribution: whose it is, and what its card states of its making."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plait.lineage import Contribution

if TYPE_CHECKING:
    from plait.collaboration.merging.changes import Sides
    from plait.hub import Discussion

MAX_SETS = 20
_NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")


def stated_datasets(head: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the data sets that a card names, those that are names alone."""
    found = head.get("datasets")
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    kept = [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]
    return tuple(dict.fromkeys(kept))[:MAX_SETS]


def stated_privacy(head: Mapping[str, Any]) -> dict[str, float] | None:
    """Return the differential privacy that a card states: ``privacy: {epsilon: 8, delta: 1e-5}``.

    It is what the contributor says of their training; nothing here can check it.
    """
    found = head.get("privacy")
    if not isinstance(found, Mapping):
        return None
    made = {}
    for key, most in (("epsilon", 1e6), ("delta", 1.0)):
        value = found.get(key)
        try:
            number = float(value) if not isinstance(value, bool) and value is not None else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and 0 <= number <= most:
            made[key] = number
    return made if "epsilon" in made else None


def describe_contribution(
    sides: Sides, discussion: Discussion, files: Mapping[str, str]
) -> Contribution:
    """Return what lineage says of a pull request: whose, for whom, which weights, what is stated.

    The organisation is one that the author speaks for, other than the repository's own.
    """
    author = discussion.author
    organisation = author.name if author is not None else "deleted user"
    if author is not None:
        for one, role in sides.hub.accounts.list_organizations(author):
            if one.id != sides.repo.namespace_id and role != "read":
                organisation = one.name
                break
    head = sides.card(sides.head)
    return Contribution(
        number=discussion.number,
        author=author.name if author is not None else "deleted user",
        organisation=organisation,
        title=discussion.title,
        revision=sides.head,
        files=dict(files),
        licence=sides.licence(sides.head),
        datasets=stated_datasets(head),
        privacy=stated_privacy(head),
    )
