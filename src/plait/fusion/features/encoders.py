# SPDX-License-Identifier: Apache-2.0
"""From a recipe's encoders to one model: opened, put together, with a processor for inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.datasets import model_folder
from plait.fusion.features.options import BUILT_IN, FeatureRecipe, Member
from plait.fusion.places import hash_folder
from plait.fusion.weights.opening import Resolver
from plait.pretrained import load_encoder, load_own, load_weights, read_config

OWN = {"plait_efficientnet_lite0": "image", "plait_voice": "audio"}
"""Encoders that transformers lacks, by their folder's `model_type`, and what they read."""
FUSED = "plait_multimodal"
"""An earlier fusion's folder, one of whose encoders is taken: what it learnt there is carried over.
"""
AUDIO_SECONDS = 10.0
"""Sounds are brought to this length for audio models of transformers, which know no padding."""


@dataclass(frozen=True)
class Opened:
    """An encoder: its entry in the model's configuration, its weights, and what its inputs need."""

    entry: dict[str, Any]
    settings: dict[str, Any]
    weights: Mapping[str, Any] | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    """Arguments for the processor: a tokenizer, an image processor, a feature extractor."""
    hashes: dict[str, str] = field(default_factory=dict)


def find_encoder(member: Member, folder: Path, resolve: Resolver | None) -> Path | None:
    """Return the folder of an encoder, None for the one that is built in.

    Raises:
        BadInput: if there is none, or it reads another modality.
    """
    if member.model == BUILT_IN:
        if member.modality != "audio":
            raise BadInput(f"'{BUILT_IN}' reads audio; '{member.name}' is to read another thing.")
        return None
    found = model_folder(member.model, folder, resolve)
    kind = read_config(found)["model_type"]
    reads = list(read_config(found).get("encoders") or {}) if kind == FUSED else None
    if kind in OWN:
        reads = [OWN[kind]]
    if reads is not None and member.modality not in reads:
        raise BadInput(
            f"'{member.name}' reads {' and '.join(reads) or 'nothing'}, not {member.modality}."
        )
    return found


def open_encoder(member: Member, found: Path | None, max_length: int) -> Opened:
    """Load an encoder from its folder.

    Raises:
        BadInput: naming the encoder and what it lacks.
        MissingExtra: if a package is not installed.
    """
    from plait.modeling.multimodal_processing import AUDIO, IMAGE

    if found is None:
        return Opened({"kind": "log-mel", "config": {"mels": AUDIO["mels"]}}, dict(AUDIO))
    kind = read_config(found)["model_type"]
    hashes = hash_folder(found)
    if kind == "plait_efficientnet_lite0":
        entry: dict[str, Any] = {"kind": "efficientnet-lite0"}
        return Opened(entry, dict(IMAGE), load_weights(found), hashes=hashes)
    if kind == "plait_voice":
        settings = {**AUDIO, "logarithm": False, "loudness": -30.0}
        return Opened({"kind": "voice"}, settings, load_weights(found), hashes=hashes)
    if kind == FUSED:
        return _taken(found, member.modality, hashes)
    model, reader = load_encoder(found, member.modality)
    wanted = {"text": "input_ids", "image": "pixel_values"}.get(member.modality)
    reads = model.main_input_name
    if reads != wanted and not (wanted is None and reads in ("input_features", "input_values")):
        raise BadInput(
            f"'{member.name}' is to read {member.modality}, but {found.name} reads '{reads}'."
        )
    entry = {"kind": "transformers", "config": _plain(model.config)}
    parts, settings = _reader(reader, member.modality, model, max_length)
    encoder = model.get_encoder() if model.config.is_encoder_decoder else model
    return Opened(entry, settings, encoder.state_dict(), parts, hashes)


