# SPDX-License-Identifier: Apache-2.0
"""A submission is scored by a job, and can be measured again from what its row says."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from plait.api import create_api
from plait.collaboration import jobs, leaderboards
from plait.collaboration.leaderboards import measuring
from plait.collaboration.worker import Worker
from plait.demo.data import encoder_folder
from plait.hub import AddBytes, AddPointer, Hub, Operation, Repository
from plait.settings import Settings
from plait.training import add_head
from plait.web import add_pages

PROJECT = b"tasks:\n- {name: mood, dataset: ann/data, metric: accuracy}\n"
ROWS = "".join(
    f'{{"text": "{text} {k}", "label": "{label}"}}\n'
    for k in range(15)
    for text, label in (("good", "positive"), ("bad", "negative"))
)


def operations(hub: Hub, model: Repository, folder: Path) -> list[Operation]:
    """Return what adds a model's files to a repository."""
    made: list[Operation] = []
    for file in sorted(folder.iterdir()):
        if file.suffix != ".safetensors":
            made.append(AddBytes(file.name, file.read_bytes()))
            continue
        sha256, size = hub.blobs.write([file.read_bytes()])
        with hub.session(write=True) as session:
            hub.grant_blob(session, model, sha256)
        made.append(AddPointer(file.name, sha256, size))
    return made


@pytest.mark.models
def test_a_submission_is_scored_by_a_job(tmp_path: Path) -> None:
    folder = add_head(encoder_folder("tiny"), tmp_path / "model")
    with Hub.open(Settings(dir=tmp_path / "hub")) as hub:
        user = hub.accounts.create_user("ann")
        ann, stranger = hub.accounts.actor_for(user), hub.accounts.create_user("eve")
        data = hub.repositories.create(ann, "dataset", "ann/data")
        files = [AddBytes("plait.yaml", PROJECT), AddBytes("data/test.jsonl", ROWS.encode())]
        hub.commits.apply(ann, data, "main", files, "add", "")
        model = hub.repositories.create(ann, "model", "ann/model")
        hub.commits.apply(ann, model, "main", operations(hub, model, folder), "add", "")
        job = leaderboards.submit(hub, ann, data, "ann/model")
        assert Worker(hub).run_once()
        done = jobs.get(hub, job.id)
        assert done.state == "succeeded", done.error
        [row] = leaderboards.board(hub, ann, data, "mood").rows
        assert row.rank == 1
        assert row.entry.n == 30
        # The same revision again is not measured twice.
        leaderboards.submit(hub, ann, data, "ann/model")
        assert Worker(hub).run_once()
        assert len(leaderboards.board(hub, ann, data, "mood").rows) == 1

        # Beside it a pull request whose labels stand in another order, on the same items.
        other = add_head(encoder_folder("tiny"), tmp_path / "other", ("positive", "negative"))
        made = operations(hub, model, other)
        assert hub.commits.apply(ann, model, "main", made, "turn", create_pr=True).discussion
        names = ["ann/model", "ann/model@refs/pr/1"]
        job = measuring.request(hub, ann, names, "ann/data", task="mood")
        assert Worker(hub).run_once()
        [compared] = measuring.measured(hub, ann, jobs.get(hub, job.id))
        first, second = (one.entry for one in compared.board.rows)
        assert first.score == row.entry.score, "as the leaderboard measured it"
        assert first.score + second.score == 1, "the same head, its labels exchanged"
        assert compared.board.gaps[0, 1][0] == pytest.approx(first.score - second.score)
        assert len(compared.items) == 30, "where one is right the other is wrong"
        assert all({*one["answers"]} == {"positive", "negative"} for one in compared.items)

        app = create_api(hub)
        add_pages(app, hub)
        with TestClient(app, base_url="http://hub.test") as client:
            page = client.get("/datasets/ann/data/leaderboard")
            assert "ann/model" in page.text
            row_page = client.get(f"/datasets/ann/data/leaderboard/{row.entry.id}")
            assert f"--revision {row.entry.revision}" in row_page.text
            items = client.get(f"/api/plait/datasets/ann/data/leaderboard/{row.entry.id}/items")
            assert len(items.text.splitlines()) == 30
            table = client.get("/api/plait/datasets/ann/data/leaderboard?format=csv").text
            assert table.splitlines()[0].startswith("task,rank,of,model")
            # Another's job is nobody else's business.
            token = hub.tokens.create(stranger, scope="write")
            other = {"Authorization": f"Bearer {token}"}
            assert client.get(f"/api/plait/jobs/{job.id}", headers=other).status_code == 404
            assert client.get(f"/jobs/{job.id}", headers=other).status_code == 404
