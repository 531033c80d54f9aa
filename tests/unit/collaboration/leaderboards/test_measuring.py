# SPDX-License-Identifier: Apache-2.0
"""Any models and revisions compared on a data set: measured by a job, for who may read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from plait.api import create_api
from plait.cli.main import app as command_line
from plait.collaboration import jobs, leaderboards
from plait.collaboration.leaderboards import measuring
from plait.collaboration.worker import Handler, Worker
from plait.errors import BadInput, Forbidden, NotFound, RepositoryNotFound, Unauthorized
from plait.evaluation import predictors
from plait.hub import ANONYMOUS, Actor, AddBytes, Hub, Repository
from plait.hub.database import Job
from plait.settings import Settings
from plait.web import add_pages

N = 60
JSON = {"Content-Type": "application/json"}


class Model:
    """Right on all items but every so many-th."""

    labels = ("no", "yes")

    def __init__(self, folder: Path) -> None:
        self.every = json.loads((Path(folder) / "config.json").read_text())["every"]

    def predict(self, samples: Sequence[str], progress: object = None) -> np.ndarray:
        out = np.full((len(samples), 2), 0.1, dtype=np.float32)
        for place, text in enumerate(samples):
            number = int(text.split()[1])
            out[place, (number % 2) ^ (number % self.every == self.every - 1)] = 0.9
        return out


@dataclass
class Place:
    hub: Hub
    ann: Actor
    bob: Actor
    data: Repository

    def model(self, name: str, every: int, *, private: bool = False) -> Repository:
        repo = self.hub.repositories.create(self.bob, "model", f"bob/{name}", private)
        self.change(repo, every)
        return repo

    def change(self, repo: Repository, every: int, **more: Any) -> None:
        config = AddBytes("config.json", json.dumps({"every": every}).encode())
        self.hub.commits.apply(self.bob, repo, "main", [config], "Train", **more)

    def work(self, job: Job) -> Job:
        assert Worker(self.hub, {measuring.KIND: Handler(measuring.run)}).run_once()
        return jobs.get(self.hub, job.id)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(predictors, "load_predictor", Model)
    with Hub.open(Settings(dir=tmp_path / "hub")) as hub:
        ann, bob = (hub.accounts.create_user(name) for name in ("ann", "bob"))
        owner = hub.accounts.actor_for(ann)
        data = hub.repositories.create(owner, "dataset", "ann/texts")
        rows = "".join(
            json.dumps({"text": f"item {k}", "label": ("no", "yes")[k % 2], "document": k // 2})
            + "\n"
            for k in range(N)
        )
        files = [AddBytes(f"data/{split}.jsonl", rows.encode()) for split in ("test", "train")]
        hub.commits.apply(owner, data, "main", files, "Add the texts")
        yield Place(hub, owner, hub.accounts.actor_for(bob), data)


def test_revisions_are_measured_on_a_data_set_without_a_leaderboard(place: Place) -> None:
    hub, model = place.hub, place.model("moods", 3)
    place.model("other", 10**6)
    old = hub.git.head(model)
    assert old is not None
    place.change(model, 10, create_pr=True)
    proposed = hub.git.head(model, "refs/pr/1")
    assert proposed is not None
    hub.git.set_ref(model, "refs/preview/1", proposed)
    names = [f"bob/moods@{old[:12]}", "bob/moods@refs/preview/1", "bob/other"]
    job = place.work(measuring.request(hub, place.ann, names, "ann/texts"))
    assert job.state == "succeeded", job.error
    assert job.repository_id is None and job.namespace_id == place.ann.user_id
    [found] = measuring.measured(hub, place.ann, job)
    board = found.board
    assert (board.task, board.split, board.metric) == ("texts", "test", "balanced_accuracy")
    assert [row.entry.revision for row in board.rows[:2]] == [old, proposed]
    assert {row.entry.groups for row in board.rows} == {N // 2}, "the documents were found"
    assert [round(row.entry.score, 3) for row in board.rows] == [0.667, 0.9, 1.0]
    assert board.rows[2].rank == 1 < board.rows[0].rank
    gain, low, high = board.gaps[2, 0]
    assert gain == pytest.approx(1 / 3) and 0 < low < gain < high
    assert board.gaps[0, 2] == (-gain, -high, -low)
    wrong = {k for k in range(N) if k % 3 == 2 or k % 10 == 9}
    assert {item["id"] for item in found.items} == {f"test:{k}" for k in wrong}
    assert {item["text"] for item in found.items} == {f"item {k}" for k in wrong}
    assert all(item["answers"][2] == item["label"] for item in found.items)
    plain = leaderboards.compared_to_json(found)
    assert plain["pairs"][0]["second"].endswith(proposed) and len(plain["pairs"]) == 3

    # What was measured once is not measured again.
    kept = predictors.load_predictor
    try:
        predictors.load_predictor = None  # type: ignore[assignment]
        again = place.work(measuring.request(hub, place.ann, names, "ann/texts"))
    finally:
        predictors.load_predictor = kept
    assert again.state == "succeeded" and again.result == job.result


def test_tasks_come_from_the_data_set_or_from_the_first_model(place: Place) -> None:
    hub, model = place.hub, place.model("moods", 3)
    other = place.model("other", 5)
    own = b"tasks:\n- {name: shop, dataset: ann/texts, metric: accuracy}\n"
    elsewhere = b"- {name: film, dataset: ann/films}\n"
    named = [AddBytes("plait.yaml", own + elsewhere)]
    hub.commits.apply(place.bob, model, "main", named, "Tasks")
    names = ["bob/moods", "bob/other"]
    job = place.work(measuring.request(hub, place.bob, names, "ann/texts", "train"))
    [found] = measuring.measured(hub, place.bob, job)
    assert (found.board.task, found.board.metric, found.board.split) == (
        "shop", "accuracy", "train",
    )  # fmt: skip
    tasks = "tasks:\n" + "".join(
        f"- {{name: {name}, dataset: ann/texts, metric: {metric}}}\n"
        for name, metric in (("mood", "macro_f1"), ("tone", "accuracy"))
    )
    hub.commits.apply(
        place.ann, place.data, "main", [AddBytes("plait.yaml", tasks.encode())], "Tasks"
    )
    job = place.work(measuring.request(hub, place.bob, names, "ann/texts"))
    both = measuring.measured(hub, place.bob, job)
    assert [(one.board.task, one.board.metric) for one in both] == [
        ("mood", "macro_f1"), ("tone", "accuracy"),
    ]  # fmt: skip
    job = place.work(measuring.request(hub, place.bob, names, "ann/texts", task="tone"))
    assert [one.board.task for one in measuring.measured(hub, place.bob, job)] == ["tone"]
    with pytest.raises(BadInput, match="its tasks are: mood, tone"):
        measuring.request(hub, place.bob, names, "ann/texts", task="shop")
    # A data set at a revision has the tasks that it had there.
    before = hub.git.log(place.data, hub.git.resolve(place.data, "main"), 2)[1].oid
    job = place.work(measuring.request(hub, place.bob, names[::-1], f"ann/texts@{before}"))
    [found] = measuring.measured(hub, place.bob, job)
    assert found.board.task == "texts" and found.board.rows[0].model.id == other.id
    assert measuring.asked(hub, place.bob, job).dataset == f"ann/texts@{before}"


def test_what_cannot_be_compared_is_refused_with_a_sentence(place: Place) -> None:
    hub, model = place.hub, place.model("moods", 3)
    head = hub.git.head(model)

    def ask(
        *names: str, data: str = "ann/texts", split: str = "test", by: Actor | None = None
    ) -> Job:
        return measuring.request(hub, by or place.ann, names, data, split)

    with pytest.raises(BadInput, match="named twice"):
        ask("bob/moods", f"bob/moods@{head}")
    with pytest.raises(BadInput, match="2 to 6"):
        ask("bob/moods")
    place.model("other", 5)
    names = ("bob/moods", "bob/other")
    with pytest.raises(BadInput, match="no split 'gate'; it has: test, train"):
        ask(*names, split="gate")
    with pytest.raises(BadInput, match="no split"):
        ask(*names, split="../data/test")
    with pytest.raises(NotFound):
        ask("bob/moods", "bob/other@nowhere")
    with pytest.raises(RepositoryNotFound):
        ask(*names, data="ann/none")
    with pytest.raises(Unauthorized):
        ask(*names, by=ANONYMOUS)
    reader = hub.accounts.actor_for(hub.accounts.get("bob"), "read")
    with pytest.raises(Forbidden):
        ask(*names, by=reader)


def test_a_hidden_split_is_not_asked(place: Place) -> None:
    hub = place.hub
    place.model("moods", 3)
    place.model("other", 5)
    exam = hub.repositories.create(place.ann, "dataset", "ann/exam")
    rules = AddBytes("plait.yaml", b"evaluation: {hidden: [test]}\n")
    hub.commits.apply(place.ann, exam, "main", [rules], "Hide the test")
    hub.hidden.put(place.ann, exam, "test.jsonl", b'{"text": "item 1", "label": "yes"}\n' * 30)
    for by in (place.ann, place.bob):
        with pytest.raises(BadInput, match="is hidden: models are not compared"):
            measuring.request(hub, by, ["bob/moods", "bob/other"], "ann/exam", "Test")
    assert jobs.recent(hub) == []


def test_nobody_sees_a_comparison_of_what_they_may_not_read(place: Place) -> None:
    hub = place.hub
    place.model("moods", 3)
    secret = place.model("secret", 5, private=True)
    names = ["bob/moods", "bob/secret"]
    with pytest.raises(RepositoryNotFound):
        measuring.request(hub, place.ann, names, "ann/texts")
    waiting = measuring.request(hub, place.bob, names, "ann/texts")
    with pytest.raises(NotFound):
        measuring.find(hub, place.ann, waiting.id)
    job = place.work(waiting)
    assert measuring.find(hub, place.bob, job.id).id == job.id
    for other in (place.ann, ANONYMOUS):
        with pytest.raises(NotFound, match=f"no comparison {job.id}"):
            measuring.find(hub, other, job.id)
    # What everybody may read, everybody may look at: an address can be passed on.
    hub.repositories.update(place.bob, secret, private=False)
    assert measuring.find(hub, ANONYMOUS, job.id).id == job.id
    # Who loses the right to read loses the comparison; who loses it before, has none made.
    queued = measuring.request(hub, place.bob, names, "ann/texts", "train")
    hub.repositories.update(place.ann, place.data, private=True)
    with pytest.raises(NotFound):
        measuring.find(hub, place.bob, job.id)
    failed = place.work(queued)
    assert failed.state == "failed" and "ann/texts" in (failed.error or "")
    with pytest.raises(NotFound):
        measuring.find(hub, place.bob, 10**6)


def test_the_page_asks_shows_and_keeps_what_was_typed(place: Place) -> None:
    hub = place.hub
    place.model("moods", 3)
    place.model("other", 10**6)
    app = create_api(hub)
    add_pages(app, hub)
    token = hub.tokens.create(hub.accounts.get("bob"), scope="write")
    form = {"model": "bob/moods, bob/other@main", "dataset": "ann/texts", "split": "", "task": ""}
    own = {"Sec-Fetch-Site": "same-origin"}
    with TestClient(app, base_url="http://hub.test", follow_redirects=False) as client:
        assert 'name="dataset"' not in client.get("/compare").text, "nobody pays for strangers"
        assert client.post("/compare", data=form, headers=own).status_code in (303, 401)
        client.post("/login", data={"token": token}, headers=own)
        asking = client.get("/compare?model=bob/moods+bob/other@main")
        assert asking.status_code == 200 and "Name a data set" in asking.text
        wrong = client.post("/compare", data=form | {"split": "gate"}, headers=own)
        assert wrong.status_code == 400
        assert "it has: test, train" in wrong.text
        assert 'value="gate"' in wrong.text and "bob/moods bob/other@main" in wrong.text
        answer = client.post("/compare", data=form, headers=own)
        assert answer.status_code == 303
        address = answer.headers["location"]
        number = int(address.partition("=")[2])
        assert f'data-job="/jobs/{number}/state"' in client.get(address).text
        assert client.get(f"/api/plait/compare/{number}").status_code == 409
        place.work(jobs.get(hub, number))
        page = client.get(address).text
        assert "bob/moods@main bob/other@main" in page
        assert page.count("item ") >= N // 3 and "balanced_accuracy" in page
        assert "<svg" in page and "/bob/moods/tree/" in page
        plain = client.get(f"/api/plait/compare/{number}").json()
        assert len(plain["tasks"][0]["differing"]) == N // 3
        assert client.get("/compare?job=99").status_code == 404
        asked = {"models": ["bob/moods", "bob/none"], "dataset": "ann/texts"}
        header = {"Authorization": f"Bearer {token}"}
        assert client.post("/api/plait/compare", json=asked, headers=header).status_code == 404
        asked["models"][1] = "bob/other"
        made = client.post("/api/plait/compare", json=asked, headers=header).json()["job"]
        assert made["kind"] == "compare"


def test_the_command_line_has_a_hub_measure(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = place.hub
    place.model("moods", 3)
    place.model("other", 10)
    token = hub.tokens.create(hub.accounts.get("bob"), scope="write")
    app = create_api(hub)
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:

        def call(_at: None, _token: None, method: str, path: str, body: bytes = b"") -> Any:
            answer = client.request(
                method, f"/api/plait/{path}", content=body or None, headers=JSON if body else None
            )
            assert answer.status_code == 200, answer.text
            if path == "compare":
                place.work(jobs.get(hub, answer.json()["job"]["id"]))
            return answer.json()

        monkeypatch.setattr("plait.client.call", call)
        monkeypatch.setattr("plait.cli.contributions.call", call)
        options = ["compare", "bob/other", "bob/moods@main", "--on-hub", "ann/texts"]
        told = CliRunner().invoke(command_line, [*options, "--show", "2"], catch_exceptions=False)
        lines = told.output.splitlines()
        assert lines[0] == "texts (balanced_accuracy)"
        assert lines[1].startswith("  bob/other\t0.9000\t")
        assert lines[3].startswith("  bob/other - bob/moods@main\t+0.2333\t")
        assert lines[4].endswith("items are answered differently") and len(lines) == 7
        assert lines[5].strip().startswith("test:2\t")
        plain = CliRunner().invoke(command_line, [*options, "--json"], catch_exceptions=False)
        assert json.loads(plain.output)["tasks"][0]["rows"][0]["model"] == "bob/other"
    with pytest.raises(BadInput, match="its page has plots"):
        CliRunner().invoke(command_line, [*options, "--plot", "a.svg"], catch_exceptions=False)
