# SPDX-License-Identifier: Apache-2.0
"""Metrics from counts agree with their definitions on single items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.evaluation import metrics

ITEMS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=40
)


def score(name: str, items: list[tuple[int, int, int]]) -> float:
    labels, predicted, groups = (np.array(column) for column in zip(*items, strict=True))
    table = metrics.counts(labels, predicted, groups, 3)
    return float(metrics.metric(name)(table.sum(axis=0)))


@given(ITEMS)
def test_accuracy(items: list[tuple[int, int, int]]) -> None:
    assert score("accuracy", items) == pytest.approx(np.mean([t == p for t, p, _ in items]))


@given(ITEMS)
def test_balanced_accuracy_is_the_mean_recall_of_the_classes_there(
    items: list[tuple[int, int, int]],
) -> None:
    recalls = [np.mean([p == c for t, p, _ in items if t == c]) for c in {t for t, _, _ in items}]
    assert score("balanced_accuracy", items) == pytest.approx(np.mean(recalls))


@given(ITEMS)
def test_macro_f1_is_the_mean_of_harmonic_means(items: list[tuple[int, int, int]]) -> None:
    values = []
    for c in {t for t, _, _ in items} | {p for _, p, _ in items}:
        hits = sum(t == p == c for t, p, _ in items)
        precision = hits / max(1, sum(p == c for _, p, _ in items))
        recall = hits / max(1, sum(t == c for t, _, _ in items))
        both = precision + recall
        values.append(2 * precision * recall / both if both else 0.0)
    assert score("macro_f1", items) == pytest.approx(np.mean(values))


def test_counts_add_up_over_groups() -> None:
    items = [(0, 0, 0), (1, 0, 0), (1, 1, 2)]
    labels, predicted, groups = (np.array(column) for column in zip(*items, strict=True))
    table = metrics.counts(labels, predicted, groups, 2)
    assert table[0].tolist() == [[1, 1], [2, 0], [1, 0]]
    assert table[1].tolist() == [[0, 0], [0, 0], [0, 0]]
    assert table[2].tolist() == [[0, 1], [0, 1], [0, 1]]


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(BadInput, match="no metric 'acc'; use one of accuracy"):
        metrics.metric("acc")
