# SPDX-License-Identifier: Apache-2.0
"""One message to one address: resolved once, pinned, bounded in time and size, never redirected."""

from __future__ import annotations

import ssl
import typing
from collections.abc import Iterable
from dataclasses import dataclass

import anyio
import httpcore
from httpcore import AsyncNetworkBackend, AsyncNetworkStream

from plait.errors import PlaitError
from plait.hub.webhooks.addresses import (
    AddressRefused,
    Resolver,
    Target,
    check_address,
    look_up,
    resolve,
)
from plait.settings import Settings

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the connection is closed at the next one."""
MAX_KEPT = 1000
"""Characters of an answer that its owner can look at."""


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt; ``status`` None: there was no answer, ``answer`` says why."""

    status: int | None
    answer: str

    @property
    def arrived(self) -> bool:
        """Tell whether the receiver took the message."""
        return self.status is not None and 200 <= self.status < 300


class PinnedBackend(AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever the name leads to by now."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface has it
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first checked address that answers."""
        failure: Exception | None = None
        for address in self._addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failure = error
        raise failure or httpcore.ConnectError("There is no address to connect to.")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface has it
        socket_options: Iterable[typing.Any] | None = None,
    ) -> AsyncNetworkStream:
        """Refuse: webhooks go over the network."""
        raise httpcore.ConnectError("Webhooks go over the network.")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)


async def send_message(
    url: str,
    body: bytes,
    headers: dict[str, str],
    settings: Settings,
    *,
    resolver: Resolver = look_up,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """Post ``body`` to ``url`` and say what became of it.

    The name is resolved once, here; what it leads to must be allowed, and only that is connected
    to. The whole exchange has ``settings.webhook_timeout`` seconds.
    """
    try:
        with anyio.fail_after(settings.webhook_timeout):
            target = check_address(url, settings)
            addresses = await resolve(target, settings, resolver)
            return await _exchange(target, addresses, body, headers, settings, tls)
    except AddressRefused as error:
        return Outcome(None, error.message)
    except TimeoutError:
        return Outcome(None, f"There was no whole answer in {settings.webhook_timeout} s.")
    except (OSError, httpcore.NetworkError, httpcore.TimeoutException) as error:
        return Outcome(None, f"No connection: {_short(error)}")
    except (httpcore.ProtocolError, ssl.SSLError, PlaitError, UnicodeError) as error:
        return Outcome(None, f"The answer cannot be read: {_short(error)}")


async def _exchange(
    target: Target,
    addresses: list[str],
    body: bytes,
    headers: dict[str, str],
    settings: Settings,
    tls: ssl.SSLContext | None,
) -> Outcome:
    seconds = float(settings.webhook_timeout)
    host = f"[{target.host}]" if ":" in target.host else target.host
    async with httpcore.AsyncConnectionPool(
        ssl_context=tls or ssl.create_default_context(),
        max_connections=1,
        http1=True,
        http2=False,
        network_backend=PinnedBackend(addresses),
    ) as pool:
        sent = {
            "Host": host if target.port in (80, 443) else f"{host}:{target.port}",
            "Content-Type": "application/json",
            "User-Agent": "plait-webhooks/1",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
        }
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        async with pool.stream(
            "POST",
            httpcore.URL(
                scheme=b"https" if target.secure else b"http",
                host=host.encode(),
                port=target.port,
                target=target.path.encode(),
            ),
            headers=[(name.encode(), value.encode()) for name, value in sent.items()],
            content=body,
            extensions={"timeout": timeouts, "sni_hostname": target.host},
        ) as answer:
            taken = bytearray()
            async for part in answer.aiter_stream():
                taken += part
                if len(taken) > MAX_ANSWER:
                    break
            text = bytes(taken[: MAX_KEPT * 4]).decode("utf-8", "replace").replace("\0", "")
            return Outcome(answer.status, text[:MAX_KEPT])


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:300].replace("\0", "")
