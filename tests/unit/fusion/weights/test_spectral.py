# SPDX-License-Identifier: Apache-2.0
"""Methods over singular vectors and over statistics: the laws that their papers give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion.weights import fuse, fused_tensors

from .models import write_model, write_safetensors

SPECTRAL = ("tsv_m", "iso_c", "iso_cts", "wudi", "knots_ties")
Tensors = dict[str, np.ndarray]


def drawn(seed: int, size: float = 1.0) -> Tensors:
    random = np.random.default_rng(seed)
    shapes = {"tall": (20, 8), "wide": (6, 15), "norm": (9,)}
    return {n: (size * random.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}


BASE = drawn(0)
CHANGES = [drawn(s, 0.1) for s in (1, 2, 3)]


def folders(tmp_path: Path, changes: list[Tensors]) -> list[str]:
    models = [BASE, *({n: BASE[n] + c[n] for n in BASE} for c in changes)]
    return [str(write_model(tmp_path / f"m{i}", t)) for i, t in enumerate(models)]


def recipe(paths: list[str], method: str, own: Any = None, **parameters: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "merge_method": method,
        "models": [{"model": p, "parameters": own or {}} for p in paths[1:]],
        "parameters": parameters,
    }
    return data | {"base_model": paths[0]} if method not in ("fisher", "regmean") else data


def changed(tmp_path: Path, changes: list[Tensors], method: str, **parameters: Any) -> Tensors:
    made = dict(fused_tensors(recipe(folders(tmp_path, changes), method, **parameters)))
    return {n: v.astype(np.float64) - BASE[n] for n, v in made.items()}


@pytest.mark.parametrize("method", ["tsv_m", "wudi", "knots_ties"])
def test_one_model_alone_stays_as_it_is(tmp_path: Path, method: str) -> None:
    made = changed(tmp_path, CHANGES[:1], method)
    for name, values in made.items():
        np.testing.assert_allclose(values, CHANGES[0][name], atol=2e-6)


@pytest.mark.parametrize("method", SPECTRAL)
def test_what_is_no_matrix_is_averaged(tmp_path: Path, method: str) -> None:
    made = changed(tmp_path, CHANGES, method, **{"lambda": 0.5})
    np.testing.assert_allclose(
        made["norm"], 0.5 * np.mean([c["norm"] for c in CHANGES], 0), atol=1e-6
    )


@pytest.mark.parametrize("method", ["iso_c", "iso_cts"])
def test_singular_values_become_equal(tmp_path: Path, method: str) -> None:
    made = changed(tmp_path, CHANGES, method)
    for name in ("tall", "wide"):
        sizes = np.linalg.svd(made[name], compute_uv=False)
        np.testing.assert_allclose(sizes, sizes[0], rtol=1e-4)
    if method == "iso_c":
        total = np.linalg.svd(sum(c["tall"] for c in CHANGES), compute_uv=False)
        assert np.linalg.svd(made["tall"], compute_uv=False)[0] == pytest.approx(
            total.mean(), rel=1e-4
        )


def test_iso_cts_with_all_in_common_is_iso_c(tmp_path: Path) -> None:
    one = changed(tmp_path / "a", CHANGES, "iso_cts", common=1)
    other = changed(tmp_path / "b", CHANGES, "iso_c")
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], atol=2e-6)


@pytest.mark.parametrize("name", ["tall", "wide"])
def test_iso_cts_shares_its_rank_out_as_the_paper_does(tmp_path: Path, name: str) -> None:
    changes = [c[name].astype(np.float64) for c in CHANGES]
    rank, count = min(changes[0].shape), len(changes)
    # what is not common, rounded to a multiple of the models: 8 - int(6.4) = 2 becomes 3
    own = round((rank - int(rank * 0.8)) / count)
    assert own == 1
    u, s, v = np.linalg.svd(sum(changes), full_matrices=False)
    common = rank - own * count
    us, sizes, vs = [u[:, :common]], [s[:common]], [v[:common]]
    for change in changes:
        u_own, s_own, v_own = np.linalg.svd(change - us[0] @ us[0].T @ change, full_matrices=False)
        us.append(u_own[:, :own])
        sizes.append(s_own[:own])
        vs.append(v_own[:own])
    u1, _, u2 = np.linalg.svd(np.concatenate(us, 1), full_matrices=False)
    v1, _, v2 = np.linalg.svd(np.concatenate(vs, 0), full_matrices=False)
    expected = np.concatenate(sizes).mean() * (u1 @ u2) @ (v1 @ v2)
    made = changed(tmp_path, CHANGES, "iso_cts")
    np.testing.assert_allclose(made[name], expected, atol=2e-6)


def test_wudi_takes_the_steps_of_its_paper(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    vectors = torch.stack([torch.from_numpy(c["wide"]) for c in CHANGES])
    found = torch.nn.Parameter(vectors.sum(0))
    adam = torch.optim.Adam([found], lr=1e-4)
    energies = vectors.square().sum((1, 2), keepdim=True)
    for _ in range(50):
        loss = (((found - vectors) @ vectors.mT).square() / energies).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    made = changed(tmp_path, CHANGES, "wudi", rate=1e-4, steps=50)
    np.testing.assert_allclose(made["wide"], found.detach().numpy(), atol=1e-5)


def apart() -> list[Tensors]:
    """Return two changes of rank one that share no direction, on either side."""
    found = []
    for place in (0, 1):
        change = {n: np.zeros_like(v) for n, v in BASE.items()}
        change["tall"][place * 3, place * 2] = 0.7
        change["wide"][place, place * 5] = -0.4
        found.append(change)
    return found


@pytest.mark.parametrize("method", ["tsv_m", "wudi"])
def test_changes_that_share_no_direction_are_added(tmp_path: Path, method: str) -> None:
    made = changed(tmp_path, apart(), method)
    for name in ("tall", "wide"):
        np.testing.assert_allclose(made[name], sum(c[name] for c in apart()), atol=2e-6)


def interference(found: np.ndarray, changes: list[np.ndarray]) -> float:
    return sum(float((((found - c) @ c.T) ** 2).sum() / (c**2).sum()) for c in changes)


def test_wudi_lessens_interference(tmp_path: Path) -> None:
    made = changed(tmp_path, CHANGES, "wudi", rate=0.001, steps=500)
    for name in ("tall", "wide"):
        changes = [c[name].astype(np.float64) for c in CHANGES]
        start = interference(np.sum(changes, 0), changes)
        assert interference(made[name], changes) < 0.5 * start


def test_weights_scale_the_changes(tmp_path: Path) -> None:
    paths = folders(tmp_path, CHANGES[:1])
    made = dict(fused_tensors(recipe(paths, "tsv_m", {"weight": 0.5})))
    np.testing.assert_allclose(made["tall"], BASE["tall"] + 0.5 * CHANGES[0]["tall"], atol=2e-6)


@pytest.mark.parametrize("method", SPECTRAL)
def test_threads_change_no_byte(tmp_path: Path, method: str) -> None:
    data = recipe(folders(tmp_path, CHANGES), method)
    made = {
        fuse(data, tmp_path / f"out{t}", threads=t).outputs["model.safetensors"] for t in (1, 3)
    }
    assert len(made) == 1


@pytest.mark.parametrize("method", SPECTRAL)
def test_no_change_gives_the_base(tmp_path: Path, method: str) -> None:
    nothing = [{n: np.zeros_like(v) for n, v in BASE.items()}] * 2
    for values in changed(tmp_path, nothing, method).values():
        assert not values.any()


def with_statistics(paths: list[str], kind: str, values: list[Tensors]) -> None:
    for path, own in zip(paths[1:], values, strict=True):
        named = {f"{kind}.{n}": v.astype(np.float32) for n, v in own.items()}
        write_safetensors(Path(path) / "plait_statistics.safetensors", named)


def test_fisher(tmp_path: Path) -> None:
    paths = folders(tmp_path, CHANGES)
    known = [{n: np.square(v) for n, v in drawn(s).items()} for s in (7, 8, 9)]
    with_statistics(paths, "fisher", known)
    made = dict(fused_tensors(recipe(paths, "fisher", normalize=False)))
    for name, values in made.items():
        shares = np.stack([k[name].astype(np.float64) for k in known])
        models = np.stack([BASE[name] + c[name] for c in CHANGES])
        np.testing.assert_allclose(values, (shares * models).sum(0) / shares.sum(0), rtol=1e-5)


def inputs(seed: int, width: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((50, width)) * random.uniform(0.1, 2, width)


def test_regmean_is_the_least_squares_solution(tmp_path: Path) -> None:
    paths = folders(tmp_path, CHANGES)
    seen = [{n: inputs(s, BASE[n].shape[1]) for n in ("tall", "wide")} for s in (7, 8, 9)]
    with_statistics(paths, "gram", [{n: x.T @ x for n, x in own.items()} for own in seen])
    made = dict(fused_tensors(recipe(paths, "regmean", shrink=1.0)))
    for name in ("tall", "wide"):
        stacked = np.concatenate([own[name] for own in seen])
        wanted = np.concatenate(
            [own[name] @ (BASE[name] + c[name]).T for own, c in zip(seen, CHANGES, strict=True)]
        )
        solution = np.linalg.lstsq(stacked, wanted, rcond=None)[0].T
        np.testing.assert_allclose(made[name], solution, atol=1e-5)
    np.testing.assert_allclose(
        made["norm"], BASE["norm"] + np.mean([c["norm"] for c in CHANGES], 0), atol=1e-6
    )


def test_regmean_of_the_same_inputs_is_the_mean(tmp_path: Path) -> None:
    paths = folders(tmp_path, CHANGES)
    gram = {n: inputs(1, BASE[n].shape[1]) for n in ("tall", "wide")}
    with_statistics(paths, "gram", [{n: x.T @ x for n, x in gram.items()}] * 3)
    made = dict(fused_tensors(recipe(paths, "regmean")))
    np.testing.assert_allclose(
        made["tall"], BASE["tall"] + np.mean([c["tall"] for c in CHANGES], 0), atol=1e-5
    )


def test_inputs_that_never_occurred_are_averaged(tmp_path: Path) -> None:
    paths = folders(tmp_path, CHANGES[:2])
    grams = [{n: np.zeros((BASE[n].shape[1],) * 2) for n in ("tall", "wide")} for _ in range(2)]
    grams[0]["tall"][0, 0] = 5  # only the first model ever saw the first input
    with_statistics(paths, "gram", grams)
    made = dict(fused_tensors(recipe(paths, "regmean")))["tall"]
    np.testing.assert_allclose(made[:, 0], (BASE["tall"] + CHANGES[0]["tall"])[:, 0], atol=1e-5)
    mean = BASE["tall"] + np.mean([c["tall"] for c in CHANGES[:2]], 0)
    np.testing.assert_allclose(made[:, 1:], mean[:, 1:], atol=1e-5)


def test_statistics_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs statistics"):
        list(fused_tensors(recipe(folders(tmp_path, CHANGES), "fisher")))


def test_statistics_of_another_shape(tmp_path: Path) -> None:
    paths = folders(tmp_path, CHANGES[:1])
    with_statistics(paths, "gram", [{"tall": np.eye(3)}])
    with pytest.raises(BadInput, match=r"must be of floats in the shape \[8, 8\]"):
        list(fused_tensors(recipe(paths, "regmean")))


def test_statistics_are_among_the_inputs(tmp_path: Path) -> None:
    paths = folders(tmp_path, CHANGES[:2])
    with_statistics(paths, "fisher", [{n: np.ones_like(v) for n, v in BASE.items()}] * 2)
    result = fuse(recipe(paths, "fisher"), tmp_path / "out")
    assert "plait_statistics.safetensors" in result.inputs[paths[1]]
