# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.graphs.literals import canonical, check_time, equal


@pytest.mark.parametrize(
    ("text", "datatype", "form"),
    [
        ("007", "integer", "7"),
        ("-0", "integer", "0"),
        ("+12", "integer", "12"),
        ("01.50", "decimal", "1.5"),
        ("-.50", "decimal", "-0.5"),
        ("-0.0", "decimal", "0"),
        ("5.", "decimal", "5"),
        ("1e3", "double", "1000.0"),
        ("1", "boolean", "true"),
        ("2024-05-31", "date", "2024-05-31"),
        ("2024-05-31T10:00:00Z", "dateTime", "2024-05-31T10:00:00+00:00"),
        (" x ", "string", " x "),
        ("1999", "gYear", "1999"),
    ],
)
def test_canonical_forms(text: str, datatype: str, form: str) -> None:
    assert canonical(text, datatype) == form
    assert canonical(form, datatype) == form


@pytest.mark.parametrize(
    ("text", "datatype"),
    [
        ("1.5", "integer"),
        ("yes", "boolean"),
        ("2024-02-30", "date"),
        ("9" * 5000, "integer"),
        ("1_000", "integer"),
        ("١٢", "integer"),
        ("", "decimal"),
        ("0x10", "double"),
    ],
)
def test_what_is_no_value_is_refused(text: str, datatype: str) -> None:
    with pytest.raises(BadInput, match=f"is no {datatype}"):
        canonical(text, datatype)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_a_decimals_value_stays(number: Decimal) -> None:
    assert Decimal(canonical(format(number, "f"), "decimal")) == number


def test_equality_is_of_values() -> None:
    assert equal("1.0", "1", "decimal")
    assert not equal("1.0", "1", "string")
    assert not equal("one", "1", "decimal")


def test_partial_times() -> None:
    assert [check_time(one) for one in ("2024", "2024-05", "2024-05-31")]
    with pytest.raises(BadInput, match="write it as 2024"):
        check_time("yesterday")
