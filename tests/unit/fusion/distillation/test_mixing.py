# SPDX-License-Identifier: Apache-2.0
"""What several teachers say together: laws of the mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plait.fusion.distillation import mixing


def logs() -> st.SearchStrategy[Any]:
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(2, 5))
    return shapes.flatmap(
        lambda shape: arrays(np.float32, shape, elements=st.floats(-30, 0, width=32))
    )


@given(logs(), st.floats(0.2, 20))
def test_a_mixture_is_a_distribution_between_the_teachers(logs: Any, temperature: float) -> None:
    weights = np.full((len(logs), 1, 1), 1 / len(logs))
    mixed = mixing.mix(logs, weights, temperature)
    each = mixing.soften(logs, temperature)
    assert np.allclose(mixed.sum(axis=-1), 1)
    assert (mixed <= each.max(axis=0) + 1e-9).all()
    assert (mixed >= each.min(axis=0) - 1e-9).all()


@given(logs())
def test_the_order_of_teachers_does_not_matter(logs: Any) -> None:
    for weigh in (mixing.by_confidence,):
        there = mixing.mix(logs, weigh(logs), 2.0)
        back = mixing.mix(logs[::-1], weigh(logs[::-1]), 2.0)
        assert np.allclose(there, back)


@given(logs())
def test_heat_flattens_and_keeps_the_order_of_classes(logs: Any) -> None:
    cold, hot = mixing.soften(logs, 1.0), mixing.soften(logs, 5.0)
    assert (hot.max(axis=-1) <= cold.max(axis=-1) + 1e-9).all()
    best = np.take_along_axis(hot, cold.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    assert np.allclose(best, hot.max(axis=-1))


def test_who_does_not_know_does_not_count() -> None:
    sure, unsure = np.log([0.99, 0.01]), np.log([0.5, 0.5])
    logs = np.array([[sure], [unsure]])
    weights = mixing.by_confidence(logs)
    assert weights[0, 0, 0] > 0.999
    assert np.allclose(mixing.mix(logs, weights, 1.0), [[0.99, 0.01]], atol=1e-3)


def test_a_class_is_decided_by_those_who_know_it() -> None:
    truth = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2] * 10)
    first = np.where(truth == 0, 0, 1)  # knows class 0, calls everything else 1
    second = np.where(truth == 0, 1, truth)  # knows 2, confuses 0 and 1
    logs = np.log(np.eye(3)[[first, second]] * 0.9 + 0.03)
    weights = mixing.by_class(logs, truth)
    assert weights.shape == (2, 1, 3)
    assert np.allclose(weights.sum(axis=0), 1)
    assert weights[0, 0, 0] > 0.9
    assert weights[1, 0, 2] > 0.9


def test_shares_are_of_one_whole() -> None:
    counted = mixing.shares(np.array([[[1.0]], [[3.0]]]), 2, 5)
    assert counted.shape == (2, 5)
    assert np.allclose(counted, [[0.25] * 5, [0.75] * 5])
