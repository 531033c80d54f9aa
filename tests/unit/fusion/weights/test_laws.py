# SPDX-License-Identifier: Apache-2.0
"""Laws that fusion obeys for any numbers, found by trying many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plait.fusion.weights import canonical_order, engine, fuse, fused_tensors
from plait.recipes.fusion import parse_recipe

from .models import bert, from_bfloat16, to_bfloat16, write_model

sizes = st.integers(1, 60)
values = st.floats(-100, 100, width=32, allow_subnormal=False)
weights = st.floats(-2, 2, width=32, allow_subnormal=False)
laws = settings(max_examples=40, deadline=None)


@contextmanager
def written(base: np.ndarray, *tuned: np.ndarray) -> Iterator[tuple[str, list[str]]]:
    with tempfile.TemporaryDirectory() as name:
        folders = [
            write_model(Path(name) / f"m{i}", {"w": v}) for i, v in enumerate((base, *tuned))
        ]
        yield str(folders[0]), [str(f) for f in folders[1:]]


def families(count: int) -> st.SearchStrategy[list[np.ndarray]]:
    return sizes.flatmap(
        lambda n: st.lists(arrays(np.float32, n, elements=values), min_size=count, max_size=count)
    )


def fused(
    method: str, base: str | None, models: list[tuple[str, dict[str, Any]]], **more: Any
) -> np.ndarray:
    data: dict[str, Any] = {
        "merge_method": method,
        "models": [{"model": m, "parameters": p} for m, p in models],
    }
    if base:
        data["base_model"] = base
    return dict(fused_tensors(data | more, threads=1))["w"]


@laws
@given(families(3), st.integers(0, 1))
def test_linear_with_one_weight_is_that_model(family: list[np.ndarray], place: int) -> None:
    with written(*family) as (_, models):
        chosen = [(m, {"weight": float(i == place)}) for i, m in enumerate(models)]
        np.testing.assert_array_equal(fused("linear", None, chosen), family[place + 1])


@laws
@given(families(3), st.booleans())
def test_no_weight_gives_the_base_bit_by_bit(family: list[np.ndarray], short: bool) -> None:
    stored = [to_bfloat16(v) if short else v for v in family]
    with written(*stored) as (base, models):
        made = fused("task_arithmetic", base, [(m, {"weight": 0.0}) for m in models])
    wanted = from_bfloat16(stored[0]) if short else stored[0]
    np.testing.assert_array_equal(made, wanted)


@laws
@given(families(2), weights)
def test_ties_with_one_model_and_all_kept_is_task_arithmetic(
    family: list[np.ndarray], weight: float
) -> None:
    with written(*family) as (base, models):
        one = [(models[0], {"weight": weight, "density": 1.0})]
        made = fused("ties", base, one, parameters={"normalize": False})
        plain = fused("task_arithmetic", base, [(models[0], {"weight": weight})])
    np.testing.assert_array_equal(made, plain)
    wanted = family[0] + np.float32(weight) * (family[1] - family[0])
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-4)


@laws
@given(families(2), st.floats(0.01, 1))
def test_ties_keeps_exactly_its_share(family: list[np.ndarray], density: float) -> None:
    changes = family[1] - family[0]
    with written(np.zeros_like(changes), changes) as (base, models):
        made = fused("ties", base, [(models[0], {"weight": 1.0, "density": density})])
    count = max(1, int(density * changes.size))
    assert np.count_nonzero(made) == min(count, np.count_nonzero(changes))
    dropped = np.abs(changes[made == 0])
    if np.any(made != 0) and dropped.size:
        assert dropped.max() <= np.abs(changes[made != 0]).min()


@laws
@given(families(2), st.floats(0, 1))
def test_slerp_begins_at_the_base_and_ends_at_the_other(family: list[np.ndarray], t: float) -> None:
    with written(*family) as (base, models):
        at = {
            p: fused("slerp", base, [(models[0], {})], parameters={"t": p}) for p in (0.0, t, 1.0)
        }
    np.testing.assert_allclose(at[0.0], family[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(at[1.0], family[1], rtol=1e-4, atol=1e-3)


OPTIONS = {
    "linear": {},
    "task_arithmetic": {},
    "ties": {"density": 0.4},
    "dare_linear": {"density": 0.4},
    "dare_ties": {"density": 0.4},
}


@pytest.mark.parametrize("method", OPTIONS)
def test_canonical_order_gives_the_same_bytes_for_every_order(tmp_path: Path, method: str) -> None:
    base = bert(0)
    folder = write_model(tmp_path / "base", base)
    models = []
    for number, weight in enumerate((0.1, 0.7, 0.33, 0.4)):
        tuned = write_model(tmp_path / f"m{number}", bert(number + 1, base))
        models.append({"model": str(tuned), "parameters": {"weight": weight, **OPTIONS[method]}})
    hashes, recipes = set(), set()
    for number, order in enumerate(list(permutations(models))[::5]):
        data = {"merge_method": method, "models": list(order), "order": "canonical"}
        if method != "linear":
            data["base_model"] = str(folder)
        result = fuse(data, tmp_path / f"out{number}", threads=1 + number % 3)
        hashes.add(result.outputs["model.safetensors"])
        recipes.add(repr(canonical_order(data)))
    assert len(hashes) == 1
    assert len(recipes) == 1


def test_canonical_order_follows_content_not_folders(tmp_path: Path) -> None:
    one, two = bert(1), bert(2)
    hashes = set()
    for place, pair in enumerate(((one, two), (two, one))):
        folders = [write_model(tmp_path / f"{place}{i}", t) for i, t in enumerate(pair)]
        own = {id(one): 0.3, id(two): 0.6}
        data = {
            "merge_method": "linear",
            "order": "canonical",
            "models": [
                {"model": str(f), "parameters": {"weight": own[id(t)]}}
                for f, t in zip(folders, pair, strict=True)
            ],
        }
        hashes.add(fuse(data, tmp_path / f"out{place}").outputs["model.safetensors"])
    assert len(hashes) == 1


@pytest.mark.parametrize("method", [*OPTIONS, "slerp"])
def test_threads_and_segments_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    random = np.random.default_rng(5)
    base = {
        f"layer.{i}.w": random.standard_normal((300, 70 + i)).astype(np.float32) for i in range(4)
    }
    tuned = {n: v + random.standard_normal(v.shape).astype(np.float32) for n, v in base.items()}
    folders = [write_model(tmp_path / n, t) for n, t in (("base", base), ("tuned", tuned))]
    own = {} if method == "slerp" else {"weight": 0.7, **OPTIONS[method]}
    data: dict[str, Any] = {
        "merge_method": method,
        "models": [{"model": str(folders[1]), "parameters": own}],
        "base_model": str(folders[0]),
    }
    if method == "slerp":
        data["parameters"] = {"t": 0.4}
    if method == "linear":
        del data["base_model"]
    monkeypatch.setattr(engine, "BLOCK", 1024)
    monkeypatch.setattr(engine, "SEGMENT", 4096)
    hashes = {
        fuse(data, tmp_path / f"out{t}", threads=t).outputs["model.safetensors"] for t in (1, 2, 4)
    }
    assert len(hashes) == 1


def test_the_report_is_a_recipe_that_gives_the_same(tmp_path: Path) -> None:
    import json

    base = bert(0)
    folders = [write_model(tmp_path / n, t) for n, t in (("base", base), ("a", bert(1, base)))]
    data = {
        "merge_method": "dare_ties",
        "base_model": str(folders[0]),
        "models": [
            {"model": str(folders[1]), "parameters": {"weight": 0.5, "density": [0.2, 0.9]}}
        ],
        "seed": 11,
    }
    first = fuse(data, tmp_path / "one")
    report = json.loads((tmp_path / "one" / "plait_fusion.json").read_text())
    assert parse_recipe(report["recipe"]) == parse_recipe(data)
    assert report["outputs"] == first.outputs
    assert fuse(report["recipe"], tmp_path / "two").outputs == first.outputs
