# SPDX-License-Identifier: Apache-2.0
"""The kinds of tasks that a model can be judged by: their metrics and usual columns, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

CLASSIFICATION = ("accuracy", "balanced_accuracy", "macro_f1")
RANKED = ("recall@k", "ndcg@k", "mrr", "map")


@dataclass(frozen=True)
class TaskKind:
    """A type of task: the metrics that can score it (the first is the usual one), its columns."""

    metrics: tuple[str, ...]
    usual: str
    text: str | None = "text"
    label: str = "label"
    candidates: str | None = None
    image: str | None = None
    audio: str | None = None


KINDS: dict[str, TaskKind] = {
    "text-classification": TaskKind(CLASSIFICATION, "balanced_accuracy"),
    "image-classification": TaskKind(CLASSIFICATION, "balanced_accuracy", None, image="image"),
    "audio-classification": TaskKind(CLASSIFICATION, "balanced_accuracy", None, audio="audio"),
    "multimodal-classification": TaskKind(CLASSIFICATION, "balanced_accuracy"),
    "token-classification": TaskKind(
        ("f1", "precision", "recall", "macro_entity_f1", "strict_f1", "token_accuracy"),
        "f1",
        "tokens",
        "tags",
    ),
    "regression": TaskKind(("mse", "mae", "pearson", "spearman", "r2"), "spearman"),
    "retrieval": TaskKind(RANKED, "ndcg@10", "text", "relevant"),
    "ranking": TaskKind(RANKED, "ndcg@10", "text", "grades", "candidates"),
    "generation": TaskKind(
        ("exact_match", "token_f1", "rouge_l", "chrf"), "exact_match", "prompt", "reference"
    ),
    "language-modeling": TaskKind(("perplexity", "bits_per_byte"), "bits_per_byte"),
    "lm-eval": TaskKind(("harness",), "harness", None),
}
"""`@k` stands for a cutoff, from `@1` to `@1000`."""

UNBOUNDED = ("mse", "mae", "perplexity", "bits_per_byte")
"""Metrics in units of their own, where a margin may be above 1."""

_CUTOFF = re.compile(r"([a-z]+)@([1-9][0-9]{0,2}|1000)")


def metric_family(name: str) -> tuple[str, int | None]:
    """Return a metric's name in the tables (`recall@5` is `recall@k`) and its cutoff."""
    match = _CUTOFF.fullmatch(name)
    return (f"{match[1]}@k", int(match[2])) if match else (name, None)
