# SPDX-License-Identifier: Apache-2.0
"""Measuring several models side by side, each on one core.

A small model's batches are too short to be shared between cores: two threads on one batch wait for
each other more than they compute. One model a core also makes scores independent of the machine's
number of cores.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from plait.collaboration.merging.gate import Tick

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

T = TypeVar("T")

MOST = 8
MEMORY = 8 * 2**30
"""Bytes that the models in memory at one time may take, so far as their files tell."""
LOOK = 0.3
"""Seconds between two progress reports."""


class Crew:
    """A pool of threads for one job; use it as a context."""

    def __init__(self, context: JobContext, memory: int) -> None:
        """``memory``: the bytes that one model takes while it is measured."""
        self.context = context
        room = max(1, MEMORY // max(1, memory))
        self.size = max(1, min(_cores(), MOST, room))
        self._pool = ThreadPoolExecutor(self.size, thread_name_prefix="measure")
        self._stop = threading.Event()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(
        self,
        works: Sequence[Callable[[Tick], T]],
        span: tuple[float, float],
        stage: Callable[[int], str],
    ) -> list[T]:
        """Do all works and return their results in order; the first failure stops the others.

        Args:
            works: each is given a function to call with the items done and the items in all.
            span: the part of the job's progress that these works are.
            stage: says what is being done when so many works are done.

        Raises:
            Cancelled: the job was cancelled.
            PlaitError: what the earliest of the works that failed raised.
        """
        shares = [0.0] * len(works)

        def begin(place: int) -> T:
            def tick(done: int, total: int) -> None:
                if self._stop.is_set():
                    raise _StoppedError
                shares[place] = done / max(total, 1)

            tick(0, 1)
            return works[place](tick)

        futures = [self._pool.submit(begin, place) for place in range(len(works))]
        try:
            if self._watch(futures, shares, span, stage):
                return [future.result() for future in futures]
        finally:
            if not all(future.done() for future in futures):
                self._stop.set()
                for future in futures:
                    future.cancel()
                wait(futures)
        raise next(
            error
            for future in futures
            if not future.cancelled()
            and (error := future.exception()) is not None
            and not isinstance(error, _StoppedError)
        )

    def _watch(
        self,
        futures: Sequence[Future[T]],
        shares: list[float],
        span: tuple[float, float],
        stage: Callable[[int], str],
    ) -> bool:
        """Wait for all and return True; False as soon as one has failed."""
        pending = set(futures)
        while pending:
            done = len(futures) - len(pending)
            part = sum(
                1.0 if future.done() else share
                for future, share in zip(futures, shares, strict=True)
            )
            low, high = span
            self.context.progress(low + (high - low) * part / len(futures), stage(done))
            finished, pending = wait(pending, timeout=LOOK, return_when=FIRST_COMPLETED)
            if any(future.exception() is not None for future in finished):
                return False
        return True


class _StoppedError(Exception):
    """Another work failed, or the job was cancelled."""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
