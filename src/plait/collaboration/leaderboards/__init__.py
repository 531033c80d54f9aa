# SPDX-License-Identifier: Apache-2.0
"""Leaderboards: what models score on a data set's tasks, ranked with ties, and how they differ."""

from plait.collaboration.leaderboards.board import (
    Board,
    Filters,
    Row,
    board,
    boards,
    command_of,
    declared,
    differing,
    entry_of,
    items_of,
    may_remove,
    remove,
)
from plait.collaboration.leaderboards.scoring import submit, submit_pull

__all__ = [
    "Board",
    "Filters",
    "Row",
    "board",
    "boards",
    "command_of",
    "declared",
    "differing",
    "entry_of",
    "items_of",
    "may_remove",
    "remove",
    "submit",
    "submit_pull",
]
