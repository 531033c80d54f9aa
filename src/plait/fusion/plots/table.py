# SPDX-License-Identifier: Apache-2.0
"""Models by tasks: a heat map of the scores of several evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.charts import heatmap, standalone
from plait.errors import BadInput

MAX_BYTES = 200_000_000
AVERAGE = "average"


def read_table(files: Sequence[Path], names: Sequence[str] = ()) -> dict[str, Any]:
    """Read what `plait evaluate --json` wrote, a model in each file.

    Args:
        files: the evaluations.
        names: of the models, in order (default: the files' names).

    Returns:
        Plain values: `models`, `tasks`, `scores` [models][tasks], `split`.

    Raises:
        BadInput: if one is no evaluation, or they are of different splits.
    """
    if not files:
        raise BadInput("Name at least one evaluation, what 'plait evaluate … --json' wrote.")
    if names and len(names) != len(files):
        raise BadInput(f"There are {len(files)} evaluations but {len(names)} names for them.")
    found = [(name, _read(file)) for name, file in zip(names or _names(files), files, strict=True)]
    return table_of(found)


def table_of(found: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return evaluations, as plain values with the models' names, as one table.

    Raises:
        BadInput: if they are of different splits: such scores cannot be compared.
    """
    splits = list(dict.fromkeys(str(one.get("split")) for _, one in found))
    if len(splits) > 1:
        raise BadInput(
            f"The evaluations are of different splits ({', '.join(splits)}); scores on different "
            "items cannot be compared."
        )
    tasks = list(dict.fromkeys(task for _, one in found for task in one["tasks"]))
    scores = [
        [_score(one["tasks"].get(task)) for task in tasks] + [float(one["average"])]
        for _, one in found
    ]
    several = len(tasks) > 1
    return {
        "split": splits[0],
        "models": [name for name, _ in found],
        "tasks": [*tasks, AVERAGE] if several else tasks,
        "scores": scores if several else [row[:1] for row in scores],
        "metrics": sorted(
            {str(task["metric"]) for _, one in found for task in one["tasks"].values()}
        ),
    }


def draw_table(data: Mapping[str, Any]) -> str:
    """Draw models by tasks, the best model of each task in a frame.

    Returns:
        A stand-alone SVG file.
    """
    shares = all(0 <= v <= 1 for row in data["scores"] for v in row if v is not None)
    return standalone(
        heatmap(
            data["scores"],
            data["models"],
            data["tasks"],
            ident="table",
            title=f"Models by tasks on the {data['split']} items",
            description=f"{', '.join(data['metrics'])}; a frame marks the best model of a task.",
            show=(lambda v: f"{100 * v:.1f}") if shares else (lambda v: f"{v:.3g}"),
            best=True,
        )
    )


def _score(task: Mapping[str, Any] | None) -> float | None:
    return None if task is None else float(task["score"])


def _names(files: Sequence[Path]) -> list[str]:
    stems = [file.stem for file in files]
    return stems if len(set(stems)) == len(stems) else [str(file.with_suffix("")) for file in files]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadInput(f"{file} is larger than {MAX_BYTES:,} bytes.")
        data = json.loads(file.read_text("utf-8"))
        for task in data["tasks"].values():
            float(task["score"])
            str(task["metric"])
        float(data["average"])
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(
            f"{file} is not an evaluation; 'plait evaluate MODEL --json > {file.name}' makes one."
        ) from None
    found: Mapping[str, Any] = data
    return found
