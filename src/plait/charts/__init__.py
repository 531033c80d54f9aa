# SPDX-License-Identifier: Apache-2.0
"""Pictures of numbers as SVG text: pure functions, coloured by CSS classes, readable aloud.

Pictures are fluid: horizontal positions are percentages, so that text keeps its size on a phone.
Colours come from the page's style sheet (or, for a file of its own, from ``standalone``).
"""

from plait.charts.bars import Bar, bar_chart
from plait.charts.curve import Trial, search_curve
from plait.charts.graph import Edge, Node, layered_graph, layers
from plait.charts.heatmap import heatmap
from plait.charts.intervals import Mark, Row, interval_plot
from plait.charts.lines import Flag, Line, Spot, line_chart
from plait.charts.network import network
from plait.charts.svg import stacked, standalone

__all__ = [
    "Bar",
    "Edge",
    "Flag",
    "Line",
    "Mark",
    "Node",
    "Row",
    "Spot",
    "Trial",
    "bar_chart",
    "heatmap",
    "interval_plot",
    "layered_graph",
    "layers",
    "line_chart",
    "network",
    "search_curve",
    "stacked",
    "standalone",
]
