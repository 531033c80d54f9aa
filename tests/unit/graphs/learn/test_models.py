# SPDX-License-Identifier: Apache-2.0
"""Each of the models learns a regular graph, and its folder gives the same scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plait.graphs.learn.embeddings import load
from plait.graphs.learn.models import MODELS
from plait.graphs.learn.triples import split, triples

from .test_embeddings import ring

pytest.importorskip("pykeen")

from plait.graphs.learn.training import Options, embed


@pytest.mark.parametrize("model", MODELS)
def test_every_model_beats_frequency_and_is_kept(model: str, tmp_path: Path) -> None:
    graph = ring(30)
    found = triples(graph)
    parts = split(found, graph.file)
    options = Options(model, 25, 32, 0.03, 32, every=10, threads=1)
    made = embed(found, parts, options)
    report = made.report
    assert report["test"]["mrr"] > 1.5 * report["baseline"]["mrr"]
    assert report["loss"][-1] < report["loss"][0]
    made.save(tmp_path / "out")
    again = load(tmp_path / "out").scores()
    for side in ("tail", "head"):
        assert np.allclose(
            again(parts.testing, side), made.scores()(parts.testing, side), atol=1e-4
        )
