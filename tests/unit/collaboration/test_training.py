# SPDX-License-Identifier: Apache-2.0
"""A job fine-tunes a model of the hub, and a pull request has what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from plait.api import create_api
from plait.cli.main import app
from plait.collaboration import jobs, training
from plait.collaboration.worker import Handler, JobContext, Worker
from plait.errors import BadInput, Forbidden, RepositoryNotFound, Unauthorized
from plait.hub import ANONYMOUS, Actor, AddBytes, AddPointer, Hub, Repository
from plait.hub.database import Job
from plait.settings import Settings
from plait.web import add_pages

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.models
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "day", "film", "soup"]
FAST = training.Settings(epochs=25, learning_rate=3e-2, batch_size=8, freeze_embeddings=False)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "m"
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=16, initializer_range=0.3,
        id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1},
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    # of a file the class would read nothing, without a word (transformers 5)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    transformers.BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
    return folder


def rows(count: int = 48) -> str:
    things = ("day", "film", "soup")
    return "".join(
        json.dumps(
            {"text": f"{('bad', 'good')[k % 2]} {things[k % 3]}", "label": ("no", "yes")[k % 2]}
        )
        + "\n"
        for k in range(count)
    )


@dataclass
class Place:
    hub: Hub
    ann: Actor
    bob: Actor
    model: Repository
    data: Repository

    def work(self, job: Job) -> Job:
        assert Worker(self.hub, {training.KIND: Handler(training.run)}).run_once()
        return jobs.get(self.hub, job.id)

    def ask(self, actor: Actor, **more: Any) -> Job:
        more = {"dataset": "ann/texts", "settings": FAST} | more
        return training.request(self.hub, actor, self.model, more.pop("dataset"), **more)


@pytest.fixture
def place(tmp_path: Path, classifier: Path) -> Iterator[Place]:
    """ann's private texts and model; bob may read neither."""
    with Hub.open(Settings(dir=tmp_path / "hub")) as hub:
        ann, bob = (hub.accounts.actor_for(hub.accounts.create_user(n)) for n in ("ann", "bob"))
        data = hub.repositories.create(ann, "dataset", "ann/texts", True)
        hub.commits.apply(
            ann, data, "main", [AddBytes("data/train.jsonl", rows().encode())], "Texts"
        )
        model = hub.repositories.create(ann, "model", "ann/moods")
        files: list[Any] = []
        for path in sorted(classifier.iterdir()):
            if path.suffix == ".safetensors":
                sha256, size = hub.blobs.write(path)
                with hub.session(write=True) as session:
                    hub.grant_blob(session, model, sha256, size)
                files.append(AddPointer(path.name, sha256, size))
            else:
                files.append(AddBytes(path.name, path.read_bytes()))
        hub.commits.apply(ann, model, "main", files, "Model")
        yield Place(hub, ann, bob, model, data)


def accuracy(folder: Path) -> float:
    from plait.evaluation.predictors import load_predictor

    items = [json.loads(line) for line in rows().splitlines()]
    found = load_predictor(folder, threads=1).predict([one["text"] for one in items])
    truth = [("no", "yes").index(one["label"]) for one in items]
    return float(np.mean(np.argmax(found, axis=1) == truth))


def test_what_was_learnt_comes_as_a_pull_request(place: Place, tmp_path: Path) -> None:
    hub = place.hub
    before = hub.git.head(place.model)
    job = place.work(place.ask(place.ann))
    assert job.state == "succeeded", job.error
    assert job.namespace_id == place.ann.user_id, "who asks pays"
    assert job.result is not None and job.result["items"] == 48
    assert job.result["losses"][-1] < 0.2 < job.result["losses"][0]
    pull = hub.discussions.get(place.model, job.result["pull_request"])
    assert (pull.author_id, pull.status) == (place.ann.user_id, "open")
    assert hub.git.head(place.model) == before, "main waits for the gate"
    for revision, folder in (("refs/pr/1", "trained"), ("main", "base")):
        oid = hub.git.resolve(place.model, revision)
        hub.commits.materialize(place.model, oid, tmp_path / folder)
    assert accuracy(tmp_path / "trained") == 1.0 > accuracy(tmp_path / "base")
    # The model may be read by those who must not learn what the private data set is called.
    thread = json.dumps([pull.title, *(str(e.data) for e in hub.discussions.events(pull))])
    assert "texts" not in thread


def test_the_same_job_taken_up_again_opens_no_second_pull_request(place: Place) -> None:
    job = place.ask(place.ann, settings=replace(FAST, epochs=1))

    def twice(context: JobContext) -> dict[str, Any]:
        first = training.run(context)
        context.held.job.result = first
        assert training.run(context) == first
        return first

    assert Worker(place.hub, {training.KIND: Handler(twice)}).run_once()
    assert jobs.get(place.hub, job.id).state == "succeeded"
    assert len(place.hub.discussions.list(place.model, pull_request=True)) == 1


