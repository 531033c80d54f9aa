# SPDX-License-Identifier: Apache-2.0
"""Heads that fuse what encoders of several modalities found into one vector.

Every head takes `vectors` [n, modalities, width], zero where a modality is missing, and `present`
[n, modalities] (true where it is there), and gives one vector [n, width]; the one with attention
reads tokens besides. A missing modality has no influence: its terms, gates and tokens are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Concatenation(nn.Module):  # type: ignore[misc]
    """A linear layer over all vectors side by side, and which of them are there."""

    def __init__(self, modalities: int, width: int, dropout: float) -> None:
        super().__init__()
        self.mix = nn.Linear(modalities * width + modalities, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Any, present: Any, tokens: Any = None) -> Any:
        """Return [n, width]."""
        return F.gelu(self.linear(vectors, present))

    def linear(self, vectors: Any, present: Any) -> Any:
        """Return [n, width] before the activation."""
        here = present.to(vectors.dtype)
        share = here.shape[1] / here.sum(1, keepdim=True).clamp(min=1)  # as dropout scales
        found = torch.cat([vectors.flatten(1) * share, here], dim=1)
        return self.mix(self.dropout(found))


class Gated(nn.Module):  # type: ignore[misc]
    """The gated multimodal unit (Arevalo et al. 2017, arXiv:1702.01992).

    h = sum of z_m * tanh(W_m x_m). With two modalities the paper's gates are z = sigmoid(W_z [x])
    and 1 - z: a softmax of two. It is written as a softmax over those that are there, so that gates
    add up to one with any number of modalities and with any of them missing.
    """

    def __init__(self, modalities: int, width: int, dropout: float) -> None:
        super().__init__()
        self.inside = nn.ModuleList(nn.Linear(width, width) for _ in range(modalities))
        self.gates = nn.Linear(modalities * width, modalities * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Any, present: Any, tokens: Any = None) -> Any:
        """Return [n, width]."""
        vectors = self.dropout(vectors)
        found = torch.stack(
            [torch.tanh(layer(vectors[:, i])) for i, layer in enumerate(self.inside)], dim=1
        )
        gates = self.gates(vectors.flatten(1)).view(found.shape)
        gates = gates.masked_fill(~present[..., None], -1e4).softmax(dim=1)
        return (gates * found * present[..., None]).sum(1)


class Bilinear(nn.Module):  # type: ignore[misc]
    """Low-rank bilinear pooling (Kim et al. 2017, arXiv:1610.04325), with its shortcuts.

    f = P (tanh(U x) * tanh(V y)) + H x + G y, the product going over however many modalities there
    are. The factor of a missing one is 1 and its shortcut 0; one modality alone has no product.
    """

    def __init__(self, modalities: int, width: int, dropout: float) -> None:
        super().__init__()
        self.factors = nn.ModuleList(nn.Linear(width, width) for _ in range(modalities))
        self.shortcuts = nn.ModuleList(
            nn.Linear(width, width, bias=False) for _ in range(modalities)
        )
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Any, present: Any, tokens: Any = None) -> Any:
        """Return [n, width]."""
        vectors = self.dropout(vectors)
        product = torch.ones_like(vectors[:, 0])
        straight = torch.zeros_like(vectors[:, 0])
        for i, (factor, shortcut) in enumerate(zip(self.factors, self.shortcuts, strict=True)):
            here = present[:, i, None]
            product = torch.where(here, product * torch.tanh(factor(vectors[:, i])), product)
            straight = straight + shortcut(vectors[:, i]) * here
        several = (present.sum(1, keepdim=True) > 1).to(vectors.dtype)
        return F.gelu(self.out(product * several) + straight)


class Attention(nn.Module):  # type: ignore[misc]
    """Cross-attention: tokens of each modality read those of the others, a learned query all.

    Vaswani et al. 2017 (arXiv:1706.03762); the learned query as in Perceiver (Jaegle et al. 2021,
    arXiv:2103.03206). What the query found is added to `Concatenation` times a gain that starts at
    0 (ReZero, Bachlechner et al. 2020, arXiv:2003.04887): a few hundred items teach the vectors
    before they teach attention anything.
    """

    def __init__(self, modalities: int, width: int, dropout: float, heads: int = 4) -> None:
        super().__init__()
        self.kinds = nn.Parameter(torch.zeros(modalities, width))
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.before = nn.LayerNorm(width)
        self.after = nn.LayerNorm(width)
        self.across = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.pool = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.straight = Concatenation(modalities, width, dropout)
        self.gain = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Any, present: Any, tokens: Any = None) -> Any:
        """Return [n, width].

        `tokens` is a list by modality of (tokens [n, t, width], mask [n, t]); the vector of each
        modality is its first token.
        """
        parts, masks, kinds = [], [], []
        for i, (found, mask) in enumerate(tokens):
            part = torch.cat([vectors[:, i, None], found], dim=1) + self.kinds[i]
            here = present[:, i, None]
            parts.append(part)
            masks.append(torch.cat([here, mask.bool() & here], dim=1))
            kinds += [i] * part.shape[1]
        every, mask = self.before(torch.cat(parts, dim=1)), torch.cat(masks, dim=1)
        kind = torch.tensor(kinds, device=every.device)
        # a token may read those of other modalities; where there is none, itself
        allowed = (kind[:, None] != kind[None, :])[None] & mask[:, None, :]
        alone = ~allowed.any(-1)
        own = torch.eye(len(kinds), dtype=torch.bool, device=every.device)
        blocked = ~(allowed | (alone[..., None] & own))
        blocked = blocked.repeat_interleave(self.across.num_heads, dim=0)
        read, _ = self.across(every, every, every, attn_mask=blocked, need_weights=False)
        read = read.masked_fill(alone[..., None], 0.0)
        every = self.after(every + self.dropout(read))
        query = self.query.expand(len(every), -1, -1)
        empty = ~mask.any(1, keepdim=True)
        pooled, _ = self.pool(query, every, every, key_padding_mask=~(mask | empty))
        attended = self.gain * self.dropout(pooled[:, 0])
        return F.gelu(self.straight.linear(vectors, present) + attended)


HEADS: dict[str, Any] = {
    "concat": Concatenation,
    "gated": Gated,
    "bilinear": Bilinear,
    "attention": Attention,
}
