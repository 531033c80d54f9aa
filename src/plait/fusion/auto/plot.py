# SPDX-License-Identifier: Apache-2.0
"""The plot of the table: score against size, the front as a stepped line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.charts import standalone
from plait.charts.frontier import Point, frontier
from plait.fusion.weights.check import human

PLOT = "plait_auto.svg"


def plot(found: Mapping[str, Any]) -> str:
    """Return the plot of a report as the text of an SVG file."""
    points = [
        Point(
            row["name"],
            row["level"],
            row["bytes"],
            row["score"],
            row["low"],
            row["high"],
            front=row["front"],
            chosen=row["chosen"],
        )
        for row in found["table"]
    ]
    drawn = frontier(
        points,
        ident="auto",
        title="Score against size",
        description=f"{len(points)} candidates; taken: {found['chosen']}.",
        axis="bytes of weights",
        show=lambda score: f"{score:.3f}",
        size=human,
    )
    return standalone(drawn)
