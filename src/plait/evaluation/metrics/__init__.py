# SPDX-License-Identifier: Apache-2.0
"""Metrics: functions of tables that add up over groups of items, each with its source.

What is called a table here is [..., what the metric needs]; its first axes are kept. A table of
groups can be summed over any of them, and the metric of the sum is the metric of their items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plait.errors import BadInput
from plait.evaluation.metrics import counts as of_counts
from plait.evaluation.metrics import sums
from plait.evaluation.metrics.counts import Floats, Integers, counts
from plait.recipes.tasks import metric_family

__all__ = ["METRICS", "Floats", "Integers", "Metric", "counts", "metric"]


@dataclass(frozen=True)
class Metric:
    """A metric: its function, its direction and bounds, and where its definition is from."""

    name: str
    function: Callable[[Floats], Floats]
    source: str
    higher: bool = True
    """Whether more is better."""
    low: float = 0.0
    high: float = 1.0

    def __call__(self, table: Floats) -> Floats:
        """Return the metric of tables [..., what it needs]."""
        return self.function(table)

    @property
    def share(self) -> bool:
        """Tell whether it is a share of the best, which can be told in points of a hundred."""
        return self.higher and self.high == 1.0

    @property
    def direction(self) -> int:
        """1 if more is better, -1 if less is."""
        return 1 if self.higher else -1


def _by_name(*made: Metric) -> Mapping[str, Metric]:
    return {one.name: one for one in made}


_SKLEARN = "scikit-learn"
_SEQEVAL = "seqeval 1.2.2"
_TREC = "trec_eval"

METRICS: Mapping[str, Metric] = _by_name(
    Metric("accuracy", of_counts.accuracy, f"{_SKLEARN} accuracy_score"),
    Metric("balanced_accuracy", of_counts.balanced_accuracy, f"{_SKLEARN} balanced_accuracy_score"),
    Metric("macro_f1", of_counts.macro_f1, f"{_SKLEARN} f1_score(average='macro')"),
    Metric("f1", of_counts.micro_f1, f"{_SEQEVAL} f1_score: whole entities, as conlleval"),
    Metric("precision", of_counts.micro_precision, f"{_SEQEVAL} precision_score"),
    Metric("recall", of_counts.micro_recall, f"{_SEQEVAL} recall_score"),
    Metric("macro_entity_f1", of_counts.macro_f1, f"{_SEQEVAL} f1_score(average='macro')"),
    Metric("strict_f1", of_counts.micro_f1, f"{_SEQEVAL} f1_score(mode='strict', scheme=IOB2)"),
    Metric("token_accuracy", sums.mean, f"{_SEQEVAL} accuracy_score"),
    Metric("mse", sums.mean, f"{_SKLEARN} mean_squared_error", higher=False, high=math.inf),
    Metric("mae", sums.mean, f"{_SKLEARN} mean_absolute_error", higher=False, high=math.inf),
    Metric("pearson", sums.pearson, "scipy.stats.pearsonr", low=-1.0),
    Metric("spearman", sums.pearson, "scipy.stats.spearmanr", low=-1.0),
    Metric("r2", sums.r2, f"{_SKLEARN} r2_score", low=-math.inf),
    Metric("recall@k", sums.mean, f"{_TREC} recall.k"),
    Metric("ndcg@k", sums.mean, f"{_TREC} ndcg_cut.k (gain = grade; Järvelin & Kekäläinen 2002)"),
    Metric("mrr", sums.mean, f"{_TREC} recip_rank"),
    Metric("map", sums.mean, f"{_TREC} map"),
    Metric("exact_match", sums.mean, "SQuAD 1.1 exact_match (Rajpurkar et al. 2016)"),
    Metric("token_f1", sums.mean, "SQuAD 1.1 f1 (Rajpurkar et al. 2016)"),
    Metric("rouge_l", sums.mean, "rouge_score 0.1.2 rougeL without stemmer (Lin 2004)"),
    Metric("chrf", sums.chrf, "sacreBLEU 2.6 chrF2, of the corpus (Popović 2015)"),
    Metric(
        "perplexity",
        sums.perplexity,
        "exp of the mean loss of a token",
        higher=False,
        low=1.0,
        high=math.inf,
    ),
    Metric(
        "bits_per_byte",
        sums.bits_per_byte,
        "the loss in bits by bytes of UTF-8 (Gao et al. 2020)",
        higher=False,
        high=math.inf,
    ),
    Metric("harness", sums.mean, "the first metric of the task's own file, by lm-eval"),
)


def metric(name: str) -> Metric:
    """Return a metric by its name; `recall@5` is `recall@k` with a cutoff.

    Raises:
        BadInput: if there is none of that name.
    """
    family, cutoff = metric_family(name)
    found = METRICS.get(family)
    if found is None or (family.endswith("@k") and cutoff is None):
        known = ", ".join(METRICS)
        raise BadInput(f"There is no metric '{name}'; use one of {known}.")
    return replace(found, name=name)


def table() -> list[dict[str, Any]]:
    """Return the table of metrics as plain values: name, task types, direction, source."""
    from plait.recipes.tasks import KINDS

    return [
        {
            "metric": one.name,
            "tasks": [kind for kind, about in KINDS.items() if one.name in about.metrics],
            "better": "higher" if one.higher else "lower",
            "source": one.source,
        }
        for one in METRICS.values()
    ]
