# SPDX-License-Identifier: Apache-2.0
"""Adapters that PEFT saved, put on their base by Plait and by PEFT's merge_and_unload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.fusion.weights import fused_tensors

pytestmark = pytest.mark.models
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"target_modules": ["q_proj", "down_proj"]}),
    "rslora": ("llama", {"target_modules": ["v_proj"], "use_rslora": True}),
    "patterns": (
        "llama",
        {
            "target_modules": ["q_proj", "v_proj"],
            "rank_pattern": {"v_proj": 2},
            "alpha_pattern": {"layers.1.self_attn.q_proj": 9},
        },
    ),
    "embedding and head": (
        "llama",
        {"target_modules": ["embed_tokens", "o_proj"], "modules_to_save": ["lm_head"]},
    ),
    "layers that store inputs first": (
        "gpt2",
        {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_merge_and_unload(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")
    from safetensors.numpy import load_file

    kind, settings = CASES[name]
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=20, vocab_size=32
        )
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=24,
            vocab_size=32,
            tie_word_embeddings=False,
        )
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=6, **settings))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    reference = f"{tmp_path / 'base'}+{tmp_path / 'adapter'}"
    models = [{"model": reference, "parameters": {"weight": 1}}]
    made = dict(fused_tensors({"merge_method": "linear", "models": models}))
    wanted = load_file(tmp_path / "merged" / "model.safetensors")
    assert made.keys() == wanted.keys()
    for tensor, values in wanted.items():
        np.testing.assert_allclose(made[tensor], values, rtol=1e-5, atol=1e-6, err_msg=tensor)


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_ties_in_pefts_dialect(tmp_path: Path, density: float) -> None:
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft.utils.merge_utils")
    from safetensors.numpy import save_file

    random = np.random.default_rng(0)
    base = random.standard_normal((30, 40)).astype(np.float32)
    changes = [random.standard_normal((30, 40)).astype(np.float32) for _ in range(3)]
    for name, values in {"base": base, **{str(i): base + c for i, c in enumerate(changes)}}.items():
        (tmp_path / name).mkdir()
        save_file({"w": values}, tmp_path / name / "model.safetensors")
    weights = (0.5, 0.3, 0.4)
    models = [
        {"model": str(tmp_path / str(i)), "parameters": {"weight": w, "density": density}}
        for i, w in enumerate(weights)
    ]
    data = {"merge_method": "ties", "base_model": str(tmp_path / "base"), "models": models}
    made = dict(fused_tensors(data | {"dialect": "peft"}))["w"]
    # what is trimmed is the change as float32 has it
    tensors = [torch.from_numpy((base + c) - base) for c in changes]
    wanted = peft.ties(tensors, torch.tensor(weights), density)
    np.testing.assert_allclose(made, base + wanted.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_was_extracted_is_an_adapter_to_peft(tmp_path: Path, kind: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")

    from plait.fusion.weights.extract import extract_adapter

    sizes: dict[str, Any] = {"vocab_size": 32}
    if kind == "gpt2":
        config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=20, **sizes)
    else:
        config = transformers.LlamaConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=24,
            **sizes,
        )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if (parameter.dim() == 2 and "h.1." in name) or (
                "layers.1." in name and "proj" in name
            ):
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "tuned")
    extract_adapter(tmp_path / "base", tmp_path / "tuned", tmp_path / "lora", rank=16)
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "lora")).eval()
    words = torch.arange(10)[None]
    with torch.inference_mode():
        wanted, made = model(words).logits, loaded(words).logits
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-4)
