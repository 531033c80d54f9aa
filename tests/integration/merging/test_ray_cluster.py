# SPDX-License-Identifier: Apache-2.0
"""Merges and evaluations on a real Ray cluster of two nodes; one is killed in the middle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from plait.collaboration import jobs
from plait.collaboration.leaderboards.board import board
from plait.collaboration.leaderboards.scoring import submit
from plait.collaboration.requests import request_merge
from plait.collaboration.supervise import WorkerSupervisor
from plait.hub import AddBytes, Repository
from plait.hub.database import Job

from .town import Town

pytest.importorskip("ray", reason="Ray is not installed: pip install 'plait[ray]'")

pytestmark = [pytest.mark.models, pytest.mark.timeout(600)]

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_health_check_period_ms": "500",
    "OMP_NUM_THREADS": "1",
}


def wait(until: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.1)


@dataclass
class Nodes:
    """The processes of a head node and of a second one, each with one core."""

    address: str
    head: subprocess.Popen[bytes]
    second: subprocess.Popen[bytes]

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """End a node as a power cut would: its raylet and all workers on it at once."""
        try:
            os.killpg(node.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        node.wait(30)


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    ray = Path(sys.executable).with_name("ray")
    return subprocess.Popen(
        [str(ray), "start", "--block", "--num-cpus=1", "--object-store-memory=80000000",
         "--disable-usage-stats", "--node-ip-address=127.0.0.1", *arguments],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Start `ray start --head` and a second node on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        head = _start(
            "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"
        )
        address = f"127.0.0.1:{port}"
        wait(lambda: _answers(port), 90, "the head node")
        made = Nodes(address, head, _start(f"--address={address}"))
        try:
            yield made
        finally:
            made.kill(made.second)
            made.kill(made.head)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


_TOGETHER = """
import ray, sys, time
ray.init(address=sys.argv[1], log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""


def wait_for_both(nodes: Nodes, seconds: float) -> None:
    """Wait, in a process of its own, until the cluster has two nodes.

    On a busy machine the second one may give up before it has joined; then it is started anew.
    """
    command = [sys.executable, "-c", _TOGETHER, nodes.address]
    with subprocess.Popen(
        command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as asking:

        def joined() -> bool:
            if nodes.second.poll() is not None:
                nodes.second = _start(f"--address={nodes.address}")
            return asking.poll() is not None

        try:
            wait(joined, seconds, "two nodes")
        finally:
            asking.kill()
            said, _ = asking.communicate()
    assert asking.returncode == 0, said.decode(errors="replace")[-2000:]


def submitted(town: Town) -> tuple[int, Repository]:
    """Let a data set have a leaderboard and submit main to it; return the job's number."""
    member, texts = town.members["shop"], town.hub.repositories.find("dataset", "shop/texts")
    assert texts is not None
    rule = (
        "evaluation: {allow: [commons/sentiment]}\nleaderboard: {split: gate}\n"
        "tasks:\n- {name: shop, dataset: shop/texts, columns: {group: document}}\n"
    )
    town.hub.commits.apply(
        member, texts, "main", [AddBytes("plait.yaml", rule.encode())], "board", ""
    )
    job = submit(town.hub, member, texts, "commons/sentiment")
    jobs.prioritize(town.hub, job.id, 50)  # beside the first merge, not after the last
    return job.id, texts


def test_a_killed_node_loses_no_job(town: Town, nodes: Nodes) -> None:
    wait_for_both(nodes, 180)
    supervisor = WorkerSupervisor(
        replace(
            town.hub.settings,
            executor="ray",
            ray_address=nodes.address,
            workers=2,
            # A dead worker's lease would hold for ten minutes; the cluster tells sooner.
            job_lease=600,
        )
    )
    before = town.head()
    pulls = [town.propose(name, town.models / name) for name in ("shop", "cinema", "press")]
    evaluation, texts = submitted(town)

    def found() -> list[Job]:
        held = [jobs.latest(town.hub, pull.id) for pull in pulls]
        return [jobs.get(town.hub, evaluation), *(job for job in held if job is not None)]

    supervisor.start()
    try:
        for pull in pulls:
            request_merge(town.hub, town.owner, town.repo, pull)
        wait(lambda: sum(job.state == "running" for job in found()) == 2, 120, "both nodes at work")
        workers = {job.worker for job in found() if job.state == "running"}
        assert len(workers) == 2
        nodes.kill(nodes.second)
        wait(lambda: all(job.state == "succeeded" for job in found()), 240, "all jobs")
    finally:
        supervisor.stop()
    attempts = sorted(job.attempts for job in found())
    assert attempts[0] == 1
    assert attempts[-1] >= 2, "the job of the killed node was taken up again"
    assert [town.state(pull)["status"] for pull in pulls] == ["merged"] * 3
    assert len(town.lineage().contributions) == 3
    assert town.head() != before
    assert town.lineage().output == {"model.safetensors": town.weights()}
    [row] = board(town.hub, town.members["shop"], texts, "shop").rows
    assert (row.entry.revision, row.entry.split) == (before, "gate")
    assert 0.3 < row.entry.score < 0.7, "of the base, which knows nothing of the shop"


def test_a_job_under_way_goes_back_when_the_hub_stops(town: Town, nodes: Nodes) -> None:
    supervisor = WorkerSupervisor(
        replace(town.hub.settings, executor="ray", ray_address=nodes.address, job_lease=600)
    )
    pull = town.propose("shop", town.models / "shop")
    request_merge(town.hub, town.owner, town.repo, pull)

    def job() -> Job:
        held = jobs.latest(town.hub, pull.id)
        assert held is not None
        return held

    supervisor.start()
    wait(lambda: job().state == "running", 120, "the job")
    supervisor.stop()
    assert job().state in ("queued", "succeeded") or jobs.expired(job())
    town.work()
    assert job().state == "succeeded"
    assert town.state(pull)["status"] == "merged"
