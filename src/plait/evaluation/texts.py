# SPDX-License-Identifier: Apache-2.0
"""Texts of a data set without their labels, for what learns from models instead of people."""

from __future__ import annotations

from pathlib import Path

from plait.errors import BadInput
from plait.evaluation import tasks
from plait.recipes.project import TaskSpec


def load_texts(spec: TaskSpec, folder: Path, split: str) -> list[tuple[str, str]]:
    """Read one split's texts; the label column need not exist and is not read.

    Returns:
        Each text with its group (its own place in the split where the task names no group).

    Raises:
        BadInput: as `load_task`, or if the task names no text column.
    """
    column, group = spec.columns.text, spec.columns.group
    if column is None:
        raise BadInput(f"Task '{spec.name}' has no text column; its texts cannot be read.")
    found: list[tuple[str, str]] = []
    for file in tasks.split_files(folder, split, spec.dataset):
        where = f"{file.name} of data set {spec.dataset}"
        wanted = [column] if group is None else [column, group]
        for number, row in enumerate(tasks.read_rows(file, where, wanted), start=1):
            content, owner = row[column], row[group] if group is not None else None
            place = f"row {number} of {where}"
            if not isinstance(content, str) or not content.strip():
                raise BadInput(f"Column '{column}' in {place} must be a text that is not empty.")
            if len(found) >= tasks.MAX_ITEMS:
                raise BadInput(f"{where} has more than {tasks.MAX_ITEMS:,} items.")
            found.append((content, f"{split}:{len(found)}" if owner is None else str(owner)))
    if not found:
        raise BadInput(f"Split '{split}' of data set {spec.dataset} is empty; it needs texts.")
    return found
