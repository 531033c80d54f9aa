# SPDX-License-Identifier: Apache-2.0
"""What a fusion changed, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plait.fusion.weights import compare_layers, fuse, fused_tensors

from .models import bert, write_model

Family = Callable[..., dict[str, Path]]


def test_the_change_of_each_layer(family: Family, tmp_path: Path) -> None:
    folders = family(2)
    data = {
        "merge_method": "task_arithmetic",
        "base_model": str(folders["base"]),
        "models": [{"model": str(folders[m]), "parameters": {"weight": 0.5}} for m in ("m0", "m1")],
    }
    fuse(data, tmp_path / "out")
    rows = compare_layers(folders["base"], [folders["m0"], folders["m1"]], tmp_path / "out")
    assert [r["name"] for r in rows] == [
        "bert.embeddings",
        "bert.encoder.layer.0",
        "bert.encoder.layer.1",
        "bert.encoder.layer.2",
        "classifier",
    ]
    base, made = bert(0), dict(fused_tensors(data))
    one, two = bert(1, base), bert(2, base)
    for row in rows:
        own = [n for n in base if n.startswith(row["name"])]
        assert row["tensors"] == len(own)
        change = np.sqrt(sum(((made[n] - base[n]).astype(np.float64) ** 2).sum() for n in own))
        length = np.sqrt(sum((base[n].astype(np.float64) ** 2).sum() for n in own))
        assert row["relative_change"] == pytest.approx(change / length, rel=1e-4)
        signs = np.concatenate([((one[n] - base[n]) * (two[n] - base[n])).ravel() for n in own])
        assert row["sign_agreement"] == pytest.approx((signs > 0).mean(), abs=1e-9)
    again = compare_layers(folders["base"], [folders["m0"], folders["m1"]], made)
    assert again == rows


def test_agreement_counts_what_several_changed(tmp_path: Path) -> None:
    folders = [
        write_model(tmp_path / str(i), {"w": np.array(v, np.float32)})
        for i, v in enumerate(([0, 0, 0, 0], [1, 1, 1, 0], [1, -1, 0, 0], [2, 1, 0, 5]))
    ]
    (row,) = compare_layers(folders[0], folders[1:], folders[1])
    assert row["sign_agreement"] == pytest.approx(1 / 2)
    (alone,) = compare_layers(folders[0], folders[1:2], folders[1])
    assert alone["sign_agreement"] is None


def test_layers_are_in_the_order_that_people_count(tmp_path: Path) -> None:
    names = [f"model.layers.{i}.w" for i in (10, 2, 1)]
    folder = write_model(tmp_path / "m", {n: np.ones(2, np.float32) for n in names})
    rows = compare_layers(folder, [], folder)
    assert [r["name"] for r in rows] == ["model.layers.1", "model.layers.2", "model.layers.10"]
