# SPDX-License-Identifier: Apache-2.0
"""What a server process does beside answering: it sends webhooks and has new files scanned."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from plait.errors import PlaitError
from plait.hub import Hub

log = logging.getLogger("plait.background")

IDLE = 1.0
"""Seconds between two looks at what waits."""
HOUR = 3600.0
PATIENCE = 2.0
"""Seconds to wait for a thread at the end; what it had begun is taken up by another process."""


class Background:
    """Two threads of a server process; any number of processes may have them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        # Loaded here: a server that leaves this to others needs none of it.
        from plait.hub.scanning import scan_waiting
        from plait.hub.webhooks.delivery import deliver_due, forget_old

        works: list[tuple[str, Callable[[Hub], Any], Callable[[Hub], Any] | None]] = [
            ("webhooks", deliver_due, forget_old),
            ("scans", scan_waiting, None),
        ]
        for name, often, seldom in works:
            thread = threading.Thread(
                target=self._run, args=(often, seldom), name=f"plait-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End, soon."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, often: Callable[[Hub], Any], seldom: Callable[[Hub], Any] | None) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            try:
                more = bool(often(self._hub))
                if seldom is not None and time.monotonic() - last > HOUR:
                    last = time.monotonic()
                    seldom(self._hub)
            except PlaitError as error:
                # A full disk, a database that is away: said in a line, tried again later.
                more = False
                if not self._stop.is_set():
                    log.warning("Work in the background waits: %s", error.message)
                    self._stop.wait(10 * IDLE)
            except Exception:
                # The next look may go better: a database that is away comes back.
                more = False
                if not self._stop.is_set():
                    log.exception("Work in the background failed; trying again.")
                    self._stop.wait(10 * IDLE)
            if not more:
                self._stop.wait(IDLE)
