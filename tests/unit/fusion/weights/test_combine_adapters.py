# SPDX-License-Identifier: Apache-2.0
"""Adapters combined without their base: against PEFT, and against the formulas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled, PlaitError
from plait.fusion import check, fuse
from plait.fusion.weights.adapters.combinations import (
    Factors,
    in_one_basis,
    keep_random,
    nearest,
)

from .models import read_safetensors, to_bfloat16, write_safetensors

MODULES = {"layers.0.proj": (6, 5), "layers.1.proj": (6, 5), "layers.1.out": (5, 6)}
SCALES = {0: 2.0, 1: 0.5, 2: 1.0}


def adapter(folder: Path, seed: int, rank: int = 2, **config: Any) -> Path:
    """Write an adapter whose B A is of full rank."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    tensors = {}
    for module, (rows, columns) in MODULES.items():
        key = f"base_model.model.{module}"
        tensors[f"{key}.lora_A.weight"] = random.standard_normal((rank, columns), np.float32)
        tensors[f"{key}.lora_B.weight"] = random.standard_normal((rows, rank), np.float32)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    told = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank * SCALES.get(seed, 1.0),
        "target_modules": ["proj", "out"],
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def adapters(tmp_path: Path) -> list[str]:
    return [str(adapter(tmp_path / f"lora{n}", n)) for n in range(3)]


def recipe(folders: list[str], method: str, weights: Any = (0.5, 0.7, -0.3), **more: Any) -> Any:
    return {
        "merge_method": method,
        "models": [
            {"model": f, "parameters": {"weight": w}}
            for f, w in zip(folders, weights, strict=False)
        ],
        "parameters": more,
    }


