# SPDX-License-Identifier: Apache-2.0
"""Priorities, limits of namespaces, and what jobs cost."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from plait.collaboration import budgets, jobs
from plait.collaboration.requests import describe_job
from plait.collaboration.worker import Handler, JobContext, Worker
from plait.errors import BadInput, NotFound
from plait.hub import SYSTEM, Hub, Repository


@pytest.fixture
def repos(hub: Hub) -> dict[str, Repository]:
    ann = hub.accounts.create_user("ann")
    for name in ("shop", "press"):
        hub.accounts.create_organization(name, ann)
    actor = hub.accounts.actor_for(ann)
    return {
        name: hub.repositories.create(actor, "model", f"{name}/model") for name in ("shop", "press")
    }


def taken(hub: Hub, worker: str = "w") -> int | None:
    held = jobs.lease(hub, worker)
    return held.job.id if held is not None else None


def test_what_people_wait_for_comes_first(hub: Hub) -> None:
    background = jobs.enqueue(hub, "queue", {})
    first, second = (jobs.enqueue(hub, "merge", {}) for _ in range(2))
    raised = jobs.enqueue(hub, "queue", {})
    jobs.prioritize(hub, raised.id, 20)
    assert [taken(hub) for _ in range(4)] == [raised.id, first.id, second.id, background.id]
    with pytest.raises(BadInput):
        jobs.prioritize(hub, raised.id, 101)
    with pytest.raises(NotFound):
        jobs.prioritize(hub, 999, 1)


def test_one_organisation_does_not_take_all_workers(hub: Hub, repos: dict[str, Repository]) -> None:
    shop = [jobs.enqueue(hub, "merge", {}, repo=repos["shop"].id).id for _ in range(3)]
    press = jobs.enqueue(hub, "merge", {}, repo=repos["press"].id).id
    own = jobs.enqueue(hub, "test", {}).id
    budgets.set_limit(hub, hub.accounts.get("shop"), 1)
    held = jobs.lease(hub, "a")
    assert held is not None
    assert held.job.id == shop[0]
    assert [taken(hub), taken(hub), taken(hub)] == [press, own, None]
    # One that ended makes room, and so does one whose worker is gone.
    jobs.succeed(hub, held, {})
    assert taken(hub, "b") == shop[1]
    jobs.expire_worker(hub, "b")
    assert taken(hub, "c") == shop[1]
    assert taken(hub) is None
    budgets.set_limit(hub, hub.accounts.get("shop"), None)
    assert taken(hub) == shop[2]


def test_the_usual_limit_is_a_setting(hub: Hub, repos: dict[str, Repository]) -> None:
    hub.settings = replace(hub.settings, jobs_per_namespace=1)
    first, second = (jobs.enqueue(hub, "merge", {}, repo=repos["shop"].id).id for _ in range(2))
    assert [taken(hub), taken(hub)] == [first, None]
    budgets.set_limit(hub, hub.accounts.get("shop"), 2)
    assert taken(hub) == second
    with pytest.raises(BadInput):
        budgets.set_limit(hub, hub.accounts.get("shop"), 0)


def test_a_job_says_what_it_took_also_in_child_processes_and_over_attempts(
    hub: Hub, repos: dict[str, Repository], tmp_path: Path
) -> None:
    job = jobs.enqueue(hub, "test", {}, repo=repos["shop"].id)

    def burn(context: JobContext) -> None:
        end = time.process_time() + 0.15
        while time.process_time() < end:
            pass
        code = "import time\nwhile time.process_time() < 0.15: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
        (context.folder / "large").write_bytes(b"x" * 300_000)
        if context.held.attempt == 1:
            raise KeyboardInterrupt  # the process ends

    with pytest.raises(KeyboardInterrupt):
        Worker(hub, {"test": Handler(burn)}, name="w:1:a").run_once()
    once = jobs.get(hub, job.id)
    assert once.cpu_seconds >= 0.28
    jobs.expire_worker(hub, "w:1:a")
    Worker(hub, {"test": Handler(burn)}).run_once()
    seen = describe_job(jobs.get(hub, job.id))
    assert seen["state"] == "succeeded"
    assert seen["cpu_seconds"] >= once.cpu_seconds + 0.27
    assert seen["bytes_written"] >= 600_000
    assert seen["gpu_seconds"] == 0.0
    found = budgets.usage(hub)
    assert [(one.namespace, one.jobs, one.running) for one in found] == [("shop", 1, 0)]
    assert found[0].cost.cpu_seconds == pytest.approx(seen["cpu_seconds"], abs=0.01)
    nothing = budgets.usage(hub, hub.accounts.get("press"))
    assert [(one.namespace, one.jobs, one.cost.cpu_seconds) for one in nothing] == [("press", 0, 0)]
    kinds = budgets.by_kind(hub, hub.accounts.get("shop"))
    assert [(kind, count) for kind, count, _ in kinds] == [("test", 1)]


def test_gpus_count_while_a_model_lies_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_on = [0, 0, 0]
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: len(bytes_on),
        memory_allocated=lambda device: bytes_on[device],
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    clock = [100.0]
    monkeypatch.setattr(budgets.time, "monotonic", lambda: clock[0])
    meter = budgets.Meter()
    clock[0] += 2.0
    assert meter.read().gpu_seconds == 0.0, "they are there, and nothing lies on them"
    bytes_on[:2] = 10, 20
    clock[0] += 3.0
    assert meter.read().gpu_seconds == 6.0
    bytes_on[0] = 0
    clock[0] += 1.0
    assert meter.read().gpu_seconds == 7.0


def test_a_job_of_no_repository_is_on_the_bill_of_who_asked(
    hub: Hub, repos: dict[str, Repository]
) -> None:
    ann = hub.accounts.get("ann")
    mine = [jobs.enqueue(hub, "suggest", {}, requested_by=ann.id).id for _ in range(2)]
    other = jobs.enqueue(hub, "leaderboard", {}, repo=repos["press"].id, requested_by=ann.id).id
    budgets.set_limit(hub, ann, 1)
    held = jobs.lease(hub, "a")
    assert held is not None
    assert held.job.id == mine[0]
    assert [taken(hub), taken(hub)] == [other, None], "ann's second waits, press pays for its own"
    jobs.account(hub, held, budgets.Cost(3.0, 0.0, 10))
    jobs.succeed(hub, held, {})
    assert taken(hub) == mine[1]
    found = {one.namespace: one for one in budgets.usage(hub)}
    assert (found["ann"].jobs, found["ann"].cost.cpu_seconds) == (2, 3.0)
    assert found["press"].jobs == 1


def test_many_waiting_jobs_of_a_full_namespace_hold_up_nobody_else(
    hub: Hub, repos: dict[str, Repository]
) -> None:
    for _ in range(600):
        jobs.enqueue(hub, "merge", {}, repo=repos["shop"].id)
    last = jobs.enqueue(hub, "merge", {}, repo=repos["press"].id).id
    budgets.set_limit(hub, hub.accounts.get("shop"), 1)
    assert taken(hub) is not None
    assert taken(hub) == last


def test_orders_about_jobs_are_in_the_audit_log(hub: Hub, repos: dict[str, Repository]) -> None:
    ann = hub.accounts.actor_for(hub.accounts.get_user("ann"))
    job = jobs.enqueue(hub, "merge", {}, repo=repos["shop"].id)
    budgets.set_limit(hub, hub.accounts.get("shop"), 2, ann)
    jobs.prioritize(hub, job.id, 5, ann)
    seen = [(e.action, e.actor) for e in hub.audit.list(SYSTEM, action="hub").items]
    assert seen == [("hub.job_priority", "ann"), ("hub.job_limit", "ann")]
