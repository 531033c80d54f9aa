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
from plait.collaboration.leaderboards.collected import (
    CollectionBoard,
    collection_board,
)
from plait.collaboration.leaderboards.comparing import (
    MOST_MODELS,
    Compared,
    compare,
    compared_to_json,
    nothing,
    parse_models,
)
from plait.collaboration.leaderboards.measuring import Asked
from plait.collaboration.leaderboards.scoring import names_models, submit, submit_pull

__all__ = [
    "MOST_MODELS",
    "Asked",
    "Board",
    "CollectionBoard",
    "Compared",
    "Filters",
    "Row",
    "board",
    "boards",
    "collection_board",
    "command_of",
    "compare",
    "compared_to_json",
    "declared",
    "differing",
    "entry_of",
    "items_of",
    "may_remove",
    "names_models",
    "nothing",
    "parse_models",
    "remove",
    "submit",
    "submit_pull",
]
