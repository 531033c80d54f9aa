# SPDX-License-Identifier: Apache-2.0
"""AdaMerging: sure predictions, the same recipe by hand, gradients against autograd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled
from plait.fusion import check, fuse
from plait.fusion.weights import fused_tensors
from plait.heads import split_head

from .conftest import Family, moved, save

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.models


def recipe(family: Family, **parameters: Any) -> dict[str, Any]:
    parameters = {"steps": 20, "rate": 0.02, "batch": 4, **parameters}
    return family.recipe("adamerging", parameters=parameters, seed=3)


@pytest.mark.parametrize("variant", ["layer-wise", "block-wise", "task-wise"])
@pytest.mark.parametrize("changes", ["all", "ties"])
def test_what_is_written_is_what_was_learnt(
    family: Family, tmp_path: Path, variant: str, changes: str
) -> None:
    told = recipe(family, variant=variant, changes=changes, density=0.6)
    result = fuse(told, tmp_path / "out", threads=1)
    report = json.loads((tmp_path / "out" / "plait_fusion.json").read_text())
    assert report["recipe"]["merge_method"] == "adamerging"
    found = report["results"]
    assert result.report["results"] == found
    groups = {"layer-wise": 57, "block-wise": 4, "task-wise": 1}[variant]
    for reference in family.models.values():
        own = found["coefficients"][str(reference)]
        assert len(own) == groups
        assert all(0 <= value <= 1 for value in own.values())
        assert any(abs(value - 0.3) > 0.01 for value in own.values())
    # its recipe is one, and gives the same model
    again = dict(fused_tensors(found["recipe"]))
    load = transformers.BertForSequenceClassification.from_pretrained
    for name, values in load(tmp_path / "out").state_dict().items():
        np.testing.assert_array_equal(again[name], values.numpy(), err_msg=name)


def entropy(folder: Path, family: Family) -> float:
    model = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(family.base)
    found = []
    with torch.no_grad():
        for texts in family.texts.values():
            p = [model(**tokenizer(t, return_tensors="pt")).logits[0].softmax(-1) for t in texts]
            found.append(float(np.mean([-(q * q.log()).sum() for q in p])))
    return float(np.mean(found))


def test_predictions_become_surer(family: Family, tmp_path: Path) -> None:
    result = fuse(recipe(family, steps=40), tmp_path / "out", threads=1)
    fuse(
        family.recipe("task_arithmetic", parameters={"weight": 0.3}),
        tmp_path / "start",
    )
    tasks = result.report["results"]["tasks"].values()
    before = float(np.mean([t["before"]["entropy"] for t in tasks]))
    after = float(np.mean([t["after"]["entropy"] for t in tasks]))
    assert after < before - 0.01
    assert before == pytest.approx(entropy(tmp_path / "start", family), rel=1e-3)
    assert after == pytest.approx(entropy(tmp_path / "out", family), rel=1e-3)
    curve = result.report["results"]["curve"]
    assert curve[0]["step"] == 0
    assert curve[-1]["step"] == 39


def test_one_step_goes_down_the_gradient(family: Family, tmp_path: Path) -> None:
    """One step of Adam moves each coefficient by the rate, against the slope's sign."""
    result = fuse(recipe(family, steps=1, rate=0.05, batch=6), tmp_path / "out", threads=1)
    load = transformers.BertForSequenceClassification.from_pretrained
    base, *tuned = (load(f).eval() for f in (family.base, *family.models.values()))
    start = {n: v.detach() for n, v in base.named_parameters()}
    changes = [{n: v.detach() - start[n] for n, v in m.named_parameters()} for m in tuned]
    shares = {n: torch.full((2,), 0.3, requires_grad=True) for n in start}
    weights = {n: start[n] + sum(shares[n][i] * c[n] for i, c in enumerate(changes)) for n in start}
    tokenizer = transformers.AutoTokenizer.from_pretrained(family.base)
    for texts in family.texts.values():
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        kept = {k: batch[k] for k in ("input_ids", "attention_mask")}
        logits = torch.func.functional_call(base, weights, (), kept).logits
        p = logits.softmax(-1)
        (-(p * p.log()).sum(-1).mean()).backward(retain_graph=True)
    found = result.report["results"]["coefficients"]
    for place, reference in enumerate(family.models.values()):
        for name, value in found[str(reference)].items():
            slope = float(shares[name].grad[place])
            if abs(slope) > 1e-6:
                assert value == pytest.approx(0.3 - 0.05 * np.sign(slope), abs=1e-4), name


def test_the_same_seed_gives_the_same_bytes(family: Family, tmp_path: Path) -> None:
    first = fuse(recipe(family, steps=5), tmp_path / "a", threads=1)
    again = fuse(recipe(family, steps=5), tmp_path / "b", threads=1)
    other = fuse(recipe(family, steps=5) | {"seed": 4}, tmp_path / "c", threads=1)
    assert first.outputs == again.outputs != other.outputs


def test_no_steps_are_task_arithmetic(family: Family) -> None:
    made = dict(fused_tensors(recipe(family, steps=0, weight=0.4), threads=1))
    wanted = family.recipe("task_arithmetic", parameters={"weight": 0.4})
    for name, values in fused_tensors(wanted):
        np.testing.assert_array_equal(made[name], values)


def test_heads_of_different_labels(family: Family, tmp_path: Path) -> None:
    folders = {}
    for name, labels in (("shop", 2), ("cinema", 3)):
        torch.manual_seed(5)
        whole = transformers.BertForSequenceClassification.from_pretrained(
            family.models[name], num_labels=labels, ignore_mismatched_sizes=True
        )
        plain = save(moved(whole, labels, 0.01), tmp_path / f"{name}-whole")
        folders[name] = split_head(plain, tmp_path / name, name)
    base = split_head(family.base, tmp_path / "base", "start")
    told = recipe(family, steps=5) | {
        "base_model": str(base),
        "models": [{"model": str(f)} for f in folders.values()],
    }
    result = fuse(told, tmp_path / "out", threads=1)
    assert set(result.report["results"]["tasks"]) == {"shop", "cinema"}
    assert (tmp_path / "out" / "heads" / "cinema" / "head.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tasks": None}, "needs 'tasks'"),
        ({"base_model": None}, "needs 'base_model'"),
        ({"parameters": {"variant": "layerwise"}}, "must be one of layer-wise"),
        ({"parameters": {"weight": 1.5}}, "from 0 to 1"),
        ({"parameters": {"split": "test"}}, "one of train, validation"),
    ],
)
def test_what_cannot_be(family: Family, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        list(fused_tensors(recipe(family) | change, threads=1))


def test_it_can_be_cancelled(family: Family, tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        fuse(
            recipe(family, steps=1000),
            tmp_path / "out",
            progress=lambda p: seen.append(p.done) if p.stage == "learning" else None,
            cancelled=lambda: len(seen) > 1,
        )
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_checked(family: Family) -> None:
    assert check(recipe(family)).fits
