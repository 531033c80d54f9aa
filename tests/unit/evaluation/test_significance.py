# SPDX-License-Identifier: Apache-2.0
"""Tests of differences hold their level, and are what their papers say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.evaluation import Evaluation, compare, exchange_p, mcnemar
from plait.evaluation.types import task_type
from plait.evaluation.types.regression import Value

from .simulated import simulate


def right(evaluation: Evaluation) -> np.ndarray:
    return np.array([i.label == i.predicted for i in evaluation.tasks["only"].items])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_binomial_test_of_what_only_one_has_right(
    rows: list[tuple[bool, bool]],
) -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = (np.array(column) for column in zip(*rows, strict=True))
    found = mcnemar(first, second, [str(k) for k in range(len(rows))])
    b, c = found.first_only, found.second_only
    assert (b, c) == (int((first & ~second).sum()), int((second & ~first).sum()))
    if b + c:
        assert found.exact == pytest.approx(stats.binomtest(b, b + c).pvalue)
        point = stats.binom.pmf(min(b, c), b + c, 0.5)
        assert found.mid_p == pytest.approx(found.exact - (point if b != c else point / 2))
        # without groups Durkalski's statistic is McNemar's without correction
        assert found.clustered == pytest.approx(stats.chi2.sf((b - c) ** 2 / (b + c), 1))
    assert not found.grouped
    assert found.p == found.mid_p
    swapped = mcnemar(second, first, [str(k) for k in range(len(rows))])
    assert swapped.p == pytest.approx(found.p)


def test_durkalskis_statistic_weighs_documents() -> None:
    stats = pytest.importorskip("scipy.stats")
    # documents of 2, 4 and 1 items; only the first is right on 1, 1, 0, only the second on 0, 3, 1
    first = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
    second = np.array([0, 1, 0, 1, 1, 1, 1], dtype=bool)
    found = mcnemar(first, second, ["a", "a", "b", "b", "b", "b", "c"])
    shares = np.array([1 / 2, -2 / 4, -1])
    expected = stats.chi2.sf(shares.sum() ** 2 / (shares**2).sum(), 1)
    assert found.clustered == pytest.approx(expected)
    assert found.grouped
    assert found.p == found.clustered


def test_unequal_lengths_are_named() -> None:
    with pytest.raises(BadInput, match="there are 2 and 3, with 2 groups"):
        mcnemar(np.array([True, False]), np.array([True] * 3), ["a", "b"])


def test_clustered_tests_hold_their_level_where_mcnemars_does_not() -> None:
    random = np.random.default_rng(5)
    worlds = 100
    wrong = dict.fromkeys(("mid_p", "clustered", "exchange", "bootstrap"), 0)
    for _ in range(worlds):
        a, b = simulate(random, (1.2, 1.2), documents=30, sentences=10, spread=1.5)
        found = compare(a, b, resamples=1_000).tasks["only"]
        assert found.mcnemar is not None
        assert found.p_exchange is not None
        wrong["mid_p"] += found.mcnemar.mid_p < 0.05
        wrong["clustered"] += found.mcnemar.clustered < 0.05
        wrong["exchange"] += found.p_exchange < 0.05
        wrong["bootstrap"] += found.p < 0.05
    # nominal 5%: 5 of 100, with a standard deviation of 2.2
    for name in ("clustered", "exchange", "bootstrap"):
        assert wrong[name] <= 12, wrong
    # items of one document counted as evidence each: far above its level
    assert wrong["mid_p"] >= 18, wrong


def test_exchanging_finds_a_difference_and_gives_the_same_again() -> None:
    a, b = simulate(np.random.default_rng(6), (2.0, 1.0))
    task = task_type("text-classification")
    both = [one.tasks["only"] for one in (a, b)]
    measure = task.measure([one.items for one in both], [one.about for one in both], "macro_f1")
    p = exchange_p(measure, rounds=2_000)
    assert p < 0.01
    assert exchange_p(measure, rounds=2_000) == p
    same = task.measure([both[0].items] * 2, [both[0].about] * 2, "macro_f1")
    assert exchange_p(same, rounds=1_000) == 1.0


def test_exchanging_works_for_ranks_and_sums_alike() -> None:
    random = np.random.default_rng(7)
    target = random.normal(size=80)
    good, bad = target + random.normal(size=80) * 0.3, random.normal(size=80)
    models = [
        [Value(str(k), str(k // 2), target[k], said[k]) for k in range(80)] for said in (good, bad)
    ]
    for name in ("spearman", "pearson", "mse", "r2"):
        measure = task_type("regression").measure(models, [{}, {}], name)
        assert exchange_p(measure, rounds=1_000) < 0.01
