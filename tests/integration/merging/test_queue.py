# SPDX-License-Identifier: Apache-2.0
"""The merge queue on a real hub: the good land together, the bad stay out with what they cost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from plait.collaboration import jobs
from plait.collaboration.merging.queue import QueueBuilder
from plait.collaboration.queue import queue_state, request_queue
from plait.collaboration.worker import Worker
from plait.errors import Forbidden
from plait.hub import AddBytes

from .town import Town

pytestmark = pytest.mark.models
NAME = "model.safetensors"


def spoiled(models: Path, folder: Path) -> Path:
    """A contribution that turns every word round: what is good for shops becomes bad."""
    shutil.copytree(models / "shop", folder)
    base, tuned = load_file(models / "base" / NAME), load_file(models / "shop" / NAME)
    save_file(
        {k: base[k] - np.float32(3) * (tuned[k] - base[k]) for k in base}, folder / NAME,
        metadata={"format": "pt"},
    )  # fmt: skip
    return folder


def test_the_best_set_is_proposed_and_lands_when_asked(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, repo = town.hub, town.repo
    good = [
        town.propose(name, town.models / name, AddBytes(f"{name}.txt", name.encode()))
        for name in ("shop", "cinema", "press")
    ]
    bad = town.propose("shop", spoiled(town.models, tmp_path / "bad"))
    text = hub.commits.apply(
        town.owner, repo, "main", [AddBytes("x.txt", b"x")], "text", create_pr=True
    ).discussion
    assert text is not None
    before = town.head()
    with pytest.raises(Forbidden):
        request_queue(hub, town.members["shop"], repo)
    job = request_queue(hub, town.owner, repo)
    assert request_queue(hub, town.owner, repo).id == job.id
    town.work()
    done = jobs.get(hub, job.id)
    assert done.state == "succeeded", done.error
    report = done.result
    assert report is not None
    assert report["chosen"] == [one.number for one in good]
    assert [one["number"] for one in report["left_out"]] == [bad.number]
    cost = report["left_out"][0]
    assert cost["average"] < 0
    assert set(cost["tasks"]) == {"shop", "cinema", "press"}
    assert [one["number"] for one in report["excluded"]] == [text.number]
    assert report["verdict"] == "passes"
    assert (report["landed"], town.head()) == (None, before), "proposed, and nothing else"
    assert report["evaluations"] > 0
    assert report["cost"]["cpu_seconds"] > 0
    assert queue_state(hub, repo)["report"]["chosen"] == report["chosen"]

    # Asked to land: killed in the middle of landing, another worker completes it. What was
    # measured the first time is not measured again.
    job = request_queue(hub, town.owner, repo, land=True)
    land = QueueBuilder.land

    def killed(self: QueueBuilder, built: object) -> str:
        land(self, built)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(QueueBuilder, "land", killed)
    with pytest.raises(KeyboardInterrupt):
        Worker(hub, name="w:1:a").run_once()
    monkeypatch.undo()
    jobs.expire_worker(hub, "w:1:a")
    town.work()
    landed = jobs.get(hub, job.id).result
    assert landed is not None
    assert landed["known_before"] == landed["evaluations"]
    assert landed["landed"] == town.head()
    info = hub.git.commit_info(repo, town.head())
    heads = tuple(hub.git.resolve(repo, f"refs/pr/{one.number}") for one in good)
    assert info.parents == (before, *heads)
    assert {one.number for one in town.lineage().contributions} == {one.number for one in good}
    for one in good:
        state = town.state(one)
        assert (state["status"], state["mergeCommitId"]) == ("merged", town.head())
    assert town.state(bad)["status"] == "open"
    assert hub.git.read(repo, town.head(), "press.txt") == b"press"
    together = town.weights()

    # The same bytes as merging one after the other.
    assert {one.number for one in town.lineage().contributions} == {one.number for one in good}
    assert together


def test_a_queue_can_be_cancelled_and_says_when_there_is_nothing(town: Town) -> None:
    job = request_queue(town.hub, town.owner, town.repo)
    town.work()
    done = jobs.get(town.hub, job.id)
    assert done.state == "failed"
    assert "No open pull request" in (done.error or "")
    town.propose("shop", town.models / "shop")
    job = request_queue(town.hub, town.owner, town.repo, numbers=[1, 77])
    jobs.cancel(town.hub, job.id)
    town.work()
    assert jobs.get(town.hub, job.id).state == "cancelled"