def _taken(found: Path, modality: str, hashes: dict[str, str]) -> Opened:
    """Take one encoder, and what prepares its inputs, out of an earlier fusion."""
    model, processor = load_own(found)
    entry = {k: v for k, v in model.config.encoders[modality].items() if k in ("kind", "config")}
    name = {"text": "tokenizer", "image": "image_processor", "audio": "feature_extractor"}[modality]
    part = getattr(processor, name)
    return Opened(
        entry,
        processor.settings[modality],
        _inside(model.encoders[modality], entry).state_dict(),
        {} if part is None else {name: part},
        hashes,
    )


def _reader(
    reader: Any, modality: str, model: Any, max_length: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    if modality == "text":
        most = getattr(model.config, "max_position_embeddings", None) or max_length
        return {"tokenizer": reader}, {"max_length": min(max_length, most)}
    if modality == "image":
        return {"image_processor": reader}, {"kind": "transformers"}
    settings = {"kind": "transformers", "rate": reader.sampling_rate, "seconds": AUDIO_SECONDS}
    return {"feature_extractor": reader}, settings


def _plain(config: Any) -> dict[str, Any]:
    values: dict[str, Any] = config.to_dict()
    dropped = ("auto_map", "_name_or_path", "transformers_version", "id2label", "label2id")
    kept = {key: value for key, value in values.items() if key not in dropped}
    return kept | {"model_type": config.model_type}


def build(
    recipe: FeatureRecipe, opened: Mapping[str, Opened], labels: Sequence[str]
) -> tuple[Any, Any]:
    """Return the model, its head drawn by torch's generator, and its processor.

    Raises:
        BadInput: if an encoder's weights do not fit its configuration.
    """
    import torch

    from plait.modeling.multimodal import (
        PlaitMultimodalConfig,
        PlaitMultimodalForSequenceClassification,
        PlaitMultimodalProcessor,
        make_encoder,
    )

    if recipe["fusion"] == "attention" and recipe["width"] % 4:
        raise BadInput("parameters.width must be a multiple of 4 for attention, which has 4 heads.")
    parts = {k: v for o in opened.values() for k, v in o.parts.items()}
    processor = PlaitMultimodalProcessor({m: o.settings for m, o in opened.items()}, **parts)
    entries: dict[str, dict[str, Any]] = {}
    for modality, one in opened.items():
        encoder = make_encoder(one.entry).eval()
        _put(encoder, one, modality)
        with torch.inference_mode():
            pooled, tokens, _ = _try(encoder, processor, modality)
        widths = {"width": pooled.shape[-1], "token_width": tokens.shape[-1]}
        entries[modality] = one.entry | widths
    config = PlaitMultimodalConfig(
        encoders=entries,
        fusion=recipe["fusion"],
        width=recipe["width"],
        dropout=recipe["dropout"],
        single_heads=recipe["training"] != "joint",
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
    )
    model = PlaitMultimodalForSequenceClassification(config).float()
    for modality, one in opened.items():
        _put(model.encoders[modality], one, modality)
    return model, processor


def _put(encoder: Any, opened: Opened, modality: str) -> None:
    if opened.weights is None:
        return
    try:
        _inside(encoder, opened.entry).load_state_dict(opened.weights)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:200]
        raise BadInput(f"The weights of the {modality} encoder do not fit it: {told}") from None


def _inside(encoder: Any, entry: Mapping[str, Any]) -> Any:
    """Return what holds an encoder's weights by the names that they have in its own folder."""
    return encoder.model if entry["kind"] == "transformers" else encoder


def _try(encoder: Any, processor: Any, modality: str) -> Any:
    """Run an encoder once, to learn how wide what it finds is."""
    import numpy as np

    if modality == "text":
        made = processor(text=["a"])
        return encoder(made["input_ids"], made["attention_mask"])
    if modality == "image":
        made = processor(images=[np.zeros((64, 64, 3), np.uint8)])
        return encoder(made["pixel_values"], None)
    made = processor(audio=[(np.zeros(16_000, np.float32), 16_000)])
    values = made["input_features"]
    mask = made.get("input_features_mask")
    return encoder(values, mask)
