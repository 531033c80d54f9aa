# SPDX-License-Identifier: Apache-2.0
"""How much the demo takes on, and the settings that were found for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One size of the demo: the encoder, how many texts a domain and split, how it is tuned."""

    name: str
    encoder: str
    """Its name in plait.demo.data.ENCODERS."""
    train: int | Mapping[str, int]
    """Texts that each organisation has: one number, or one for each."""
    validation: int
    gate: int
    test: int
    epochs: int = 2
    learning_rate: float = 1e-4
    batch_size: int = 16
    max_length: int = 64
    balance_classes: bool = True
    budget: int = 8
    """Candidates that a merge's search may measure."""
    task_margin: float = 0.05
    """What a task may lose at most, by the gate's 95% bound."""
    average_margin: float = 0.02
    """What the average may lose at most."""
    seed: int = 0


SIZES = {
    "full": Size(
        "full",
        "minilm",
        # Organisations have what the source has to give: few editorials, and many film reviews,
        # which are the hardest to tell.
        train={"shop": 1500, "cinema": 2400, "press": 1000, "social": 1200},
        validation=200,
        gate=400,
        test=500,
    ),
    # A few dozen texts decide little: the small demo's gate has wide margins, and shows the road.
    "small": Size(
        "small",
        "tiny",
        train=160,
        validation=40,
        gate=200,
        test=64,
        epochs=4,
        learning_rate=1e-3,
        budget=4,
        task_margin=0.35,
        average_margin=0.2,
    ),
}
