# SPDX-License-Identifier: Apache-2.0
"""The splits of a data set that jobs may read whole."""

from __future__ import annotations

import re

from plait.errors import BadInput
from plait.hub import Hub, Repository

_FILE = re.compile(r"data/([^/]+?)(-\d[\w-]*)?\.(?:jsonl|csv|parquet)")


def check_open_split(hub: Hub, data: Repository, oid: str, split: str, hidden: str) -> None:
    """Refuse a split that is hidden or has no files at a commit.

    Args:
        hub: where.
        data: the data set.
        oid: the commit.
        split: the split's name.
        hidden: what is said of a hidden one, after "The split … is hidden: ".

    Raises:
        BadInput: with the splits that there are.
    """
    if hub.hidden.is_hidden(data, split):
        raise BadInput(f"The split '{split}' of '{data.full_name}' is hidden: {hidden}")
    matches = (_FILE.fullmatch(entry.path) for entry in hub.git.tree(data, oid, recursive=True))
    known = sorted({found[1] for found in matches if found})
    if split not in known:
        listed = f"it has: {', '.join(known[:20])}" if known else "it has no file data/SPLIT.…"
        raise BadInput(f"'{data.full_name}' has no split {split[:64]!a}; {listed}.")
