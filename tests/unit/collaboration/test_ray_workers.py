# SPDX-License-Identifier: Apache-2.0
"""What a node of a cluster refuses, and what a setting must name; the cluster itself is real in
tests/integration/merging/test_ray_cluster.py."""

from __future__ import annotations

import importlib.util
import socket
from dataclasses import replace
from typing import Any

import pytest

from plait import __version__
from plait.collaboration import jobs
from plait.collaboration.ray_workers import ClusterWorker
from plait.collaboration.supervise import check_executor
from plait.errors import BadInput, ClusterUnavailable, MissingExtra
from plait.hub import Hub
from plait.settings import Settings, variables


def node(settings: Settings, **other: Any) -> ClusterWorker:
    values = {"home": socket.gethostname(), "version": __version__, **other}
    return ClusterWorker(str(settings.dir), {}, "ray:0:test", **values)


def test_a_node_without_the_folder_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = replace(hub.settings, dir=hub.settings.dir.parent / "nowhere")
    with pytest.raises(ClusterUnavailable, match=r"nowhere is not there on node .* Mount it"):
        node(elsewhere)


def test_a_node_with_another_version_says_so(hub: Hub) -> None:
    with pytest.raises(ClusterUnavailable, match=r"the hub 0\.0\.0\. Install the same version"):
        node(hub.settings, version="0.0.0")


def test_sqlite_is_not_shared_between_machines(hub: Hub) -> None:
    with pytest.raises(ClusterUnavailable, match="Set PLAIT_DATABASE_URL to a PostgreSQL"):
        node(hub.settings, home="another-machine")


def test_a_worker_without_work_ends(hub: Hub) -> None:
    node(hub.settings).run(idle=0.0)


def test_what_waits_and_who_is_busy_are_counted(hub: Hub) -> None:
    for _ in range(3):
        jobs.enqueue(hub, "test", {})
    assert jobs.waiting(hub) == 3
    held = jobs.lease(hub, "ray:0:a")
    assert held is not None
    assert (jobs.waiting(hub), jobs.busy_workers(hub, ["ray:0:a", "ray:0:b"])) == (2, 1)
    jobs.expire_worker(hub, "ray:0:a")
    assert jobs.waiting(hub) == 3, "its worker is gone, so the job may be taken up again"


def test_an_unknown_executor_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="PLAIT_EXECUTOR is 'slurm'; it must be local or ray"):
        check_executor(replace(hub.settings, executor="slurm"))
    check_executor(hub.settings)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'plait\[ray\]'"):
        check_executor(replace(hub.settings, executor="ray"))


def test_another_process_reads_the_same_settings(hub: Hub) -> None:
    settings = replace(hub.settings, executor="ray", ray_address="10.0.0.5:6379", ray_gpus=1)
    from plait.settings import load_settings

    assert load_settings(settings.dir, variables(settings)) == settings
