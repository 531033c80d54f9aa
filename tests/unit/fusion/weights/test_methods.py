# SPDX-License-Identifier: Apache-2.0
"""Each method against its formula, written down again in plain float64 numpy."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion.weights import engine, fused_tensors, methods
from plait.fusion.weights.methods.base import Block, Method, Parameter

from .models import bert, from_bfloat16, to_bfloat16, write_model

Arrays = dict[str, np.ndarray]
WEIGHTS = (0.5, 0.3, -0.4)


def recipe(
    method: str, folders: dict[str, Path], own: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    models = [n for n in folders if n != "base"]
    data: dict[str, Any] = {
        "merge_method": method,
        "models": [
            {"model": str(folders[n]), "parameters": {"weight": w, **(own or {})}}
            for n, w in zip(models, WEIGHTS, strict=False)
        ],
        "base_model": str(folders["base"]),
    }
    return data | more


def loaded(count: int) -> tuple[Arrays, list[Arrays]]:
    base = bert(0)
    return base, [bert(n + 1, base) for n in range(count)]


def ties_formula(
    base: np.ndarray, tuned: list[np.ndarray], density: float, normalize: bool = True
) -> np.ndarray:
    """Trim, elect, add (arXiv:2306.01708), the weights taken into the election as mergekit does."""
    kept = []
    for values in tuned:
        change = (values - base).ravel()
        count = max(1, int(density * change.size))
        order = np.argsort(-np.abs(change), kind="stable")
        thin = np.zeros(change.size)
        thin[order[:count]] = change[order[:count]]
        kept.append(thin)
    weighed = np.stack([w * k for w, k in zip(WEIGHTS, kept, strict=False)])
    sign = np.where(weighed.sum(0) >= 0, 1.0, -1.0)
    agrees = np.sign(weighed) == sign
    total = (weighed * agrees).sum(0)
    if normalize:
        weight = (np.array(WEIGHTS[: len(kept)])[:, None] * agrees).sum(0)
        total = total / np.where(np.abs(weight) < 1e-8, 1, weight)
    return base + total.reshape(base.shape)


def test_linear(family: Callable[..., dict[str, Path]]) -> None:
    _, tuned = loaded(3)
    made = dict(fused_tensors(recipe("linear", family())))
    for name, values in made.items():
        wanted = sum(w * t[name].astype(np.float64) for w, t in zip(WEIGHTS, tuned, strict=True))
        np.testing.assert_allclose(values, wanted / sum(WEIGHTS), rtol=1e-5, atol=2e-6)


def test_linear_golden_values(tmp_path: Path) -> None:
    one = write_model(tmp_path / "a", {"w": np.array([1, 2, 3, -4], np.float32)})
    two = write_model(tmp_path / "b", {"w": np.array([5, -2, 0.5, 4], np.float32)})
    models = [{"model": str(f), "parameters": {"weight": w}} for f, w in ((one, 1), (two, 3))]
    made = dict(fused_tensors({"merge_method": "linear", "models": models}))
    np.testing.assert_array_equal(made["w"], np.array([4, -1, 1.125, 2], np.float32))
    plain = {"merge_method": "linear", "models": models, "parameters": {"normalize": False}}
    np.testing.assert_array_equal(
        dict(fused_tensors(plain))["w"], np.array([16, -4, 4.5, 8], np.float32)
    )


def test_linear_multiplies_and_adds_with_one_rounding(tmp_path: Path) -> None:
    # the product is a hair under 2^-23; rounded by itself it is 2^-23, half a step of the sum, and
    # the sum would be rounded up
    a, b = np.float32(3 + 2**-22), np.float32(1 + 2**-13)
    weight = float(np.float32(2**-23 * (1 - 2**-13)))
    assert a + b * np.float32(weight) == 3 + 2**-21
    models = [
        {"model": str(write_model(tmp_path / n, {"w": np.array([v])})), "parameters": {"weight": w}}
        for n, v, w in (("a", a, 1.0), ("b", b, weight))
    ]
    data = {"merge_method": "linear", "models": models, "parameters": {"normalize": False}}
    np.testing.assert_array_equal(dict(fused_tensors(data))["w"], [3 + 2**-22])


def test_task_arithmetic(family: Callable[..., dict[str, Path]]) -> None:
    base, tuned = loaded(3)
    made = dict(fused_tensors(recipe("task_arithmetic", family(), parameters={"lambda": 0.7})))
    for name, values in made.items():
        wide = base[name].astype(np.float64)
        wanted = wide + 0.7 * sum(w * (t[name] - wide) for w, t in zip(WEIGHTS, tuned, strict=True))
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)


def test_task_arithmetic_normalized(family: Callable[..., dict[str, Path]]) -> None:
    base, tuned = loaded(2)
    made = dict(fused_tensors(recipe("task_arithmetic", family(2), parameters={"normalize": True})))
    for name, values in made.items():
        wide = base[name].astype(np.float64)
        wanted = wide + (0.5 * (tuned[0][name] - wide) + 0.3 * (tuned[1][name] - wide)) / 0.8
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("small", [True, False], ids=["by partition", "by digits"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("density", [0.001, 0.2, 0.5, 0.999, 1.0])
def test_ties(
    family: Callable[..., dict[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
    density: float,
    normalize: bool,
    small: bool,
) -> None:
    monkeypatch.setattr("plait.fusion.weights.methods.thresholds.SMALL", 10_000 if small else 0)
    monkeypatch.setattr(engine, "BLOCK", 10_000 if small else 64)
    base, tuned = loaded(3)
    data = recipe("ties", family(), {"density": density}, parameters={"normalize": normalize})
    for name, values in fused_tensors(data, threads=1):
        wanted = ties_formula(base[name], [t[name] for t in tuned], density, normalize)
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("small", [10_000, 0], ids=["by partition", "by digits"])
def test_ties_keeps_the_first_of_equal_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr("plait.fusion.weights.methods.thresholds.SMALL", small)
    base = write_model(tmp_path / "base", {"w": np.zeros(8, np.float32)})
    changed = np.array([1, -1, 2, 1, -1, 0, 0, 1], np.float32)
    one = write_model(tmp_path / "one", {"w": changed})
    data = recipe("ties", {"base": base, "one": one}, {"density": 0.5})
    data["models"][0]["parameters"]["weight"] = 1
    np.testing.assert_array_equal(dict(fused_tensors(data))["w"], [1, -1, 2, 1, 0, 0, 0, 0])


def test_ties_golden_values(tmp_path: Path) -> None:
    folders = {
        n: write_model(tmp_path / n, {"w": np.array(v, np.float32)})
        for n, v in {"base": [1, 1, 1, 1], "a": [3, 0, 1.5, 1], "b": [2, 3, 0.75, 1]}.items()
    }
    data = recipe("ties", folders, {"density": 0.5})
    for model, weight in zip(data["models"], (1, 2), strict=True):
        model["parameters"]["weight"] = weight
    # kept changes: a [2, -1, 0, 0], b [1, 2, 0, 0]; weighed: [2, -1], [2, 4]; signs: +, +
    # first: (2 + 2) / (1 + 2); second: only b agrees, 4 / 2
    np.testing.assert_allclose(dict(fused_tensors(data))["w"], [1 + 4 / 3, 3, 1, 1], rtol=1e-6)


def test_ties_rescale_restores_the_size_of_the_changes(tmp_path: Path) -> None:
    change = np.array([4, -3, 2, 1], np.float32)
    folders = {
        "base": write_model(tmp_path / "base", {"w": np.zeros(4, np.float32)}),
        "a": write_model(tmp_path / "a", {"w": change}),
    }
    data = recipe(
        "ties", folders, {"density": 0.5}, parameters={"rescale": True, "normalize": False}
    )
    data["models"][0]["parameters"]["weight"] = 1
    made = dict(fused_tensors(data))["w"]
    np.testing.assert_allclose(made, change * [10 / 7, 10 / 7, 0, 0], rtol=1e-6)


def test_slerp(family: Callable[..., dict[str, Path]]) -> None:
    folders = family(
        1,
    )
    base, other = bert(0), bert(9)
    write_model(folders["m0"], other)
    data = {
        "merge_method": "slerp",
        "base_model": str(folders["base"]),
        "models": [{"model": str(folders["m0"])}],
        "parameters": {"t": 0.3},
    }
    for name, values in fused_tensors(data):
        a, b = base[name].astype(np.float64), other[name].astype(np.float64)
        theta = np.arccos((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
        wanted = (np.sin(0.7 * theta) * a + np.sin(0.3 * theta) * b) / np.sin(theta)
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)


def test_slerp_of_parallel_tensors_is_linear(tmp_path: Path) -> None:
    values = np.array([1, 2, 3], np.float32)
    a, b = (write_model(tmp_path / n, {"w": v}) for n, v in (("a", values), ("b", 3 * values)))
    data = {
        "merge_method": "slerp",
        "base_model": str(a),
        "models": [{"model": str(a)}, {"model": str(b)}],
        "parameters": {"t": 0.25},
    }
    np.testing.assert_allclose(dict(fused_tensors(data))["w"], 1.5 * values, rtol=1e-6)


def big(tmp_path: Path) -> tuple[dict[str, Path], np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    base = random.standard_normal((400, 500)).astype(np.float32)
    change = random.standard_normal((400, 500)).astype(np.float32)
    folders = {
        "base": write_model(tmp_path / "base", {"w": base}),
        "a": write_model(tmp_path / "a", {"w": base + change}),
    }
    return folders, base, base + change - base


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_keeps_the_share_and_the_size(tmp_path: Path, method: str) -> None:
    folders, base, change = big(tmp_path)
    data = recipe(method, folders, {"density": 0.3})
    data["models"][0]["parameters"]["weight"] = 1
    left = dict(fused_tensors(data))["w"] - base
    kept = left != 0
    # of 200,000 draws at 0.3 the standard error is 0.001
    assert kept.mean() == pytest.approx(0.3, abs=0.005)
    assert np.abs(left).sum() == pytest.approx(np.abs(change).sum(), rel=1e-3)
    ratio = left[kept] / change[kept]
    assert np.median(ratio) == pytest.approx(1 / 0.3, rel=0.02)
    # what is kept has nothing to do with size or place
    assert np.corrcoef(kept.ravel(), np.abs(change).ravel())[0, 1] == pytest.approx(0, abs=0.01)
    assert kept.mean(0).std() == pytest.approx(np.sqrt(0.21 / 400), rel=0.15)


def test_dare_draws_by_seed_tensor_and_model(tmp_path: Path) -> None:
    folders, _, _ = big(tmp_path)
    data = recipe("dare_linear", folders, {"density": 0.3})
    first = dict(fused_tensors(data))["w"]
    np.testing.assert_array_equal(dict(fused_tensors(data))["w"], first)
    assert np.mean(dict(fused_tensors(data | {"seed": 1}))["w"] == first) < 0.6


def test_dare_does_not_depend_on_the_size_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, _, _ = big(tmp_path)
    data = recipe("dare_linear", folders, {"density": 0.3}, parameters={"rescale": False})
    first = dict(fused_tensors(data))["w"]
    monkeypatch.setattr(engine, "BLOCK", 4096)
    np.testing.assert_array_equal(dict(fused_tensors(data))["w"], first)


def test_bfloat16_in_and_out(tmp_path: Path) -> None:
    base, tuned = loaded(2)
    folders = {"base": write_model(tmp_path / "base", {n: to_bfloat16(v) for n, v in base.items()})}
    for number, one in enumerate(tuned):
        folders[f"m{number}"] = write_model(
            tmp_path / f"m{number}", {n: to_bfloat16(v) for n, v in one.items()}
        )
    for name, values in fused_tensors(recipe("task_arithmetic", folders)):
        b = from_bfloat16(to_bfloat16(base[name]))
        total = np.zeros_like(b)
        for weight, one in zip((0.5, 0.3), tuned, strict=True):
            total += np.float32(weight) * (from_bfloat16(to_bfloat16(one[name])) - b)
        np.testing.assert_array_equal(values, from_bfloat16(to_bfloat16(b + total)))


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_formats(tmp_path: Path, kind: type) -> None:
    base, tuned = loaded(1)
    folders = {
        "base": write_model(tmp_path / "base", {n: v.astype(kind) for n, v in base.items()}),
        "m0": write_model(tmp_path / "m0", {n: v.astype(kind) for n, v in tuned[0].items()}),
    }
    for name, values in fused_tensors(recipe("ties", folders, {"density": 0.3})):
        assert values.dtype == kind
        b, m = base[name].astype(kind), tuned[0][name].astype(kind)
        wide = np.float64 if kind is np.float64 else np.float32
        wanted = ties_formula(b.astype(wide), [m.astype(wide)], 0.3)
        tolerance = 1e-12 if kind is np.float64 else 2e-3
        np.testing.assert_allclose(values, wanted, rtol=tolerance, atol=tolerance)


class TestRegistry:
    def test_every_method_describes_itself(self) -> None:
        assert set(methods.names()) >= {
            "linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "passthrough",
        }  # fmt: skip
        for name in methods.names():
            method = methods.get(name)
            assert method.title
            assert all(p.help for p in method.parameters)

    def test_an_unknown_method_gets_the_nearest(self) -> None:
        with pytest.raises(BadInput, match="did you mean 'task_arithmetic'"):
            methods.get("task_aritmetic")

    def test_a_package_can_add_a_method(
        self, family: Callable[..., dict[str, Path]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        point = EntryPoint("median", f"{__name__}:MEDIAN", methods.GROUP)
        methods._others.cache_clear()
        monkeypatch.setattr(methods, "entry_points", lambda group: [point])
        try:
            data = recipe("median", family())
            for model in data["models"]:
                del model["parameters"]
            made = dict(fused_tensors(data | {"parameters": {"scale": 2}}))
        finally:
            methods._others.cache_clear()
        _, tuned = loaded(3)
        for name, values in made.items():
            wanted = 2 * np.median([t[name] for t in tuned], axis=0)
            np.testing.assert_allclose(values, wanted, rtol=1e-6)


def _median(block: Block, out: np.ndarray) -> None:
    assert out.size == np.prod(block.shape)  # `whole` gives whole tensors
    out[:] = np.median(np.stack(block.models), axis=0) * block.options["scale"]


MEDIAN = Method(
    name="median",
    title="median of the models",
    paper="",
    parameters=(Parameter("scale", 1.0, "factor on the median"),),
    combine=_median,
    whole=True,
)
