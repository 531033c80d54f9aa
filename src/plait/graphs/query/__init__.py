# SPDX-License-Identifier: Apache-2.0
"""Asking a graph: Cypher over an embedded engine or over Bolt, SPARQL over Oxigraph."""

from plait.graphs.query.answers import Answer, Limits
from plait.graphs.query.engines import ask_bolt, ask_embedded, ask_sparql

__all__ = ["Answer", "Limits", "ask_bolt", "ask_embedded", "ask_sparql"]
