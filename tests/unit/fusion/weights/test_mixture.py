# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts: recipes, gates, and models that transformers runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.errors import BadInput
from plait.fusion import check, fuse
from plait.recipes.mixture import dump_mixture, parse_mixture, read_mixture

from .models import read_safetensors, write_model

Dense = Callable[..., Path]

WORDS = ("the", "cat", "sat", "sum", "of", "two", "numbers", "is", "odd", "[UNK]")


def dense_tensors(seed: int, *, hidden: int = 16, inner: int = 24) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (10, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (10, hidden),
    }
    for n in range(2):
        start = f"model.layers.{n}."
        for part in "qkvo":
            shapes[f"{start}self_attn.{part}_proj.weight"] = (hidden, hidden)
        for part in ("gate", "up"):
            shapes[f"{start}mlp.{part}_proj.weight"] = (inner, hidden)
        shapes[f"{start}mlp.down_proj.weight"] = (hidden, inner)
        for part in ("input", "post_attention"):
            shapes[f"{start}{part}_layernorm.weight"] = (hidden,)
    return {n: random.standard_normal(s, np.float32) * np.float32(0.3) for n, s in shapes.items()}


@pytest.fixture
def dense(tmp_path: Path) -> Dense:
    """Write a tiny dense Llama without torch."""

    def make(name: str, seed: int = 0, **config: Any) -> Path:
        told = {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "vocab_size": 10,
            "hidden_act": "silu",
        }
        return write_model(tmp_path / name, dense_tensors(seed), **(told | config))

    return make


def tokenizer(folder: Path) -> None:
    vocabulary = {w: i for i, w in enumerate(WORDS)}
    data = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
        "pre_tokenizer": {"type": "Whitespace"},
        "added_tokens": [],
        "normalizer": None,
        "post_processor": None,
        "decoder": None,
        "truncation": None,
        "padding": None,
    }
    (folder / "tokenizer.json").write_text(json.dumps(data))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def recipe(base: Path, *experts: Path, **more: Any) -> dict[str, Any]:
    found = [{"source_model": str(e)} for e in experts]
    return {"base_model": str(base), "gate_mode": "random", "experts": found} | more


def prompted(base: Path, gate: str, *experts: tuple[Path, str]) -> dict[str, Any]:
    found = [{"source_model": str(e), "positive_prompts": [t]} for e, t in experts]
    return {"base_model": str(base), "gate_mode": gate, "experts": found}


