# SPDX-License-Identifier: Apache-2.0
"""A pull request's candidate is a revision that readers download before it lands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from integration.live import Server
from plait.collaboration.requests import merge_state, request_merge, request_preview
from plait.errors import BadInput, Forbidden, PlaitError
from plait.hub import AddBytes
from plait.hub.upkeep.collect import collect

from .town import Town

pytestmark = pytest.mark.models
NAME = "commons/sentiment"


@pytest.fixture
def served(town: Town) -> Iterator[tuple[Town, Server]]:
    server = Server(town.hub.settings.dir).start()
    yield town, server
    server.stop()


def token(town: Town, name: str) -> str:
    return town.hub.tokens.create(town.hub.accounts.get_user(name), scope="write")


def test_a_preview_is_downloaded_with_the_stock_client(
    served: tuple[Town, Server], tmp_path: Path
) -> None:
    town, server = served
    hub, repo = town.hub, town.repo
    pull = town.propose("shop", town.models / "shop")
    main = town.head()
    with pytest.raises(Forbidden):
        request_preview(hub, town.members["shop"], repo, pull)
    job = request_preview(hub, town.owner, repo, pull).job
    assert job is not None
    again = request_preview(hub, town.owner, repo, pull).job
    assert again is not None
    assert again.id == job.id
    town.work()
    state = town.state(pull)
    assert (state["status"], town.head()) == ("open", main), "nothing landed"
    assert state["report"]["verdict"] == "passes"
    assert state["preview"]["revision"] == f"refs/preview/{pull.number}"

    # With the stock client, beside the pull request itself in one cache.
    for revision in (f"refs/pr/{pull.number}", f"refs/preview/{pull.number}"):
        folder = snapshot_download(
            NAME, revision=revision, endpoint=server.url, cache_dir=tmp_path, token=False
        )
        assert (Path(folder) / "model.safetensors").is_file()
    file = hf_hub_download(
        NAME, "lineage.json", revision=f"refs/preview/{pull.number}",
        endpoint=server.url, cache_dir=tmp_path, token=False,
    )  # fmt: skip
    assert f'"number": {pull.number}' in Path(file).read_text()
    weights = town.weights(state["preview"]["commitId"])

    # Nobody moves it by hand.
    for actor in (town.owner, town.members["shop"]):
        with pytest.raises(PlaitError):
            hub.commits.apply(
                actor, repo, f"refs/preview/{pull.number}", [AddBytes("x.txt", b"x")], "by hand"
            )

    # Whoever cannot read the repository sees nothing of it.
    hub.repositories.update(town.owner, repo, private=True)
    with pytest.raises(RepositoryNotFoundError):
        HfApi(server.url, token=token(town, "press-user")).model_info(
            NAME, revision=f"refs/preview/{pull.number}"
        )
    hub.repositories.update(town.owner, repo, private=False)

    # What lands is what was shown.
    assert town.merge(pull)["status"] == "merged"
    assert town.weights() == weights
    assert town.state(pull)["preview"] is None
    with pytest.raises(RevisionNotFoundError):
        HfApi(server.url).model_info(NAME, revision=f"refs/preview/{pull.number}")


CALLED = """
import json, sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer
name, revision = sys.argv[1:]
model = AutoModelForSequenceClassification.from_pretrained(name, revision=revision)
tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
found = model(**tokenizer("shopgood1 shopgood2 word1", return_tensors="pt")).logits.argmax().item()
print(json.dumps({"label": model.config.id2label[found]}))
from plait.cli.main import app
app(["evaluate", name, f"{name}@{revision}", "--task", "shop", "--split", "gate", "--json"])
"""


def test_a_preview_is_called_and_evaluated_before_it_lands(
    served: tuple[Town, Server], tmp_path: Path
) -> None:
    town, server = served
    pull = town.propose("shop", town.models / "shop")
    request_preview(town.hub, town.owner, town.repo, pull)
    town.work()
    environment = {
        **os.environ, "HF_ENDPOINT": server.url, "HF_TOKEN": token(town, "shop-user"),
        "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    revision = f"refs/preview/{pull.number}"
    done = subprocess.run(
        [sys.executable, "-c", CALLED, NAME, revision], env=environment, text=True,
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, _, rest = done.stdout.partition("\n")
    assert json.loads(first) == {"label": "positive"}
    told = json.loads(rest)
    gained = told["comparisons"][f"{NAME}@{revision}"]["tasks"]["shop"]["effect"]
    # As the job measured it on the same items.
    row = next(one for one in town.state(pull)["report"]["tasks"] if one["name"] == "shop")
    assert gained == pytest.approx(row["difference"]["effect"], abs=1e-6)
    assert gained > 0.1


def test_a_preview_goes_when_main_or_the_pull_request_changes(town: Town) -> None:
    hub, repo = town.hub, town.repo
    pull = town.propose("shop", town.models / "shop")
    refused = town.propose("cinema", town.models / "cinema")

    def build() -> str:
        request_preview(hub, town.owner, repo, pull)
        town.work()
        found = merge_state(hub, repo, pull)["preview"]
        assert found is not None
        return str(found["commitId"])

    first = build()
    town.commit(AddBytes("notes.txt", b"new on main"))
    assert hub.previews.get(repo, pull.number) is None
    assert hub.git.head(repo, f"refs/preview/{pull.number}") is None
    second = build()
    assert second != first
    head = hub.git.resolve(repo, f"refs/pr/{pull.number}")
    hub.commits.apply(
        town.members["shop"], repo, f"refs/pr/{pull.number}",
        [AddBytes("more.txt", b"more")], "more", parent=head,
    )  # fmt: skip
    assert hub.git.head(repo, f"refs/preview/{pull.number}") is None
    build()
    # A merge that the gate refuses leaves its candidate to look at as well.
    request_merge(hub, town.owner, repo, refused)
    town.work()
    # Closed: nobody can land it any more, and gc takes the ref away.
    hub.discussions.set_status(town.owner, pull, "closed")
    assert hub.previews.get(repo, pull.number) is None
    collect(hub, grace=0)
    assert hub.git.head(repo, f"refs/preview/{pull.number}") is None


def test_text_alone_needs_no_preview(town: Town) -> None:
    outcome = town.hub.commits.apply(
        town.owner, town.repo, "main", [AddBytes("x.txt", b"x")], "text", create_pr=True
    )
    assert outcome.discussion is not None
    with pytest.raises(BadInput, match="changes no weights"):
        request_preview(town.hub, town.owner, town.repo, outcome.discussion)
