# SPDX-License-Identifier: Apache-2.0
"""Conversion between number formats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plait.fusion.weights.numbers import (
    LIMITS,
    all_finite,
    decode,
    encode,
    promote,
    round_scalar,
    round_to,
)

from .models import from_bfloat16, to_bfloat16

finite = st.floats(-(2.0**126), 2.0**126, width=32)


@given(arrays(np.float32, st.integers(1, 40), elements=finite))
def test_bfloat16_is_rounded_to_nearest_ties_to_even(values: np.ndarray) -> None:
    stored = np.empty(values.size, np.uint16)
    encode(values, "BF16", stored, np.empty(values.size, np.uint32))
    np.testing.assert_array_equal(stored, to_bfloat16(values))


def test_bfloat16_ties_go_to_the_even_neighbour() -> None:
    # 1 + 2^-8 lies half way between 1 and 1 + 2^-7; 1 + 3 * 2^-8 between 1 + 2^-7 and 1 + 2^-6
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8], np.float32)
    stored = np.empty(3, np.uint16)
    encode(values, "BF16", stored, np.empty(3, np.uint32))
    np.testing.assert_array_equal(from_bfloat16(stored), [1, 1 + 2**-6, -1])


@given(arrays(np.uint16, st.integers(1, 40), elements=st.integers(0, 0x7F7F)))
def test_bfloat16_survives_decoding_and_encoding(stored: np.ndarray) -> None:
    values, again = np.empty(stored.size, np.float32), np.empty_like(stored)
    decode(stored, "BF16", values)
    np.testing.assert_array_equal(values, from_bfloat16(stored))
    encode(values, "BF16", again, np.empty(stored.size, np.uint32))
    np.testing.assert_array_equal(again, stored)


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e38, 1e38)))
def test_float64_is_rounded_to_bfloat16_once(values: np.ndarray) -> None:
    stored = np.empty(values.size, np.uint16)
    encode(values, "BF16", stored, np.empty(values.size, np.uint32))
    np.testing.assert_array_equal(stored, to_bfloat16(values))


@given(arrays(np.float32, st.integers(1, 40), elements=st.floats(-60000, 60000, width=32)))
def test_rounding_in_place_is_encoding_and_decoding(values: np.ndarray) -> None:
    for code, kind in (("BF16", np.uint16), ("F16", np.float16)):
        rounded, stored, back = values.copy(), np.empty(values.size, kind), np.empty_like(values)
        round_to(rounded, code, np.empty(values.size, np.uint32))
        encode(values, code, stored, np.empty(values.size, np.uint32))
        decode(stored, code, back)
        np.testing.assert_array_equal(rounded, back)


def test_scalars_are_rounded_as_tensors_are() -> None:
    assert round_scalar(0.3, "F32") == float(np.float32(0.3))
    assert round_scalar(0.3, "BF16") == 0.30078125
    assert round_scalar(0.3, "F64") == 0.3


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_value_is_found(bad: float) -> None:
    values = np.ones(1000, np.float32)
    assert all_finite(values)
    values[567] = bad
    assert not all_finite(values)


def test_large_values_whose_sum_overflows_are_finite() -> None:
    assert all_finite(np.full(1000, 3e38, np.float32))


def test_promotion_loses_nothing() -> None:
    assert promote({"BF16"}) == "BF16"
    assert promote({"F16"}) == "F16"
    assert promote({"F16", "BF16"}) == "F32"
    assert promote({"BF16", "F64"}) == "F64"


def test_limits_are_the_largest_that_round_to_a_finite_number() -> None:
    with np.errstate(over="ignore"):
        assert np.isfinite(np.float16(LIMITS["F16"]))
        assert np.isinf(np.float16(65520.0))
    assert np.isfinite(from_bfloat16(to_bfloat16(np.array([LIMITS["BF16"] * 0.999]))))[0]
