# SPDX-License-Identifier: Apache-2.0
"""What a recipe asks of its models: parameters by layer and name, slices, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion.resolve import resolve_model
from plait.fusion.weights import fuse, fused_tensors
from plait.fusion.weights.naming import group_of, layer_of, renumber

from .models import bert, read_safetensors, write_model

Family = Callable[..., dict[str, Path]]


def recipe(folders: dict[str, Path], method: str = "task_arithmetic", **own: Any) -> dict[str, Any]:
    parameters = {"weight": 0.5} | own
    return {
        "merge_method": method,
        "base_model": str(folders["base"]),
        "models": [
            {"model": str(p), "parameters": parameters} for n, p in folders.items() if n != "base"
        ],
    }


def weights_used(folders: dict[str, Path], data: dict[str, Any]) -> dict[str, float]:
    """Tell which weight each tensor was made with, from base and one model and the result."""
    base, tuned = bert(0), bert(1, bert(0))
    made = dict(fused_tensors(data))
    return {n: float(np.median((made[n] - base[n]) / (tuned[n] - base[n]))) for n in base}


class TestParameters:
    def test_gradients_go_over_the_layers_and_the_rest_is_at_zero(self, family: Family) -> None:
        used = weights_used(folders := family(1), recipe(folders, weight=[0.2, 0.4, 0.9]))
        for name, weight in used.items():
            place = layer_of(name)
            wanted = (0.2, 0.4, 0.9)[place[1]] if place else 0.2
            assert weight == pytest.approx(wanted, abs=1e-3), name

    def test_the_first_filter_that_matches_holds(self, family: Family) -> None:
        rules = [
            {"filter": "attention.self", "value": [0.1, 0.5]},
            {"filter": "layer.1.", "value": 0.7},
            {"filter": "*", "value": 0.3},
        ]
        used = weights_used(folders := family(1), recipe(folders, weight=rules))
        assert used["bert.encoder.layer.1.attention.self.query.weight"] == pytest.approx(
            0.3, abs=1e-3
        )
        assert used["bert.encoder.layer.2.attention.self.query.weight"] == pytest.approx(
            0.5, abs=1e-3
        )
        assert used["bert.encoder.layer.1.output.dense.weight"] == pytest.approx(0.7, abs=1e-3)
        assert used["classifier.weight"] == pytest.approx(0.3, abs=1e-3)

    def test_a_models_own_goes_before_the_recipes(self, family: Family) -> None:
        folders = family(1)
        data = recipe(folders, weight=[{"filter": "classifier", "value": 0.9}])
        data["parameters"] = {"weight": 0.2}
        used = weights_used(folders, data)
        assert used["classifier.weight"] == pytest.approx(0.9, abs=1e-3)
        assert used["bert.encoder.layer.0.output.dense.weight"] == pytest.approx(0.2, abs=1e-3)

    def test_none_that_fits_is_refused(self, family: Family) -> None:
        with pytest.raises(BadInput, match=r"needs 'weight' for .*tensor 'bert"):
            list(fused_tensors(recipe(family(), weight=[{"filter": "classifier", "value": 0.9}])))

    @pytest.mark.parametrize(
        ("method", "own", "says"),
        [
            ("ties", {"densty": 0.5}, "no parameter 'densty'; did you mean 'density'?"),
            ("linear", {"densty": 0.5}, "no parameter 'densty'"),
            ("ties", {"density": 1.5}, "'density' is 1.5 but must be from 0 to 1"),
            ("ties", {"density": "much"}, "'density' must be a number, not 'much'"),
            ("ties", {"density": True}, "'density' must be a number"),
            ("tie", {}, "no fusion method 'tie'; did you mean 'ties'?"),
            ("nearswap", {"densty": 1}, "no parameter 'densty'"),
        ],
    )
    def test_wrong_ones_are_named(self, family: Family, method: str, own: Any, says: str) -> None:
        with pytest.raises(BadInput) as caught:
            list(fused_tensors(recipe(family(), method, **own)))
        assert says in caught.value.message

    def test_a_flag_must_be_one(self, family: Family) -> None:
        data = recipe(family()) | {"parameters": {"normalize": 0.5}}
        with pytest.raises(BadInput, match="'normalize' must be true or false"):
            list(fused_tensors(data))

    @pytest.mark.parametrize(
        "method", ["task_arithmetic", "ties", "dare_ties", "dare_linear", "slerp"]
    )
    def test_a_base_is_asked_for(self, family: Family, method: str) -> None:
        data = recipe(family(), method)
        del data["base_model"]
        for model in data["models"] if method == "slerp" else ():
            del model["parameters"]
        with pytest.raises(BadInput, match="base_model"):
            list(fused_tensors(data))

    def test_slerp_takes_two(self, family: Family) -> None:
        data = recipe(family(3), "slerp") | {"parameters": {"t": 0.5}}
        for model in data["models"]:
            del model["parameters"]
        with pytest.raises(BadInput, match="needs exactly 1 model"):
            list(fused_tensors(data))

    def test_how_masks_are_stored_does_not_matter(self, family: Family) -> None:
        folders = family(1)
        plain = dict(fused_tensors(recipe(folders)))
        data = recipe(folders) | {"parameters": {"int8_mask": True}}
        for name, values in fused_tensors(data):
            np.testing.assert_array_equal(values, plain[name])

    def test_a_model_named_twice(self, family: Family) -> None:
        data = recipe(family(1))
        data["models"] *= 2
        with pytest.raises(BadInput, match="twice"):
            list(fused_tensors(data))

    def test_the_base_among_the_models_adds_nothing(self, family: Family) -> None:
        folders = family(2)
        plain = dict(fused_tensors(recipe(folders)))
        data = recipe(folders)
        data["models"].insert(1, {"model": str(folders["base"])})
        for name, values in fused_tensors(data):
            np.testing.assert_array_equal(values, plain[name])


class TestCompatibility:
    def refused(self, data: dict[str, Any], tmp_path: Path) -> str:
        with pytest.raises(BadInput) as caught:
            fuse(data, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return caught.value.message

    def test_another_shape(self, family: Family, tmp_path: Path) -> None:
        folders = family(2)
        tensors = bert(5) | {"classifier.weight": np.zeros((3, 16), np.float32)}
        write_model(folders["m1"], tensors, architectures=["BertForSequenceClassification"])
        says = self.refused(recipe(folders), tmp_path)
        for part in (
            str(folders["base"]),
            str(folders["m1"]),
            "'classifier.weight'",
            "[2, 16]",
            "[3, 16]",
        ):
            assert part in says
        assert "BertForSequenceClassification" in says

    def test_another_architecture(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        write_model(folders["m0"], {"gpt.w": np.zeros(3, np.float32)})
        says = self.refused(recipe(folders), tmp_path)
        assert "do not have the same architecture" in says
        assert "is in the first only" in says

    def test_a_tensor_that_only_the_second_has(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        write_model(folders["m0"], bert(1) | {"extra.weight": np.zeros(3, np.float32)})
        assert "'extra.weight' is in the first only" in self.refused(recipe(folders), tmp_path)

    def test_another_number_of_heads(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        write_model(folders["base"], bert(0), num_attention_heads=2)
        write_model(folders["m0"], bert(1), num_attention_heads=4)
        assert "'num_attention_heads' is 2 and 4" in self.refused(recipe(folders), tmp_path)

    def test_labels_in_another_order(self, family: Family, tmp_path: Path) -> None:
        folders = family(2)
        write_model(folders["base"], bert(0), label2id={"LABEL_0": 0, "LABEL_1": 1})
        write_model(folders["m0"], bert(1), label2id={"negative": 0, "positive": 1})
        write_model(folders["m1"], bert(2), label2id={"negative": 1, "positive": 0})
        assert "number their labels differently" in self.refused(recipe(folders), tmp_path)

    def test_whole_numbers_must_agree(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        ids = np.arange(8, dtype=np.int64)
        write_model(folders["base"], bert(0) | {"position_ids": ids})
        write_model(folders["m0"], bert(1) | {"position_ids": ids})
        fuse(recipe(folders), tmp_path / "fits")
        made = read_safetensors(tmp_path / "fits" / "model.safetensors")
        np.testing.assert_array_equal(made["position_ids"], ids)
        write_model(folders["m0"], bert(1) | {"position_ids": ids + 1})
        says = self.refused(recipe(folders), tmp_path)
        assert "'position_ids' (I64) differs" in says

    def test_whole_numbers_may_be_missing(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        ids = np.arange(8, dtype=np.int64)
        write_model(folders["m0"], bert(1) | {"position_ids": ids})
        assert "position_ids" in dict(fused_tensors(recipe(folders)))

    def test_a_tied_head(self, tmp_path: Path) -> None:
        embedding = np.ones((4, 2), np.float32)
        tied = write_model(tmp_path / "a", {"model.embed_tokens.weight": embedding})
        head = np.full((4, 2), 3, np.float32)
        untied = write_model(
            tmp_path / "b", {"model.embed_tokens.weight": embedding, "lm_head.weight": head}
        )
        models = [{"model": str(p), "parameters": {"weight": 1}} for p in (tied, untied)]
        made = dict(fused_tensors({"merge_method": "linear", "models": models}))
        np.testing.assert_array_equal(made["lm_head.weight"], np.full((4, 2), 2))

    def test_mixed_formats_widen(self, tmp_path: Path) -> None:
        one = write_model(tmp_path / "a", {"w": np.ones(3, np.float16)})
        two = write_model(tmp_path / "b", {"w": np.ones(3, np.float32)})
        models = [{"model": str(p), "parameters": {"weight": 1}} for p in (one, two)]
        assert (
            dict(fused_tensors({"merge_method": "linear", "models": models}))["w"].dtype
            == np.float32
        )


class TestSlices:
    def stack(self, family: Family, *ranges: tuple[str, int, int], **more: Any) -> dict[str, Any]:
        folders = family(2)
        return {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"model": str(folders[m]), "layer_range": [a, b]}]}
                for m, a, b in ranges
            ],
        } | more

    def test_layers_are_stacked_and_numbered_anew(self, family: Family, tmp_path: Path) -> None:
        data = self.stack(family, ("m0", 0, 2), ("m1", 1, 3))
        write_model(
            tmp_path / "m0", bert(1, bert(0)), num_hidden_layers=3, layer_types=["x", "y", "x"]
        )
        fuse(data, tmp_path / "out")
        made = read_safetensors(tmp_path / "out" / "model.safetensors")
        one, two = bert(1, bert(0)), bert(2, bert(0))
        query = "bert.encoder.layer.{}.attention.self.query.weight".format
        for number, (source, old) in enumerate(((one, 0), (one, 1), (two, 1), (two, 2))):
            np.testing.assert_array_equal(made[query(number)], source[query(old)])
        assert query(4) not in made
        word = "bert.embeddings.word_embeddings.weight"
        np.testing.assert_array_equal(made[word], one[word])
        np.testing.assert_array_equal(made["classifier.weight"], two["classifier.weight"])
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["num_hidden_layers"] == 4
        assert len(config["layer_types"]) == 4

    def test_layers_that_are_not_there(self, family: Family) -> None:
        with pytest.raises(BadInput, match="has 3 layers"):
            list(fused_tensors(self.stack(family, ("m0", 0, 4))))

    def test_a_model_without_layers(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "flat", {"w": np.ones(3, np.float32)})
        source = {"model": str(folder), "layer_range": [0, 1]}
        with pytest.raises(BadInput, match="one stack of layers"):
            list(fused_tensors({"merge_method": "passthrough", "slices": [{"sources": [source]}]}))

    def test_passthrough_takes_one(self, family: Family) -> None:
        data = self.stack(family, ("m0", 0, 2))
        data["slices"][0]["sources"] *= 2
        with pytest.raises(BadInput, match="needs exactly 1 model"):
            list(fused_tensors(data))


@pytest.mark.parametrize(
    ("name", "place", "group"),
    [
        (
            "bert.encoder.layer.11.output.dense.weight",
            ("bert.encoder.layer.", 11),
            "bert.encoder.layer.11",
        ),
        ("model.layers.2.mlp.up_proj.weight", ("model.layers.", 2), "model.layers.2"),
        ("transformer.h.0.ln_1.bias", ("transformer.h.", 0), "transformer.h.0"),
        ("bert.embeddings.LayerNorm.weight", None, "bert.embeddings"),
        ("classifier.weight", None, "classifier"),
        ("lm_head.weight", None, "lm_head"),
        ("w", None, "w"),
    ],
)
def test_layers_are_known_by_their_names(name: str, place: Any, group: str) -> None:
    assert layer_of(name) == place
    assert group_of(name) == group
    if place:
        assert layer_of(renumber(name, 7)) == (place[0], 7)


@pytest.mark.parametrize(
    "reference", ["../secret", "no such folder", "a/b/c", "org/..", "/not/there"]
)
def test_what_is_no_reference_is_refused_without_asking_a_hub(reference: str) -> None:
    with pytest.raises(BadInput, match="There is no model folder"):
        resolve_model(reference)


def test_a_resolver_is_asked_for_each_model_once(family: Family) -> None:
    folders = family(1)
    asked: list[str] = []

    def resolve(reference: str) -> Path:
        asked.append(reference)
        return folders[reference.split("/")[1].split("@")[0]]

    data = {
        "merge_method": "task_arithmetic",
        "base_model": "org/base@main",
        "models": [{"model": "org/m0@refs/pr/1", "parameters": {"weight": 1}}],
    }
    assert len(dict(fused_tensors(data, resolve=resolve))) == len(bert(0))
    assert asked == ["org/base@main", "org/m0@refs/pr/1"]