def products(folder: Path) -> dict[str, np.ndarray]:
    """Return what an adapter adds to each module's weight."""
    tensors = read_safetensors(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    found = {}
    for name, a in tensors.items():
        if name.endswith(".lora_A.weight"):
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            found[name.split("model.", 2)[-1][: -len(".lora_A.weight")]] = (
                scale * b.astype(np.float64) @ a.astype(np.float64)
            )
    return found


def test_cat_and_a_large_svd_are_the_weighted_sum(tmp_path: Path, adapters: list[str]) -> None:
    parts = [products(Path(f)) for f in adapters]
    for method, more in (("cat", {}), ("svd", {"svd_rank": 6})):
        out = tmp_path / method
        fuse(recipe(adapters, method, **more), out)
        for module, values in products(out).items():
            wanted = 0.5 * parts[0][module] + 0.7 * parts[1][module] - 0.3 * parts[2][module]
            np.testing.assert_allclose(values, wanted, atol=1e-5)
        assert json.loads((out / "adapter_config.json").read_text())["r"] == 6


def test_svd_is_the_nearest_of_its_rank(tmp_path: Path, adapters: list[str]) -> None:
    parts = [products(Path(f)) for f in adapters]
    fuse(recipe(adapters, "svd"), tmp_path / "out")
    for module, values in products(tmp_path / "out").items():
        whole = 0.5 * parts[0][module] + 0.7 * parts[1][module] - 0.3 * parts[2][module]
        left, sizes, right = np.linalg.svd(whole)
        wanted = (left[:, :2] * sizes[:2]) @ right[:2]
        np.testing.assert_allclose(values, wanted, atol=1e-5)


def test_the_small_svd_is_that_of_the_whole_matrix() -> None:
    random = np.random.default_rng(0)
    whole = Factors(random.standard_normal((7, 30)), random.standard_normal((20, 7)), 1, 1)
    found = nearest(whole, 3)
    left, sizes, right = np.linalg.svd(whole.b @ whole.a, full_matrices=False)
    np.testing.assert_allclose(found.b @ found.a, (left[:, :3] * sizes[:3]) @ right[:3], atol=1e-10)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd"])
def test_dare_draws_by_seed_and_content(tmp_path: Path, adapters: list[str], method: str) -> None:
    told = recipe(adapters, method, density=0.5) | {"seed": 3}
    one = fuse(told, tmp_path / "a").outputs
    again = fuse(told, tmp_path / "b").outputs
    other = fuse(told | {"seed": 4}, tmp_path / "c").outputs
    assert one == again != other


def test_dare_is_right_on_average() -> None:
    """What is kept is divided by its probability: the mean of many draws is what there was."""
    values = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    random = np.random.default_rng(1)
    draws = np.stack([keep_random(values, 0.6, random) for _ in range(4000)])
    # the deviation of one draw is |a| sqrt(0.4 / 0.6)
    error = np.abs(draws.mean(0) - values) / (np.abs(values) * np.sqrt(0.4 / 0.6 / 4000))
    assert error.max() < 4
    assert np.mean(draws != 0) == pytest.approx(0.6, abs=0.01)


def by_the_authors(parts: list[dict[str, np.ndarray]], density: float) -> dict[str, np.ndarray]:
    """KnOTS-TIES on whole matrices: one threshold for each adapter over all modules."""
    shapes, bases, flat = [], [], [[] for _ in parts]
    for module in MODULES:
        columns = parts[0][module].shape[1]
        left, sizes, right = np.linalg.svd(
            np.concatenate([p[module] for p in parts], 1), full_matrices=False
        )
        kept = sizes > 1e-5
        left, sizes, right = left[:, kept], sizes[kept], right[kept]
        bases.append(left)
        for i in range(len(parts)):
            own = sizes[:, None] * right[:, i * columns : (i + 1) * columns]
            shapes.append(own.shape)
            flat[i].append(own.reshape(-1))
    vectors = np.stack([np.concatenate(f) for f in flat])
    size = vectors.shape[1]
    if density < 1:
        place = size - int(size * density)
        least = np.partition(np.abs(vectors), place - 1, axis=1)[:, place - 1]
        vectors = vectors * (np.abs(vectors) >= least[:, None])
    sign = np.sign(vectors.sum(0))
    sign[sign == 0] = np.sign(sign.sum())
    chosen = np.where(np.where(sign > 0, vectors > 0, vectors < 0), vectors, 0)
    merged = 0.6 * chosen.sum(0) / np.maximum((chosen != 0).sum(0), 1)
    found, start = {}, 0
    for module, left, shape in zip(MODULES, bases, shapes[:: len(parts)], strict=True):
        found[module] = left @ merged[start : start + np.prod(shape)].reshape(shape)
        start += int(np.prod(shape))
    return found


@pytest.mark.parametrize("density", [0.2, 0.7, 1.0])
def test_knots_is_the_authors(tmp_path: Path, adapters: list[str], density: float) -> None:
    told = recipe(adapters, "knots_ties", (0.6, 0.6, 0.6), density=density)
    fuse(told, tmp_path / "out")
    wanted = by_the_authors([products(Path(f)) for f in adapters], density)
    found = products(tmp_path / "out")
    assert found.keys() == wanted.keys()
    for module, values in wanted.items():
        np.testing.assert_allclose(found[module], values, atol=1e-5)
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 6
    fuse(told | {"parameters": {"density": density, "svd_rank": 2}}, tmp_path / "small")
    for module, values in products(tmp_path / "small").items():
        left, sizes, right = np.linalg.svd(wanted[module])
        np.testing.assert_allclose(values, (left[:, :2] * sizes[:2]) @ right[:2], atol=1e-4)


def test_coordinates_give_the_changes_back() -> None:
    random = np.random.default_rng(0)
    pairs = [
        Factors(random.standard_normal((2, 9)), random.standard_normal((8, 2)), 1, s)
        for s in (1, 3)
    ]
    shared = in_one_basis(pairs)
    np.testing.assert_allclose(shared.basis.T @ shared.basis, np.eye(4), atol=1e-10)
    for pair, own in zip(pairs, shared.coordinates, strict=True):
        np.testing.assert_allclose(shared.basis @ own, pair.scale * pair.b @ pair.a, atol=1e-9)


def test_weights_by_layer_and_by_name(tmp_path: Path, adapters: list[str]) -> None:
    told = recipe(adapters[:2], "cat")
    told["models"][0]["parameters"]["weight"] = [0.0, 1.0]
    told["models"][1]["parameters"]["weight"] = [
        {"filter": "out", "value": 0.25},
        {"value": 2.0},
    ]
    fuse(told, tmp_path / "out")
    one, two = (products(Path(f)) for f in adapters[:2])
    found = products(tmp_path / "out")
    np.testing.assert_allclose(found["layers.0.proj"], 2 * two["layers.0.proj"], atol=1e-5)
    wanted = one["layers.1.proj"] + 2 * two["layers.1.proj"]
    np.testing.assert_allclose(found["layers.1.proj"], wanted, atol=1e-5)
    wanted = one["layers.1.out"] + 0.25 * two["layers.1.out"]
    np.testing.assert_allclose(found["layers.1.out"], wanted, atol=1e-5)


def test_modules_that_one_adapter_lacks(tmp_path: Path, adapters: list[str]) -> None:
    file = Path(adapters[1]) / "adapter_model.safetensors"
    some = {n: v for n, v in read_safetensors(file).items() if ".out." not in n}
    write_safetensors(file, some)
    for method in ("linear", "svd", "cat", "ties", "knots_ties"):
        fuse(recipe(adapters[:2], method, (0.5, 0.5)), tmp_path / method)
    one = products(Path(adapters[0]))
    for method in ("linear", "cat", "svd"):
        found = products(tmp_path / method)["layers.1.out"]
        np.testing.assert_allclose(found, 0.5 * one["layers.1.out"], atol=1e-5)


def test_formats_report_and_card(tmp_path: Path, adapters: list[str]) -> None:
    for folder in adapters:
        file = Path(folder) / "adapter_model.safetensors"
        write_safetensors(file, {n: to_bfloat16(v) for n, v in read_safetensors(file).items()})
    result = fuse(recipe(adapters, "ties", density=0.5), tmp_path / "out")
    tensors = read_safetensors(tmp_path / "out" / "adapter_model.safetensors")
    assert {v.dtype for v in tensors.values()} == {np.dtype(np.uint16)}
    report = json.loads((tmp_path / "out" / "plait_fusion.json").read_text())
    assert report["recipe"]["merge_method"] == "ties"
    assert report["outputs"] == result.outputs
    assert set(report["inputs"]) == set(adapters)
    again = fuse(report["recipe"], tmp_path / "again")
    assert again.outputs == result.outputs


def test_modules_that_are_saved_whole(tmp_path: Path, adapters: list[str]) -> None:
    heads = [np.arange(6, dtype=np.float32).reshape(2, 3) + n for n in range(2)]
    for folder, head in zip(adapters, heads, strict=False):
        place = Path(folder)
        file = place / "adapter_model.safetensors"
        write_safetensors(
            file, read_safetensors(file) | {"base_model.model.classifier.weight": head}
        )
        config = json.loads((place / "adapter_config.json").read_text())
        config["modules_to_save"] = ["classifier"]
        (place / "adapter_config.json").write_text(json.dumps(config))
    told = recipe(adapters[:2], "svd", (3, 1))
    with pytest.raises(BadInput, match="saved: mean"):
        fuse(told, tmp_path / "out")
    fuse(told | {"parameters": {"saved": "mean"}}, tmp_path / "mean")
    made = read_safetensors(tmp_path / "mean" / "adapter_model.safetensors")
    wanted = 0.75 * heads[0] + 0.25 * heads[1]
    np.testing.assert_allclose(made["base_model.model.classifier.weight"], wanted)
    fuse(recipe([adapters[0], adapters[2]], "svd"), tmp_path / "one")
    made = read_safetensors(tmp_path / "one" / "adapter_model.safetensors")
    np.testing.assert_array_equal(made["base_model.model.classifier.weight"], heads[0])


@pytest.mark.parametrize(
    ("method", "change", "says"),
    [
        ("tie", {}, "no way 'tie' to combine adapters.*ties"),
        ("linear", {"parameters": {"densty": 1}}, "did you mean|Did you mean|density"),
        ("ties", {"parameters": {"majority_sign_method": "votes"}}, "total, frequency"),
        ("ties", {"parameters": {"svd_rank": 3}}, "'svd_rank' does not go with 'ties'"),
        ("ties", {"parameters": {"density": 1.5}}, "from 0 to 1"),
        ("svd", {"base_model": "org/base"}, "without 'base_model'|neither a folder"),
        ("svd", {"dialect": "mergekit"}, "in the dialect 'peft'"),
    ],
)
def test_what_cannot_be(
    tmp_path: Path, adapters: list[str], method: str, change: dict[str, Any], says: str
) -> None:
    if "base_model" in change:
        change = {"base_model": adapters[0]}
    with pytest.raises(BadInput, match=says):
        fuse(recipe(adapters, method) | change, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["linear", "ties", "dare_ties", "magnitude_prune"])
def test_ranks_that_differ(tmp_path: Path, adapters: list[str], method: str) -> None:
    other = str(adapter(tmp_path / "wide", 7, rank=3))
    with pytest.raises(BadInput, match=r"has 2, .*wide has 3\. Use"):
        fuse(recipe([adapters[0], other], method), tmp_path / "out")
    for able in ("svd", "cat", "ties_svd", "knots_ties"):
        fuse(recipe([adapters[0], other], able), tmp_path / able)


def test_kinds_that_cannot_be_combined(tmp_path: Path, adapters: list[str]) -> None:
    dora = str(adapter(tmp_path / "dora", 8, use_dora=True))
    with pytest.raises(BadInput, match="kind DoRA"):
        fuse(recipe([adapters[0], dora], "svd"), tmp_path / "out")
    place = Path(adapters[0]) / "adapter_model.safetensors"
    tensors = dict(read_safetensors(place))
    tensors["base_model.model.layers.0.proj.lora_A.weight"] = np.full((2, 5), np.nan, np.float32)
    write_safetensors(place, tensors)
    with pytest.raises(BadInput, match="NaN or infinity"):
        fuse(recipe(adapters, "svd"), tmp_path / "out")
    assert not [p for p in tmp_path.iterdir() if "out" in p.name]


def test_other_bases(tmp_path: Path, adapters: list[str]) -> None:
    place = Path(adapters[1]) / "adapter_model.safetensors"
    tensors = dict(read_safetensors(place))
    tensors["base_model.model.layers.0.proj.lora_A.weight"] = np.ones((2, 9), np.float32)
    write_safetensors(place, tensors)
    with pytest.raises(BadInput, match=r"\[6, 5\] in .* and \[6, 9\] in .*different bases"):
        fuse(recipe(adapters, "svd"), tmp_path / "out")


def test_cancelled(tmp_path: Path, adapters: list[str]) -> None:
    with pytest.raises(Cancelled):
        fuse(recipe(adapters, "ties_svd"), tmp_path / "out", cancelled=lambda: True)
    assert not [p for p in tmp_path.iterdir() if "out" in p.name]


def test_a_recipe_of_adapters_can_be_checked(adapters: list[str], tmp_path: Path) -> None:
    report = check(recipe(adapters, "ties"))
    assert report.fits
    assert [m.reference for m in report.models] == adapters
    wide = str(adapter(tmp_path / "wide", 7, rank=3))
    report = check(recipe([*adapters, wide], "ties", (1, 1, 1, 1)))
    assert not report.fits
    assert "needs adapters of one rank" in report.problems[0]


@pytest.mark.models
class TestAgainstPeft:
    """The same numbers as `add_weighted_adapter` of PEFT, over a small model."""

    @pytest.fixture(scope="class")
    @classmethod
    def family(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Path]]:
        torch = pytest.importorskip("torch")
        peft = pytest.importorskip("peft")

        class Small(torch.nn.Module):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.embed = torch.nn.Embedding(11, 6)
                self.layers = torch.nn.ModuleList(
                    [torch.nn.Linear(6, 8), torch.nn.Linear(8, 6, bias=False)]
                )
                self.conv = torch.nn.Conv2d(2, 6, 3)

            def forward(self, ids: Any) -> Any:
                hidden = self.embed(ids)
                for layer in self.layers:
                    hidden = layer(hidden)
                return hidden

        folder = tmp_path_factory.mktemp("peft")
        torch.manual_seed(0)
        base = Small()
        state = {n: v.clone() for n, v in base.state_dict().items()}
        folders = []
        for number in range(3):
            fresh = Small()
            fresh.load_state_dict(state)
            config = peft.LoraConfig(
                r=4,
                lora_alpha=[8, 4, 2][number],
                target_modules=["embed", "0", "1", "conv"],
                init_lora_weights=False,
                rank_pattern={},
                alpha_pattern={"layers.0": 16} if number == 1 else {},
            )
            torch.manual_seed(number + 1)
            tuned = peft.get_peft_model(fresh, config)
            tuned.save_pretrained(folder / f"lora{number}")
            folders.append(folder / f"lora{number}")
        return (Small, state), folders

    def load(self, family: tuple[Any, list[Path]], folders: list[Path]) -> Any:
        import peft

        (make, state), _ = family
        base = make()
        base.load_state_dict(state)
        model = peft.PeftModel.from_pretrained(base, str(folders[0]), adapter_name="a0")
        for number, folder in enumerate(folders[1:], start=1):
            model.load_adapter(str(folder), adapter_name=f"a{number}")
        return model

    def deltas(self, model: Any, name: str) -> dict[str, np.ndarray]:
        found = {}
        for key, module in model.named_modules():
            if hasattr(module, "get_delta_weight") and name in (
                *module.lora_A,
                *module.lora_embedding_A,
            ):
                found[key] = module.get_delta_weight(name).detach().numpy()
        return found

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("svd", {}),
            ("svd", {"svd_rank": 2}),
            ("linear", {}),
            ("cat", {}),
            ("ties", {"density": 0.5}),
            ("ties", {"density": 0.3, "majority_sign_method": "frequency"}),
            ("ties_svd", {"density": 0.5}),
            ("ties_svd", {"density": 0.5, "majority_sign_method": "frequency", "svd_rank": 3}),
            ("magnitude_prune", {"density": 0.4}),
            ("magnitude_prune_svd", {"density": 0.4}),
        ],
    )
    def test_the_same_numbers(
        self, family: tuple[Any, list[Path]], tmp_path: Path, kind: str, options: dict[str, Any]
    ) -> None:
        _, folders = family
        weights = [0.8, -0.6, 0.4]
        model = self.load(family, folders)
        model.add_weighted_adapter(
            ["a0", "a1", "a2"], weights, "peft", combination_type=kind, **options
        )
        told = recipe([str(f) for f in folders], kind, weights, **options)
        fuse(told, tmp_path / "ours")
        model.load_adapter(str(tmp_path / "ours"), adapter_name="ours")
        wanted, found = self.deltas(model, "peft"), self.deltas(model, "ours")
        assert wanted.keys() == found.keys()
        assert len(wanted) == 4
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, atol=2e-5, err_msg=name)

    @pytest.mark.parametrize("kind", ["dare_linear", "dare_ties", "dare_linear_svd"])
    def test_dare_keeps_as_much(
        self, family: tuple[Any, list[Path]], tmp_path: Path, kind: str
    ) -> None:
        """Other random numbers; the spread of what comes out is that of PEFT's."""
        import torch

        _, folders = family
        model = self.load(family, folders)
        ours, theirs = [], []
        for seed in range(30):
            torch.manual_seed(seed)
            model.add_weighted_adapter(
                ["a0", "a1"], [1.0, 1.0], "peft", combination_type=kind, density=0.5
            )
            theirs.append(
                np.mean([np.square(v).mean() for v in self.deltas(model, "peft").values()])
            )
            model.delete_adapter("peft")
            told = recipe([str(f) for f in folders[:2]], kind, (1.0, 1.0), density=0.5)
            fuse(told | {"seed": seed}, tmp_path / "ours", overwrite=True)
            model.load_adapter(str(tmp_path / "ours"), adapter_name="ours")
            ours.append(np.mean([np.square(v).mean() for v in self.deltas(model, "ours").values()]))
            model.delete_adapter("ours")
        error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(30)
        assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error

    def test_peft_refuses_the_same(self, family: tuple[Any, list[Path]], tmp_path: Path) -> None:
        import peft

        (make, state), folders = family
        fresh = make()
        fresh.load_state_dict(state)
        config = peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)
        peft.get_peft_model(fresh, config).save_pretrained(tmp_path / "narrow")
        model = self.load(family, [folders[0], tmp_path / "narrow"])
        for kind in ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"):
            with pytest.raises(ValueError, match="same r value"):
                model.add_weighted_adapter(["a0", "a1"], [1, 1], "x", combination_type=kind)
            with pytest.raises(PlaitError, match="one rank"):
                fuse(
                    recipe([str(folders[0]), str(tmp_path / "narrow")], kind, (1, 1)),
                    tmp_path / "out",
                )
