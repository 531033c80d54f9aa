# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a small graph with regular structure: learned, measured, saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled, Conflict
from plait.graphs.graph import Builder, Graph
from plait.graphs.learn.embeddings import load
from plait.graphs.learn.triples import split, triples

pytest.importorskip("pykeen")

from plait.graphs.learn.training import Options, embed

OPTIONS = Options(model="complex", epochs=10, dimension=32, batch_size=32, threads=1)


def ring(size: int = 40) -> Graph:
    made = Builder()
    for place in range(size):
        for name, step in (("next", 1), ("second", 2), ("fifth", 5)):
            made.statement(f"e{place}", name, object=f"e{(place + step) % size}", source="s")
    return made.build()


def test_structure_is_learned_and_kept(tmp_path: Path) -> None:
    graph = ring()
    found = triples(graph)
    parts = split(found, graph.file)
    made = embed(found, parts, OPTIONS)
    assert made.report["test"]["mrr"] > 3 * made.report["baseline"]["mrr"]
    made.save(tmp_path / "out")
    read = load(tmp_path / "out")
    assert read.triples.entities == found.entities and read.report["test"] == made.report["test"]
    for side in ("tail", "head"):
        assert np.allclose(
            read.scores()(parts.testing, side), made.scores()(parts.testing, side), atol=1e-5
        )
    with pytest.raises(Conflict):
        made.save(tmp_path / "out")
    (tmp_path / "out/embeddings.json").write_text("{}")
    with pytest.raises(BadInput, match="does not describe"):
        load(tmp_path / "out")
    with pytest.raises(BadInput, match="embeddings are saved"):
        load(tmp_path)


def test_cancelling_and_bad_options() -> None:
    graph = ring()
    found = triples(graph)
    parts = split(found, graph.file)
    with pytest.raises(Cancelled):
        embed(found, parts, OPTIONS, cancelled=lambda: True)
    with pytest.raises(BadInput, match="no model"):
        embed(found, parts, Options(model="transx"))
