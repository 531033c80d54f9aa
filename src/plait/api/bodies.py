# SPDX-License-Identifier: Apache-2.0
"""Large request bodies: read by a thread as they arrive, never held whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import Request

from plait.errors import BadInput, TooLarge

Result = TypeVar("Result")

_LINE_START = 64 * 1024
MAX_UPLOADS = 64
"""Bodies that are read at one time, each by a thread; the others wait."""
MAX_SILENCE = 120.0
"""Seconds without a byte after which an upload has ended."""


class Body:
    """The body of a request as a file, for a thread that the server started.

    ``limit`` bounds the bytes taken from the wire.
    """

    def __init__(self, stream: AsyncIterator[bytes], limit: int, what: str) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit
        self._what = what
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end of the body.

        Raises:
            TooLarge: the body is longer than it may be.
        """
        if size < 0:
            size = self._limit + 1
        parts, wanted = [], size
        while wanted > 0:
            if not self._rest and not self._fill():
                break
            part = self._rest[:wanted]
            self._rest = self._rest[len(part) :]
            wanted -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in the pieces in which it arrives."""
        while self._rest or self._fill():
            part, self._rest = self._rest, b""
            yield part

    def lines(self, limit: int) -> Iterator[bytes]:
        """Yield the body's lines without their ends.

        Raises:
            TooLarge: a line is longer than ``limit`` bytes.
        """
        line = bytearray()
        searched = 0
        while True:
            end = line.find(b"\n", searched)
            if end >= 0:
                yield bytes(line[:end])
                del line[: end + 1]
                searched = 0
                continue
            searched = len(line)
            if searched > limit:
                raise TooLarge(
                    f"A line of {self._what} is longer than {limit} bytes. Upload the large file "
                    "as LFS or Xet, as the preupload answer says."
                )
            part = self.read(_LINE_START)
            if not part:
                if line:
                    yield bytes(line)
                return
            line += part

    def _fill(self) -> bool:
        while not self._rest:
            part = anyio.from_thread.run(self._next)
            if part is None:
                return False
            self._left -= len(part)
            if self._left < 0:
                raise TooLarge(f"{self._what} may have at most {self._limit} bytes.")
            self._rest = part
        return True

    async def _next(self) -> bytes | None:
        try:
            with anyio.fail_after(MAX_SILENCE):
                return await anext(self._stream, None)
        except TimeoutError:
            raise BadInput(
                f"No byte of {self._what} came for {MAX_SILENCE:.0f} s. Send it again."
            ) from None


async def consume(
    request: Request, limit: int, what: str, work: Callable[[Body], Result]
) -> Result:
    """Run ``work`` on the request's body in a thread and return what it returns.

    Raises:
        TooLarge: the body announces or has more than ``limit`` bytes; ``what`` names it.
        BadInput: the announced length is not a number.
    """
    announced = request.headers.get("content-length")
    if announced is not None:
        if not announced.isascii() or not announced.isdigit():
            raise BadInput(f"Content-Length is {announced[:40]!r}, not a number.")
        if int(announced) > limit:
            raise TooLarge(f"{what} may have at most {limit} bytes, not {announced}.")
    body = Body(request.stream(), limit, what)
    # Threads of their own: slow uploads must not keep short requests waiting.
    limiter: anyio.CapacityLimiter = request.app.state.uploads
    return await anyio.to_thread.run_sync(work, body, limiter=limiter)


def read_objects(body: Body, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the objects of an NDJSON body, whose lines have at most ``limit`` bytes.

    Raises:
        BadInput: a line is not a JSON object.
        TooLarge: a line is too long.
    """
    for number, line in enumerate(body.lines(limit), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise BadInput(f"Line {number} of the body is not JSON.") from None
        if not isinstance(value, dict):
            raise BadInput(f"Line {number} of the body is not a JSON object.")
        yield value
