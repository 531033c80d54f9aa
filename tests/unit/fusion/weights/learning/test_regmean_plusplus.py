# SPDX-License-Identifier: Apache-2.0
"""RegMean++ against layers merged one after the other by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled
from plait.fusion import check, fuse
from plait.fusion.results import Progress
from plait.fusion.weights import fused_tensors
from plait.heads import split_head

from .conftest import Family, moved, save

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.models

Weights = dict[str, np.ndarray]


def inputs_of(model: Any, tokenizer: Any, texts: list[str], names: list[str]) -> Weights:
    """Return the mean outer product of the inputs of linear layers, text by text: no padding."""
    seen: dict[str, list[np.ndarray]] = {n: [] for n in names}
    handles = [
        model.get_submodule(n).register_forward_pre_hook(
            lambda module, values, n=n: seen[n].append(
                values[0].detach().reshape(-1, values[0].shape[-1]).numpy()
            )
        )
        for n in names
    ]
    with torch.no_grad():
        for text in texts:
            model(**tokenizer(text, return_tensors="pt"))
    for handle in handles:
        handle.remove()
    whole = {n: np.concatenate(rows).astype(np.float64) for n, rows in seen.items()}
    return {n: rows.T @ rows / len(rows) for n, rows in whole.items()}


def by_hand(family: Family, shrink: float, folders: dict[str, Path] | None = None) -> Weights:
    """Merge embeddings by their mean, then layer after layer, by whole forward passes."""
    load = transformers.BertForSequenceClassification.from_pretrained
    models = {n: load(f).eval() for n, f in (folders or family.models).items()}
    merged = load(next(iter(models.values())).name_or_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(family.base)
    parts = [m.state_dict() for m in models.values()]
    merged.load_state_dict({n: sum(p[n] for p in parts) / len(parts) for n in parts[0]})
    count = merged.config.num_hidden_layers
    stages = [f"bert.encoder.layer.{i}." for i in range(count)]
    for stage in [*stages, ""]:
        own = [n for n in parts[0] if n.startswith(stage) and (stage or "encoder" not in n)]
        own = [n for n in own if stage or "embeddings" not in n]
        linear = [
            n.removesuffix(".weight")
            for n in own
            if n.endswith(".weight")
            and isinstance(merged.get_submodule(n.removesuffix(".weight")), torch.nn.Linear)
        ]
        grams = []
        for name, model in models.items():
            mixed = load(next(iter(models.values())).name_or_path).eval()
            mixed.load_state_dict(merged.state_dict() | {n: model.state_dict()[n] for n in own})
            grams.append(inputs_of(mixed, tokenizer, family.texts[name], linear))
        state = merged.state_dict()
        for name in linear:
            inner = []
            for gram in grams:
                g = gram[name] * shrink
                np.fill_diagonal(g, np.diag(gram[name]))
                inner.append(g)
            weights = [p[f"{name}.weight"].double().numpy() for p in parts]
            left = sum(w @ g for w, g in zip(weights, inner, strict=True))
            state[f"{name}.weight"] = torch.tensor(left @ np.linalg.pinv(sum(inner)))
        merged.load_state_dict(state)
    return {n: v.numpy() for n, v in merged.state_dict().items()}


@pytest.mark.parametrize("shrink", [0.9, 0.5])
def test_it_is_what_merging_layer_by_layer_gives(family: Family, shrink: float) -> None:
    recipe = family.recipe("regmean_plusplus", parameters={"shrink": shrink})
    made = dict(fused_tensors(recipe, threads=1))
    wanted = by_hand(family, shrink)
    assert made.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(made[name], values, atol=2e-4, err_msg=name)


def test_it_differs_from_regmean_above_the_first_layer(family: Family, tmp_path: Path) -> None:
    from plait.training.statistics import collect_statistics

    folders = {}
    for name, folder in family.models.items():
        folders[name] = tmp_path / name
        folders[name].symlink_to(folder)
        collect_statistics(
            folder, family.texts[name], folder / "plait_statistics.safetensors", threads=1
        )
    try:
        plain = dict(fused_tensors(family.recipe("regmean") | {"tasks": None}))
        better = dict(fused_tensors(family.recipe("regmean_plusplus")))
        query = "bert.encoder.layer.2.attention.self.query.weight"
        assert np.abs(plain[query] - better[query]).max() > 1e-3
    finally:
        for folder in family.models.values():
            (folder / "plait_statistics.safetensors").unlink()


def test_one_model_stays_as_it_is(family: Family) -> None:
    recipe = family.recipe("regmean_plusplus")
    recipe["models"] = recipe["models"][:1]
    made = dict(fused_tensors(recipe))
    load = transformers.BertForSequenceClassification.from_pretrained
    for name, values in load(family.models["shop"]).state_dict().items():
        np.testing.assert_allclose(made[name], values.numpy(), atol=2e-4, err_msg=name)


def test_a_folder_with_its_report(family: Family, tmp_path: Path) -> None:
    told: list[Progress] = []
    result = fuse(
        family.recipe("regmean_plusplus"), tmp_path / "out", threads=1, progress=told.append
    )
    report = json.loads((tmp_path / "out" / "plait_fusion.json").read_text())
    assert report["recipe"]["merge_method"] == "regmean_plusplus"
    assert [t["name"] for t in report["recipe"]["tasks"]] == ["shop", "cinema"]
    assert set(report["results"]["texts"].values()) == {6}
    assert result.report["results"] == report["results"]
    files = report["inputs"][str(family.models["shop"])]
    assert set(files) == {"model.safetensors", "plait_statistics.safetensors"}
    assert {p.stage for p in told} >= {"reading", "learning", "fusing"}
    assert transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    again = fuse(family.recipe("regmean_plusplus"), tmp_path / "again", threads=2)
    assert again.outputs == result.outputs
    assert not any(p.name.startswith(".") for p in tmp_path.iterdir())


def test_models_with_heads_of_their_own(family: Family, tmp_path: Path) -> None:
    """Encoders are merged, whatever labels the heads have; texts go through each one's own."""
    folders = {}
    for name, labels in (("shop", 2), ("cinema", 3)):
        torch.manual_seed(5)
        whole = transformers.BertForSequenceClassification.from_pretrained(
            family.models[name], num_labels=labels, ignore_mismatched_sizes=True
        )
        plain = save(moved(whole, labels, 0.01), tmp_path / f"{name}-whole")
        folders[name] = split_head(plain, tmp_path / name, name)
    recipe = family.recipe("regmean_plusplus")
    recipe["models"] = [{"model": str(f)} for f in folders.values()]
    del recipe["base_model"]
    made = dict(fused_tensors(recipe))
    assert "encoder.layer.2.output.dense.weight" in made
    whole = {n: tmp_path / f"{n}-whole" for n in folders}
    wanted = by_hand_encoder(family, whole)
    for name, values in wanted.items():
        if "pooler" not in name:
            np.testing.assert_allclose(
                made[name.removeprefix("bert.")], values, atol=3e-4, err_msg=name
            )


