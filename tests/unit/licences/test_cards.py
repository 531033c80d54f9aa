# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.licences.cards import licence_head, stated_licence


@pytest.mark.parametrize(
    ("head", "stated"),
    [
        ({}, None),
        ({"license": None}, None),
        ({"license": ""}, None),
        ({"license": 7}, None),
        ({"license": "apache-2.0"}, "apache-2.0"),
        ({"license": "MIT OR Apache-2.0"}, "MIT OR Apache-2.0"),
        ({"license": ["mit", "cc-by-4.0", "mit"]}, "mit AND cc-by-4.0"),
        ({"license": "other"}, "other"),
        ({"license": "other", "license_name": "Llama3.1"}, "llama3.1"),
        ({"license": "other", "license_name": "house-rules"}, "house-rules"),
        (
            {
                "license": "other",
                "license_name": "gemma-terms",
                "license_link": "https://ai.google.dev/gemma/terms/",
            },
            "gemma",
        ),
        (
            {"license": "other", "license_link": "http://creativecommons.org/licenses/by-nc/4.0/"},
            "cc-by-nc-4.0",
        ),
        ({"license": "other", "license_link": "LICENSE"}, "other"),
        ({"license_link": "https://ai.google.dev/gemma/terms"}, "gemma"),
        ({"license": "mit", "license_name": "something else"}, "mit"),
    ],
)
def test_what_a_card_states(head: dict[str, Any], stated: str | None) -> None:
    assert stated_licence(head) == stated


@pytest.mark.parametrize("name", ["apache-2.0", "cc-by-nc-4.0", "llama3.1 AND mit", "house-rules"])
def test_written_and_read_back(name: str) -> None:
    assert stated_licence(licence_head(name)) == name


@given(st.dictionaries(st.sampled_from(["license", "license_name", "license_link"]), st.one_of(
    st.none(), st.integers(), st.text(max_size=200), st.lists(st.text(max_size=60), max_size=4),
)))  # fmt: skip
def test_whatever_a_head_holds(head: dict[str, Any]) -> None:
    stated = stated_licence(head)
    assert stated is None or 0 < len(stated) <= 96
