# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from plait.collaboration import jobs
from plait.collaboration.worker import Handler, JobContext, Worker
from plait.errors import BadInput, NotFound
from plait.hub import Hub
from plait.hub.database import Job

from .conftest import Place

Run = Callable[[JobContext], dict[str, Any] | None]


class Told:
    """Remembers what a handler was told of jobs that ended."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, hub: Hub, job: Job, reason: str) -> None:
        self.reasons.append(reason)


def worker(hub: Hub, run: Run, told: Told | None = None) -> Worker:
    return Worker(hub, {"test": Handler(run, told or Told())})


def test_a_job_is_done_in_a_folder_that_goes(hub: Hub) -> None:
    job = jobs.enqueue(hub, "test", {"n": 3})
    seen = []

    def run(context: JobContext) -> dict[str, Any]:
        (context.folder / "file").write_text("x")
        seen.append(context.folder)
        context.progress(0.5, "half")
        context.progress(0.6, "half")
        return {"twice": context.job.payload["n"] * 2}

    assert worker(hub, run).run_once()
    done = jobs.get(hub, job.id)
    assert (done.state, done.result) == ("succeeded", {"twice": 6})
    assert not seen[0].exists()
    assert [line.text for line in jobs.lines(hub, job.id)] == ["half"]
    assert not worker(hub, run).run_once()


def test_an_expected_error_is_its_sentence(hub: Hub) -> None:
    job = jobs.enqueue(hub, "test", {})
    told = Told()

    def run(context: JobContext) -> None:
        raise BadInput("Pull request 3 is a pickle.")

    worker(hub, run, told).run_once()
    done = jobs.get(hub, job.id)
    assert (done.state, done.error) == ("failed", "Pull request 3 is a pickle.")
    assert told.reasons == ["Pull request 3 is a pickle."]


def test_an_unexpected_error_tells_where_but_not_what(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    job = jobs.enqueue(hub, "test", {})

    def run(context: JobContext) -> None:
        raise ValueError("a private line of somebody's data")

    worker(hub, run).run_once()
    done = jobs.get(hub, job.id)
    log = "\n".join(line.text for line in jobs.lines(hub, job.id))
    assert done.state == "failed"
    assert "ValueError" in (done.error or "")
    assert "test_worker.py" in log
    assert "private line" not in log + (done.error or "")
    assert "private line" in capsys.readouterr().err


def test_a_fault_in_the_telling_does_not_stop_the_worker(hub: Hub) -> None:
    job = jobs.enqueue(hub, "test", {})

    def run(context: JobContext) -> None:
        raise BadInput("no")

    def ended(hub: Hub, job: Job, reason: str) -> None:
        raise RuntimeError("telling failed")

    assert Worker(hub, {"test": Handler(run, ended)}).run_once()
    assert jobs.get(hub, job.id).error == "no"


def test_cancelling_reaches_a_running_job(hub: Hub) -> None:
    job = jobs.enqueue(hub, "test", {})
    told = Told()

    def run(context: JobContext) -> None:
        jobs.cancel(hub, job.id)
        for _ in range(200):
            context.progress(0.1, "working")
            time.sleep(0.05)
        raise AssertionError("was not cancelled")

    worker(hub, run, told).run_once()
    assert jobs.get(hub, job.id).state == "cancelled"
    assert told.reasons == ["It was cancelled."]


def test_a_worker_that_is_stopped_puts_its_job_back(hub: Hub) -> None:
    job = jobs.enqueue(hub, "test", {})
    told = Told()
    started = threading.Event()

    def run(context: JobContext) -> None:
        started.set()
        while True:
            context.progress(0.1, "working")
            time.sleep(0.02)

    working = worker(hub, run, told)
    thread = threading.Thread(target=working.run)
    thread.start()
    assert started.wait(10)
    working.stop()
    thread.join(10)
    assert not thread.is_alive()
    back = jobs.get(hub, job.id)
    assert (back.state, back.attempts) == ("queued", 0)
    assert told.reasons == []


def test_the_lease_is_renewed_while_the_work_goes_on(hub: Hub) -> None:
    hub.settings = replace(hub.settings, job_lease=1)
    jobs.enqueue(hub, "test", {})
    others = []

    def run(context: JobContext) -> dict[str, Any]:
        for _ in range(8):
            time.sleep(0.25)
            others.append(jobs.lease(hub, "other"))
        return {}

    worker(hub, run).run_once()
    assert others == [None] * 8


def test_a_lost_lease_ends_the_work_without_a_word(hub: Hub) -> None:
    job = jobs.enqueue(hub, "test", {})
    told = Told()

    def run(context: JobContext) -> None:
        jobs.expire_worker(hub, context.held.worker)
        successor = jobs.lease(hub, "successor")
        assert successor is not None
        context.progress(0.9, "too late")

    worker(hub, run, told).run_once()
    left = jobs.get(hub, job.id)
    assert (left.state, left.worker, left.stage) == ("running", "successor", "waiting for a worker")
    assert told.reasons == []


def test_a_job_that_is_given_up_is_told(hub: Hub) -> None:
    hub.settings = replace(hub.settings, job_attempts=1)
    job = jobs.enqueue(hub, "test", {})
    lost = jobs.lease(hub, "dead")
    assert lost is not None
    jobs.expire_worker(hub, "dead")
    told = Told()
    assert not worker(hub, lambda context: None, told).run_once()
    assert jobs.get(hub, job.id).state == "failed"
    assert len(told.reasons) == 1


def test_a_repository_may_be_deleted_under_its_job(place: Place) -> None:
    job = jobs.enqueue(place.hub, "test", {}, repo=place.repo.id)

    def run(context: JobContext) -> None:
        place.hub.repositories.delete(place.owner, place.repo)
        raise ValueError("the files are gone")

    assert worker(place.hub, run).run_once()
    with pytest.raises(NotFound):
        jobs.get(place.hub, job.id)
    jobs.log(place.hub, job.id, "nobody reads this")


def test_folders_that_a_crash_left_are_removed(hub: Hub) -> None:
    job = jobs.enqueue(hub, "test", {})
    held = jobs.lease(hub, "living")
    assert held is not None
    work = hub.settings.work_dir
    for name in ("job-999.1", f"job-{job.id}.1", "other"):
        (work / name).mkdir()
    worker(hub, lambda context: None).tidy()
    assert sorted(entry.name for entry in work.iterdir()) == [f"job-{job.id}.1", "other"]
    jobs.expire_worker(hub, "living")
    worker(hub, lambda context: None).tidy()
    assert sorted(entry.name for entry in work.iterdir()) == ["other"]
