# SPDX-License-Identifier: Apache-2.0
"""What a model's folder must be before anything is loaded from it: no pickle, no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.modeling import ARCHITECTURES

VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "*.spm",
    "*.bpe.model",
)
MAX_CLAIM = 100_000_000
MAX_CONFIG_BYTES = 16_000_000
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model folder's config.json.

    Raises:
        BadInput: if there is none, it has no `model_type`, or it asks for code of the folder's own:
            that is never run; models of Plait's own architectures, which carry their code for
            others, are loaded with the classes that are installed.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no model folder {folder}.")
    config = folder / "config.json"
    try:
        if config.stat().st_size > MAX_CONFIG_BYTES:
            raise BadInput(
                f"{folder.name} has a config.json larger than {MAX_CONFIG_BYTES:,} bytes."
            )
        content = json.loads(config.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{folder.name} is not a model: it has no config.json.") from None
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{folder.name} has a config.json that is not JSON.") from None
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise BadInput(f"{folder.name} has a config.json without 'model_type'.")
    if "auto_map" in content and content["model_type"] not in ARCHITECTURES:
        raise BadInput(
            f"{folder.name} wants to run code of its own ('auto_map' in config.json), which "
            "is never done; use an architecture that transformers has."
        )
    return content


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no model of one part with its tokenizer.

    Raises:
        BadInput: saying what it lacks.
    """
    content = read_config(folder)
    if content["model_type"] in ARCHITECTURES:
        raise BadInput(
            f"{folder.name} is no single text classifier but a model of several parts "
            f"({content['model_type']}), which only predicts."
        )
    if not any(True for pattern in VOCABULARIES for _ in folder.glob(pattern)):
        # without one transformers would make up an empty tokenizer and every word be unknown
        raise BadInput(f"{folder.name} has no tokenizer: it needs tokenizer.json.")
    check_weights(folder, content)


def check_weights(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a folder without safetensors, or with fewer than its configuration asks for.

    Raises:
        BadInput: saying so.
    """
    if not any(folder.glob("*.safetensors")):
        pickles = [file.name for pattern in PICKLES for file in folder.glob(pattern)]
        if pickles:
            raise BadInput(
                f"{folder.name} has its weights only as {pickles[0]}, a pickle, which is never "
                "loaded; save it with safe_serialization=True."
            )
        raise BadInput(f"{folder.name} has no weights: it needs model.safetensors.")
    _check_claims(folder, config)


def refuse_gaps(folder: Path, loading: Mapping[str, Any]) -> None:
    """Refuse a model of which transformers found weights missing, or of another shape.

    Raises:
        BadInput: naming one.
    """
    missing = sorted(loading["missing_keys"])
    if missing:
        raise BadInput(f"{folder.name} lacks weights that its config.json asks for ({missing[0]}).")
    if loading.get("mismatched_keys"):
        raise BadInput(f"{folder.name} has weights whose shape contradicts its config.json.")


def _check_claims(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration whose model could not be in the files: it would fill the memory."""
    held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def claimed(name: str, usual: int = 0) -> int:
        value = config.get(name, usual)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or not 0 <= value <= MAX_CLAIM):
            raise BadInput(f"{folder.name} has a config.json whose '{name}' makes no sense.")
        return value or 0

    width, layers = claimed("hidden_size"), claimed("num_hidden_layers")
    claimed("max_position_embeddings")
    for count in (
        claimed("vocab_size") * width,
        claimed("type_vocab_size") * width,
        claimed("num_labels") * width,
        layers * width * width,
        layers * width * claimed("intermediate_size"),
    ):
        if count > held:  # a weight takes a byte at the very least
            raise BadInput(
                f"{folder.name} has a config.json that claims more weights than its "
                f"{held:,} bytes of safetensors can hold."
            )
