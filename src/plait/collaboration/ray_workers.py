# SPDX-License-Identifier: Apache-2.0
"""Workers on a Ray cluster: ``python -m plait.collaboration.ray_workers --dir DIR``.

The ``jobs`` table stays the truth about every job. This process looks how many jobs wait and keeps
as many workers on the cluster, each an actor that leases jobs exactly as a worker on this machine
does (`plait.collaboration.worker`), and ends when it has had nothing to do for a while. A node that
dies takes its workers with it: their leases are ended here, and other workers take their jobs up.

Every node needs Plait in the same version, the hub's folder at the same path (a shared file
system), and a database that it can reach: SQLite only serves nodes on the hub's own machine.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait import __version__
from plait.collaboration import jobs
from plait.collaboration.worker import Worker, watch_parent
from plait.errors import ClusterUnavailable, MissingExtra, PlaitError
from plait.hub import Hub
from plait.settings import MARKER, Settings, load_settings, variables

LOOK = 0.5
"""Seconds between two looks at the queue."""
IDLE = 30.0
"""Seconds after which a worker without a job gives its place on the cluster back."""
GRACE = 20.0
"""Seconds that workers have to put their jobs back at the stop."""
SLOWEST = 30.0
"""The longest pause before a worker is started after others could not."""


@dataclass
class _Remote:
    """A worker on the cluster: its name in leases, its actor, and the call that ends with it."""

    name: str
    actor: Any
    done: Any


class ClusterWorker:
    """What runs on a node: a worker that ends when it was idle for long."""

    def __init__(
        self, directory: str, environ: Mapping[str, str], name: str, home: str, version: str
    ) -> None:
        os.environ.update(environ)
        settings = load_settings(directory)
        _check_node(settings, home, version)
        self._hub = Hub.open(settings)
        self._worker = Worker(self._hub, name=name)

    def run(self, idle: float) -> None:
        """Do jobs until none came for ``idle`` seconds, or until stopped."""
        last = time.monotonic()
        while not self._worker.stopping.is_set() and time.monotonic() - last < idle:
            if self._worker.run_once():
                last = time.monotonic()
            else:
                self._worker.stopping.wait(LOOK)

    def stop(self) -> None:
        """Put the job under way back into the queue, and end."""
        self._worker.stop()


def _check_node(settings: Settings, home: str, version: str) -> None:
    """Refuse to work where the hub's data is not what its own machine sees.

    Raises:
        ClusterUnavailable: the node lacks the folder, shares no database, or runs another version.
    """
    node = socket.gethostname()
    if version != __version__:
        raise ClusterUnavailable(
            f"Node {node} runs Plait {__version__}, the hub {version}. Install the same version "
            "on every node."
        )
    if not (settings.dir / MARKER).is_file():
        raise ClusterUnavailable(
            f"The hub's folder {settings.dir} is not there on node {node}. Mount it at the same "
            "path on every node."
        )
    if node != home and settings.database.startswith("sqlite"):
        raise ClusterUnavailable(
            f"Node {node} is another machine than the hub's, and the hub keeps its records in "
            "SQLite, which machines cannot share. Set PLAIT_DATABASE_URL to a PostgreSQL database."
        )


class Cluster:
    """Keeps as many workers on a Ray cluster as jobs wait, up to ``settings.workers``."""

    def __init__(self, hub: Hub) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtra("ray", "ray") from None
        self._ray = ray
        self._hub = hub
        self._workers: list[_Remote] = []
        self._pause = LOOK
        self._next = 0.0
        self.stopping = threading.Event()

    def connect(self) -> None:
        """Join the cluster as a driver.

        Raises:
            ClusterUnavailable: no cluster answers at the address.
        """
        address = self._hub.settings.ray_address
        try:
            self._ray.init(
                address=address,
                namespace="plait",
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise ClusterUnavailable(
                f"No Ray cluster answers at {address!r}: {_first_line(error)} Start one with "
                "`ray start --head`, or set PLAIT_RAY_ADDRESS."
            ) from None

    def run(self) -> None:
        """Look after the queue until stopped."""
        while not self.stopping.is_set():
            self._look()
            self.stopping.wait(LOOK)

    def close(self) -> None:
        """End the workers; their jobs go back to the queue."""
        for one in self._workers:
            one.actor.stop.remote()
        if self._workers:
            self._ray.wait(
                [one.done for one in self._workers], num_returns=len(self._workers), timeout=GRACE
            )
        for one in self._workers:
            self._ray.kill(one.actor)
            jobs.expire_worker(self._hub, one.name)
        self._workers = []
        self._ray.shutdown()

    def _look(self) -> None:
        self._collect()
        room = self._hub.settings.workers - len(self._workers)
        busy = jobs.busy_workers(self._hub, [one.name for one in self._workers])
        wanted = jobs.waiting(self._hub) - (len(self._workers) - busy)
        if time.monotonic() >= self._next:
            for _ in range(min(room, wanted)):
                self._start()

    def _start(self) -> None:
        settings = self._hub.settings
        name = f"ray:0:{secrets.token_hex(6)}"
        actor: Any = (
            self._ray.remote(ClusterWorker)
            .options(
                num_cpus=settings.ray_cpus,
                num_gpus=settings.ray_gpus,
                max_restarts=0,  # a job is taken up again by its lease, never by Ray
                max_concurrency=2,  # `stop` is heard beside `run`
            )
            .remote(
                str(settings.dir),
                variables(settings),
                name,
                socket.gethostname(),
                __version__,
            )
        )
        self._workers.append(_Remote(name, actor, actor.run.remote(IDLE)))

    def _collect(self) -> None:
        """Forget the workers that have ended, and free the jobs of those that died."""
        if not self._workers:
            return
        calls = [one.done for one in self._workers]
        ended, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        over = set(ended)
        for one in [one for one in self._workers if one.done in over]:
            self._workers.remove(one)
            try:
                self._ray.get(one.done)
                self._pause = LOOK
            except self._ray.exceptions.RayError as error:
                jobs.expire_worker(self._hub, one.name)
                print(  # noqa: T201 - the operator's log
                    f"A worker on the cluster ended: {_cause(error)}", file=sys.stderr, flush=True
                )
                # Nodes on which no worker can start are not asked in a tight circle.
                self._pause = min(SLOWEST, self._pause * 2)
                self._next = time.monotonic() + self._pause
            self._ray.kill(one.actor)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."


def _cause(error: BaseException) -> str:
    """Say why a worker ended: the sentence of our own error if it was one."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, PlaitError):
            return found.message
        found = getattr(found, "cause", None) or found.__cause__
    lines = str(error).strip().splitlines()
    ours = [line for line in lines if "plait.errors." in line]
    return (ours or lines or [type(error).__name__])[-1].strip()


def main(arguments: list[str] | None = None) -> int:
    """Keep workers on the cluster until SIGTERM, SIGINT or the end of the parent process."""
    parser = argparse.ArgumentParser(prog="plait ray-workers", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the hub's folder")
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        hub = Hub.open(load_settings(options.dir))
    except PlaitError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return 1
    with contextlib.closing(hub):
        try:
            cluster = Cluster(hub)
            cluster.connect()
        except PlaitError as error:
            print(error.message, file=sys.stderr, flush=True)  # noqa: T201
            return 1
        # Ray has handlers of its own; ours are set after it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: cluster.stopping.set())
        if options.parent is not None:
            watch_parent(options.parent, cluster.stopping.set)
        try:
            cluster.run()
        finally:
            cluster.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
