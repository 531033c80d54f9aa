# SPDX-License-Identifier: Apache-2.0
"""Pictures of fusions: what they measure, as plain values, and the SVG drawn from these."""

from __future__ import annotations

from plait.fusion.plots.layers import Contributions, draw_layers, measure_layers
from plait.fusion.plots.path import draw_path, measure_path
from plait.fusion.plots.table import draw_table, read_table

__all__ = [
    "Contributions",
    "draw_layers",
    "draw_path",
    "draw_table",
    "measure_layers",
    "measure_path",
    "read_table",
]
