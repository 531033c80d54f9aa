# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from starlette.requests import Request

from plait.web.session import is_same_origin, local_address


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw})


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "http://hub.test", "host": "hub.test"}, False),
        ({"origin": "http://hub.test", "host": "hub.test"}, True),
        ({"origin": "https://public.test", "host": "inside:7860"}, True),
        ({"origin": "https://evil.test", "host": "hub.test"}, False),
        ({"origin": "null", "host": "hub.test"}, False),
        ({"host": "hub.test"}, True),
    ],
)
def test_only_this_hubs_own_pages_may_send_forms(headers: dict[str, str], same: bool) -> None:
    assert is_same_origin(request(**headers), "https://public.test") is same


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
