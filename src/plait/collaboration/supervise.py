# SPDX-License-Identifier: Apache-2.0
"""Keeps worker processes running beside a server, and ends them with it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, fields

from plait.collaboration import jobs
from plait.errors import BadInput, MissingExtra
from plait.hub import Hub
from plait.settings import Settings

GRACE = 20.0
"""Seconds that a worker has to put its job back before it is killed."""
SLOWEST = 30.0
"""The longest pause before a worker that keeps dying is started again."""


EXECUTORS = {"local": "plait.collaboration.worker", "ray": "plait.collaboration.ray_workers"}
"""The module that a worker process runs, by setting."""


@dataclass
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    started: float
    died: float | None = None


def check_executor(settings: Settings) -> None:
    """Refuse what no job could run on.

    Raises:
        BadInput: the executor is none of those that Plait has.
        MissingExtra: it is Ray, and Ray is not installed.
    """
    if settings.executor not in EXECUTORS:
        raise BadInput(
            f"PLAIT_EXECUTOR is {settings.executor!r}; it must be {' or '.join(EXECUTORS)}."
        )
    if settings.executor == "ray" and importlib.util.find_spec("ray") is None:
        raise MissingExtra("ray", "ray")


class WorkerSupervisor:
    """Starts ``settings.workers`` workers, restarts what dies, and ends them at the stop.

    A worker watches a pipe of this process, so that it ends even when the server is killed.
    """

    def __init__(self, settings: Settings, hub: Hub | None = None) -> None:
        self.settings = settings
        self._own = hub is None
        self._hub = hub
        self._children: list[_Child] = []
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._pipe: tuple[int, int] | None = None
        self._pause = 0.1

    @property
    def _count(self) -> int:
        """How many processes this machine has: one looks after all workers of a Ray cluster."""
        return 1 if self.settings.executor == "ray" else self.settings.workers

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        with self._lock:
            return [one.process.pid for one in self._children if one.process.poll() is None]

    def start(self) -> None:
        """Start the workers; jobs that a dead worker of this machine held are free at once."""
        if self.settings.workers <= 0 or self._thread is not None:
            return
        if self._hub is None:
            self._hub = Hub.open(self.settings)
        jobs.expire_dead(self._hub)
        self._pipe = os.pipe()
        with self._lock:
            self._children = [self._spawn() for _ in range(self._count)]
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, name="workers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the workers; the jobs under way go back to the queue."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            for child in self._children:
                child.process.terminate()
            deadline = time.monotonic() + GRACE
            for child in self._children:
                try:
                    child.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
                    self._expire(child.name)
            self._children = []
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None
        if self._own and self._hub is not None:
            self._hub.close()
            self._hub = None

    def _spawn(self) -> _Child:
        assert self._pipe is not None
        token = secrets.token_hex(4)
        environ = dict(os.environ)
        for item in fields(Settings):
            value = getattr(self.settings, item.name)
            if item.name != "dir" and value != item.default:
                environ[f"PLAIT_{item.name.upper()}"] = str(value)
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                EXECUTORS[self.settings.executor],
                "--dir",
                str(self.settings.dir),
                "--parent",
                str(self._pipe[0]),
                "--name",
                token,
            ],
            env=environ,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._pipe[0],),
            start_new_session=True,  # Ctrl-C is for the server, which then ends its workers
        )
        return _Child(jobs.worker_name(process.pid, token), process, time.monotonic())

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            with self._lock:
                for place, child in enumerate(self._children):
                    if child.process.poll() is None:
                        continue
                    if child.died is None:
                        child.died = time.monotonic()
                        self._expire(child.name)
                        # One that dies as it starts is not started again in a tight circle.
                        lived = child.died - child.started
                        self._pause = 0.1 if lived > SLOWEST else min(SLOWEST, self._pause * 2)
                    if time.monotonic() - child.died >= self._pause:
                        self._children[place] = self._spawn()

    def _expire(self, name: str) -> None:
        if self._hub is not None:
            jobs.expire_worker(self._hub, name)
