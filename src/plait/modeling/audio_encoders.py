# SPDX-License-Identifier: Apache-2.0
"""Small encoders of sound: one to train on log-mel features, and a speaker encoder to start from.

Both take spectrograms [n, frames, mels] with a mask [n, frames] (1 where there is sound).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class LogMelEncoder(nn.Module):  # type: ignore[misc]
    """Convolutions over log-mel frames; what they find, and plain statistics of the frames.

    The statistics (mean and deviation of every band, the logarithm of the length) say much of a
    sound before anything is learned, which a few hundred examples need.
    """

    def __init__(self, mels: int = 40, channels: int = 64) -> None:
        super().__init__()
        self.mels = mels
        self.width = 2 * channels + 2 * mels + 1
        self.token_width = channels
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inside, channels, 5, stride=2, padding=2)
            for inside in (mels, channels, channels)
        )

    def forward(self, frames: Any, mask: Any) -> tuple[Any, Any, Any]:
        """Return (pooled [n, width], tokens [n, frames / 8, channels], mask of tokens)."""
        mask = mask.to(frames.dtype)
        weights = mask / mask.sum(1, keepdim=True).clamp(min=1)
        mean = (frames * weights[..., None]).sum(1)
        spread = (((frames - mean[:, None]) ** 2 * weights[..., None]).sum(1) + 1e-6).sqrt()
        length = (1 + mask.sum(1, keepdim=True)).log()
        found = (frames * mask[..., None]).transpose(1, 2)
        for convolution in self.convolutions:
            found = F.gelu(convolution(found))
            mask = mask[:, ::2][:, : found.shape[2]]
            found = found * mask[:, None]  # padding stays silent whatever the batch's length
        tokens = found.transpose(1, 2)
        average = found.sum(2) / mask.sum(1, keepdim=True).clamp(min=1)
        peak = found.masked_fill(mask[:, None] == 0, -1e4).amax(2)
        peak = torch.where(mask.sum(1, keepdim=True) > 0, peak, torch.zeros_like(peak))
        pooled = torch.cat([mean, spread, length, average, peak], dim=1)
        return pooled, tokens, mask


class VoiceEncoder(nn.Module):  # type: ignore[misc]
    """The LSTM speaker encoder of Resemblyzer (Wan et al. 2018, arXiv:1710.10467).

    Parameters are named as in Resemblyzer's `VoiceEncoder`, whose weights fit as they are. Pooled
    is its embedding (of length 1) of the whole sound; tokens are its states at every 32nd frame.
    """

    width = 256
    token_width = 256

    def __init__(self, mels: int = 40) -> None:
        super().__init__()
        self.mels = mels
        self.lstm = nn.LSTM(mels, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, self.width)

    def forward(self, frames: Any, mask: Any) -> tuple[Any, Any, Any]:
        """Return (pooled [n, 256], tokens [n, frames / 32, 256], mask of tokens)."""
        states, _ = self.lstm(frames)
        last = mask.sum(1).long().clamp(min=1) - 1
        final = states[torch.arange(len(frames), device=frames.device), last]
        pooled = F.normalize(F.relu(self.linear(final)), dim=1)
        return pooled, states[:, ::32], mask[:, ::32]
