# SPDX-License-Identifier: Apache-2.0
"""The gates of a mixture: for every layer, a vector for each expert.

A token goes to the experts whose vectors point where its hidden state does. With prompts, an
expert's vector is the mean over its positive prompts less that over its negative ones; what all
experts have in common is taken out, for it says nothing about the choice, and the rest is brought
to length one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, MissingExtra
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.computed import Read, rows_of
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.numbers import Array
from plait.recipes.mixture import Expert, MixtureRecipe

SPREAD = 0.02  # of random gates, where a model's configuration states no 'initializer_range'
MAX_TOKENS = 4096  # of a prompt
EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True)
class Gates:
    """The gates by layer, (experts, hidden) each, and those of the shared expert, (1, hidden)."""

    experts: Mapping[int, Array]
    shared: Mapping[int, Array]


def find_gates(recipe: MixtureRecipe, base: Checkpoint, layers: int, hidden: int) -> Gates:
    """Return the gates as the recipe's `gate_mode` says, in float32.

    Raises:
        MissingExtra: for `hidden` without torch and transformers, `cheap_embed` without tokenizers.
        BadInput: if the base has no tokenizer that the prompts can be read with.
    """
    if recipe.gate == "random":
        return _random(recipe, base, layers, hidden)
    experts = list(recipe.experts) + ([recipe.shared] if recipe.shared else [])
    texts = list(dict.fromkeys(t for e in experts for t in (*e.positive, *e.negative)))
    if recipe.gate == "cheap_embed":
        means = _embedded(base, texts)
        means = {text: np.repeat(mean[None], layers, 0) for text, mean in means.items()}
    else:
        means = _hidden(base, texts, layers)
    vectors = np.stack([_direction(e, means) for e in recipe.experts])  # (experts, layers, hidden)
    vectors = _unit(vectors - vectors.mean(0))
    found = {n: np.ascontiguousarray(vectors[:, n], np.float32) for n in range(layers)}
    shared: dict[int, Array] = {}
    if recipe.shared and recipe.shared.positive:
        own = _unit(_direction(recipe.shared, means))
        shared = {n: np.ascontiguousarray(own[n : n + 1], np.float32) for n in range(layers)}
    return Gates(found, shared)


def _random(recipe: MixtureRecipe, base: Checkpoint, layers: int, hidden: int) -> Gates:
    spread = base.config.get("initializer_range")
    spread = float(spread) if isinstance(spread, int | float) and 0 < spread < 1 else SPREAD

    def draw(what: str, rows: int) -> dict[int, Array]:
        found = {}
        for layer in range(layers):
            name = f"{recipe.seed}/{what}/{layer}".encode()
            key = int.from_bytes(blake2b(name, digest_size=16).digest(), "little")
            drawn = np.random.Generator(np.random.Philox(key=key)).standard_normal((rows, hidden))
            found[layer] = (drawn * spread).astype(np.float32)
        return found

    return Gates(draw("gate", len(recipe.experts)), draw("shared", 1) if recipe.shared else {})


def _direction(expert: Expert, means: Mapping[str, Array]) -> Array:
    found = np.asarray(np.mean([means[t] for t in expert.positive], 0, dtype=np.float64))
    if expert.negative:
        found = found - np.asarray(np.mean([means[t] for t in expert.negative], 0))
    return found


def _unit(vectors: Array) -> Array:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    # experts with the same prompts differ by nothing but rounding: the gate then prefers none
    scale = np.where(length > 1e-6, length, np.inf)
    return np.asarray(vectors / scale)


def _embedded(base: Checkpoint, texts: Sequence[str]) -> dict[str, Array]:
    """Return the mean embedding of each text's tokens."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("tokenizers", "train") from None
    path = base.folder / "tokenizer.json"
    if not path.is_file():
        raise BadInput(
            f"{base.folder} has no tokenizer.json to read the prompts with; save its tokenizer "
            "with transformers, or write 'gate_mode: random'."
        )
    try:
        tokenizer: Any = Tokenizer.from_file(str(path))
    except Exception:  # the library raises nothing narrower
        raise BadInput(f"{path} is not a tokenizer; fetch the model again.") from None
    entry = base.tensors.get(EMBEDDING)
    if entry is None:
        raise BadInput(f"{base.folder} has no tensor '{EMBEDDING}' to take embeddings from.")
    found = {}
    with Readers() as readers:
        read: Read = readers.read
        for text in texts:
            numbers = sorted(tokenizer.encode(text).ids[:MAX_TOKENS])
            if not numbers or numbers[-1] >= entry.shape[0]:
                raise BadInput(
                    f"The tokenizer of {base.folder} does not fit its embedding of "
                    f"{entry.shape[0]:,} rows (prompt '{text[:60]}')."
                )
            rows = [rows_of(read, entry, n, n + 1)[0] for n in numbers]
            found[text] = np.asarray(np.mean(rows, 0, dtype=np.float64))
    return found


def _hidden(base: Checkpoint, texts: Sequence[str], layers: int) -> dict[str, Array]:
    """Return, for each text and layer, the mean over tokens of what a gate there will see."""
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise MissingExtra(str(error.name or "transformers"), "train") from None
    model, tokenizer = _load(base.folder, AutoModel, AutoTokenizer)
    seen: dict[int, Any] = {}

    def watch(layer: int) -> Any:
        def hook(module: Any, given: Any) -> None:
            seen[layer] = given[0][0].float().mean(0, dtype=torch.float64).numpy()

        return hook

    hooks = [block.mlp.register_forward_pre_hook(watch(n)) for n, block in enumerate(model.layers)]
    found = {}
    with torch.inference_mode():
        for text in texts:
            given = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS)
            model(input_ids=given["input_ids"], use_cache=False)
            found[text] = np.stack([seen[n] for n in range(layers)])
            if not np.isfinite(found[text]).all():
                raise BadInput(f"{base.folder} gives NaN or infinity for '{text[:60]}'.")
    for hook in hooks:
        hook.remove()
    return found


def _load(folder: Path, models: Any, tokenizers: Any) -> tuple[Any, Any]:
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = tokenizers.from_pretrained(folder, **options)
        model = models.from_pretrained(folder, dtype="auto", use_safetensors=True, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"{folder} cannot be run for the gate mode 'hidden': {reason}; 'cheap_embed' and "
            "'random' need less."
        ) from None
    return model.eval(), tokenizer
