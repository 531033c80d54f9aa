# SPDX-License-Identifier: Apache-2.0
"""A hidden test set judges a merge, and no route, clone or report gives any of it away."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from integration.live import Server
from integration.strangers.house import routes
from plait.cli.serve import build_app
from plait.collaboration import jobs
from plait.collaboration.merging import builder
from plait.collaboration.merging.gate import Measurements
from plait.collaboration.merging.together import QueueBuilder
from plait.collaboration.queue import request_queue
from plait.errors import Conflict
from plait.evaluation import Evaluation
from plait.hub import Actor, AddBytes, Hub, Repository
from plait.hub.repositories.duplicates import duplicate

from . import tiny
from .town import Town, build_town

SECRET = "zz-veiled"
"""Stands in every item's document and nowhere else."""
PROJECT = """
base: commons/sentiment
fusion: {method: task_arithmetic, parameters: {weight: 1.0}}
tasks:
  - {name: shop, dataset: shop/exam, metric: accuracy, columns: {group: document}, margin: 0.5}
gate: {split: test, margin: 0.5}
"""


def hidden_rows(count: int = 240) -> bytes:
    rows = tiny.sentences("shop", count, 77)
    for row in rows:
        row["document"] = f"{SECRET}-{row['document']}"
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def exam(tmp_path: Path, tiny_models: Path) -> Iterator[tuple[Town, Repository]]:
    """Return a town whose model is judged by a public data set with a hidden split."""
    town = build_town(tmp_path / "hub", tiny_models, project=PROJECT)
    owner = town.members["shop"]
    data = town.hub.repositories.create(owner, "dataset", "shop/exam")
    rule = b"evaluation: {hidden: [test], limit: 2 per week}\n"
    town.hub.commits.apply(owner, data, "main", [AddBytes("plait.yaml", rule)], "rule")
    town.hub.hidden.put(owner, data, "test.jsonl", hidden_rows())
    yield town, data
    town.hub.close()


def client_of(town: Town, actor: Actor | None = None) -> TestClient:
    headers = {}
    if actor is not None:
        account = town.hub.accounts.get(str(actor.name))
        secret = town.hub.tokens.create(account, name="test")
        headers["Authorization"] = f"Bearer {secret}"
    return TestClient(build_app(town.hub), base_url="http://hub.test", headers=headers)


@pytest.mark.models
def test_it_judges_and_the_report_is_coarse(exam: tuple[Town, Repository]) -> None:
    town, _ = exam
    pull = town.propose("shop", town.models / "shop")
    state = town.merge(pull)
    report = state["report"]
    assert state["status"] == "merged", state
    [row] = report["tasks"]
    assert row["hidden"]
    assert row["n"] == 240
    numbers = [*row["scores"].values(), *row["intervals"]["candidate"],
               row["difference"]["effect"], report["average"]["scores"]["candidate"],
               *(one["value"] for one in report["credit"]["contributions"])]  # fmt: skip
    assert all(number == round(number, 3) for number in numbers)
    everything = json.dumps(state) + "".join(town.said(pull)) + town.log()
    assert SECRET not in everything
    assert "shopgood" not in everything


@pytest.mark.models
def test_questions_are_counted_over_pull_requests_and_forks(
    exam: tuple[Town, Repository],
) -> None:
    town, data = exam
    hub = town.hub
    first = town.propose("shop", town.models / "shop")
    town.merge(first)
    assert hub.hidden.asked(data, "test").count == 1
    second = town.propose("cinema", town.models / "cinema")
    town.merge(second)
    third = town.propose("press", town.models / "press")
    state = town.merge(third)
    assert state["job"]["state"] == "failed"
    assert "2 per week for one user" in state["job"]["error"]
    assert state["report"] is None
    # asking again, and asking for a copy of the model in a namespace of one's own, gives no more
    state = town.merge(third)
    assert state["job"]["state"] == "failed"
    copy = duplicate(hub, town.owner, town.repo, "ann/copy")
    outcome = hub.commits.apply(
        town.owner, copy, "main", town.operations(town.models / "press", copy), "again", "",
        create_pr=True,
    )  # fmt: skip
    from plait.collaboration.requests import merge_state, request_merge

    assert outcome.discussion is not None
    request_merge(hub, town.owner, copy, outcome.discussion)
    town.work()
    found = merge_state(hub, copy, hub.discussions.get(copy, outcome.discussion.number))
    assert found["job"]["state"] == "failed"
    assert hub.hidden.asked(data, "test").count == 2


