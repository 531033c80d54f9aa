# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.fusion.weights import multiply_add as module
from plait.fusion.weights.multiply_add import SPARE, multiply_add, weighted_sum

SINGLE = st.floats(
    width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**60), max_value=2.0**60
)


def nearest(exact: Fraction) -> float:
    """Return the float32 that is nearest to a fraction, ties to even."""
    guess = np.float32(float(exact))
    near = [guess, np.nextafter(guess, np.float32("inf")), np.nextafter(guess, np.float32("-inf"))]
    near = [one for one in near if np.isfinite(one)]
    least = min(abs(Fraction(float(one)) - exact) for one in near)
    best = [one for one in near if abs(Fraction(float(one)) - exact) == least]
    return float(min(best, key=lambda one: int(one.view(np.uint32)) & 1))


@given(SINGLE, SINGLE, SINGLE)
def test_a_multiply_add_is_rounded_once(value: float, factor: float, addend: float) -> None:
    found = np.empty(1, np.float32)
    arrays = np.array([value], np.float32), np.float32(factor), np.array([addend], np.float32)
    multiply_add(*arrays, out=found)
    assert float(found[0]) == nearest(Fraction(value) * Fraction(factor) + Fraction(addend))


def test_a_sum_next_to_the_middle_of_two_numbers_is_not_rounded_twice() -> None:
    value, factor = np.array([2**-18 * (1 + 2**-23)], np.float32), np.float32(1 - 2**-23)
    addend = np.array([64 + 2**-17], np.float32)
    found = np.empty(1, np.float32)
    multiply_add(value, factor, addend, out=found)
    exact = Fraction(float(value[0])) * Fraction(float(factor)) + Fraction(float(addend[0]))
    # float64 cannot tell the sum from the middle, which goes up to the even neighbour
    twice = np.float32(np.float64(value[0]) * np.float64(factor) + np.float64(addend[0]))
    assert float(found[0]) == nearest(exact) != float(twice)


@pytest.mark.parametrize("fuses", [True, False])
@pytest.mark.parametrize("models", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("size", [1, 2, 17, 5000])
def test_a_sum_is_a_chain_of_multiply_adds(
    monkeypatch: pytest.MonkeyPatch, fuses: bool, models: int, size: int
) -> None:
    if fuses and not module.blas_fuses():
        pytest.skip("this processor's BLAS has no fused multiply-add of its own")
    monkeypatch.setattr(module, "blas_fuses", lambda: fuses)
    draw = np.random.default_rng(models * size)
    rows = draw.standard_normal((SPARE + models, size + 3)).astype(np.float32)[:, :size]
    weights = draw.standard_normal(models).astype(np.float32)
    expected = rows[SPARE] * weights[0]
    for place in range(1, models):
        multiply_add(rows[SPARE + place], weights[place], expected, out=expected)
    found = np.empty(size, np.float32)
    weighted_sum(rows, weights, found)
    assert np.array_equal(found, expected)
