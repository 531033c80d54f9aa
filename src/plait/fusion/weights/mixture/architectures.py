# SPDX-License-Identifier: Apache-2.0
"""Which mixture a kind of dense model becomes: the names of its tensors and its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights.checkpoints import Checkpoint
from plait.recipes.mixture import MixtureRecipe

PARTS = ("gate_proj", "up_proj", "down_proj")
"""The three matrices of a feed-forward layer, as every dense model here names them."""
NO_SHARED = 8  # rows of the shared expert of zeros that Qwen2's mixture has where none is asked for

Config = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """A mixture that transformers runs: whose models it can be made of, and what things are called.

    `block` follows a layer's prefix; `parts` are its experts' names for `PARTS`.
    """

    name: str
    model: str
    sources: tuple[str, ...]
    block: str
    parts: tuple[str, str, str]
    shared: bool
    tell: Callable[[Config, MixtureRecipe, int], Config]

    def expert(self, layer: str, number: int, part: str) -> str:
        """Return the name of an expert's matrix; `part` is one of `PARTS`."""
        return f"{layer}{self.block}.experts.{number}.{self.parts[PARTS.index(part)]}.weight"

    def gate(self, layer: str) -> str:
        """Return the name of a layer's gate."""
        return f"{layer}{self.block}.gate.weight"


def _mixtral(config: Config, recipe: MixtureRecipe, width: int) -> Config:
    keep = {"num_local_experts": len(recipe.experts), "num_experts_per_tok": recipe.per_token}
    window = config.get("sliding_window", 4096) if config["model_type"] == "mistral" else None
    return config | keep | {"sliding_window": window, "router_jitter_noise": 0.0}


def _qwen(config: Config, recipe: MixtureRecipe, width: int) -> Config:
    # the gate's shares are made to add up to one: experts that are alike then give the dense model
    return config | {
        "num_experts": len(recipe.experts),
        "num_experts_per_tok": recipe.per_token,
        "moe_intermediate_size": width,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


def _qwen2(config: Config, recipe: MixtureRecipe, width: int) -> Config:
    kind = config["model_type"]
    if kind == "mistral":
        window = config.get("sliding_window", 4096)
        config = config | {"use_sliding_window": window is not None, "sliding_window": window}
        if window is not None:
            layers = config["num_hidden_layers"]
            config |= {"layer_types": ["sliding_attention"] * layers, "max_window_layers": layers}
    return _qwen(config, recipe, width) | {
        "qkv_bias": kind == "qwen2",
        "shared_expert_intermediate_size": width if recipe.shared else NO_SHARED,
    }


MIXTRAL = Architecture(
    "mixtral",
    "MixtralForCausalLM",
    ("llama", "mistral"),
    "block_sparse_moe",
    ("w1", "w3", "w2"),
    False,
    _mixtral,
)
QWEN2 = Architecture(
    "qwen2_moe",
    "Qwen2MoeForCausalLM",
    ("qwen2", "llama", "mistral"),
    "mlp",
    PARTS,
    True,
    _qwen2,
)
QWEN3 = Architecture("qwen3_moe", "Qwen3MoeForCausalLM", ("qwen3",), "mlp", PARTS, False, _qwen)
ALL = (MIXTRAL, QWEN2, QWEN3)

# what a configuration means where it does not say, of those keys that mixtures default otherwise
_SILENT: dict[str, Config] = {
    "llama": {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "vocab_size": 32000},
    "mistral": {"rms_norm_eps": 1e-6, "max_position_embeddings": 131072, "num_key_value_heads": 8},
    "qwen2": {"rms_norm_eps": 1e-6, "max_position_embeddings": 32768},
    "qwen3": {"rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "head_dim": 128},
}
_TOKENS = {"llama": (1, 2), "mistral": (1, 2)}


def choose(recipe: MixtureRecipe, models: Mapping[str, Checkpoint]) -> Architecture:
    """Return the mixture that a recipe asks for, or that its models become.

    Raises:
        BadInput: if the models are of kinds that no mixture is made of, or not of this one.
    """
    kinds = {r: str(m.config.get("model_type")) for r, m in models.items()}
    asked = {"qwen": "qwen3_moe" if "qwen3" in kinds.values() else "qwen2_moe"}
    wanted = asked.get(recipe.architecture or "", recipe.architecture)
    for found in ALL:
        fits = all(kind in found.sources for kind in kinds.values())
        if wanted in (None, found.name) and fits and (found.shared or not recipe.shared):
            _check_alike(recipe, models, found)
            return found
    reference, kind = next(iter(kinds.items()))
    for found in ALL:
        if wanted == found.name or (wanted is None and kind in found.sources):
            strange = [r for r, k in kinds.items() if k not in found.sources]
            if strange:
                raise BadInput(
                    f"'{strange[0]}' is of the kind '{kinds[strange[0]]}', but a mixture of the "
                    f"kind {found.name} is made of {' or '.join(found.sources)}."
                )
            raise BadInput(
                f"A mixture of the kind {found.name} has no shared expert; leave 'shared_experts' "
                "out, or write 'architecture: qwen' where the experts allow it."
            )
    every = sorted({kind for a in ALL for kind in a.sources})
    raise BadInput(
        f"'{reference}' is of the kind '{kind}'; mixtures of experts are made of "
        f"{', '.join(every)}."
    )


def _check_alike(
    recipe: MixtureRecipe, models: Mapping[str, Checkpoint], found: Architecture
) -> None:
    base = models[recipe.base_model].config
    for reference, model in models.items():
        for key in ("hidden_act", "hidden_size", "num_hidden_layers"):
            one, two = base.get(key), model.config.get(key)
            if one is not None and two is not None and one != two:
                raise BadInput(
                    f"'{recipe.base_model}' and '{reference}' do not fit into one mixture: "
                    f"'{key}' is {one!r:.60} and {two!r:.60}."
                )
        for key in ("attention_bias", "mlp_bias"):
            allowed = found is QWEN3 and key == "attention_bias"
            if model.config.get(key) and not allowed:
                raise BadInput(
                    f"'{reference}' has biases ('{key}'), which a mixture of the kind "
                    f"{found.name} has no place for."
                )
    acts = {"silu", "swish", None}
    if base.get("hidden_act") not in acts:
        raise BadInput(
            f"'{recipe.base_model}' has the activation '{base.get('hidden_act')}'; mixtures of the "
            f"kind {found.name} are made of models with 'silu'."
        )


def configuration(
    recipe: MixtureRecipe, base: Checkpoint, found: Architecture, width: int
) -> Config:
    """Return the mixture's configuration: the base's, and what only mixtures have.

    What the base leaves to its kind's defaults is written out, for mixtures have others.
    """
    config = dict(base.config)
    kind = config["model_type"]
    for key, value in _SILENT[kind].items():
        config.setdefault(key, value)
    heads = config.get("num_attention_heads")
    if config.get("num_key_value_heads") is None and heads is not None:
        config["num_key_value_heads"] = heads
    if config.get("head_dim") is None:
        config.pop("head_dim", None)
    if "rope_theta" not in config and not config.get("rope_parameters"):
        config["rope_theta"] = 10_000.0
    for key, value in zip(("bos_token_id", "eos_token_id"), _TOKENS.get(kind, ()), strict=False):
        config.setdefault(key, value)
    for key in ("mlp_bias", "pretraining_tp", "auto_map", "attention_bias"):
        if not (key == "attention_bias" and found is QWEN3):
            config.pop(key, None)
    config = found.tell(config, recipe, width)
    config |= {"model_type": found.name, "architectures": [found.model]}
    return config | {"output_router_logits": False}
