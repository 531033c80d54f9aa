# SPDX-License-Identifier: Apache-2.0
"""Recipes of mixtures of experts: mergekit-moe's configuration language, read into frozen values.

A base gives attention, norms and embeddings; experts give their feed-forward layers; a gate before
each layer's experts says which of them a token goes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes._reading import choice, is_text, keys, number, read_mapping, top_keys, whole
from plait.recipes.fusion import DTYPES, MAX_RECIPE_BYTES
from plait.recipes.references import reference

GATES = ("hidden", "cheap_embed", "random")
ARCHITECTURES = ("mixtral", "qwen", "qwen2_moe", "qwen3_moe")
MAX_EXPERTS = 512
MAX_PROMPTS = 1_000
MAX_PROMPT = 20_000
_TOP = (
    "base_model",
    "gate_mode",
    "dtype",
    "experts_per_token",
    "experts",
    "shared_experts",
    "architecture",
    "seed",
)
_EXPERT = ("source_model", "positive_prompts", "negative_prompts", "residual_scale")


@dataclass(frozen=True)
class Expert:
    """A model whose feed-forward layers become one expert, and texts that it is for or not for."""

    model: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True)
class MixtureRecipe:
    """A whole recipe of a mixture of experts."""

    base_model: str
    experts: tuple[Expert, ...]
    shared: Expert | None = None
    gate: str = "hidden"
    dtype: str | None = None
    per_token: int = 2
    architecture: str | None = None
    seed: int = 0

    def references(self) -> tuple[str, ...]:
        """Return every model that the recipe names, once, the base first."""
        shared = [self.shared.model] if self.shared else []
        return tuple(dict.fromkeys([self.base_model, *(e.model for e in self.experts), *shared]))


def read_mixture(recipe: object) -> MixtureRecipe | None:
    """Return the recipe of a mixture that a file, a YAML text or a mapping holds; None for another.

    Raises:
        BadInput: if it is a mixture's recipe and something in it is wrong.
    """
    if isinstance(recipe, Mapping):
        return parse_mixture(recipe) if _is_mixture(recipe) else None
    if not isinstance(recipe, str | Path):
        return None
    origin, content = "The recipe", str(recipe)
    if isinstance(recipe, Path) or not is_text(content):
        path = Path(recipe)
        origin = f"The recipe {path}"
        try:
            content = path.read_text("utf-8") if path.stat().st_size <= MAX_RECIPE_BYTES else ""
        except (OSError, UnicodeDecodeError):
            return None  # the reader of other recipes says what is wrong with the file
    if "experts" not in content or "experts" not in top_keys(content):
        return None
    try:
        data = read_mapping(content, origin, MAX_RECIPE_BYTES)
    except BadInput:
        return None
    return parse_mixture(data) if _is_mixture(data) else None


def _is_mixture(data: Mapping[str, Any]) -> bool:
    return "experts" in data and "merge_method" not in data and "method" not in data


def parse_mixture(data: Mapping[str, Any]) -> MixtureRecipe:
    """Turn the plain values of a mixture's recipe into a `MixtureRecipe`.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    keys(data, "The recipe of a mixture of experts", _TOP)
    if data.get("base_model") is None:
        raise BadInput("A mixture of experts needs 'base_model': whose attention it has.")
    given = data.get("experts")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_EXPERTS:
        raise BadInput(f"'experts' must be a list of 1 to {MAX_EXPERTS} models.")
    gate = choice(data.get("gate_mode", "hidden"), "'gate_mode'", GATES)
    experts = tuple(_expert(e, f"experts[{i}]") for i, e in enumerate(given))
    for place, expert in enumerate(experts):
        if gate != "random" and not expert.positive:
            raise BadInput(
                f"experts[{place}] ('{expert.model}') has no 'positive_prompts', which the gate "
                f"mode '{gate}' needs; give some, or write 'gate_mode: random'."
            )
    shared = data.get("shared_experts") or []
    if not isinstance(shared, list) or len(shared) > 1:
        raise BadInput("'shared_experts' must be a list of one model: more are not supported.")
    extra = _expert(shared[0], "shared_experts[0]") if shared else None
    if extra and gate != "random" and not extra.positive:
        raise BadInput(
            f"The shared expert '{extra.model}' has no 'positive_prompts', which the gate mode "
            f"'{gate}' needs; give some, or write 'gate_mode: random'."
        )
    most = len(experts)
    default = min(2, most)
    dtype = data.get("dtype")
    architecture = data.get("architecture")
    return MixtureRecipe(
        base_model=reference(data["base_model"], "base_model"),
        experts=experts,
        shared=extra,
        gate=gate,
        dtype=None if dtype is None else choice(dtype, "'dtype'", DTYPES),
        per_token=whole(data.get("experts_per_token", default), "'experts_per_token'", 1, most),
        architecture=None
        if architecture is None
        else choice(architecture, "'architecture'", ARCHITECTURES),
        seed=whole(data.get("seed", 0), "'seed'", 0, 2**63 - 1),
    )


def dump_mixture(recipe: MixtureRecipe) -> dict[str, Any]:
    """Return the recipe as plain values that `parse_mixture` reads back to an equal recipe."""
    data: dict[str, Any] = {
        "base_model": recipe.base_model,
        "gate_mode": recipe.gate,
        "experts_per_token": recipe.per_token,
        "experts": [_dump_expert(e) for e in recipe.experts],
    }
    if recipe.shared:
        data["shared_experts"] = [_dump_expert(recipe.shared)]
    for key in ("dtype", "architecture"):
        if getattr(recipe, key) is not None:
            data[key] = getattr(recipe, key)
    if recipe.seed:
        data["seed"] = recipe.seed
    return data


def _expert(data: object, where: str) -> Expert:
    found = keys(data, where, _EXPERT)
    if found.get("source_model") is None:
        raise BadInput(f"{where} needs 'source_model': a folder or a repository.")
    return Expert(
        model=reference(found["source_model"], f"{where}.source_model"),
        positive=_prompts(found.get("positive_prompts"), f"{where}.positive_prompts"),
        negative=_prompts(found.get("negative_prompts"), f"{where}.negative_prompts"),
        scale=number(found.get("residual_scale", 1.0), f"{where}.residual_scale", -1e6, 1e6),
    )


def _prompts(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = value if isinstance(value, list) else [value]
    good = all(isinstance(t, str) and t.strip() and len(t) <= MAX_PROMPT for t in texts)
    if not good or len(texts) > MAX_PROMPTS:
        raise BadInput(
            f"'{where}' must be a list of at most {MAX_PROMPTS:,} texts, none of them empty."
        )
    return tuple(texts)


def _dump_expert(expert: Expert) -> dict[str, Any]:
    data: dict[str, Any] = {"source_model": expert.model}
    if expert.positive:
        data["positive_prompts"] = list(expert.positive)
    if expert.negative:
        data["negative_prompts"] = list(expert.negative)
    if expert.scale != 1:
        data["residual_scale"] = expert.scale
    return data
