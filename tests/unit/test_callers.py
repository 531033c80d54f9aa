# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.callers import client_address, is_same_origin, neighbourhood, read_networks
from plait.errors import BadInput


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://hub.test", "host": "hub.test"}, False),
        ({"origin": "http://hub.test", "host": "hub.test"}, True),
        ({"origin": "https://public.test", "host": "inside:7860"}, True),
        ({"origin": "https://evil.test", "host": "hub.test"}, False),
        ({"origin": "null", "host": "hub.test"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
    ],
)
def test_only_this_hubs_own_pages(headers: dict[str, str], same: bool) -> None:
    for silent in (True, False):
        assert is_same_origin(headers, "https://public.test", silent=silent) is same


def test_who_says_nothing_is_judged_by_the_caller() -> None:
    for silent in (True, False):
        assert is_same_origin({"host": "hub.test"}, "https://x.test", silent=silent) is silent


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "found"),
    [
        ("203.0.113.7", "", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "127.0.0.1", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1", "127.0.0.1", "198.51.100.1"),
        # The client itself wrote the first one.
        ("127.0.0.1", "1.1.1.1, 198.51.100.1", "127.0.0.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, 10.0.0.5", "127.0.0.1 10.0.0.0/8", "198.51.100.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, nonsense", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "[2001:db8::1]:443", "127.0.0.1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "198.51.100.1", "127.0.0.1", "198.51.100.1"),
        ("", "198.51.100.1", "0.0.0.0/0", ""),
        ("testclient", "", "", ""),
    ],
)
def test_the_address_of_a_client(peer: str, forwarded: str, trusted: str, found: str) -> None:
    assert client_address(peer, forwarded, read_networks(trusted)) == found


@given(st.text(max_size=60), st.text(max_size=200))
def test_what_strangers_write_is_believed_only_of_proxies(peer: str, forwarded: str) -> None:
    assert client_address("203.0.113.7", forwarded, ()) == "203.0.113.7"
    found = client_address(peer, forwarded, read_networks("0.0.0.0/0 ::/0"))
    assert found == "" or neighbourhood(found)


def test_a_customers_whole_network_counts_as_one() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff")
    assert neighbourhood("2001:db8:0:1::1") != neighbourhood("2001:db8::1")
    assert neighbourhood("203.0.113.7") == "203.0.113.7"


def test_proxies_are_addresses() -> None:
    with pytest.raises(BadInput, match="neither an address nor a network"):
        read_networks("proxy.example")
