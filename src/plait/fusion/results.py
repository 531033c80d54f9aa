# SPDX-License-Identifier: Apache-2.0
"""What running a recipe tells while it works, and what it gives in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORT = "plait_fusion.json"
"""The file in a fused model's folder that says what it was made of: only fusions write it."""


@dataclass(frozen=True)
class Progress:
    """How far a fusion is: `done` of `total` bytes, items or steps of what `stage` says."""

    stage: str
    done: int
    total: int


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class FusionResult:
    """What a fusion made: sha256 of its inputs by model and file, of its outputs, and cost.

    `report` is what else was found on the way, as plain values: curves, chosen values, scores.
    """

    out: Path
    inputs: Mapping[str, Mapping[str, str]]
    outputs: Mapping[str, str]
    seconds: float
    cpu_seconds: float
    bytes: int
    resumed: bool = False
    report: Mapping[str, Any] = field(default_factory=dict)