@pytest.mark.models
def test_landing_what_the_queue_proposed_asks_nothing_new(
    exam: tuple[Town, Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    town, data = exam
    hub, shop = town.hub, town.members["shop"]
    rows = "".join(json.dumps(row) + "\n" for row in tiny.sentences("shop", 60, 5)).encode()
    hub.commits.apply(shop, data, "main", [AddBytes("data/validation.jsonl", rows)], "choose")

    def queue(**terms: Any) -> dict[str, Any]:
        job = request_queue(hub, town.owner, town.repo, **terms)
        town.work()
        done = jobs.get(hub, job.id)
        assert done.state == "succeeded" and done.result is not None, done.error
        return done.result

    town.propose("shop", town.models / "shop")
    first = queue()
    assert hub.hidden.asked(data, "test").count == 1

    def refused(self: QueueBuilder, built: object) -> str:
        raise Conflict("Not today.")

    monkeypatch.setattr(QueueBuilder, "land", refused)
    job = request_queue(hub, town.owner, town.repo, land=True)
    assert job.payload["proposal"] == first["job"]
    town.work()
    assert jobs.get(hub, job.id).error == "Not today."
    assert hub.hidden.asked(data, "test").count == 1, "judged by the same items: nothing is new"
    monkeypatch.undo()

    # Other items are another question, whoever was judged by the old ones.
    hub.hidden.put(shop, data, "test.jsonl", hidden_rows(243))
    landed = queue(land=True, proposal=first["job"])
    assert landed["landed"] == town.head()
    assert landed["merge"]["credit"]["contributions"][0]["value"] > 0
    assert hub.hidden.asked(data, "test").count == 2


@pytest.mark.models
def test_it_chooses_nothing(exam: tuple[Town, Repository]) -> None:
    town, data = exam
    searching = PROJECT.replace(
        "{method: task_arithmetic, parameters: {weight: 1.0}}",
        "{method: search, search_split: test, budget: 2}",
    )
    town.commit(AddBytes("plait.yaml", searching.encode()))
    state = town.merge(town.propose("shop", town.models / "shop"))
    assert state["job"]["state"] == "failed"
    assert "judges what was chosen and chooses nothing" in state["job"]["error"]
    assert town.hub.hidden.asked(data, "test").count == 0


@pytest.mark.models
def test_what_is_wrong_with_the_items_is_not_told(exam: tuple[Town, Repository]) -> None:
    town, data = exam
    broken = hidden_rows() + b'{"text": "zz-veiled text", "label": "zz-veiled label"}\n'
    town.hub.hidden.put(town.members["shop"], data, "test.jsonl", broken)
    state = town.merge(town.propose("shop", town.models / "shop"))
    assert state["job"]["state"] == "failed"
    assert "cannot be used" in state["job"]["error"]
    assert SECRET not in json.dumps(state) + town.log()


@pytest.mark.models
def test_no_route_shows_any_of_it(exam: tuple[Town, Repository], tmp_path: Path) -> None:
    """Drive every route that answers GET, and the writing ones that read, as owner and others."""
    town, data = exam
    pull = town.propose("shop", town.models / "shop")
    town.merge(pull)
    duplicate(town.hub, town.owner, data, "ann/copy")
    [held] = town.hub.hidden.files(data)
    job = jobs.latest(town.hub, pull.id)
    assert job is not None
    head = town.hub.git.resolve(data, "main")
    known = {
        "kind": "datasets", "prefix": "datasets", "type": "dataset", "namespace": "shop",
        "ns": "shop", "name": "exam", "revision": "main", "rev": "main", "branch": "main",
        "path": "data/test.jsonl", "rest": "main/data/test.jsonl", "file": "test.jsonl",
        "number": "1", "oid": head, "commit": head, "digest": held.sha256, "job": str(job.id),
        "sha256": held.sha256, "hash": held.sha256, "user": "shop-user", "username": "shop-user",
        "split": "test", "config": "default", "filename": "test.jsonl", "base": "main",
    }  # fmt: skip
    looked = 0
    for actor in (None, town.members["shop"], town.members["press"], town.owner):
        client = client_of(town, actor)
        for route in routes(client.app):
            if route.method != "GET" or "logout" in route.path:
                continue
            filled = re.sub(
                r"{([^}:]+)[^}]*}", lambda match: known.get(match[1], "main"), route.path
            )
            answer = client.get(filled)
            looked += 1
            _veiled(answer.content, answer.headers, filled)
        for sub in ("resolve/main", "raw/main", "blob/main", "tree/main", "commits/main"):
            for name in ("data/test.jsonl", "data", ""):
                answer = client.get(f"/datasets/shop/exam/{sub}/{name}")
                _veiled(answer.content, answer.headers, sub)
        batch = client.post(
            "/datasets/shop/exam.git/info/lfs/objects/batch",
            json={
                "operation": "download",
                "objects": [{"oid": held.sha256, "size": held.size}],
            },
        )
        assert "download" not in json.dumps(batch.json().get("objects", [{}])[0].get("actions", {}))
        answer = client.post(
            "/api/datasets/shop/exam/paths-info/main", json={"paths": ["data/test.jsonl"]}
        )
        assert answer.json() == [] or answer.status_code >= 400
    assert looked > 200


def _veiled(content: bytes, headers: Any, where: str) -> None:
    assert SECRET.encode() not in content, where
    assert b"shopgood" not in content, where
    assert SECRET not in str(headers), where


@pytest.mark.models
def test_a_push_of_such_a_file_is_refused(exam: tuple[Town, Repository], tmp_path: Path) -> None:
    town, data = exam
    account = town.hub.accounts.get("shop-user")
    secret = town.hub.tokens.create(account, name="push")
    server = Server(town.hub.settings.dir)
    server.start()
    try:
        address = server.url.replace("://", f"://shop-user:{secret}@") + "/datasets/shop/exam"
        clone = tmp_path / "clone"
        subprocess.run(["git", "clone", "-q", address, str(clone)], check=True)
        assert not (clone / "data").exists()
        (clone / "data").mkdir()
        (clone / "data/test.jsonl").write_bytes(hidden_rows(4))
        git = ["git", "-C", str(clone), "-c", "user.name=x", "-c", "user.email=x@x.test"]
        subprocess.run([*git, "add", "data"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "leak"], check=True)
        subprocess.run([*git, "rm", "-q", "data/test.jsonl"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "and take it out again"], check=True)
        for target in ("main", "refs/heads/side", "refs/for/main"):
            push = subprocess.run(
                [*git, "push", "-q", "origin", f"HEAD:{target}"], capture_output=True, text=True
            )
            assert push.returncode != 0
            assert "hidden" in push.stderr
    finally:
        server.kill()
    head = town.hub.git.resolve(data, "main")
    assert all("test" not in e.path for e in town.hub.git.tree(data, head, recursive=True))


def test_over_http_by_those_who_may(exam: tuple[Town, Repository]) -> None:
    town, _ = exam
    address = "/api/plait/datasets/shop/exam/hidden"
    nobody, other = client_of(town), client_of(town, town.members["press"])
    owner = client_of(town, town.members["shop"])
    for client, shown in ((nobody, None), (other, 0), (owner, 0)):
        found = client.get(address).json()
        assert found["limit"] == "2 per week"
        assert found["splits"][0]["asked"] == shown
        assert "sha256" not in json.dumps(found)
    assert nobody.put(f"{address}/test.jsonl", content=b"x").status_code == 401
    assert other.put(f"{address}/test.jsonl", content=b"x").status_code == 403
    assert other.delete(f"{address}/test.jsonl").status_code == 403
    assert owner.put(f"{address}/train.jsonl", content=b"x").status_code == 400
    assert owner.put(f"{address}/..%2Ftest.jsonl", content=b"x").status_code in (400, 404)
    stored = owner.put(f"{address}/test.jsonl", content=hidden_rows(8))
    assert stored.status_code == 200, stored.text
    assert owner.delete(f"{address}/test.jsonl").status_code == 204
    assert owner.get(address).json()["splits"][0]["files"] == []


@pytest.mark.models
def test_somebody_else_may_answer(
    exam: tuple[Town, Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items are elsewhere: the merge sees names of tasks and results, and is judged."""
    town, _ = exam
    asked: list[str] = []

    class Elsewhere:
        """Keeps the items to itself and shows pseudonyms."""

        def __init__(self, hub: Hub, repo: Repository, split: str, tasks: Any) -> None:
            self._inside = Measurements(hub, repo, split, tasks)
            self.split = split
            self.tasks = [
                replace(one, task=replace(one.task, items=(), labels=())) for one in tasks
            ]

        def measure(self, key: str, *others: Any) -> Evaluation:
            asked.append(key)
            found = self._inside.measure(key, *others)
            plain = found.to_json()
            for task in plain["tasks"].values():
                assert SECRET in json.dumps(task)
            veiled = json.loads(json.dumps(plain).replace(SECRET, "node-7"))
            return Evaluation.from_json(veiled)

        def measure_scores(self, key: str, *others: Any) -> dict[str, float]:
            return self._inside.measure_scores(key, *others)

        def remember(self, key: str, scores: dict[str, float]) -> None:
            self._inside.remember(key, scores)

        def scores(self, evaluation: Evaluation) -> dict[str, float]:
            return self._inside.scores(evaluation)

    monkeypatch.setattr(builder, "open_answers", Elsewhere)
    state = town.merge(town.propose("shop", town.models / "shop"))
    assert state["status"] == "merged", state
    assert len(set(asked)) >= 3
    assert SECRET not in json.dumps(state)
