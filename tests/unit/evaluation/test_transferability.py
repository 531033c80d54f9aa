# SPDX-License-Identifier: Apache-2.0
"""LogME is the evidence that it says it is; better embeddings rank higher."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.evaluation import transferability as t


def clouds(gap: float, n: int = 120, width: int = 12, seed: int = 0) -> tuple[t.Floats, list[int]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    features = random.normal(size=(n, width))
    features[:, 0] += gap * labels
    return features, [int(one) for one in labels]


def dense_evidence(features: t.Floats, y: t.Floats, alpha: float, beta: float) -> float:
    """Log density of y under N(0, F F'/alpha + I/beta), per item, without any decomposition."""
    n = len(y)
    cov = features @ features.T / alpha + np.eye(n) / beta
    _, logdet = np.linalg.slogdet(cov)
    return float(-0.5 * (logdet + y @ np.linalg.solve(cov, y) + n * np.log(2 * np.pi))) / n


@pytest.mark.parametrize(("n", "width"), [(60, 8), (30, 50)])
def test_logme_is_the_greatest_evidence(n: int, width: int) -> None:
    features, labels = clouds(1.5, n, width)
    expected = []
    for one in (0, 1):
        y = (np.array(labels) == one).astype(float)
        grid = [10 ** (k / 4) for k in range(-8, 17)]
        expected.append(max(dense_evidence(features, y, a, b) for a in grid for b in grid))
    # The grid is coarse and the paper's iteration stops early: neither is far from the top.
    assert t.logme(features, labels) == pytest.approx(np.mean(expected), abs=0.02)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_logme_does_not_depend_on_order_or_rotation(seed: int) -> None:
    features, labels = clouds(1.0, 40, 6, seed)
    random = np.random.default_rng(seed)
    order = random.permutation(40)
    turn, _ = np.linalg.qr(random.normal(size=(6, 6)))
    value = t.logme(features, labels)
    assert t.logme(features[order], np.array(labels)[order]) == pytest.approx(value, abs=1e-8)
    assert t.logme(features @ turn, labels) == pytest.approx(value, abs=1e-8)


def test_better_embeddings_rank_higher_by_every_measure() -> None:
    far, near = (t.measure(*clouds(gap, seed=3)) for gap in (4.0, 0.2))
    for name in ("logme", "knn", "probe"):
        better, worse = getattr(far, name), getattr(near, name)
        assert better.value > worse.value
        assert better.low <= better.value <= better.high
    assert near.probe.low < 0.65  # near chance


def test_alike_samples_are_near_and_others_far() -> None:
    random = np.random.default_rng(0)
    one, same, other = (random.normal(m, 1, size=(80, 6)) for m in (0, 0, 3))
    assert t.likeness(one, same).distance.value < 0.5
    far = t.likeness(one, other)
    assert far.distance.value > 1.8
    assert far.own_neighbours > 0.9


def test_samples_that_say_nothing_are_refused() -> None:
    features, labels = clouds(1.0)
    with pytest.raises(BadInput, match="at least"):
        t.measure(features[:5], labels[:5])
    with pytest.raises(BadInput, match="two labels"):
        t.measure(features, [0] * len(labels))
    with pytest.raises(BadInput, match="finite"):
        t.measure(features * np.nan, labels)
