# SPDX-License-Identifier: Apache-2.0
"""HTTP as the server speaks it: files of this machine go from the kernel to the client."""

from __future__ import annotations

import asyncio
from typing import Any, BinaryIO, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from plait.api.downloads import FILE_EXTENSION


class _Length:
    """Stands for bytes that are sent around the HTTP library; it only counts them."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class FileSendingProtocol(H11Protocol):
    """uvicorn's protocol, and one message more: a part of an open file (`FILE_EXTENSION`).

    It is sent with ``sendfile`` where the system and connection allow, else read in pieces.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Offer the extension to every request of the connection."""
        super().connection_made(transport)
        app = self.app

        async def with_files(scope: Any, receive: Any, send: Any) -> None:
            # The next request's cycle is made only when this one is through.
            cycle = self.cycle

            async def send_more(message: Any) -> None:
                if message["type"] == FILE_EXTENSION:
                    await self._send_file(
                        cycle, message["file"], message["offset"], message["count"]
                    )
                    message = {"type": "http.response.body", "body": b"", "more_body": False}
                await send(message)

            scope.setdefault("extensions", {})[FILE_EXTENSION] = {}
            await app(scope, receive, send_more)

        self.app = cast("Any", with_files)

    async def _send_file(
        self, cycle: RequestResponseCycle, file: BinaryIO, offset: int, count: int
    ) -> None:
        if cycle.disconnected:
            return
        try:
            cycle.conn.send_with_data_passthrough(h11.Data(data=cast("Any", _Length(count))))
            sent = await self.loop.sendfile(cycle.transport, file, offset, count)
        except (OSError, RuntimeError):
            # The client has gone, or the connection is being closed.
            cycle.disconnected = True
            cycle.transport.close()
            return
        if sent != count:
            # Fewer bytes than were promised: only the end of the connection can say so.
            cycle.disconnected = True
            cycle.transport.abort()
