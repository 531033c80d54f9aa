# SPDX-License-Identifier: Apache-2.0
"""``plait graph embed`` and ``predict`` as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.errors import BadInput, Conflict
from plait.graphs.graph import Builder
from plait.graphs.storage import read_graph, write_graph

from .test_graph import run

pytest.importorskip("pykeen")


def test_embed_and_predict(tmp_path: Path) -> None:
    made = Builder()
    for place in range(60):
        for name, step in (("next", 1), ("second", 2), ("third", 3), ("fifth", 5)):
            said = f"e{(place + step) % 60}"
            if (place, name) != (7, "fifth"):
                made.statement(f"e{place}", name, object=said, source="s")
    write_graph(made.build(), tmp_path / "ring")
    out = tmp_path / "vectors"
    few = ("--epochs", 15, "--dimension", 32, "--batch-size", 32, "--threads", 1)
    told = run("embed", tmp_path / "ring", "-o", out, "--model", "complex", *few)
    assert "frequency (test)" in told and "Hits@10" in told
    with pytest.raises(Conflict):
        run("embed", tmp_path / "ring", "-o", out, *few)
    with pytest.raises(BadInput, match="--validation"):
        run("embed", tmp_path / "ring", "-o", tmp_path / "other", "--test", "s")
    kept = tmp_path / "proposals"
    found = json.loads(
        run("predict", tmp_path / "ring", out, "-o", kept, "--threshold", 0.05, "--json")
    )
    assert found["proposals"] == len(found["proposed"]) == len(read_graph(kept)) > 0
    assert 0 <= found["test"]["ece"] < 0.2
    shown = run("predict", tmp_path / "ring", out, "--threshold", 0.05, "--calibration", "platt")
    assert "Brier score" in shown


def test_import_of_a_bundled_set(tmp_path: Path) -> None:
    run("import", "pykeen:nations", "-o", tmp_path / "nations")
    assert len(read_graph(tmp_path / "nations")) == 1592 + 199 + 201
    with pytest.raises(BadInput, match="--source"):
        run("import", "some.csv", "-o", tmp_path / "other")


def test_teach_refuses_what_it_cannot_teach(tmp_path: Path) -> None:
    made = Builder()
    for place in range(120):
        made.label(f"e{place}", f"Thing {place}", language="en", source="s")
        made.statement(f"e{place}", "next", object=f"e{(place + 1) % 120}", source="s")
    write_graph(made.build(), tmp_path / "ring")
    few = ("--base", tmp_path, "-o", tmp_path / "out")
    with pytest.raises(BadInput, match="--how songs"):
        run("teach", tmp_path / "ring", *few, "--how", "songs")
    with pytest.raises(BadInput, match="no rule"):
        run("teach", tmp_path / "ring", *few, "--how", "rules")
    with pytest.raises(BadInput, match=r"embeddings are saved there"):
        run("teach", tmp_path / "ring", *few, "--embeddings", tmp_path)
    with pytest.raises(BadInput, match=r"config\.json"):
        run("teach", tmp_path / "ring", *few, "--how", "text")
    assert not (tmp_path / "out").exists()
