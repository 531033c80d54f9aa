# SPDX-License-Identifier: Apache-2.0
"""A classifier over several modalities: an encoder for each, and a head that fuses them.

The configuration holds the encoders' own configurations, the weights all of them: one folder is the
whole model. Every input is optional, and so is every modality of every single item.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .audio_encoders import LogMelEncoder, VoiceEncoder
from .efficientnet_lite import EfficientNetLite
from .fusion_heads import HEADS
from .multimodal_processing import PlaitMultimodalProcessor

__all__ = [
    "PlaitMultimodalConfig",
    "PlaitMultimodalForSequenceClassification",
    "PlaitMultimodalProcessor",
]

MODALITIES = ("text", "image", "audio")
KINDS = ("transformers", "efficientnet-lite0", "log-mel", "voice")
GRID = 4
"""An image's feature maps are pooled to so many tokens across and down."""


class PlaitMultimodalConfig(PretrainedConfig):  # type: ignore[misc]
    """What the model is made of.

    `encoders` maps a modality to {kind, width, token_width, config}: `kind` is one of `KINDS`, and
    `config` the configuration of a transformers model, or the arguments of one of the others.
    """

    model_type = "plait_multimodal"

    def __init__(
        self,
        encoders: Mapping[str, Mapping[str, Any]] | None = None,
        fusion: str = "concat",
        width: int = 128,
        dropout: float = 0.3,
        single_heads: bool = False,
        **kwargs: Any,
    ) -> None:
        self.encoders = {name: dict(value) for name, value in (encoders or {}).items()}
        self.fusion = fusion
        self.width = width
        self.dropout = dropout
        self.single_heads = single_heads
        super().__init__(**kwargs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the order of `modality_mask`'s columns."""
        return tuple(name for name in MODALITIES if name in self.encoders)


class PlaitMultimodalForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """Encoders, a projection of each to one width, a fusion head, and a classifier."""

    config_class = PlaitMultimodalConfig
    main_input_name = "input_ids"

    def __init__(self, config: PlaitMultimodalConfig) -> None:
        super().__init__(config)
        names, width = config.modalities, config.width
        entries = [config.encoders[name] for name in names]
        self.encoders = nn.ModuleDict(
            {name: make_encoder(entry) for name, entry in zip(names, entries, strict=True)}
        )
        self.scales = nn.ModuleDict(
            {n: Standardise(e["width"]) for n, e in zip(names, entries, strict=True)}
        )
        self.projections = nn.ModuleDict(
            {n: nn.Linear(e["width"], width) for n, e in zip(names, entries, strict=True)}
        )
        self.token_projections = nn.ModuleDict(
            {
                n: nn.Sequential(nn.LayerNorm(e["token_width"]), nn.Linear(e["token_width"], width))
                for n, e in zip(names, entries, strict=True)
                if config.fusion == "attention"
            }
        )
        self.fusion = HEADS[config.fusion](len(names), width, config.dropout)
        self.classifier = nn.Linear(width, config.num_labels)
        self.single = nn.ModuleDict(
            {n: nn.Linear(width, config.num_labels) for n in names if config.single_heads}
        )
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        if isinstance(module, Standardise):
            nn.init.zeros_(module.mean)
            nn.init.ones_(module.scale)
        else:
            super()._init_weights(module)

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        pixel_values: Any = None,
        input_features: Any = None,
        input_features_mask: Any = None,
        modality_mask: Any = None,
        labels: Any = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Return logits [n, labels], and the loss if there are `labels`.

        Args:
            input_ids: token ids [n, t]; an item whose `attention_mask` is all 0 has no text.
            attention_mask: [n, t].
            pixel_values: [n, 3, height, width].
            input_features: what the audio encoder reads; spectrograms [n, frames, mels].
            input_features_mask: [n, frames], 1 where there is sound.
            modality_mask: [n, modalities] in the order of `config.modalities`: 0 where an item
                lacks one (default: it has what is given).
            labels: class numbers [n].
        """
        encoded = self.encode(
            input_ids, attention_mask, pixel_values, input_features, input_features_mask
        )
        logits = self.fuse(encoded, modality_mask)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def encode(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        pixel_values: Any = None,
        input_features: Any = None,
        input_features_mask: Any = None,
    ) -> dict[str, tuple[Any, Any, Any]]:
        """Return (pooled [n, width], tokens [n, t, token width], mask [n, t]) by modality given."""
        found = {}
        if input_ids is not None and "text" in self.encoders:
            if attention_mask is None:
                attention_mask = torch.ones_like(input_ids)
            found["text"] = self.encoders["text"](input_ids, attention_mask)
        if pixel_values is not None and "image" in self.encoders:
            found["image"] = self.encoders["image"](pixel_values, None)
        if input_features is not None and "audio" in self.encoders:
            mask = input_features_mask
            if mask is None:
                mask = torch.ones(input_features.shape[:2], device=input_features.device)
            found["audio"] = self.encoders["audio"](input_features, mask)
        if not found:
            raise ValueError(f"The model needs one of {', '.join(self.config.modalities)}.")
        return found

    def fuse(self, encoded: Mapping[str, tuple[Any, Any, Any]], modality_mask: Any = None) -> Any:
        """Return logits [n, labels] from what `encode` found."""
        hidden, present, tokens = self.represent(encoded, modality_mask)
        return self.classifier(self.dropout(self.fusion(hidden, present, tokens)))

    def represent(
        self, encoded: Mapping[str, tuple[Any, Any, Any]], modality_mask: Any = None
    ) -> tuple[Any, Any, Any]:
        """Return vectors [n, modalities, width], which are present, and tokens for attention."""
        first = next(iter(encoded.values()))[0]
        vectors, present, tokens = [], [], []
        for place, name in enumerate(self.config.modalities):
            if name not in encoded:
                vectors.append(first.new_zeros(len(first), self.config.width))
                present.append(torch.zeros(len(first), dtype=torch.bool, device=first.device))
                tokens.append((vectors[-1][:, None], present[-1][:, None]))
                continue
            pooled, found, mask = encoded[name]
            here = torch.ones(len(first), dtype=torch.bool, device=first.device)
            if name == "text":
                here = mask.bool().any(1)
            if modality_mask is not None:
                here = here & modality_mask[:, place].bool()
            vector = self.hidden(name, pooled)
            vectors.append(torch.where(here[:, None], vector, torch.zeros_like(vector)))
            present.append(here)
            if name in self.token_projections:
                tokens.append((self.token_projections[name](self.dropout(found)), mask))
        return torch.stack(vectors, 1), torch.stack(present, 1), tokens

    def hidden(self, name: str, pooled: Any) -> Any:
        """Return the projection [n, width] of one modality's pooled vectors."""
        return F.gelu(self.projections[name](self.dropout(self.scales[name](pooled))))

    def single_logits(self, name: str, pooled: Any) -> Any:
        """Return logits [n, labels] of one modality alone, by a head of its own."""
        return self.single[name](self.dropout(self.hidden(name, pooled)))


class Standardise(nn.Module):  # type: ignore[misc]
    """Subtract the mean and divide by the deviation that vectors had before training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, vectors: Any) -> Any:
        """Return vectors [n, width] of comparable sizes."""
        return (vectors - self.mean) / self.scale

    def fit(self, vectors: Any) -> None:
        """Take the mean and deviation of vectors [n, width]; what never varies is left as it is."""
        self.mean.copy_(vectors.mean(0))
        deviation = vectors.std(0, unbiased=False)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))


class TransformersEncoder(nn.Module):  # type: ignore[misc]
    """A transformers model of one modality; pooled is the mean of its tokens."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        values = {k: v for k, v in config.items() if k not in ("model_type", "auto_map")}
        made = AutoConfig.for_model(config["model_type"], **values)
        model = AutoModel.from_config(made)
        self.model = model.get_encoder() if made.is_encoder_decoder else model
        self.input_name = self.model.main_input_name

    def forward(self, inputs: Any, mask: Any) -> tuple[Any, Any, Any]:
        """Return (pooled [n, width], tokens [n, t, width], mask [n, t])."""
        if self.input_name == "input_ids":
            states = self.model(input_ids=inputs, attention_mask=mask).last_hidden_state
        else:
            states = self.model(**{self.input_name: inputs}).last_hidden_state
        if states.ndim == 4:
            return _grid(states)
        if mask is None or mask.shape != states.shape[:2]:
            mask = torch.ones(states.shape[:2], device=states.device)
        weights = mask[..., None].to(states.dtype)
        pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        return pooled, states, mask


class ImageEncoder(EfficientNetLite):
    """EfficientNet-Lite0 without its classifier; tokens are cells of its feature maps."""

    def forward(self, images: Any, mask: Any = None) -> tuple[Any, Any, Any]:
        """Return (pooled [n, 1280], tokens [n, GRID², 1280], mask of ones)."""
        return _grid(super().forward(images))


def _grid(maps: Any) -> tuple[Any, Any, Any]:
    tokens = F.adaptive_avg_pool2d(maps, GRID).flatten(2).transpose(1, 2)
    mask = torch.ones(tokens.shape[:2], device=tokens.device)
    return maps.mean(dim=(2, 3)), tokens, mask


def make_encoder(entry: Mapping[str, Any]) -> Any:
    """Return the encoder that an entry of a configuration's `encoders` describes, unfilled.

    Raises:
        ValueError: if there is no such kind.
    """
    kind, values = entry["kind"], entry.get("config") or {}
    if kind == "efficientnet-lite0":
        return ImageEncoder()
    if kind == "log-mel":
        return LogMelEncoder(**values)
    if kind == "voice":
        return VoiceEncoder(**values)
    if kind == "transformers":
        return TransformersEncoder(values)
    raise ValueError(f"There is no encoder '{kind}'; known are {', '.join(KINDS)}.")