def test_each_expert_has_its_models_layers(dense: Dense, tmp_path: Path) -> None:
    base, one, two = dense("base"), dense("one", 1), dense("two", 2)
    result = fuse(recipe(base, one, two), tmp_path / "out")
    made = read_safetensors(tmp_path / "out" / "model.safetensors")
    for number, folder in enumerate((one, two)):
        own = read_safetensors(folder / "model.safetensors")
        for name, part in (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")):
            np.testing.assert_array_equal(
                made[f"model.layers.1.block_sparse_moe.experts.{number}.{name}.weight"],
                own[f"model.layers.1.mlp.{part}.weight"],
            )
    own = read_safetensors(base / "model.safetensors")
    for name in ("model.layers.0.self_attn.q_proj.weight", "lm_head.weight"):
        np.testing.assert_array_equal(made[name], own[name])
    assert not any(".mlp." in name for name in made)
    assert made["model.layers.0.block_sparse_moe.gate.weight"].shape == (2, 16)
    assert sorted(result.inputs) == sorted(map(str, (base, one, two)))
    told = json.loads((tmp_path / "out" / "plait_fusion.json").read_text())
    assert fuse(told["recipe"], tmp_path / "again").outputs == result.outputs


def test_random_gates_come_from_the_seed_alone(dense: Dense, tmp_path: Path) -> None:
    base, one = dense("base"), dense("one", 1)
    data = recipe(base, one, one, one)
    first = fuse(data, tmp_path / "a", threads=1).outputs
    assert fuse(data, tmp_path / "b", threads=3).outputs == first
    assert fuse(data | {"seed": 1}, tmp_path / "c").outputs != first
    gates = read_safetensors(tmp_path / "a" / "model.safetensors")
    values = gates["model.layers.0.block_sparse_moe.gate.weight"]
    assert 0.01 < values.std() < 0.03
    assert not np.array_equal(values, gates["model.layers.1.block_sparse_moe.gate.weight"])


def test_cheap_embed_points_at_the_prompts_words(dense: Dense, tmp_path: Path) -> None:
    base, one, two = dense("base"), dense("one", 1), dense("two", 2)
    tokenizer(base)
    data = prompted(base, "cheap_embed", (one, "the cat sat"), (two, "sum of two numbers"))
    fuse(data, tmp_path / "out")
    made = read_safetensors(tmp_path / "out" / "model.safetensors")
    gate = made["model.layers.0.block_sparse_moe.gate.weight"]
    rows = made["model.embed_tokens.weight"]
    expected = rows[:3].mean(0) - rows[3:7].mean(0)
    np.testing.assert_allclose(gate[0], expected / np.linalg.norm(expected), rtol=1e-5)
    np.testing.assert_allclose(gate[1], -gate[0], atol=1e-7)
    np.testing.assert_array_equal(gate, made["model.layers.1.block_sparse_moe.gate.weight"])


def test_negative_prompts_count_against(dense: Dense, tmp_path: Path) -> None:
    base = dense("base")
    tokenizer(base)
    data = prompted(base, "cheap_embed", (base, "cat"), (base, "sum"))
    data["experts"][0]["negative_prompts"] = ["odd"]
    fuse(data, tmp_path / "out")
    made = read_safetensors(tmp_path / "out" / "model.safetensors")
    rows = made["model.embed_tokens.weight"]
    wanted = rows[1] - rows[8] - rows[3]
    gate = made["model.layers.0.block_sparse_moe.gate.weight"]
    np.testing.assert_allclose(gate[0], wanted / np.linalg.norm(wanted), rtol=1e-5)


def test_the_configuration_says_what_defaults_would_not(dense: Dense, tmp_path: Path) -> None:
    base = dense("base", num_key_value_heads=None)
    fuse(recipe(base, base, base, experts_per_token=1, dtype="bfloat16"), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert told["model_type"] == "mixtral"
    assert told["num_local_experts"] == 2
    assert told["num_experts_per_tok"] == 1
    assert told["num_key_value_heads"] == 4
    assert told["rope_theta"] == 10_000
    assert told["rms_norm_eps"] == 1e-6
    assert told["sliding_window"] is None
    assert told["dtype"] == "bfloat16"


class TestTransformers:
    """What stock transformers makes of the results."""

    def logits(self, folder: Path) -> Any:
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        with torch.no_grad():
            return model(torch.tensor([[1, 5, 7, 2, 9, 3]])).logits.numpy()

    def save(self, folder: Path, kind: str, seed: int = 0, **options: Any) -> Path:
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        torch.manual_seed(seed)
        sizes = {
            "vocab_size": 10,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.3,
        }
        config = transformers.AutoConfig.for_model(kind, **(sizes | options))
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return folder

    @pytest.mark.parametrize(
        ("kind", "options", "more", "model"),
        [
            ("llama", {}, {}, "mixtral"),
            ("llama", {"rope_theta": 50_000.0, "tie_word_embeddings": True}, {}, "mixtral"),
            ("mistral", {"sliding_window": 3}, {}, "mixtral"),
            ("qwen2", {}, {}, "qwen2_moe"),
            ("qwen3", {"head_dim": 8}, {}, "qwen3_moe"),
            ("llama", {}, {"architecture": "qwen"}, "qwen2_moe"),
            ("mistral", {"sliding_window": 3}, {"architecture": "qwen"}, "qwen2_moe"),
        ],
    )
    def test_experts_that_are_alike_give_the_dense_model(
        self, kind: str, options: Any, more: Any, model: str, tmp_path: Path
    ) -> None:
        base = self.save(tmp_path / "base", kind, **options)
        data = recipe(base, base, base, base, experts_per_token=2, **more)
        fuse(data, tmp_path / "out")
        told = json.loads((tmp_path / "out" / "config.json").read_text())
        assert told["model_type"] == model
        np.testing.assert_allclose(self.logits(tmp_path / "out"), self.logits(base), atol=2e-5)

    def test_a_shared_expert_adds_its_scaled_output(self, tmp_path: Path) -> None:
        base = self.save(tmp_path / "base", "qwen2")
        shared = [{"source_model": str(base), "residual_scale": 0.5}]
        fuse(recipe(base, base, base, shared_experts=shared), tmp_path / "out")
        without = [{"source_model": str(base), "residual_scale": 0.0}]
        fuse(recipe(base, base, base, shared_experts=without), tmp_path / "none")
        dense = self.logits(base)
        np.testing.assert_allclose(self.logits(tmp_path / "none"), dense, atol=2e-5)
        assert np.abs(self.logits(tmp_path / "out") - dense).max() > 1e-3

    def test_hidden_gates_send_prompts_to_their_experts(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        base = self.save(tmp_path / "base", "llama")
        tokenizer(base)
        texts = ("the cat sat", "sum of two numbers")
        data = prompted(base, "hidden", *((base, t) for t in texts))
        fuse(data | {"experts_per_token": 1}, tmp_path / "out")
        mixture = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
        words = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
        for number, text in enumerate(texts):
            with torch.no_grad():
                found = mixture(**words(text, return_tensors="pt"), output_router_logits=True)
            for layer in found.router_logits:
                assert int(layer.mean(0).argmax()) == number

    def test_experts_with_one_prompt_are_not_told_apart(self, tmp_path: Path) -> None:
        base = self.save(tmp_path / "base", "llama")
        tokenizer(base)
        data = prompted(base, "hidden", (base, "the cat"), (base, "the cat"))
        fuse(data, tmp_path / "out")
        made = read_safetensors(tmp_path / "out" / "model.safetensors")
        assert not made["model.layers.0.block_sparse_moe.gate.weight"].any()


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"gate_mod": "random"}, "'gate_mode'"),
            ({"gate_mode": "hiden"}, "hidden"),
            ({"gate_mode": "hidden"}, "positive_prompts"),
            ({"base_model": None}, "base_model"),
            ({"experts": []}, "1 to 512"),
            ({"experts": [{"source": "x"}]}, "source_model"),
            ({"experts_per_token": 3}, "from 1 to 2"),
            ({"experts_per_token": 0}, "from 1 to 2"),
            ({"dtype": "float8"}, "float32"),
            ({"shared_experts": [{"source_model": "x"}] * 2}, "one model"),
            ({"seed": -1}, "'seed'"),
        ],
    )
    def test_of_a_recipe(self, dense: Dense, change: dict[str, Any], says: str) -> None:
        base = dense("base")
        with pytest.raises(BadInput, match=says):
            parse_mixture(recipe(base, base, base) | change)

    def test_an_expert_of_another_shape(self, dense: Dense, tmp_path: Path) -> None:
        base = dense("base")
        other = write_model(
            tmp_path / "wide",
            dense_tensors(1, inner=32),
            **json.loads((base / "config.json").read_text()),
        )
        with pytest.raises(BadInput, match=r"\[32, 16\].*\[24, 16\]"):
            fuse(recipe(base, base, other), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_kind_that_has_no_mixture(self, dense: Dense, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="gpt2"):
            fuse(recipe(dense("base", model_type="gpt2"), dense("one", 1)), tmp_path / "out")

    def test_kinds_that_do_not_mix(self, dense: Dense, tmp_path: Path) -> None:
        data = recipe(dense("base"), dense("one", 1, model_type="qwen3"))
        report = check(data)
        assert not report.fits
        assert "qwen3" in report.problems[0]

    def test_a_mixture_without_place_for_a_shared_expert(
        self, dense: Dense, tmp_path: Path
    ) -> None:
        base = dense("base")
        shared = {"shared_experts": [{"source_model": str(base)}], "architecture": "mixtral"}
        with pytest.raises(BadInput, match="no shared expert"):
            fuse(recipe(base, base, **shared), tmp_path / "out")

    def test_biases_have_no_place(self, dense: Dense, tmp_path: Path) -> None:
        base = dense("base", attention_bias=True)
        with pytest.raises(BadInput, match="biases"):
            fuse(recipe(base, base), tmp_path / "out")

    def test_prompts_need_a_tokenizer(self, dense: Dense, tmp_path: Path) -> None:
        base = dense("base")
        with pytest.raises(BadInput, match=r"tokenizer\.json"):
            fuse(prompted(base, "cheap_embed", (base, "the")), tmp_path / "out")
        (base / "tokenizer.json").write_text("{}")
        with pytest.raises(BadInput, match="not a tokenizer"):
            fuse(prompted(base, "cheap_embed", (base, "the")), tmp_path / "out")

    def test_the_output_is_an_input(self, dense: Dense, tmp_path: Path) -> None:
        base = dense("base")
        (base / "plait_fusion.json").write_text("{}")
        with pytest.raises(BadInput, match="one of the inputs"):
            fuse(recipe(base, base), base, overwrite=True)


def test_a_recipe_comes_back_as_it_was(dense: Dense) -> None:
    data = {
        "base_model": "b",
        "gate_mode": "cheap_embed",
        "dtype": "float16",
        "experts_per_token": 1,
        "architecture": "qwen",
        "experts": [{"source_model": "x", "positive_prompts": ["p"], "negative_prompts": "n"}],
        "shared_experts": [{"source_model": "y", "positive_prompts": ["q"], "residual_scale": 0.1}],
        "seed": 3,
    }
    found = parse_mixture(data)
    assert parse_mixture(dump_mixture(found)) == found
    assert found.experts[0].negative == ("n",)


def test_other_recipes_are_none(tmp_path: Path) -> None:
    assert read_mixture({"merge_method": "linear", "models": []}) is None
    assert read_mixture("merge_method: linear\nmodels: []\n") is None
    assert read_mixture(tmp_path / "missing.yaml") is None
    assert read_mixture("method: x\nexperts: []\n") is None


def test_check_says_what_it_will_be(dense: Dense, tmp_path: Path) -> None:
    base = dense("base")
    report = check(recipe(base, base, base))
    assert report.fits
    assert any("MixtralForCausalLM of 2 experts" in n for n in report.notes)
    assert report.cost is not None
    assert report.tensors == 3 + 2 * (4 + 2 + 1 + 2 * 3)
    strangers = check(recipe(base, base, dense("one", 1)))
    assert any("do not come from one base" in p for p in strangers.problems)


def test_the_command(dense: Dense, tmp_path: Path) -> None:
    base = dense("base")
    path = tmp_path / "moe.yaml"
    path.write_text(json.dumps(recipe(base, base, base), indent=1))
    done = CliRunner().invoke(app, ["fuse", str(path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "model.safetensors").is_file()
