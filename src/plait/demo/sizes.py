# SPDX-License-Identifier: Apache-2.0
"""How much the demo takes on, and the settings that were found for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One size of the demo: the encoder, how many texts a domain and split, how it is tuned."""

    name: str
    encoder: str
    """Its name in plait.demo.data.ENCODERS."""
    train: int
    validation: int
    gate: int
    test: int
    epochs: int = 2
    learning_rate: float = 1e-4
    batch_size: int = 16
    max_length: int = 64
    balance_classes: bool = True
    budget: int = 12
    """Candidates that a merge's search may measure."""
    seed: int = 0


SIZES = {
    "full": Size("full", "minilm", 1500, 200, 400, 500),
    "small": Size("small", "tiny", 60, 24, 40, 40, epochs=3, learning_rate=5e-4, budget=4),
}
