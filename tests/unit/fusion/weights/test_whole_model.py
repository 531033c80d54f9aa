# SPDX-License-Identifier: Apache-2.0
"""Methods that look at the whole model first: TIES as its authors have it, Fisher's norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.fusion.weights import engine, fuse, fused_tensors
from plait.fusion.weights.methods import thresholds

from .models import bert, read_safetensors, to_bfloat16, write_model, write_safetensors

Tensors = Mapping[str, np.ndarray]


def flat(tensors: Tensors) -> np.ndarray:
    return np.concatenate([tensors[n].reshape(-1) for n in sorted(tensors)])


def ties_of_the_authors(
    base: Tensors, models: list[Tensors], density: float, scale: float, mean: bool
) -> np.ndarray:
    """Return the fused model as one vector: one threshold for each whole model."""
    start = flat(base)
    changes = np.stack([flat(m) - start for m in models])
    size = changes.shape[1]
    if density < 1:
        place = size - int(size * density)  # the k-th smallest, counted from 1
        least = np.partition(np.abs(changes), place - 1, axis=1)[:, place - 1]
        changes = changes * (np.abs(changes) >= least[:, None])
    total = np.zeros(size, np.float32)
    for change in changes:
        total = total + change
    sign = np.sign(total)
    sign[sign == 0] = np.sign(sign.sum())
    kept = np.where(np.where(sign > 0, changes > 0, changes < 0), changes, 0)
    summed = kept.sum(0)
    if mean:
        summed = summed / np.maximum((kept != 0).sum(0), 1)
    return start + np.float32(scale) * summed


def recipe(folders: Mapping[str, Path], density: float, **parameters: Any) -> dict[str, Any]:
    return {
        "merge_method": "ties",
        "dialect": "paper",
        "base_model": str(folders["base"]),
        "models": [{"model": str(f)} for n, f in folders.items() if n != "base"],
        "parameters": {"weight": 1, "density": density, **parameters},
    }


@pytest.mark.parametrize("block", [131_072, 7])
@pytest.mark.parametrize(
    ("density", "mean", "scale"), [(0.2, True, 1.0), (0.2, False, 0.3), (0.5, True, 0.7), (1, 0, 1)]
)
def test_ties_of_the_paper_trims_the_whole_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    density: float,
    mean: bool,
    scale: float,
) -> None:
    monkeypatch.setattr(engine, "BLOCK", block)
    monkeypatch.setattr(thresholds, "SMALL", 16)
    base = bert(0)
    tuned = []
    for number in range(3):
        one = bert(number + 1, base, 0.05)
        # one layer moved forty times as far as the others: a threshold for all shows
        far = "bert.encoder.layer.1.output.dense.weight"
        one[far] = base[far] + 40 * (one[far] - base[far])
        tuned.append(one)
    folders = {"base": write_model(tmp_path / "base", base)}
    folders |= {f"m{n}": write_model(tmp_path / f"m{n}", t) for n, t in enumerate(tuned)}
    made = dict(fused_tensors(recipe(folders, density, normalize=bool(mean), **{"lambda": scale})))
    wanted = ties_of_the_authors(base, tuned, density, scale, bool(mean))
    np.testing.assert_allclose(flat(made), wanted, rtol=2e-6, atol=1e-6)
    if density == 0.2:
        kept = {n: np.mean(made[n] != base[n]) for n in base}
        assert kept[far] > 0.9
        assert kept["bert.encoder.layer.0.output.dense.weight"] < 0.6


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**16), density=st.floats(0.01, 0.99), count=st.integers(1, 4))
def test_with_changes_that_are_equal_and_cancel_out(
    tmp_path_factory: pytest.TempPathFactory, seed: int, density: float, count: int
) -> None:
    """Few values: many at the threshold, and sums of exactly 0, whose sign is the majority's."""
    random = np.random.default_rng(seed)
    place = tmp_path_factory.mktemp("equal")
    shapes = {"a.weight": (13, 7), "b.weight": (5,), "c.weight": (3, 3)}
    base = {n: np.zeros(s, np.float32) for n, s in shapes.items()}
    tuned = [
        {n: random.integers(-3, 3, s).astype(np.float32) for n, s in shapes.items()}
        for _ in range(count)
    ]
    folders = {"base": write_model(place / "base", base)}
    folders |= {f"m{n}": write_model(place / f"m{n}", t) for n, t in enumerate(tuned)}
    made = dict(fused_tensors(recipe(folders, density)))
    np.testing.assert_allclose(
        flat(made), ties_of_the_authors(base, tuned, density, 1.0, True), atol=1e-6
    )


