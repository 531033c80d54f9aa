# SPDX-License-Identifier: Apache-2.0
"""A text classifier whose tokens attend to vectors of the entities that the text names.

Before each layer of the encoder, token states read the entities' vectors by cross-attention; what
they read is added times a gate that starts at zero (as in Flamingo, Alayrac et al. 2022,
arXiv:2204.14198), so that a new model says exactly what its encoder said. That vectors of a graph
enter between layers is ERNIE's and KnowBERT's idea (Zhang et al. 2019, arXiv:1905.07129; Peters et
al. 2019, arXiv:1909.04164).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from .knowledge_processing import PlaitKnowledgeProcessor

__all__ = [
    "EntityAttention",
    "PlaitKnowledgeConfig",
    "PlaitKnowledgeForSequenceClassification",
    "PlaitKnowledgeProcessor",
]

GATE_SPEED = 16.0
"""How much faster a gate moves than other weights: one number that an optimiser with steps of one
size for all weights (Adam) would hardly get off zero in a few hundred steps."""
NEAR = 2.0
"""The bonus in attention, at first, of the entity whose name a token is part of."""


class PlaitKnowledgeConfig(PretrainedConfig):  # type: ignore[misc]
    """`encoder` is the configuration of a text classifier of transformers; `entities` how many
    vectors there are, of `entity_width` numbers each; `heads` those of the attention to them.
    """

    model_type = "plait_knowledge"

    def __init__(
        self,
        encoder: Mapping[str, Any] | None = None,
        entities: int = 1,
        entity_width: int = 1,
        heads: int = 4,
        **kwargs: Any,
    ) -> None:
        self.encoder = dict(encoder or {})
        self.entities = entities
        self.entity_width = entity_width
        self.heads = heads
        super().__init__(**kwargs)


class EntityAttention(nn.Module):  # type: ignore[misc]
    """Cross-attention from token states to entities' vectors, behind a gate that starts at zero.

    A token asks by its state and, inside a name, by that entity's own vector, in the space of the
    keys: so how alike two entities are tells from the start how much one's name reads of the other.
    Besides the entities there is an empty place to attend to, so that a token may read nothing.
    """

    def __init__(self, width: int, entity_width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"A width of {width} is no multiple of {heads} heads.")
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(entity_width, width)
        self.value = nn.Linear(entity_width, width)
        self.out = nn.Linear(width, width)
        self.near = nn.Parameter(torch.full((heads,), NEAR))
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, states: Any, vectors: Any, present: Any, inside: Any) -> Any:
        """Return states [n, tokens, width].

        Args:
            states: [n, tokens, width].
            vectors: of the entities [n, k, entity width].
            present: which of the k are there [n, k].
            inside: whether a token is part of an entity's name [n, tokens, k].
        """
        n, tokens, width = states.shape

        def split(found: Any) -> Any:
            return found.view(n, -1, self.heads, width // self.heads).transpose(1, 2)

        query = split(self.query(self.before(states)))
        key, value = split(self.key(vectors)), split(self.value(vectors))
        scores = query @ key.transpose(2, 3) / (width // self.heads) ** 0.5
        within = inside.to(states.dtype)
        own = split(F.linear(within @ vectors, self.key.weight))
        alike = own @ key.transpose(2, 3) / (width // self.heads) ** 0.5
        scores = scores + torch.where(inside[:, None], self.near[:, None, None], alike)
        scores = scores.masked_fill(~present[:, None, None, :], -1e4)
        scores = F.pad(scores, (1, 0))  # the empty place
        read = scores.softmax(dim=-1)[..., 1:] @ value
        read = self.out(read.transpose(1, 2).reshape(n, tokens, width))
        return states + torch.tanh(GATE_SPEED * self.gate) * read


class PlaitKnowledgeForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """A classifier of transformers, with attention to entities before each of its layers."""

    config_class = PlaitKnowledgeConfig
    main_input_name = "input_ids"

    def __init__(self, config: PlaitKnowledgeConfig) -> None:
        super().__init__(config)
        told = dict(config.encoder)
        inner = AutoConfig.for_model(told.pop("model_type"), **told)
        inner.num_labels = config.num_labels
        self.classifier = AutoModelForSequenceClassification.from_config(inner)
        layers = layers_of(self.classifier)
        self.attentions = nn.ModuleList(
            EntityAttention(inner.hidden_size, config.entity_width, config.heads) for _ in layers
        )
        # row 0 is nobody's
        self.register_buffer("vectors", torch.zeros(config.entities + 1, config.entity_width))
        self._entities: Any = None
        for layer, attention in zip(layers, self.attentions, strict=True):
            layer.register_forward_pre_hook(self._hook(attention), with_kwargs=True)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        if isinstance(module, EntityAttention):
            nn.init.zeros_(module.gate)
            nn.init.constant_(module.near, NEAR)
        else:
            super()._init_weights(module)

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        entity_ids: Any = None,
        entity_spans: Any = None,
        labels: Any = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Return logits [n, labels], and the loss if there are `labels`.

        Args:
            input_ids: tokens [n, tokens].
            attention_mask: 1 where there is a token.
            entity_ids: the entities' numbers [n, k], 0: none; None: the encoder alone.
            entity_spans: each one's first token and the one behind its last [n, k, 2].
            labels: classes [n].
            kwargs: ignored.
        """
        if entity_ids is not None:
            token = torch.arange(input_ids.shape[1], device=input_ids.device)[None, :, None]
            start, end = entity_spans[:, None, :, 0], entity_spans[:, None, :, 1]
            inside = (token >= start) & (token < end)
            self._entities = (self.vectors[entity_ids], entity_ids > 0, inside)
        try:
            logits = self.classifier(input_ids=input_ids, attention_mask=attention_mask).logits
        finally:
            self._entities = None
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _hook(self, attention: EntityAttention) -> Any:
        def hook(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if self._entities is None:
                return None
            if args:
                return (attention(args[0], *self._entities), *args[1:]), kwargs
            states = attention(kwargs["hidden_states"], *self._entities)
            return args, {**kwargs, "hidden_states": states}

        return hook


def layers_of(model: Any) -> list[Any]:
    """Return the layers of a model's encoder, in their order.

    Raises:
        ValueError: it has none that can be told.
    """
    count = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise ValueError(
        f"The layers of a {model.config.model_type} are not where they are looked for."
    )
