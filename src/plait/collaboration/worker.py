# SPDX-License-Identifier: Apache-2.0
"""The process that does jobs: ``python -m plait.collaboration.worker --dir DIR``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.collaboration import budgets, jobs
from plait.collaboration.jobs import Lease, LeaseLost
from plait.errors import Cancelled, PlaitError
from plait.hub import Hub
from plait.hub.database import Job
from plait.settings import Settings, load_settings

IDLE = 0.3
"""Seconds between two looks at an empty queue."""
LOOK = 1.0
"""Seconds between two looks at whether a running job was cancelled."""
REAP = 5.0
"""Seconds between two looks for jobs whose worker is gone."""


class JobContext:
    """What a handler has of its job: the hub, a folder of its own, ways to speak and to stop."""

    def __init__(
        self,
        hub: Hub,
        held: Lease,
        folder: Path,
        stopping: threading.Event,
        told: Callable[[Hub, Job, float, str], None] = lambda hub, job, fraction, stage: None,
    ) -> None:
        self.hub = hub
        self.held = held
        self.job = held.job
        self.folder = folder
        self.lost = threading.Event()
        self.cancel = threading.Event()
        self._stopping = stopping
        self._told = told
        self._stage = ""
        self._written = 0.0

    def cancelled(self) -> bool:
        """Tell whether to stop as soon as possible, whatever the reason."""
        return self.lost.is_set() or self.cancel.is_set() or self._stopping.is_set()

    def check(self) -> None:
        """Stop here if somebody asked for it.

        Raises:
            Cancelled: the job was cancelled, or the worker is being shut down.
            LeaseLost: the job is another worker's by now.
        """
        if self.lost.is_set():
            raise LeaseLost(f"Job {self.job.id} is no longer this worker's.")
        if self.cancelled():
            raise Cancelled("It was cancelled.")

    def progress(self, fraction: float, stage: str) -> None:
        """Say how far the work is; also the place where a cancelled job stops."""
        self.check()
        moment = time.monotonic()
        if stage == self._stage and moment - self._written < 0.5:
            return
        new = stage != self._stage
        if new:
            self.log(stage)
        self._stage, self._written = stage, moment
        jobs.progress(self.hub, self.held, fraction, stage)
        if new:
            self._told(self.hub, self.job, fraction, stage)

    def log(self, text: str) -> None:
        """Add to the job's log."""
        jobs.log(self.hub, self.job.id, text)

    def note(self, result: dict[str, Any]) -> None:
        """Keep what was found so far for a successor."""
        jobs.note(self.hub, self.held, result)


@dataclass(frozen=True)
class Handler:
    """How one kind of job is done, and what is told to whom when it ends without a result."""

    run: Callable[[JobContext], dict[str, Any] | None]
    ended: Callable[[Hub, Job, str], None] = lambda hub, job, reason: None
    """Called with the sentence when a job failed or was cancelled; must be safe to call twice."""
    progressed: Callable[[Hub, Job, float, str], None] = lambda hub, job, fraction, stage: None
    """Called when a stage begins, with how far the job is (0 to 1) and the stage's name."""


def default_handlers() -> dict[str, Handler]:
    """Return what this version of Plait can do; engines are loaded when a job needs them."""
    from plait.collaboration import foreseen, training
    from plait.collaboration.leaderboards import measuring, scoring
    from plait.collaboration.merging import handler, queue, withdrawal
    from plait.collaboration.suggest import requests as suggesting

    return {
        "merge": Handler(handler.run, handler.ended, handler.progressed),
        "withdraw": Handler(withdrawal.run, withdrawal.ended),
        scoring.KIND: Handler(scoring.run),
        measuring.KIND: Handler(measuring.run),
        suggesting.KIND: Handler(suggesting.run, suggesting.ended),
        "queue": Handler(queue.run, queue.ended),
        foreseen.KIND: Handler(foreseen.run),
        training.KIND: Handler(training.run),
    }


