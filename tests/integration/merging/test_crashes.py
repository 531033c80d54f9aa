# SPDX-License-Identifier: Apache-2.0
"""Killed at any point, a merge lands once or not at all, and its records agree with the branch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from plait.collaboration import events, jobs
from plait.collaboration.requests import request_merge
from plait.collaboration.supervise import WorkerSupervisor
from plait.hub.database import Job

from .town import Town

pytestmark = pytest.mark.models

# A worker that kills itself as a power cut would, just before or after one call.
DIES = """
    import os, signal, sys
    import {module} as module
    target = {target}
    original = getattr(target, "{name}")
    def dies(*arguments, **named):
        if {after}:
            original(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(target, "{name}", dies)
    from plait.collaboration.worker import main
    main(["--dir", sys.argv[1], "--once"])
"""

POINTS = {
    "before judging": ("plait.collaboration.merging.builder", "module.Builder", "evaluate", False),
    "with the blob stored": (
        "plait.collaboration.merging.landing",
        "module",
        "store_weights",
        True,
    ),
    "before the commit": ("plait.collaboration.merging.landing", "module", "land", False),
    "after the commit": ("plait.collaboration.merging.landing", "module", "land", True),
    "after the verdict": ("plait.collaboration.merging.handler", "module", "_post", True),
    "before the end": ("plait.collaboration.jobs", "module", "succeed", False),
}


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def job_of(town: Town) -> Job:
    found = jobs.latest(town.hub, town.pulls["shop"].id)
    assert found is not None
    return found


def check_merged_once(town: Town, before: str) -> None:
    """The branch, the discussion, the job and the folders tell the same story."""
    pull = town.pulls["shop"]
    head = town.head()
    info = town.hub.git.commit_info(town.repo, head)
    assert info.parents[0] == before, "there is one landing commit and not more"
    job = job_of(town)
    assert job.state == "succeeded"
    assert job.result is not None
    assert job.result["landed"] == head
    state = town.state(pull)
    assert (state["status"], state["mergeCommitId"]) == ("merged", head)
    assert state["report"]["landed"] == head
    kinds = [values["kind"] for values in events.hub_values(town.hub, pull.id)]
    assert sorted(kinds) == ["requested", "verdict"]
    statuses = [e for e in town.hub.discussions.events(pull) if e.type == "status-change"]
    assert len(statuses) == 1
    assert town.lineage().output == {"model.safetensors": town.weights()}
    wait(lambda: not list(town.hub.settings.work_dir.iterdir()), 10)


@pytest.mark.parametrize("point", list(POINTS))
def test_kill_9_and_the_next_worker_finishes_the_job(town: Town, point: str) -> None:
    pull = town.propose("shop", town.models / "shop")
    before = town.head()
    request_merge(town.hub, town.owner, town.repo, pull)
    module, target, name, after = POINTS[point]
    script = textwrap.dedent(DIES).format(module=module, target=target, name=name, after=after)
    done = subprocess.run(
        [sys.executable, "-c", script, str(town.hub.settings.dir)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert job_of(town).state == "running"
    if point not in ("after the commit", "after the verdict", "before the end"):
        assert town.head() == before
    assert jobs.expire_dead(town.hub) == 1
    town.hub.settings.work_dir.joinpath("job-999.1").mkdir()
    from plait.collaboration.worker import Worker

    worker = Worker(town.hub)
    worker.tidy()
    assert worker.run_once()
    check_merged_once(town, before)


def test_a_job_whose_worker_always_dies_fails_with_the_reason(town: Town) -> None:
    pull = town.propose("shop", town.models / "shop")
    before = town.head()
    request_merge(town.hub, town.owner, town.repo, pull)
    for attempt in range(town.hub.settings.job_attempts):
        held = jobs.lease(town.hub, f"w{attempt}")
        assert held is not None
        jobs.expire_worker(town.hub, held.worker)
    town.work()
    state = town.state(pull)
    assert state["job"]["state"] == "failed"
    assert "3 times" in state["job"]["error"]
    assert state["status"] == "open"
    assert town.head() == before
    assert town.said(pull)[-1].startswith("**Not merged.**")


def test_the_supervisor_restarts_what_dies_and_ends_what_it_started(town: Town) -> None:
    supervisor = WorkerSupervisor(replace(town.hub.settings, job_lease=600))
    supervisor.start()
    try:
        wait(lambda: len(supervisor.pids) == 1)
        pull = town.propose("shop", town.models / "shop")
        before = town.head()
        request_merge(town.hub, town.owner, town.repo, pull)
        wait(lambda: job_of(town).state == "running")
        first = supervisor.pids[0]
        os.kill(first, signal.SIGKILL)
        # The lease would hold for ten minutes; the supervisor knows better.
        wait(lambda: job_of(town).state == "succeeded")
        second = supervisor.pids[0]
        assert second != first
        assert job_of(town).attempts == 2
        check_merged_once(town, before)
    finally:
        supervisor.stop()
    assert supervisor.pids == []
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_worker_ends_with_the_server_that_started_it(town: Town, tmp_path: Path) -> None:
    script = """
        import sys, time
        from plait.collaboration.supervise import WorkerSupervisor
        from plait.settings import load_settings
        supervisor = WorkerSupervisor(load_settings(sys.argv[1]))
        supervisor.start()
        print(supervisor.pids[0], flush=True)
        time.sleep(60)
    """
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(town.hub.settings.dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    worker = int(server.stdout.readline())
    os.kill(worker, 0)
    server.kill()
    server.wait()

    def gone() -> bool:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z"

    wait(gone, 30)
