# SPDX-License-Identifier: Apache-2.0
"""The merge queue on a real hub: the good land together, the bad stay out with what they cost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import load_file, save_file

from plait.cli.serve import build_app
from plait.collaboration import jobs
from plait.collaboration.merging.queue import QueueBuilder
from plait.collaboration.queue import queue_state, request_queue
from plait.collaboration.worker import Worker
from plait.errors import BadInput, Conflict, Forbidden, NotFound
from plait.hub import AddBytes, Discussion

from . import tiny
from .town import CARD, Town, build_town

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


def tried(town: Town, **terms: Any) -> dict[str, Any]:
    """Let the queue do its work and return its report."""
    job = request_queue(town.hub, town.owner, town.repo, **terms)
    town.work()
    done = jobs.get(town.hub, job.id)
    assert done.state == "succeeded", done.error
    assert done.result is not None
    return done.result


def report_heads(report: dict[str, Any]) -> dict[int, str]:
    """Return the heads of the proposed set, by number."""
    return {number: report["heads"][str(number)] for number in report["chosen"]}


def failed(town: Town, job: int) -> str:
    town.work()
    done = jobs.get(town.hub, job)
    assert done.state == "failed"
    return str(done.error)


def card(licence: str = "apache-2.0", more: str = "", text: str = "A model.") -> AddBytes:
    """A card under a licence."""
    head = CARD.replace("apache-2.0", licence).replace("library_name", f"{more}library_name")
    return AddBytes("README.md", head.replace("A model.", text).encode())


def push(town: Town, name: str, pull: Discussion, path: str) -> None:
    """Add a file to a pull request."""
    town.hub.commits.apply(
        town.members[name], town.repo, f"refs/pr/{pull.number}", [AddBytes(path, b"new")], "more"
    )


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
    state = queue_state(hub, repo)
    assert state["report"]["chosen"] == report["chosen"]

    # The proposal's candidate is a revision before it lands.
    preview = state["preview"]
    assert preview["revision"] == "refs/preview/queue"
    assert list(preview["heads"]) == [str(one.number) for one in good]
    shown = hub.git.resolve(repo, preview["revision"])
    assert hub.git.read(repo, shown, "press.txt") == b"press"
    page = TestClient(build_app(hub), base_url="http://hub.test")
    assert "hf download commons/sentiment --revision refs/preview/queue" in (
        page.get("/commons/sentiment/queue").text
    )
    assert page.get("/commons/sentiment/tree/refs/preview/queue").status_code == 200
    file = page.get("/commons/sentiment/resolve/refs%2Fpreview%2Fqueue/press.txt")
    assert file.text == "press"
    listed = page.get("/api/models/commons/sentiment/tree/refs/preview/queue").json()
    assert "press.txt" in [one["path"] for one in listed]

    # Asked to land: killed in the middle of landing, another worker completes it. What was
    # measured the first time is not measured again.
    job = request_queue(hub, town.owner, repo, land=True, judge=2)
    assert "proposal" not in job.payload, "on other terms it is another trial"
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
    assert town.weights(shown) == together, "what landed is what could be downloaded"
    assert queue_state(hub, repo)["preview"] is None

    # The same bytes as merging one after the other, on a hub of their own.
    apart = build_town(tmp_path / "apart", town.models)
    try:
        pulls = [apart.propose(name, apart.models / name) for name in ("shop", "cinema", "press")]
        for pull in pulls:
            assert apart.merge(pull)["status"] == "merged"
        assert apart.weights() == together
    finally:
        apart.hub.close()


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


def test_licences_that_clash_only_together_do_not_land_together(town: Town) -> None:
    """Each goes with main; the two do not go with each other."""
    free = town.propose("shop", town.models / "shop", card("gpl-3.0"))
    limited = town.propose("cinema", town.models / "cinema", card("cc-by-nc-4.0"))
    report = tried(town, land=True)
    [kept] = report["chosen"]
    [out] = report["excluded"]
    assert {kept, out["number"]} == {free.number, limited.number}
    assert f"Its licence does not go together with that of #{kept}" in out["reason"]
    assert "commercial" in out["reason"]
    assert report["landed"] == town.head()
    notice = town.hub.git.read(town.repo, town.head(), "NOTICE").decode()
    licence = "gpl-3.0" if kept == free.number else "cc-by-nc-4.0"
    assert f"#{kept}: {licence}" in notice
    assert f"license: {licence}" in town.hub.git.read(town.repo, town.head(), "README.md").decode()


def test_files_that_clash_leave_one_out_and_the_others_land_whole(town: Town) -> None:
    one = town.propose(
        "shop", town.models / "shop", AddBytes("notes.txt", b"one"), card(more="language: en\n")
    )
    two = town.propose("cinema", town.models / "cinema", AddBytes("notes.txt", b"two"))
    third = town.propose("press", town.models / "press", card(more="thumbnail: x.png\n"))
    report = tried(town, land=True)
    [out] = report["excluded"]
    kept = ({one.number, two.number} - {out["number"]}).pop()
    assert out["number"] in (one.number, two.number)
    assert f"Its files contradict those of #{kept}" in out["reason"]
    assert "notes.txt" in out["reason"]
    assert set(report["chosen"]) == {kept, third.number}
    text = town.hub.git.read(town.repo, town.head(), "README.md").decode()
    assert "thumbnail: x.png" in text
    assert ("language: en" in text) == (kept == one.number), "no card is lost among several"


def test_what_would_be_flagged_alone_is_flagged_in_the_queue(town: Town) -> None:
    hub, member = town.hub, town.members["shop"]
    leak = hub.repositories.create(member, "dataset", "shop/leak")
    lines = "\n".join(row["text"] for row in tiny.sentences("shop", 240, 11))
    hub.commits.apply(
        member, leak, "main", [AddBytes("data/train.csv", f"text\n{lines}\n".encode())], "x", ""
    )
    town.propose("press", town.models / "press")
    named = town.propose("shop", town.models / "shop", card(more="datasets: [shop/leak]\n"))
    report = tried(town)
    assert named.number in report["chosen"]
    page = (
        TestClient(build_app(hub), base_url="http://hub.test").get("/commons/sentiment/queue").text
    )
    assert page.count("Take them out of the training items") == 1
    flags = report["merge"]["flags"]
    [told] = [flag["text"] for flag in flags if "shop/leak" in flag["text"]]
    assert told == (
        f"#{named.number}: shop: more than one in a hundred of the items that judge also stand in "
        "'shop/leak', which the contribution's card names."
    )


def test_what_lands_is_what_was_proposed_or_nothing(town: Town) -> None:
    hub, repo, owner = town.hub, town.repo, town.owner
    shop = town.propose("shop", town.models / "shop")
    report = tried(town)
    job = report["job"]
    with pytest.raises(BadInput, match="names its pull requests itself"):
        request_queue(hub, owner, repo, [1], land=True, proposal=job)
    with pytest.raises(NotFound, match="no job"):
        request_queue(hub, owner, repo, land=True, proposal=job + 1_000)

    # Asked to land at once where nothing has changed, the queue lands what stands.
    standing = request_queue(hub, owner, repo, land=True)
    assert standing.payload["proposal"] == job
    jobs.cancel(hub, standing.id)

    # One that was opened since is not looked at; one that changes after the click lands not.
    preview = hub.previews.get_queue(repo)
    assert preview is not None and dict(preview.heads) == report_heads(report)
    town.propose("cinema", town.models / "cinema")
    fresh = request_queue(hub, owner, repo, land=True)
    assert "proposal" not in fresh.payload, "there is another to try"
    jobs.cancel(hub, fresh.id)
    asked = request_queue(hub, owner, repo, land=True, proposal=job)
    push(town, "shop", shop, "late.txt")
    assert hub.git.head(repo, "refs/preview/queue") is None, "what it shows can land no more"
    told = failed(town, asked.id)
    assert "changed after this was asked for" in told
    with pytest.raises(Conflict, match=r"Pull request 1 changed since .* Try the queue again"):
        request_queue(hub, owner, repo, land=True, proposal=job)

    again = tried(town, numbers=[shop.number])
    asked = request_queue(hub, owner, repo, land=True, proposal=again["job"])
    town.commit(AddBytes("other.txt", b"x"))
    assert "main moved since this set was proposed" in failed(town, asked.id)
    with pytest.raises(Conflict, match="main moved since this set was proposed"):
        request_queue(hub, owner, repo, land=True, proposal=again["job"])

    again = tried(town, numbers=[shop.number])
    landed = tried(town, land=True, proposal=again["job"])
    assert landed["landed"] == town.head()
    assert landed["chosen"] == [shop.number]
    assert landed["merge"]["gate"]["confidence"] == again["judged"][-1]["confidence"]
    assert {one.number for one in town.lineage().contributions} == {shop.number}
    assert town.state(town.pulls["cinema"])["status"] == "open"
    with pytest.raises(Conflict, match="proposes no set that could land"):
        request_queue(hub, owner, repo, land=True, proposal=landed["job"])


def test_landing_at_once_takes_nothing_that_came_after_the_asking(town: Town) -> None:
    shop = town.propose("shop", town.models / "shop")
    press = town.propose("press", town.models / "press")
    asked = request_queue(town.hub, town.owner, town.repo, land=True)
    late = town.propose("cinema", town.models / "cinema")
    push(town, "press", press, "late.txt")
    town.work()
    report = jobs.get(town.hub, asked.id).result
    assert report is not None
    assert report["chosen"] == [shop.number]
    assert {row["number"]: row["reason"] for row in report["excluded"]} == {
        press.number: "It changed after this was asked for. Look at it, then ask again.",
        late.number: "It was opened after this was asked for. Look at it, then ask again.",
    }
    assert report["landed"] == town.head()


def test_where_the_best_set_fails_the_next_best_is_judged_and_pays_for_the_look(
    town: Town,
) -> None:
    """Press looks good on validation items and harms on the gate's, whose labels are turned."""
    rows = [{**row, "label": 1 - row["label"]} for row in tiny.sentences("press", 240, 11)]
    data = town.hub.repositories.find("dataset", "press/texts")
    assert data is not None
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    town.hub.commits.apply(
        town.members["press"], data, "main", [AddBytes("data/gate.jsonl", content)], "turned", ""
    )
    shop = town.propose("shop", town.models / "shop")
    press = town.propose("press", town.models / "press")
    one = tried(town, judge=1)
    assert (one["verdict"], one["chosen"]) == ("regresses", [shop.number, press.number])
    assert [row["confidence"] for row in one["judged"]] == [0.95], "one look is one merge's"
    report = tried(town)
    assert report["may_judge"] == 3
    assert report["judged"][0]["numbers"] == [shop.number, press.number]
    assert report["judged"][0]["verdict"] == "regresses"
    assert report["judged"][-1]["numbers"] == report["chosen"] == [shop.number]
    assert report["judged"][-1]["verdict"] == report["verdict"] == "passes"
    spent = [1 - row["confidence"] for row in report["judged"]]
    assert spent == pytest.approx([0.025, 0.0125, 0.0125][: len(spent)])
    assert report["best"]["numbers"] == [shop.number, press.number]
    page = (
        TestClient(build_app(town.hub), base_url="http://hub.test")
        .get("/commons/sentiment/queue")
        .text
    )
    assert "Judged by the gate" in page
    assert "<strong>Regresses</strong> (97.50%)" in page
    [out] = report["left_out"]
    assert out["number"] == press.number
    assert out["average"] > 0, "on validation items it would gain, and says so"
