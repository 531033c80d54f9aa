# SPDX-License-Identifier: Apache-2.0
"""How often each test calls two models different that are as good: by simulation.

Documents make their sentences easy or hard for all models, and each model has its own luck with
whole documents. Run: python benchmarks/error_rates.py [--worlds 2000]
"""

from __future__ import annotations

import argparse

import numpy as np

from plait.evaluation import ItemScore, exchange_p, mcnemar
from plait.evaluation.bootstrap import as_difference, deviations, resample
from plait.evaluation.types import task_type

LEVEL = 0.05
SETTINGS = ((25, 8, 1.0), (60, 8, 1.0), (25, 8, 0.0), (200, 1, 0.0))
"""Documents, sentences of each, and how much documents differ."""


def world(
    random: np.random.Generator, documents: int, sentences: int, spread: float
) -> list[list[ItemScore]]:
    """Judge two equally good models in a world of its own."""
    shape = (documents, sentences)
    label = random.integers(0, 2, size=shape)
    shared = random.normal(0, spread, size=(documents, 1))
    ease = random.random(shape)
    models = []
    for _ in range(2):
        own = random.normal(0, spread, size=(documents, 1)) + random.normal(0, 1, size=shape)
        right = ease < 1 / (1 + np.exp(-(1.2 + shared + own)))
        said = np.where(right, label, 1 - label)
        models.append(
            [
                ItemScore(f"{d}.{s}", str(d), int(label[d, s]), int(said[d, s]), 0.5)
                for d in range(documents)
                for s in range(sentences)
            ]
        )
    return models


def rates(worlds: int, documents: int, sentences: int, spread: float) -> dict[str, float]:
    """Return the share of worlds in which each test finds a difference."""
    random = np.random.default_rng(42)
    kind = task_type("text-classification")
    found = dict.fromkeys(("exact", "mid_p", "clustered", "exchange", "bootstrap"), 0)
    for seed in range(worlds):
        models = world(random, documents, sentences, spread)
        right = [np.array([i.label == i.predicted for i in items]) for items in models]
        pair = mcnemar(right[0], right[1], [item.group for item in models[0]])
        measure = kind.measure(models, [{"classes": 2}] * 2, "accuracy")
        drawn = deviations([resample(measure, resamples=1_000, seed=seed)], as_difference(0, 1))
        p_values = {
            "exact": pair.exact,
            "mid_p": pair.mid_p,
            "clustered": pair.clustered,
            "exchange": exchange_p(measure, rounds=1_000, seed=seed),
            "bootstrap": drawn.p_value(),
        }
        for name, p in p_values.items():
            found[name] += p < LEVEL
    return {name: count / worlds for name, count in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=2_000)
    worlds = parser.parse_args().worlds
    names = ("exact", "mid_p", "clustered", "exchange", "bootstrap")
    print(f"| documents x sentences | documents differ | {' | '.join(names)} |")
    print("|---|---|" + "---:|" * len(names))
    for documents, sentences, spread in SETTINGS:
        found = rates(worlds, documents, sentences, spread)
        cells = " | ".join(f"{found[name]:.1%}" for name in names)
        differ = "yes" if spread else "no"
        print(f"| {documents} x {sentences} | {differ} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
