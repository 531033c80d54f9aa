# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from plait.collaboration import jobs
from plait.collaboration.jobs import Lease, LeaseLost
from plait.errors import Cancelled, NotFound
from plait.hub import Hub
from plait.hub.database import Job, now


def taken(hub: Hub, worker: str = "w1") -> Lease:
    held = jobs.lease(hub, worker)
    assert held is not None
    return held


def let_it_expire(hub: Hub, job: Job) -> None:
    with hub.session(write=True) as session:
        session.execute(
            update(Job).where(Job.id == job.id).values(lease_until=now() - timedelta(seconds=1))
        )


def test_the_same_key_gives_the_same_job_while_it_is_unfinished(hub: Hub) -> None:
    first = jobs.enqueue(hub, "merge", {"n": 1}, key="k")
    assert jobs.enqueue(hub, "merge", {"n": 2}, key="k").id == first.id
    held = taken(hub)
    assert jobs.enqueue(hub, "merge", {}, key="k").id == first.id
    jobs.succeed(hub, held, {"done": True})
    assert jobs.enqueue(hub, "merge", {}, key="k").id != first.id


def test_a_job_goes_through_its_states(hub: Hub) -> None:
    job = jobs.enqueue(hub, "merge", {"n": 1})
    assert (job.state, job.attempts) == ("queued", 0)
    held = taken(hub)
    assert (held.job.id, held.job.state, held.attempt) == (job.id, "running", 1)
    assert jobs.lease(hub, "w2") is None
    jobs.progress(hub, held, 0.25, "fusing")
    seen = jobs.get(hub, job.id)
    assert (seen.fraction, seen.stage) == (0.25, "fusing")
    jobs.log(hub, job.id, "one\ntwo")
    assert [line.text for line in jobs.lines(hub, job.id)] == ["one", "two"]
    jobs.succeed(hub, held, {"x": 1})
    seen = jobs.get(hub, job.id)
    assert (seen.state, seen.result, seen.fraction, seen.lease_until) == (
        "succeeded",
        {"x": 1},
        1.0,
        None,
    )
    assert seen.finished_at is not None


def test_jobs_are_taken_in_order_and_by_kind(hub: Hub) -> None:
    first = jobs.enqueue(hub, "fuse", {})
    second = jobs.enqueue(hub, "merge", {})
    held = jobs.lease(hub, "w1", ["merge"])
    assert held is not None
    assert held.job.id == second.id
    assert taken(hub).job.id == first.id


def test_no_two_workers_take_the_same_job(hub: Hub) -> None:
    ids = {jobs.enqueue(hub, "merge", {}).id for _ in range(12)}
    found: list[int] = []

    def work(name: str) -> None:
        while (held := jobs.lease(hub, name)) is not None:
            found.append(held.job.id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(ids)


def test_an_expired_lease_is_taken_up_and_the_first_worker_is_locked_out(hub: Hub) -> None:
    job = jobs.enqueue(hub, "merge", {})
    slow = taken(hub, "slow")
    let_it_expire(hub, job)
    fast = taken(hub, "fast")
    assert (fast.job.id, fast.attempt) == (job.id, 2)
    for write in (
        lambda: jobs.heartbeat(hub, slow),
        lambda: jobs.progress(hub, slow, 0.9, "late"),
        lambda: jobs.note(hub, slow, {}),
        lambda: jobs.succeed(hub, slow, {}),
        lambda: jobs.fail(hub, slow, "late"),
        lambda: jobs.give_back(hub, slow),
    ):
        with pytest.raises(LeaseLost):
            write()
    jobs.succeed(hub, fast, {"by": "fast"})
    assert jobs.get(hub, job.id).result == {"by": "fast"}


def test_the_heartbeat_keeps_a_lease(hub: Hub) -> None:
    jobs.enqueue(hub, "merge", {})
    held = taken(hub)
    let_it_expire(hub, held.job)
    jobs.heartbeat(hub, held)
    assert jobs.lease(hub, "other") is None


def test_after_the_last_attempt_it_is_failed_with_the_reason(hub: Hub) -> None:
    hub.settings = replace(hub.settings, job_attempts=2)
    job = jobs.enqueue(hub, "merge", {}, key="k")
    for attempt in (1, 2):
        held = taken(hub, f"w{attempt}")
        jobs.progress(hub, held, 0.5, "fusing candidate 3 of 12")
        assert jobs.reap(hub) == []
        let_it_expire(hub, job)
    assert jobs.lease(hub, "w3") is None
    assert [one.id for one in jobs.reap(hub)] == [job.id]
    seen = jobs.get(hub, job.id)
    assert (seen.state, seen.key) == ("failed", None)
    assert "2 times" in (seen.error or "")
    assert "fusing candidate 3 of 12" in (seen.error or "")
    assert jobs.reap(hub) == []


def test_a_worker_that_is_shut_down_costs_no_attempt(hub: Hub) -> None:
    job = jobs.enqueue(hub, "merge", {})
    for _ in range(5):
        jobs.give_back(hub, taken(hub))
    assert jobs.get(hub, job.id).state == "queued"
    assert taken(hub).attempt == 1


def test_cancelling(hub: Hub) -> None:
    waiting = jobs.enqueue(hub, "merge", {}, key="k")
    assert jobs.cancel(hub, waiting.id).state == "cancelled"
    assert jobs.enqueue(hub, "merge", {}, key="k").id != waiting.id
    held = taken(hub)
    assert jobs.cancel(hub, held.job.id).state == "running"
    with pytest.raises(Cancelled):
        jobs.heartbeat(hub, held)
    jobs.observe_cancel(hub, held)
    assert jobs.get(hub, held.job.id).state == "cancelled"
    assert jobs.cancel(hub, held.job.id).state == "cancelled"
    with pytest.raises(NotFound):
        jobs.cancel(hub, 999)


def test_a_cancelled_job_of_a_dead_worker_ends(hub: Hub) -> None:
    job = jobs.enqueue(hub, "merge", {})
    taken(hub)
    jobs.cancel(hub, job.id)
    let_it_expire(hub, job)
    assert jobs.lease(hub, "w2") is None
    assert [one.state for one in jobs.reap(hub)] == ["cancelled"]


def test_leases_of_a_dead_process_are_free_at_once(hub: Hub) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    job = jobs.enqueue(hub, "merge", {})
    taken(hub, jobs.worker_name(ended.pid))
    jobs.enqueue(hub, "merge", {})
    living = taken(hub, jobs.worker_name(os.getpid()))
    assert jobs.expire_dead(hub) == 1
    assert taken(hub).job.id == job.id
    jobs.heartbeat(hub, living)
    assert jobs.expire_worker(hub, living.worker) == 1


def test_the_log_is_bounded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_LINES", 3)
    monkeypatch.setattr(jobs, "MAX_LINE", 10)
    job = jobs.enqueue(hub, "merge", {})
    jobs.log(hub, job.id, "\n".join(["x" * 50] * 8))
    assert [line.text for line in jobs.lines(hub, job.id)] == ["x" * 10] * 3