def by_hand_encoder(family: Family, folders: dict[str, Path]) -> Weights:
    """Merge the encoders of classifiers whose heads have other labels."""
    placed = {}
    for name, folder in folders.items():
        model = transformers.BertForSequenceClassification.from_pretrained(folder)
        model.classifier = torch.nn.Linear(8, 2)
        model.config.num_labels = 2
        model.config.id2label = {0: "a", 1: "b"}
        placed[name] = save(model, folder.with_name(f"{name}-same"))
    return {n: v for n, v in by_hand(family, 0.9, placed).items() if n.startswith("bert.")}


def test_a_task_can_be_named(family: Family) -> None:
    recipe = family.recipe("regmean_plusplus")
    models = [m["model"] for m in recipe["models"]]
    named = [{"model": m, "task": t} for m, t in zip(models, ("shop", "cinema"), strict=True)]
    same = dict(fused_tensors(recipe | {"models": named}))
    for name, values in fused_tensors(recipe):
        np.testing.assert_array_equal(values, same[name])
    swapped = [{"model": m, "task": t} for m, t in zip(models, ("cinema", "shop"), strict=True)]
    other = dict(fused_tensors(recipe | {"models": swapped}))
    assert any(not np.array_equal(same[n], other[n]) for n in same)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tasks": None}, "needs 'tasks'"),
        ({"tasks": [{"name": "shops", "dataset": "data"}]}, "there is no task 'shop'.*shops"),
        ({"parameters": {"split": "test"}}, "one of train, validation"),
        ({"parameters": {"texts": 0}}, "must be from 1"),
        ({"parameters": {"shrunk": 1}}, "no parameter 'shrunk'"),
    ],
)
def test_what_cannot_be(family: Family, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        list(fused_tensors(family.recipe("regmean_plusplus") | change))


def test_it_can_be_cancelled(family: Family, tmp_path: Path) -> None:
    seen: list[str] = []

    def stop() -> bool:
        return "learning" in seen

    with pytest.raises(Cancelled):
        fuse(
            family.recipe("regmean_plusplus"),
            tmp_path / "out",
            progress=lambda p: seen.append(p.stage),
            cancelled=stop,
        )
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_checked(family: Family) -> None:
    assert check(family.recipe("regmean_plusplus")).fits
