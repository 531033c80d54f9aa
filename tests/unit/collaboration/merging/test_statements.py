# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.collaboration.merging.statements import stated_datasets, stated_privacy


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (None, ()),
        ("org/data", ("org/data",)),
        (["imdb", "org/data", "imdb"], ("imdb", "org/data")),
        (["https://example.com/x", 7, "a/b/c", "ok"], ("ok",)),
        ({"a": 1}, ()),
        ([f"d{i}" for i in range(50)], tuple(f"d{i}" for i in range(20))),
    ],
)
def test_data_sets(found: Any, names: tuple[str, ...]) -> None:
    assert stated_datasets({"datasets": found}) == names


@pytest.mark.parametrize(
    ("found", "privacy"),
    [
        ({"epsilon": 8, "delta": 1e-5}, {"epsilon": 8.0, "delta": 1e-5}),
        ({"epsilon": "4.5"}, {"epsilon": 4.5}),
        ({"epsilon": 1, "delta": 3}, {"epsilon": 1.0}),
        ({"epsilon": float("inf")}, None),
        ({"epsilon": -1}, None),
        ({"epsilon": 10**400}, None),
        ({"epsilon": True}, None),
        ({"delta": 0.1}, None),
        ("strong", None),
    ],
)
def test_privacy(found: Any, privacy: dict[str, float] | None) -> None:
    assert stated_privacy({"privacy": found}) == privacy


_cards = st.recursive(
    st.one_of(st.none(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.sampled_from(["epsilon", "delta", "x"]), inner)
    ),
)


@given(_cards)
def test_whatever_a_card_holds(found: Any) -> None:
    stated_datasets({"datasets": found})
    stated_privacy({"privacy": found})
