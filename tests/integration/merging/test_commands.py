# SPDX-License-Identifier: Apache-2.0
"""``plait fuse``, ``evaluate`` and ``pr wait`` as people call them, on a real server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi

from integration.live import Server

from . import tiny
from .town import Town

pytestmark = pytest.mark.models


@pytest.fixture
def served(town: Town) -> Iterator[tuple[Town, Server, str]]:
    """The town behind a real server with its worker, and the owner's token."""
    server = Server(town.hub.settings.dir, workers=1).start()
    account = town.hub.accounts.get_user("ann")
    yield town, server, town.hub.tokens.create(account, scope="write")
    server.stop()


def plait(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plait.cli.main", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def recipe(folder: Path, *models: str | Path, base: str | Path) -> Path:
    path = folder / "recipe.yaml"
    document = {
        "merge_method": "ties",
        "base_model": str(base),
        "models": [{"model": str(m), "parameters": {"density": 0.5, "weight": 1}} for m in models],
        "dtype": "float32",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_waiting_for_a_merge_asked_for_with_the_stock_client(
    served: tuple[Town, Server, str],
) -> None:
    town, server, token = served
    pull = town.propose("shop", town.models / "shop")
    api = HfApi(endpoint=server.url, token=token)
    api.merge_pull_request("commons/sentiment", pull.number)
    seen: list[str] = []
    for _ in range(600):
        details = api.get_discussion_details("commons/sentiment", pull.number)
        (announced,) = (e for e in details.events if "asked for this" in getattr(e, "content", ""))
        if announced.content.count("Progress: ") and announced.content not in seen:
            seen.append(announced.content)
        if details.status == "merged":
            break
        time.sleep(0.1)
    assert len(seen) > 2, "the merge's progress is read with the stock client"
    assert "Progress" not in announced.content, "what is done has no progress any more"
    done = plait(
        *("pr", "wait", "commons/sentiment", str(pull.number), "--json", "--timeout", "200"),
        HF_ENDPOINT=server.url,
        HF_TOKEN=token,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    state: dict[str, Any] = json.loads(done.stdout)
    assert state["status"] == "merged"
    assert state["report"]["verdict"] == "passes"
    assert state["report"]["landed"] == town.head()
    details = HfApi(endpoint=server.url).get_discussion_details("commons/sentiment", pull.number)
    said = [event for event in details.events if "passes" in str(getattr(event, "content", ""))]
    assert said, "the verdict is an event that the stock client reads"
    again = plait("verify", "commons/sentiment", HF_ENDPOINT=server.url, HF_TOKEN=token)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "The same bytes." in again.stdout
    assert "contribution #1: model.safetensors" in again.stdout
    environment = {"HF_ENDPOINT": server.url, "HF_TOKEN": token}
    shown = plait("lineage", "commons/sentiment", **environment)
    assert town.weights() in shown.stdout
    assert "contribution-1" in shown.stdout
    bill = json.loads(
        plait("lineage", "commons/sentiment", "--format", "cyclonedx", **environment).stdout
    )
    asked = urllib.request.Request(
        f"{server.url}/api/plait/models/commons/sentiment/lineage/main?format=cyclonedx",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer) == bill


def test_waiting_says_when_nothing_landed(served: tuple[Town, Server, str]) -> None:
    town, server, token = served
    pull = town.propose("shop", town.models / "shop")
    done = plait(
        *("pr", "wait", "commons/sentiment", str(pull.number)),
        HF_ENDPOINT=server.url,
        HF_TOKEN=token,
    )
    assert done.returncode == 1
    assert "Nobody has asked for its merge yet" in done.stdout
    none = plait("pr", "wait", "commons/nothing", "1", HF_ENDPOINT=server.url, HF_TOKEN=token)
    assert none.returncode == 1
    assert "No pull request 1 of commons/nothing" in none.stderr


def test_fusing_folders_and_repositories_gives_the_same_bytes(
    served: tuple[Town, Server, str], tmp_path: Path
) -> None:
    town, server, token = served
    pull = town.propose("shop", town.models / "shop")
    local = recipe(tmp_path, town.models / "shop", base=town.models / "base")
    first = plait("fuse", local, "-o", tmp_path / "one", "--json")
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    written = hashlib.sha256((tmp_path / "one" / "model.safetensors").read_bytes()).hexdigest()
    assert result["outputs"]["model.safetensors"] == written
    remote = recipe(tmp_path, f"commons/sentiment@refs/pr/{pull.number}", base="commons/sentiment")
    second = plait(
        *("fuse", remote, "-o", tmp_path / "two", "--json"), HF_ENDPOINT=server.url, HF_TOKEN=token
    )
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["outputs"]["model.safetensors"] == written


def test_a_bad_recipe_is_one_sentence_and_leaves_nothing(town: Town, tmp_path: Path) -> None:
    path = recipe(tmp_path, town.models / "shop", base=town.models / "base")
    path.write_text(path.read_text().replace("merge_method: ties", "merge_method: tyes"))
    done = plait("fuse", path, "-o", tmp_path / "out")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "tyes" in line
    assert "ties" in line
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("out")) == []


def test_evaluating_on_a_folder_and_on_a_plait_yaml(town: Town, tmp_path: Path) -> None:
    for name in tiny.DOMAINS:
        tiny.write_split(tmp_path / name / "texts", "test", tiny.sentences(name, 120, 77))
    (tmp_path / "plait.yaml").write_text(tiny.project())
    model = town.models / "shop"
    done = plait("evaluate", model, "--task", tmp_path / "shop" / "texts", "--json")
    assert done.returncode == 0, done.stderr
    (task,) = json.loads(done.stdout)["tasks"].values()
    low, high = task["interval"]
    assert 0.8 < low <= task["score"] <= high
    assert task["n"] == 120
    named = plait(
        *("evaluate", model, "--task", "shop", "--project", tmp_path / "plait.yaml"),
        *("--data", tmp_path, "--json", "--items"),
    )
    assert named.returncode == 0, named.stderr
    again = json.loads(named.stdout)["tasks"]["shop"]
    assert again["score"] == task["score"]
    assert len(again["items"]) == 120
    unknown = plait("evaluate", model, "--task", "shoe", "--project", tmp_path / "plait.yaml")
    assert unknown.returncode == 1
    assert "shoe" in unknown.stderr
    assert "shop" in unknown.stderr


def test_evaluating_a_repository_needs_the_right_to_its_data(
    served: tuple[Town, Server, str], tmp_path: Path
) -> None:
    town, server, _ = served
    home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": server.url}
    member = town.hub.tokens.create(town.hub.accounts.get_user("shop-user"), scope="read")
    arguments = ("evaluate", "commons/sentiment", "--task", "shop", "--split", "gate", "--json")
    allowed = plait(*arguments, **home, HF_TOKEN=member)
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads(allowed.stdout)["tasks"]["shop"]["n"] == 240
    stranger = town.hub.tokens.create(town.hub.accounts.get_user("press-user"), scope="read")
    refused = plait(*arguments, **{**home, "HF_HOME": str(tmp_path / "other")}, HF_TOKEN=stranger)
    assert refused.returncode == 1
    assert "no data set shop/texts that this token may read" in refused.stderr
