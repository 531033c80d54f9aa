# SPDX-License-Identifier: Apache-2.0
"""GGUF files as models: transformers' names for their tensors, and a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights.gguf import Interleaved, Quantised, Setting, read_gguf
from plait.fusion.weights.safetensors import Entry

# llama.cpp's architectures that are read, and their model classes
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
WHOLE = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAME = re.compile(r"(?:blk\.(\d{1,5})\.)?([a-z_]+)\.(weight|bias)")
_SETTINGS = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "embedding_length": "hidden_size",
    "rope.freq_base": "rope_theta",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
}
_NEEDED = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
_ROTATION = "rope_freqs.weight"  # what scaled positions come to; not what they come from


def read_model(path: Path, config: Mapping[str, Any]) -> tuple[dict[str, Entry], dict[str, Any]]:
    """Return a GGUF model's tensors by transformers' names, and its configuration.

    Args:
        path: the file.
        config: the `config.json` beside it, or nothing: it is then derived from the file.

    Raises:
        BadInput: if the file is damaged, or of an architecture that is not known here.
    """
    settings, found = read_gguf(path)
    kind = settings.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise BadInput(
            f"{path} is of the architecture '{str(kind)[:60]}'; of GGUF files "
            f"{', '.join(ARCHITECTURES)} are read."
        )
    if settings.get("split.count", 1) not in (0, 1):
        raise BadInput(
            f"{path} is one of several parts; join them with 'llama-gguf-split --merge'."
        )
    tensors: dict[str, Entry] = {}
    for name, entry in found.items():
        if name != _ROTATION:
            known = _transformers_name(path, name)
            tensors[known] = _renamed(entry, known)
    if not config:
        if _ROTATION in found:
            raise BadInput(
                f"{path} has scaled positions ('{_ROTATION}') whose settings it does not say; put "
                "the model's config.json beside it."
            )
        config = _configuration(path, str(kind), settings, tensors)
    if kind == "llama":
        for name, entry in tensors.items():
            key = {".q_proj.": "num_attention_heads", ".k_proj.": "num_key_value_heads"}
            heads = next((config.get(k) for part, k in key.items() if part in name), None)
            if heads is not None:
                tensors[name] = _interleaved(path, entry, heads)
    return tensors, dict(config)


def _transformers_name(path: Path, name: str) -> str:
    match = _NAME.fullmatch(name)
    if match:
        number, part, end = match.groups()
        if number is None and part in WHOLE:
            return f"{WHOLE[part]}.{end}"
        if number is not None and part in PARTS:
            return f"model.layers.{int(number)}.{PARTS[part]}.{end}"
    raise BadInput(
        f"{path} has the tensor '{name[:100]}', for which transformers' dense models have no name."
    )


def _renamed(entry: Entry, name: str) -> Entry:
    if isinstance(entry, Quantised):
        return replace(entry, name=name, origin=replace(entry.origin, name=name))
    return replace(entry, name=name)


def _interleaved(path: Path, entry: Entry, heads: Any) -> Entry:
    if type(heads) is not int or heads <= 0 or not entry.shape or entry.shape[0] % (2 * heads):
        raise BadInput(
            f"{path}: '{entry.name}' of the shape {list(entry.shape)} cannot be split into "
            f"{heads} heads."
        )
    code = "F64" if entry.code == "F64" else "F32"
    return Interleaved(
        entry.name, code, entry.shape, path, entry.offset, entry.nbytes, entry, heads
    )


def _configuration(
    path: Path, kind: str, settings: Mapping[str, Setting], tensors: Mapping[str, Entry]
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model_type": kind,
        "architectures": [ARCHITECTURES[kind]],
        "hidden_act": "silu",
        "tie_word_embeddings": "lm_head.weight" not in tensors,
    }
    for key, name in _SETTINGS.items():
        value = settings.get(f"{kind}.{key}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            config[name] = value
    missing = [name for name in _NEEDED if type(config.get(name)) is not int]
    embedding = tensors.get("model.embed_tokens.weight")
    if missing or embedding is None:
        what = missing[0] if missing else "an embedding"
        raise BadInput(f"{path} does not say its {what}; put the model's config.json beside it.")
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    config["vocab_size"] = embedding.shape[0]
    if kind == "llama":
        config["attention_bias"] = any(n.endswith("q_proj.bias") for n in tensors)
        config["mlp_bias"] = any(n.endswith("up_proj.bias") for n in tensors)
    for key in ("bos", "eos", "padding"):
        value = settings.get(f"tokenizer.ggml.{key}_token_id")
        if type(value) is int:
            config[f"{'pad' if key == 'padding' else key}_token_id"] = value
    _scaling(path, kind, settings, config)
    return config


def _scaling(
    path: Path, kind: str, settings: Mapping[str, Setting], config: dict[str, Any]
) -> None:
    how = settings.get(f"{kind}.rope.scaling.type", "none")
    if how == "none":
        return
    factor = settings.get(f"{kind}.rope.scaling.factor")
    if how != "linear" or not isinstance(factor, int | float):
        raise BadInput(
            f"{path} has scaled positions of the kind '{str(how)[:60]}'; put the model's "
            "config.json beside it."
        )
    config["rope_scaling"] = {"rope_type": "linear", "factor": float(factor)}


def write_tokenizer(path: Path, folder: Path) -> bool:
    """Write the tokenizer that a GGUF file holds as transformers' files; tell whether it could be.

    Only transformers can convert it; without it, or for a kind that it does not know, none is
    written.
    """
    try:
        from transformers import AutoTokenizer

        found = AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
        found.save_pretrained(folder)
    except Exception:  # a file without a tokenizer, or with one that is not known, fails anyhow
        return False
    return True
