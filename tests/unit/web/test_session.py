# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.web.session import local_address


@pytest.mark.parametrize(
    ("address", "leads"),
    [
        ("/ns/name?x=1", "/ns/name?x=1"),
        ("https://evil.test/", "/"),
        ("//evil.test/", "/"),
        ("/\\evil.test", "/"),
        ("/a\\b", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_nowhere_but_to_this_hub(address: str, leads: str) -> None:
    assert local_address(address) == leads
