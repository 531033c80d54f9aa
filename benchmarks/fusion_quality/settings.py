# SPDX-License-Identifier: Apache-2.0
"""What is measured, and on how much: the tasks, the sizes, and how models are fine-tuned."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from plait.demo.packages import cache_folder

SEEN = ("shop", "cinema", "press", "social", "topics", "intents", "nouns", "tenses")
LEFT_OUT = ("verbs", "emoji")
SEEDS = (0, 1, 2)
SIZES = {"test": 160, "validation": 100, "train": 640}
"""Items of each split, in the order in which documents are dealt; all classes alike."""
LEFT_OUT_SIZES = {"test": 160, "train": 200}
EPOCHS = 2
LONGER = 5
"""Epochs of the longer multitask training: those of a fine-tune and of a distillation from it."""
LEARNING_RATE = 2e-4
BATCH = 16
MAX_LENGTH = 64
STATISTICS_TEXTS = 64
"""Training texts that an owner computes Fisher and Gram statistics from."""


def cache() -> Path:
    """Return the folder that data sets, models and measured rows are kept in."""
    return cache_folder() / "fusion-quality"


def digest(*parts: Any) -> str:
    """Return a short hash of plain values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
