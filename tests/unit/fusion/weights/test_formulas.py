# SPDX-License-Identifier: Apache-2.0
"""Methods over whole tensors against their formulas, written down again in plain float64 numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion.weights import engine, fuse, fused_tensors

from .models import write_model

W = (0.5, 0.3, 0.4)
SHAPES = {"matrix": (12, 20), "vector": (30,), "cube": (4, 5, 6)}
Arrays = dict[str, np.ndarray]


def drawn() -> list[Arrays]:
    """Return a base and three models near it, in float32."""
    random = np.random.default_rng(3)
    base = {n: random.standard_normal(s).astype(np.float32) for n, s in SHAPES.items()}
    return [base] + [
        {
            n: v
            + (0.3 * random.standard_normal(v.shape) * (random.random(v.shape) < 0.7)).astype(
                np.float32
            )
            for n, v in base.items()
        }
        for _ in W
    ]


@pytest.fixture(params=["one block", "small blocks"])
def fused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[..., Arrays]:
    """Fuse the drawn models: fused(method, count, base=True, own={...}, **parameters)."""
    if request.param == "small blocks":
        monkeypatch.setattr(engine, "BLOCK", 64)
        monkeypatch.setattr(engine, "SEGMENT", 64)
        monkeypatch.setattr("plait.fusion.weights.methods.thresholds.SMALL", 0)
    folders = [str(write_model(tmp_path / f"m{i}", t)) for i, t in enumerate(drawn())]

    def run(
        method: str, count: int = 3, base: bool = True, own: Any = None, **parameters: Any
    ) -> Arrays:
        dialect = parameters.pop("dialect", "mergekit")
        data: dict[str, Any] = {
            "merge_method": method,
            "models": [
                {"model": m, "parameters": {"weight": w, **(own or {})}}
                for m, w in zip(folders[1 : count + 1], W, strict=False)
            ],
            "parameters": parameters,
            "dialect": dialect,
        }
        if base:
            data["base_model"] = folders[0]
        return dict(fused_tensors(data, threads=1))

    return run


def each(made: Arrays, formula: Callable[[np.ndarray, list[np.ndarray]], np.ndarray]) -> None:
    """Compare every tensor with the formula of the base and the changes."""
    base, *models = drawn()
    for name, values in made.items():
        wide = base[name].astype(np.float64)
        changes = [m[name].astype(np.float64) - wide for m in models]
        np.testing.assert_allclose(
            values, formula(wide, changes), rtol=2e-5, atol=2e-6, err_msg=name
        )


def unit(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    return values / np.sqrt((values * values).sum(axis, keepdims=True))


def arc(a: np.ndarray, b: np.ndarray, t: float, axis: int | None = None) -> np.ndarray:
    angle = np.arccos(np.clip((unit(a, axis) * unit(b, axis)).sum(axis, keepdims=True), -1, 1))
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


T = W[1] / (W[0] + W[1])


def test_nuslerp(fused: Callable[..., Arrays]) -> None:
    each(fused("nuslerp", 2), lambda b, d: b + arc(d[0], d[1], T))
    each(fused("nuslerp", 2, base=False), lambda b, d: arc(b + d[0], b + d[1], T))


@pytest.mark.parametrize(("first", "axis"), [(False, -1), (True, 0)])
def test_nuslerp_by_vectors(fused: Callable[..., Arrays], first: bool, axis: int) -> None:
    made = fused("nuslerp", 2, base=False, nuslerp_flatten=False, nuslerp_row_wise=first)
    made = {n: v for n, v in made.items() if n != "vector" or axis == -1}
    each(made, lambda b, d: arc(b + d[0], b + d[1], T, axis))


def mean_direction(vectors: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    lengths = np.array([np.linalg.norm(v) for v in vectors])
    direction = sum(w * v / s for w, v, s in zip(weights, vectors, lengths, strict=True))
    return unit(direction) * float(weights @ lengths)


def test_multislerp(fused: Callable[..., Arrays]) -> None:
    shares = np.array(W) / sum(W)
    each(fused("multislerp"), lambda b, d: b + mean_direction(d, shares))
    each(
        fused("multislerp", base=False, normalize_weights=False),
        lambda b, d: mean_direction([b + x for x in d], np.array(W)),
    )


def karcher(vectors: list[np.ndarray], weights: np.ndarray, steps: int) -> np.ndarray:
    lengths = np.array([np.linalg.norm(v) for v in vectors])
    units = [v / s for v, s in zip(vectors, lengths, strict=True)]
    point = unit(np.asarray(sum(w * u for w, u in zip(weights, units, strict=True))))
    for _ in range(steps):
        tangent = np.zeros_like(point)
        for weight, other in zip(weights, units, strict=True):
            cosine = float((point * other).sum())
            angle = math.acos(cosine)
            tangent += weight * angle / math.sin(angle) * (other - cosine * point)
        length = float(np.linalg.norm(tangent))
        point = unit(math.cos(length) * point + math.sin(length) * tangent / length)
    return point * float(weights @ lengths)


def test_multislerp_of_the_paper_goes_along_the_arcs(fused: Callable[..., Arrays]) -> None:
    shares = np.array(W) / sum(W)
    each(fused("multislerp", dialect="paper"), lambda b, d: b + karcher(d, shares, 1))


def test_karcher(fused: Callable[..., Arrays]) -> None:
    equal = np.full(3, 1 / 3)
    made = fused("karcher", base=False, max_iter=3, tol=0)
    each(made, lambda b, d: karcher([b + x for x in d], equal, 3))


def stock(b: np.ndarray, d: list[np.ndarray], axis: int | None) -> np.ndarray:
    pairs = [(0, 1), (0, 2), (1, 2)]
    cosine = np.mean(
        [(unit(d[i], axis) * unit(d[j], axis)).sum(axis, keepdims=True) for i, j in pairs], 0
    )
    return b + 3 * cosine / (1 + 2 * cosine) * np.mean(d, 0)


def test_model_stock(fused: Callable[..., Arrays]) -> None:
    each(fused("model_stock"), lambda b, d: stock(b, d, None))


def test_model_stock_by_rows(fused: Callable[..., Arrays]) -> None:
    each(fused("model_stock", filter_wise=True), lambda b, d: stock(b, d, -1))


def test_nearswap(fused: Callable[..., Arrays]) -> None:
    def formula(b: np.ndarray, d: list[np.ndarray]) -> np.ndarray:
        near = 0.1 / np.maximum(np.abs(d[0]), 1e-30)
        return b + np.clip(near, 0, 1) * d[0]

    each(fused("nearswap", 1, t=0.1), formula)


def log_softmax(rows: np.ndarray) -> np.ndarray:
    return rows - np.log(np.exp(rows).sum(-1, keepdims=True))


def test_arcee_fusion(fused: Callable[..., Arrays]) -> None:
    def formula(b: np.ndarray, d: list[np.ndarray]) -> np.ndarray:
        p, q = log_softmax(b + d[0]), log_softmax(b)
        importance = np.abs(d[0]) * (np.exp(p) * (p - q)).sum(-1, keepdims=True)
        ordered = np.sort(importance, None)
        low, middle, high = (ordered[int(s * (ordered.size - 1))] for s in (0.25, 0.5, 0.75))
        # the outlier at the threshold itself is in, whatever its rounding
        return b + d[0] * (importance >= (middle + 1.5 * (high - low)) * (1 - 1e-7))

    each(fused("arcee_fusion", 1), formula)


@pytest.mark.parametrize(("method", "more"), [("ram", {}), ("ramplus_tl", {"r": 2, "alpha": 0.9})])
def test_ram(fused: Callable[..., Arrays], method: str, more: dict[str, float]) -> None:
    def formula(b: np.ndarray, d: list[np.ndarray]) -> np.ndarray:
        touched = [np.abs(x) > 0.05 for x in d]
        count = np.sum(touched, 0)
        total = np.zeros_like(b)
        for change, own in zip(d, touched, strict=True):
            alone = own & (count == 1)
            shared = own & (count > 1)
            factor = 1.0
            if more:
                factor = 1 + more["r"] * min(shared.sum() / alone.sum(), more["alpha"])
            total += change * alone * factor + change * shared / np.maximum(count, 1)
        return b + total

    each(fused(method, epsilon=0.05, **more), formula)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_sce(fused: Callable[..., Arrays], share: float) -> None:
    def formula(b: np.ndarray, d: list[np.ndarray]) -> np.ndarray:
        variance = np.var(d, 0)
        count = int(share * np.count_nonzero(variance)) if share < 1 else variance.size
        kept = np.zeros(variance.size)
        kept[np.argsort(-variance, None, kind="stable")[:count]] = 1
        thin = [x * kept.reshape(b.shape) for x in d]
        energy = np.array([(x * x).sum() for x in thin])
        shares = energy / (energy.sum() or 1)
        sign = np.where(np.sum(thin, 0) >= 0, 1, -1)
        agree = [(np.sign(x) == sign) * s for x, s in zip(thin, shares, strict=True)]
        total = np.sum([x * a for x, a in zip(thin, agree, strict=True)], 0)
        weight = np.sum(agree, 0)
        return b + total / np.where(weight < 1e-8, 1, weight)

    each(fused("sce", select_topk=share), formula)


def band(change: np.ndarray, density: float, gamma: float) -> np.ndarray:
    keep = int(density * change.size)
    top = min(int(gamma * change.size), change.size - keep)
    order = np.argsort(-np.abs(change), None, kind="stable")
    mask = np.zeros(change.size)
    mask[order[top : top + keep]] = 1
    return mask.reshape(change.shape)


@pytest.mark.parametrize(("density", "gamma"), [(0.5, 0.1), (0.95, 0.2), (0.3, 0.0), (0.01, 0.5)])
def test_breadcrumbs(fused: Callable[..., Arrays], density: float, gamma: float) -> None:
    def formula(b: np.ndarray, d: list[np.ndarray]) -> np.ndarray:
        return b + np.sum([w * x * band(x, density, gamma) for w, x in zip(W, d, strict=True)], 0)

    each(fused("breadcrumbs", own={"density": density, "gamma": gamma}), formula)


def test_breadcrumbs_ties_elects_signs(fused: Callable[..., Arrays]) -> None:
    def formula(b: np.ndarray, d: list[np.ndarray]) -> np.ndarray:
        thin = np.stack([w * x * band(x, 0.5, 0.1) for w, x in zip(W, d, strict=True)])
        sign = np.where(thin.sum(0) >= 0, 1, -1)
        return b + (thin * (np.sign(thin) == sign)).sum(0)

    each(fused("breadcrumbs_ties", own={"density": 0.5, "gamma": 0.1}), formula)


def rising(tmp_path: Path, rows: int, columns: int) -> tuple[str, str]:
    """Write a base of zeros and a model whose values rise along each row."""
    values = np.tile(np.arange(1, columns + 1, dtype=np.float32), (rows, 1))
    base = write_model(tmp_path / "base", {"w": np.zeros_like(values)})
    return str(base), str(write_model(tmp_path / "one", {"w": values}))


def dropped(base: str, one: str, seed: int = 0, rescale: bool = True, **own: Any) -> np.ndarray:
    data = {
        "merge_method": "della_linear",
        "base_model": base,
        "models": [{"model": one, "parameters": {"weight": 1, **own}}],
        "parameters": {"rescale": rescale},
        "seed": seed,
    }
    return dict(fused_tensors(data, threads=1))["w"]


def test_della_keeps_the_larger_changes_of_a_row_more_often(tmp_path: Path) -> None:
    base, one = rising(tmp_path, 20_000, 5)
    made = dropped(base, one, density=0.5, epsilon=0.2)
    # 20,000 draws: the standard deviation of a share is 0.0035
    np.testing.assert_allclose((made != 0).mean(0), [0.3, 0.4, 0.5, 0.6, 0.7], atol=0.015)
    assert np.abs(made).sum() == pytest.approx(20_000 * 15, rel=1e-5)


def test_della_without_rescale_keeps_values(tmp_path: Path) -> None:
    base, one = rising(tmp_path, 100, 7)
    made = dropped(base, one, density=0.5, epsilon=0.2, rescale=False)
    assert set(np.unique(made)) <= set(range(8))


def test_della_draws_the_same_however_the_tensor_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, one = rising(tmp_path, 300, 7)
    own: dict[str, Any] = {"density": 0.5, "epsilon": 0.2, "rescale": False}
    whole = dropped(base, one, **own)
    monkeypatch.setattr(engine, "BLOCK", 50)
    monkeypatch.setattr(engine, "SEGMENT", 100)
    np.testing.assert_array_equal(dropped(base, one, **own), whole)
    assert not np.array_equal(dropped(base, one, seed=1, **own), whole)


@pytest.mark.parametrize(("density", "epsilon"), [(0.1, 0.15), (0.9, 0.15), (0.0, 0.0)])
def test_della_refuses_what_is_no_probability(
    tmp_path: Path, density: float, epsilon: float
) -> None:
    base, one = rising(tmp_path, 2, 3)
    with pytest.raises(BadInput, match="between 0 and 1"):
        dropped(base, one, density=density, epsilon=epsilon)


ALL = {
    "nuslerp": 2,
    "multislerp": 3,
    "karcher": 3,
    "model_stock": 3,
    "nearswap": 1,
    "arcee_fusion": 1,
    "ram": 3,
    "ramplus_tl": 3,
    "sce": 3,
    "breadcrumbs": 3,
    "breadcrumbs_ties": 3,
    "della": 3,
    "della_linear": 3,
}
_OWN = {"sce": {"select_topk": 0.4}, "nearswap": {"t": 0.1}}


def _recipe(folders: list[str], method: str) -> dict[str, Any]:
    own = {"weight": 0.4} | ({"density": 0.4} if method.startswith(("bread", "della")) else {})
    return {
        "merge_method": method,
        "base_model": folders[0],
        "models": [{"model": m, "parameters": own} for m in folders[1 : ALL[method] + 1]],
        "parameters": _OWN.get(method, {}),
    }


@pytest.mark.parametrize("method", ALL)
def test_threads_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    folders = [str(write_model(tmp_path / f"m{i}", t)) for i, t in enumerate(drawn())]
    monkeypatch.setattr(engine, "BLOCK", 64)
    monkeypatch.setattr(engine, "SEGMENT", 128)
    data = _recipe(folders, method)
    made = {
        fuse(data, tmp_path / f"out{t}", threads=t).outputs["model.safetensors"] for t in (1, 3)
    }
    assert len(made) == 1


@pytest.mark.parametrize("method", [m for m in ALL if m != "karcher"])
def test_models_that_are_the_base_give_the_base(tmp_path: Path, method: str) -> None:
    base = drawn()[0]
    folders = [str(write_model(tmp_path / f"m{i}", base)) for i in range(4)]
    for name, values in fused_tensors(_recipe(folders, method)):
        np.testing.assert_array_equal(values, base[name])


@pytest.mark.parametrize("method", [m for m in ALL if ALL[m] == 3])
def test_order_changes_no_more_than_rounding(tmp_path: Path, method: str) -> None:
    folders = [str(write_model(tmp_path / f"m{i}", t)) for i, t in enumerate(drawn())]
    one = dict(fused_tensors(_recipe(folders, method)))
    other = dict(fused_tensors(_recipe([folders[0], *reversed(folders[1:])], method)))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-5, atol=1e-6)
