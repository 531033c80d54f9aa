# SPDX-License-Identifier: Apache-2.0
"""Many clients at once that cost next to nothing themselves: HTTP/1.1 by hand over asyncio."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answers:
    """What the clients measured: milliseconds, requests a second, bytes of bodies."""

    requests: int
    median_ms: float
    p99_ms: float
    per_second: float
    body_bytes: int


def measure(
    url: str, paths: Sequence[str], *, clients: int, requests: int, token: str = ""
) -> Answers:
    """Ask for ``paths`` in turn, ``clients`` at a time on connections that are kept.

    Raises:
        RuntimeError: an answer was not 200.
    """
    return asyncio.run(_measure(url, paths, clients, requests, token))


async def _measure(
    url: str, paths: Sequence[str], clients: int, requests: int, token: str
) -> Answers:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    turns = iter(range(requests))
    seconds: list[float] = []
    size = 0

    async def client() -> None:
        nonlocal size
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
        for turn in turns:
            path = paths[turn % len(paths)]
            head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            head += f"Authorization: Bearer {token}\r\n" if token else ""
            started = time.perf_counter()
            writer.write(f"{head}\r\n".encode())
            size += await _answer(reader, path)
            seconds.append(time.perf_counter() - started)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    wall = time.perf_counter() - began
    ordered = sorted(seconds)
    return Answers(
        requests=len(ordered),
        median_ms=1000 * statistics.median(ordered),
        p99_ms=1000 * ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))],
        per_second=len(ordered) / wall,
        body_bytes=size,
    )


async def _answer(reader: asyncio.StreamReader, path: str) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head.split(b" ", 2)[1]
    size = 0
    if b"content-length:" in head:
        size = int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0])
        body = await reader.readexactly(size)
    else:
        body = b""
        while length := int(await reader.readline(), 16):
            body = await reader.readexactly(length)
            size += length
            await reader.readline()
        await reader.readline()
    if status != b"200":
        raise RuntimeError(f"{path}: {status.decode()} {body[:300].decode(errors='replace')}")
    return size
