# SPDX-License-Identifier: Apache-2.0
"""Graphs in the formats of other programs, read and written."""

from plait.graphs.exchange.formats import (
    FORMATS,
    Imported,
    export_graph,
    format_named,
    import_graph,
)

__all__ = ["FORMATS", "Imported", "export_graph", "format_named", "import_graph"]
