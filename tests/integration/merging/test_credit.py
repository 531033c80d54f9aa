# SPDX-License-Identifier: Apache-2.0
"""What a good contribution, its duplicate, a free rider and one with flipped labels get."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import load_file, save_file
from sqlalchemy import select

from plait.cli.serve import build_app
from plait.collaboration.merging import standing
from plait.hub import ANONYMOUS, AddBytes
from plait.hub.database import StoredEvaluation

from . import tiny
from .town import Town, build_town

PROJECT = """
base: commons/sentiment
fusion: {method: task_arithmetic, parameters: {weight: 0.5}}
tasks:
  - {name: shop, dataset: shop/texts, metric: accuracy, columns: {group: document}, margin: 1.0}
  - {name: cinema, dataset: cinema/texts, metric: accuracy, columns: {group: document}, margin: 1.0}
gate: {split: gate, margin: 1.0, minimum_gain: -1}
"""


@pytest.fixture
def lenient(tmp_path: Path, tiny_models: Path) -> Iterator[Town]:
    """Return a town whose gate lets everything in, so that bad contributions get credit too."""
    town = build_town(tmp_path / "hub", tiny_models, project=PROJECT)
    yield town
    town.hub.close()


def free_rider(base: Path, folder: Path) -> Path:
    """Write the base with changes far too small to matter."""
    shutil.copytree(base, folder)
    tensors = load_file(folder / "model.safetensors")
    draw = np.random.default_rng(0)
    for name, tensor in tensors.items():
        noise = draw.normal(0, 1e-6, tensor.shape).astype(tensor.dtype)
        tensors[name] = tensor + noise
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.models
def test_what_each_gets(lenient: Town, tmp_path: Path) -> None:
    town, models = lenient, lenient.models
    flipped = [{**row, "label": 1 - row["label"]} for row in tiny.sentences("cinema", 200, 1)]
    wrong = tiny.fine_tune(models / "base", tmp_path / "flipped", flipped)
    rider = free_rider(models / "base", tmp_path / "rider")
    base = town.head()
    proposals = [
        ("shop", models / "shop"),
        ("cinema", models / "shop"),
        ("press", rider),
        ("shop", wrong),
    ]
    states = []
    for name, folder in proposals:
        states.append(town.merge(town.propose(name, folder, parent=base)))
    assert [state["status"] for state in states] == ["merged"] * 4, states[-1]
    credit = states[-1]["report"]["credit"]
    rows = {row["number"]: row for row in credit["contributions"]}
    good, copy, idle, bad = (rows[town_state["report"]["number"]] for town_state in states)

    # a duplicate halves with its original, whoever came first
    assert good["value"] == pytest.approx(copy["value"], abs=1e-9)
    assert good["tasks"] == pytest.approx(copy["tasks"], abs=1e-9)
    assert good["tasks"]["shop"] > 0.05
    # a free rider gets nothing
    assert idle["value"] == pytest.approx(0.0, abs=0.005)
    # flipped labels are charged, where they harm
    assert bad["tasks"]["cinema"] < -0.05
    assert bad["value"] < 0
    # and everything adds up, exactly
    assert credit["exact"]
    assert credit["evaluations"] == 16
    total = sum(row["value"] for row in rows.values())
    assert total == pytest.approx(credit["total"] - credit["base"], abs=2e-6)
    scores = states[-1]["report"]["tasks"][0]["scores"]
    by_task = sum(row["tasks"]["shop"] for row in rows.values())
    assert by_task == pytest.approx(scores["candidate"] - scores["base"], abs=2e-6)

    # whoever merged the label-flipped one was told
    flags = {flag["kind"] for flag in states[-1]["report"]["flags"]}
    assert "flipped" in flags

    _pages(town, rows, good["value"], bad["value"])


def _pages(town: Town, rows: dict[int, dict[str, float]], good: float, bad: float) -> None:
    """The model and the organisation show it; a private model's credit is its readers' alone."""
    hub = town.hub
    held = standing.of_model(hub, town.repo)
    assert {one.number: pytest.approx(one.value) for one in held} == {
        number: row["value"] for number, row in rows.items()
    }
    shop = hub.accounts.get("shop")
    [gained] = standing.of_account(hub, ANONYMOUS, shop)
    assert gained.repository == "commons/sentiment"
    assert gained.value == pytest.approx(good + bad)
    assert len(gained.contributions) == 2
    client = TestClient(build_app(hub), base_url="http://hub.test")
    answer = client.get("/api/plait/models/commons/sentiment/credit").json()
    assert answer["total"] == pytest.approx(sum(row["value"] for row in rows.values()))
    assert client.get("/api/plait/accounts/shop/credit").json()["models"][0]["value"] == (
        pytest.approx(good + bad)
    )
    hub.repositories.update(town.owner, town.repo, private=True)
    assert standing.of_account(hub, ANONYMOUS, shop) == []
    assert client.get("/api/plait/models/commons/sentiment/credit").status_code in (401, 404)
    assert client.get("/api/plait/accounts/shop/credit").json() == {"models": []}


@pytest.mark.models
def test_subsets_are_measured_once(lenient: Town) -> None:
    """The next merge asks for each subset of the merges before, and finds it."""
    town = lenient
    base = town.head()
    for name in ("shop", "cinema"):
        assert town.merge(town.propose(name, town.models / name, parent=base))["status"] == "merged"
    with town.hub.session() as session:
        before = set(session.scalars(select(StoredEvaluation.model_key)))
    assert town.merge(town.propose("press", town.models / "press", parent=base))["status"] == (
        "merged"
    )
    with town.hub.session() as session:
        after = set(session.scalars(select(StoredEvaluation.model_key)))
    # new: {press}, {press, shop}, {press, cinema}, all three by recipe; press and the candidate
    # as files
    assert len(after - before) == 6


@pytest.mark.models
def test_items_that_were_trained_on_are_flagged(lenient: Town, tmp_path: Path) -> None:
    """In the data set's own training split (private: coarse), and in a public one on the card."""
    town = lenient
    gate = tiny.sentences("shop", 240, 11)
    tiny.write_split(tmp_path / "shop", "train", gate[:120])
    data = town.hub.repositories.find("dataset", "shop/texts")
    assert data is not None
    town.hub.commits.apply(
        town.members["shop"], data, "main", town.operations(tmp_path / "shop", data), "train"
    )
    open_data = town.hub.repositories.create(town.members["cinema"], "dataset", "cinema/web")
    text = "".join(json.dumps({"words": row["text"]}) + "\n" for row in gate[:60])
    town.hub.commits.apply(
        town.members["cinema"], open_data, "main", [AddBytes("all.jsonl", text.encode())], "web"
    )
    card = b"---\nlicense: apache-2.0\ndatasets: [cinema/web, shop/texts, none/such]\n---\n# Mine\n"
    pull = town.propose("shop", town.models / "shop", AddBytes("README.md", card))
    report = town.merge(pull)["report"]
    flags = [flag for flag in report["flags"] if flag["kind"] == "overlap"]
    assert {flag["task"] for flag in flags} == {"shop"}
    told = " ".join(flag["text"] for flag in flags)
    assert "more than one in a hundred of the items that judge also stand in the training" in told
    assert "'cinema/web'" in told
    assert "none/such" not in told
    assert "120" not in told  # how many would tell whether one text is among private items
    assert any("⚠" in said for said in town.said(pull))
    [contribution] = town.lineage().contributions
    assert contribution.datasets == ("cinema/web", "shop/texts", "none/such")
