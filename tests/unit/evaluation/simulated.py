# SPDX-License-Identifier: Apache-2.0
"""Worlds where the truth is known: items in documents that succeed and fail together."""

from __future__ import annotations

import numpy as np

from plait.evaluation import Evaluation, ItemScore
from plait.evaluation.results import score_items, summarise


def simulate(
    random: np.random.Generator,
    skills: tuple[float, float],
    *,
    documents: int = 60,
    sentences: int = 8,
    spread: float = 1.0,
    tasks: tuple[str, ...] = ("only",),
) -> tuple[Evaluation, Evaluation]:
    """Evaluate two models whose chance on an item is logistic(skill + document's + noise)."""
    rows: list[dict[str, tuple[ItemScore, ...]]] = [{}, {}]
    for task in tasks:
        label = random.integers(0, 2, size=(documents, sentences))
        # models share the document's difficulty, and each has its own luck with it
        shared = random.normal(0, spread, size=(documents, 1))
        ease = random.random(size=(documents, sentences))
        for model, skill in enumerate(skills):
            own = random.normal(0, spread, size=(documents, 1))
            right = ease < 1 / (1 + np.exp(-(skill + shared + own)))
            rows[model][task] = tuple(
                ItemScore(f"{d}.{s}", str(d), int(y), int(y if right[d, s] else 1 - y), 0.5)
                for d, line in enumerate(label)
                for s, y in enumerate(line)
            )
    made = [
        summarise(
            "gate", {t: score_items("balanced_accuracy", i, {"classes": 2}) for t, i in row.items()}
        )
        for row in rows
    ]
    return made[0], made[1]


def true_difference(skills: tuple[float, float], spread: float = 1.0) -> float:
    """Return the difference in expected accuracy, integrated over documents."""
    random = np.random.default_rng(1)
    strayed = random.normal(0, spread * np.sqrt(2), size=400_000)
    first, second = (float(np.mean(1 / (1 + np.exp(-(skill + strayed))))) for skill in skills)
    return first - second