def test_threads_and_files_change_nothing(family: Callable[..., dict[str, Path]]) -> None:
    told = recipe(family(3), 0.3)
    one = dict(fused_tensors(told, threads=1))
    three = dict(fused_tensors(told, threads=3))
    some = dict(fused_tensors(told, only=["classifier.weight"]))
    assert all(np.array_equal(one[n], three[n]) for n in one)
    np.testing.assert_array_equal(some["classifier.weight"], one["classifier.weight"])


def test_a_folder_holds_what_is_fused_in_memory(
    tmp_path: Path, family: Callable[..., dict[str, Path]]
) -> None:
    told = recipe(family(2), 0.3)
    fuse(told, tmp_path / "out", threads=2)
    found = read_safetensors(tmp_path / "out" / "model.safetensors")
    for name, values in fused_tensors(told):
        np.testing.assert_array_equal(found[name], values)


def test_bfloat16(tmp_path: Path) -> None:
    base = bert(0)
    tuned = [bert(n + 1, base) for n in range(2)]
    as_stored = [{n: to_bfloat16(v) for n, v in t.items()} for t in (base, *tuned)]
    folders = {
        name: write_model(tmp_path / name, tensors)
        for name, tensors in zip(("base", "m0", "m1"), as_stored, strict=True)
    }
    made = dict(fused_tensors(recipe(folders, 0.2) | {"out_dtype": "float32"}))
    exact = [
        {n: (v.astype(np.uint32) << 16).view(np.float32) for n, v in t.items()} for t in as_stored
    ]
    wanted = ties_of_the_authors(exact[0], exact[1:], 0.2, 1.0, True)
    np.testing.assert_allclose(flat(made), wanted, rtol=1e-5, atol=1e-6)


def test_what_the_paper_does_not_have(family: Callable[..., dict[str, Path]]) -> None:
    with pytest.raises(BadInput, match="rescale"):
        list(fused_tensors(recipe(family(2), 0.5, rescale=True)))


@pytest.mark.parametrize("normalize", [True, False])
def test_fisher_counts_models_alike_however_large_their_information(
    tmp_path: Path, normalize: bool
) -> None:
    random = np.random.default_rng(0)
    models, known = [], []
    for number, size in enumerate((1.0, 1e4)):
        tensors = {n: random.standard_normal((4, 3)).astype(np.float32) for n in ("a", "b")}
        folder = write_model(tmp_path / f"m{number}", tensors)
        own = {
            f"fisher.{n}": (size * random.random((4, 3))).astype(np.float32) + 1e-3 for n in "ab"
        }
        write_safetensors(folder / "plait_statistics.safetensors", own)
        models.append(tensors)
        known.append(own)
    made = dict(
        fused_tensors(
            {
                "merge_method": "fisher",
                "models": [{"model": str(tmp_path / f"m{n}")} for n in (0, 1)],
                "parameters": {"normalize": normalize},
            }
        )
    )
    norms = [
        np.sqrt(sum(np.square(v, dtype=np.float64).sum() for v in own.values())) for own in known
    ]
    if not normalize:
        norms = [1.0, 1.0]
    for name in "ab":
        share = [own[f"fisher.{name}"] / n for own, n in zip(known, norms, strict=True)]
        wanted = sum(s * m[name] for s, m in zip(share, models, strict=True)) / sum(share)
        np.testing.assert_allclose(made[name], wanted, rtol=1e-4, atol=1e-6)
