# SPDX-License-Identifier: Apache-2.0
"""Where a request came from: whose address it was, and which site made the browser send it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import cache
from urllib.parse import urlsplit

from plait.errors import BadInput

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@cache
def read_networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks with commas between them, as ``127.0.0.1, 10.0.0.0/8``.

    Raises:
        BadInput: one of them is neither.
    """
    networks = []
    for part in text.replace(",", " ").split():
        try:
            networks.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise BadInput(
                f"'{part}' is neither an address nor a network. "
                "Write proxies as 127.0.0.1 or 10.0.0.0/8."
            ) from None
    return tuple(networks)


def client_address(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """Return the address that a request came from.

    ``forwarded`` is ``X-Forwarded-For``. Anybody can send it, so it is read from its end, and only
    as long as those who added to it are trusted proxies.
    """
    networks = tuple(trusted)
    address = _address(peer)
    for hop in reversed(forwarded.split(",")) if forwarded else ():
        if address is None or not any(address in network for network in networks):
            break
        before = _address(hop.strip())
        if before is None:
            break
        address = before
    return str(address) if address is not None else ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").partition("]")[0].partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def neighbourhood(address: str) -> str:
    """Return what is counted together: an IPv4 address, or the /64 that one IPv6 customer has."""
    found = _address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address


def is_same_origin(headers: Mapping[str, str], public_url: str, *, silent: bool) -> bool:
    """Tell whether a page of this hub made the browser send a request.

    Browsers say so in ``Sec-Fetch-Site``, older ones in ``Origin``. ``silent`` is the answer for a
    request with neither: no browser that another site could have tricked sends such a one.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is None:
        return silent
    return urlsplit(origin).netloc in {headers.get("host", ""), urlsplit(public_url).netloc} - {""}
