# SPDX-License-Identifier: Apache-2.0
"""Pull requests on tables, cards and texts with the stock client; conflicts from a terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from integration.live import LiveHub, Person
from plait.collaboration.worker import Worker


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(*rows: dict[str, Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*rows]), out)
    return out.getvalue()


class Shelf:
    """A data set and its owner's client."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.api: HfApi = person.api
        self.repo = f"{person.name}/rows-{uuid.uuid4().hex[:8]}"
        self.api.create_repo(self.repo, repo_type="dataset")

    def commit(self, files: dict[str, bytes], pull: bool = False) -> int:
        done = self.api.create_commit(
            self.repo, repo_type="dataset", commit_message="change", create_pr=pull,
            operations=[CommitOperationAdd(path, io.BytesIO(data)) for path, data in files.items()],
        )  # fmt: skip
        return int(done.pr_num) if pull and done.pr_num else 0

    def merge(self, number: int) -> None:
        self.api.merge_pull_request(self.repo, number, repo_type="dataset")

    def read(self, path: str) -> bytes:
        place = self.api.hf_hub_download(self.repo, path, repo_type="dataset", force_download=True)
        return Path(place).read_bytes()


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice)


def resolve(live_hub: LiveHub, shelf: Shelf, number: int, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "plait.cli.main", "pr", "resolve", shelf.repo, str(number),
         "--type", "dataset", *options],
        env={**os.environ, "HF_ENDPOINT": live_hub.url, "HF_TOKEN": shelf.person.token},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


ROWS = tuple({"id": n, "text": f"row {n}"} for n in range(3))


def test_rows_of_two_pull_requests_come_together(shelf: Shelf) -> None:
    shelf.commit({"data/train.jsonl": lines(*ROWS)})
    one = shelf.commit({"data/train.jsonl": lines(*ROWS, {"id": 7, "text": "seven"})}, pull=True)
    two = shelf.commit({"data/train.jsonl": lines(*ROWS, {"id": 5, "text": "five"})}, pull=True)
    shelf.merge(one)
    shelf.merge(two)
    found = [json.loads(line)["id"] for line in shelf.read("data/train.jsonl").splitlines()]
    assert found == [0, 1, 2, 5, 7]


def test_conflicts_are_listed_and_settled_from_a_terminal(
    live_hub: LiveHub, shelf: Shelf, bob: Person
) -> None:
    shelf.commit({"data/train.jsonl": lines(*ROWS), "notes.txt": b"a\nb\nc\n"})
    pull = shelf.commit(
        {
            "data/train.jsonl": lines({"id": 0, "text": "pull"}, *ROWS[1:]),
            "notes.txt": b"a\nP\nc\n",
        },
        pull=True,
    )
    shelf.commit(
        {"data/train.jsonl": lines({"id": 0, "text": "main"}, *ROWS[1:]), "notes.txt": b"a\nM\nc\n"}
    )
    with pytest.raises(HfHubHTTPError, match="plait pr resolve"):
        shelf.merge(pull)
    told = resolve(live_hub, shelf, pull)
    assert "row 0, column 'text'" in told
    place = told.split("--place ")[1].split()[0]
    told = resolve(
        live_hub, shelf, pull, "--path", "data/train.jsonl", "--place", place, "--value", "mine"
    )
    assert "1 left to decide" in told
    assert "Settled" in resolve(live_hub, shelf, pull, "--take", "pull")
    assert "Nothing contradicts" in resolve(live_hub, shelf, pull)
    shelf.merge(pull)
    assert json.loads(shelf.read("data/train.jsonl").splitlines()[0])["text"] == "mine"
    assert shelf.read("notes.txt") == b"a\nP\nc\n"


def test_parquet_through_xet_is_merged_by_a_job(live_hub: LiveHub, shelf: Shelf) -> None:
    import pyarrow.parquet

    shelf.commit({"data/train.parquet": parquet(*ROWS)})
    pull = shelf.commit(
        {"data/train.parquet": parquet(*ROWS, {"id": 9, "text": "nine"})}, pull=True
    )
    shelf.commit({"data/train.parquet": parquet(*ROWS[1:])})
    shelf.merge(pull)
    worker = Worker(live_hub.hub)
    while worker.run_once():
        pass
    details = shelf.api.get_discussion_details(shelf.repo, pull, repo_type="dataset")
    assert details.status == "merged"
    table = pyarrow.parquet.read_table(io.BytesIO(shelf.read("data/train.parquet")))
    assert table.column("id").to_pylist() == [1, 2, 9]
