# SPDX-License-Identifier: Apache-2.0
"""Where a webhook may be sent: never to this machine, its network or a cloud's metadata."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import anyio

from plait.errors import BadInput
from plait.settings import Settings

MAX_URL = 2000
MAX_ADDRESSES = 4
"""Of one name, tried one after the other."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Finds the numeric addresses of a host for a port."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_FOR_US = [
    ipaddress.ip_network(network)
    for network in (
        # Python's own list of special networks is not whole in all of its versions.
        *("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "100::/64", "2001::/23"),
        *("2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10"),
        # A public number at which a cloud answers its own machines with secrets.
        "168.63.129.16/32",
    )
]


class AddressRefused(BadInput):
    """The hub does not send there; the message says why."""


@dataclass(frozen=True)
class Target:
    """A checked address of a webhook."""

    secure: bool
    host: str
    """Name or number, as in the address; for SNI, the certificate and the Host header."""
    port: int
    path: str
    """Path and query."""


def check_address(url: str, settings: Settings) -> Target:
    """Return the parts of a webhook's address if the operator's rules allow its form.

    What its name leads to is looked at when a message is sent, and then only those numbers are
    connected to.

    Raises:
        AddressRefused: the form, scheme or port is not allowed.
    """
    parts = _split(url)
    secure = parts.scheme == "https"
    if not secure and not (parts.scheme == "http" and settings.webhook_http):
        raise AddressRefused("A webhook's address must begin with https://.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("A webhook's address may not hold a user or password.")
    host = (parts.hostname or "").rstrip(".")
    if not host or not host.isascii() or "%" in host or len(host) > 253:
        raise AddressRefused("A webhook's address needs the name of a host, in ASCII (punycode).")
    try:
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except ValueError:
        raise AddressRefused("The port of a webhook's address is not one.") from None
    if not _port_allowed(port, settings.webhook_ports):
        raise AddressRefused(
            f"This hub sends no webhooks to port {port}, only to {settings.webhook_ports}."
        )
    number = _number(host)
    if number is not None and not may_connect(number, host, settings):
        raise AddressRefused(_refusal(host))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure, host, port, path)


async def resolve(target: Target, settings: Settings, resolver: Resolver) -> list[str]:
    """Return the numeric addresses that a message may go to.

    If one of a name's addresses is refused, all are: a name that mixes them is up to something.

    Raises:
        AddressRefused: an address is private, local or otherwise not for the world.
        OSError: the name leads nowhere.
    """
    found = await resolver(target.host, target.port)
    if not found:
        raise OSError(f"{target.host} has no address.")
    for text in found:
        number = _number(text)
        if number is None or not may_connect(number, target.host, settings):
            raise AddressRefused(_refusal(target.host))
    return found[:MAX_ADDRESSES]


async def look_up(host: str, port: int) -> list[str]:
    """Ask the system for a host's addresses."""
    found = await anyio.getaddrinfo(host, port, type=1)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def may_connect(number: Address, host: str, settings: Settings) -> bool:
    """Tell whether a message for ``host`` may go to this numeric address."""
    for entry in settings.webhook_hosts.split(","):
        entry = entry.strip().lower()
        if entry and (entry == host.lower() or _inside(number, entry)):
            return True
    return is_public(number)


def is_public(number: Address) -> bool:
    """Tell whether an address belongs to the world and leads nowhere else."""
    if isinstance(number, ipaddress.IPv6Address):
        if number.scope_id is not None:
            return False
        hidden = number.ipv4_mapped or number.sixtofour
        if hidden is None and number.teredo is not None:
            return False
        if hidden is None and number in _NAT64:
            hidden = ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
        if hidden is not None:
            return is_public(hidden)
        # The last 32 bits of ::/96 were once an IPv4 address, too.
        if int(number) < 2**32:
            return False
    if number.is_multicast or any(number in network for network in _NOT_FOR_US):
        return False
    return number.is_global


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL:
        raise AddressRefused(f"A webhook's address may have {MAX_URL} characters.")
    if not url.isascii() or any(c <= " " or c in '\x7f\\"<>`{}|^' for c in url):
        raise AddressRefused(
            "A webhook's address may hold no spaces, control characters or letters beyond ASCII. "
            "Percent-encode them."
        )
    try:
        return urlsplit(url)
    except ValueError:
        raise AddressRefused("The webhook's address cannot be read.") from None


def _number(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _inside(number: Address, network: str) -> bool:
    try:
        return number in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


def _port_allowed(port: int, rule: str) -> bool:
    for part in rule.split(","):
        first, _, last = part.strip().partition("-")
        if (
            first.isdigit()
            and (last or first).isdigit()
            and int(first) <= port <= int(last or first)
        ):
            return True
    return False


def _refusal(host: str) -> str:
    return (
        f"{host[:253]!a} leads to an address inside a network. Webhooks go to public addresses, "
        "and to those that the hub's operator lists in PLAIT_WEBHOOK_HOSTS."
    )