def test_who_may_not_read_or_propose_is_refused(place: Place) -> None:
    hub = place.hub
    with pytest.raises(RepositoryNotFound):
        place.ask(place.bob)
    own = hub.repositories.create(place.bob, "dataset", "bob/own", True)
    lines = [AddBytes("data/train.jsonl", rows().encode())]
    hub.commits.apply(place.bob, own, "main", lines, "Texts")
    with pytest.raises(RepositoryNotFound):
        place.ask(place.ann, dataset="bob/own")
    with pytest.raises(Unauthorized):
        place.ask(ANONYMOUS)
    with pytest.raises(Forbidden):
        place.ask(replace(place.ann, scope="read"))
    # A right that ends while the job waits is gone when it runs.
    job = training.request(hub, place.bob, place.model, "bob/own", settings=FAST)
    hub.repositories.update(place.ann, place.model, private=True)
    ended = place.work(job)
    assert ended.state == "failed" and hub.discussions.list(place.model, pull_request=True) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": "trian"}, "no split 'trian'; it has: train"),
        ({"settings": training.Settings(epochs=0)}, "epochs must be from 1"),
        ({"settings": training.Settings(learning_rate=float("nan"))}, "learning_rate"),
        ({"settings": training.Settings(seed=-1)}, "seed must be from 0"),
    ],
)
def test_what_cannot_be_is_said_at_once(place: Place, change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        place.ask(place.ann, **change)


def test_labels_that_the_model_lacks_fail_the_job_with_a_sentence(place: Place) -> None:
    lines = [
        AddBytes(
            "data/train.jsonl", b'{"text": "a", "label": "maybe"}\n{"text": "b", "label": "no"}\n'
        )
    ]
    place.hub.commits.apply(place.ann, place.data, "main", lines, "Others")
    job = place.work(place.ask(place.ann))
    assert job.state == "failed" and "maybe" in (job.error or "")


def test_over_http(place: Place) -> None:
    token = place.hub.tokens.create(place.hub.accounts.get_user("ann"), scope="write")
    client = TestClient(create_api(place.hub))
    headers = {"Authorization": f"Bearer {token}"}
    path = "/api/plait/models/ann/moods/train"
    assert client.post(path, json={"dataset": "ann/texts"}).status_code == 401
    made = client.post(
        path, json={"dataset": "ann/texts", "settings": {"epochs": 3}}, headers=headers
    )
    assert made.status_code == 200 and made.json()["job"]["kind"] == "train"
    queued = jobs.get(place.hub, made.json()["job"]["id"])
    assert queued.payload["settings"] == asdict(training.Settings(epochs=3))
    wrong = client.post(
        path, json={"dataset": "ann/texts", "settings": {"epochs": 0}}, headers=headers
    )
    assert wrong.status_code == 400 and "epochs" in wrong.json()["error"]
    assert client.post(path, json={"dataset": "ann/none"}, headers=headers).status_code == 404


def test_folders_are_trained_here(classifier: Path, tmp_path: Path) -> None:
    data = tmp_path / "texts" / "data"
    data.mkdir(parents=True)
    (data / "train.jsonl").write_text(rows())
    out = tmp_path / "out"
    command = [
        "train",
        str(classifier),
        str(data.parent),
        "--epochs",
        "25",
        "--no-freeze-embeddings",
    ]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, BadInput) and "-o FOLDER" in refused.exception.message
    done = CliRunner().invoke(
        app, [*command, "--learning-rate", "0.03", "--batch-size", "8", "-o", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["items"] == 48
    assert accuracy(out) == 1.0
    mixed = CliRunner().invoke(app, ["train", str(classifier), "ann/texts"])
    assert isinstance(mixed.exception, BadInput)


def test_the_page_starts_a_training_and_the_job_leads_to_its_pull_request(place: Place) -> None:
    api = create_api(place.hub)
    add_pages(api, place.hub)
    client = TestClient(api, follow_redirects=False)
    token = place.hub.tokens.create(place.hub.accounts.get_user("ann"), scope="write")
    assert client.get("/ann/moods/train").status_code in (302, 303)
    assert client.post("/login", data={"token": token}).status_code == 303
    assert "Start training" in client.get("/ann/moods/train").text
    form = {
        "dataset": "ann/texts", "split": "train", "text": "text", "label": "label",
        "title": "Of our texts", "epochs": "1", "learning_rate": "0.001",
    }  # fmt: skip
    bad = client.post("/ann/moods/train", data=form | {"epochs": "many"})
    assert bad.status_code == 400 and "whole number" in bad.text and 'value="many"' in bad.text
    missing = client.post("/ann/moods/train", data=form | {"dataset": "bob/none"})
    assert missing.status_code == 404 and "Start training" in missing.text
    sent = client.post("/ann/moods/train", data=form)
    assert sent.status_code == 303 and sent.headers["location"].startswith("/jobs/")
    assert Worker(place.hub, {training.KIND: Handler(training.run)}).run_once()
    page = client.get(sent.headers["location"]).text
    assert "/ann/moods/discussions/1" in page and "opened pull request #1" in page
    assert client.get("/datasets/ann/texts/train").status_code == 404