class Worker:
    """Takes jobs one at a time until it is stopped."""

    def __init__(
        self, hub: Hub, handlers: Mapping[str, Handler] | None = None, name: str | None = None
    ) -> None:
        self.hub = hub
        self.handlers = dict(default_handlers() if handlers is None else handlers)
        self.name = name or jobs.worker_name()
        self.stopping = threading.Event()
        self._reaped = 0.0

    def stop(self) -> None:
        """Finish soon: the job under way goes back to the queue."""
        self.stopping.set()

    def run(self) -> None:
        """Work until stopped."""
        self.tidy()
        while not self.stopping.is_set():
            if not self.run_once():
                self.stopping.wait(IDLE)

    def run_once(self) -> bool:
        """Do one job if one waits; tell whether there was one."""
        if time.monotonic() - self._reaped > REAP:
            self._reaped = time.monotonic()
            for job in jobs.reap(self.hub):
                self._tell(job, job.error or "It failed.")
        held = jobs.lease(self.hub, self.name, list(self.handlers))
        if held is None:
            return False
        self._do(held)
        return True

    def tidy(self) -> None:
        """Remove the folders of jobs that no worker holds any more."""
        folder = self.hub.settings.work_dir
        if not folder.is_dir():
            return
        for entry in folder.glob("job-*"):
            number = entry.name.removeprefix("job-").partition(".")[0]
            if number.isdigit() and not self._held_elsewhere(int(number)):
                shutil.rmtree(entry, ignore_errors=True)

    def _held_elsewhere(self, job_id: int) -> bool:
        try:
            job = jobs.get(self.hub, job_id)
        except PlaitError:
            return False
        return job.state == "running" and job.worker != self.name and not jobs.expired(job)

    def _do(self, held: Lease) -> None:
        # The attempt is part of the name: a predecessor that still runs has a folder of its own.
        folder = self.hub.settings.work_dir / f"job-{held.job.id}.{held.attempt}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        handler = self.handlers[held.job.kind]
        context = JobContext(self.hub, held, folder, self.stopping, handler.progressed)
        meter = budgets.Meter()
        try:
            try:
                with self._kept_alive(context, meter):
                    result = handler.run(context)
            finally:
                with contextlib.suppress(LeaseLost):
                    jobs.account(self.hub, held, meter.read())
            jobs.succeed(self.hub, held, result)
        except LeaseLost:
            pass  # its successor speaks for the job now
        except Cancelled:
            with contextlib.suppress(LeaseLost):
                if context.cancel.is_set() or not self.stopping.is_set():
                    jobs.observe_cancel(self.hub, held)
                    self._tell(held.job, "It was cancelled.")
                else:
                    jobs.give_back(self.hub, held)
        except PlaitError as error:
            self._fail(held, error.message)
        except MemoryError:
            self._fail(held, "The machine has not enough memory for this job.")
        except Exception as error:
            self._record(held.job, error)
            self._fail(
                held,
                f"An unexpected {type(error).__name__} ended the job; its log says where. "
                "This is a fault of the hub, not of what was sent.",
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fail(self, held: Lease, reason: str) -> None:
        with contextlib.suppress(LeaseLost):
            jobs.fail(self.hub, held, reason)
            self._tell(held.job, reason)

    def _tell(self, job: Job, reason: str) -> None:
        handler = self.handlers.get(job.kind)
        if handler is None:
            return
        try:
            handler.ended(self.hub, job, reason)
        except Exception as error:
            # The job has ended either way; what could not be told stays in its log.
            self._record(job, error)

    def _record(self, job: Job, error: Exception) -> None:
        """Keep where an unexpected error came from; its message is for the operator alone.

        A job's log can be read by all who can read the repository, and an exception's message may
        hold a line of somebody's private data.
        """
        traceback.print_exception(error)
        places = traceback.extract_tb(error.__traceback__)
        lines = [f"  {Path(at.filename).name}, line {at.lineno}, in {at.name}" for at in places]
        jobs.log(self.hub, job.id, "\n".join([f"{type(error).__name__} in", *lines]))

    @contextlib.contextmanager
    def _kept_alive(self, context: JobContext, meter: budgets.Meter) -> Iterator[None]:
        """Renew the lease beside the work, count what it takes, look whether it was cancelled."""
        done = threading.Event()
        renew = max(0.2, self.hub.settings.job_lease / 4)

        def beat() -> None:
            renewed = time.monotonic()
            while not done.wait(min(LOOK, renew)):
                try:
                    if time.monotonic() - renewed >= renew:
                        jobs.account(self.hub, context.held, meter.read())
                        jobs.heartbeat(self.hub, context.held)
                        renewed = time.monotonic()
                    elif jobs.get(self.hub, context.job.id).cancel_requested:
                        context.cancel.set()
                except LeaseLost:
                    context.lost.set()
                    return
                except Cancelled:
                    context.cancel.set()
                except Exception:
                    # A busy or briefly missing database: the lease has time for another try.
                    continue

        thread = threading.Thread(target=beat, name=f"lease-{context.job.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=10)


def watch_parent(descriptor: int, stop: Callable[[], None]) -> None:
    """Stop when the other end of the pipe is closed: the parent has ended, in whatever way."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(descriptor, 1):
                pass
        stop()

    threading.Thread(target=wait, name="parent", daemon=True).start()


def main(arguments: list[str] | None = None) -> int:
    """Run a worker until SIGTERM, SIGINT or the end of the process that started it."""
    parser = argparse.ArgumentParser(prog="plait worker", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the hub's folder")
    parser.add_argument("--once", action="store_true", help="do what waits, then end")
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    settings: Settings = load_settings(options.dir)
    try:
        hub = Hub.open(settings)
    except PlaitError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return 1
    try:
        worker = Worker(hub, name=jobs.worker_name(token=options.name))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        if options.parent is not None:
            watch_parent(options.parent, worker.stop)
        if options.once:
            worker.tidy()
            jobs.expire_dead(hub)
            while not worker.stopping.is_set() and worker.run_once():
                pass
        else:
            worker.run()
    finally:
        hub.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
