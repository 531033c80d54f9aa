# SPDX-License-Identifier: Apache-2.0
"""Merging models for real: tiny, but with every engine in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from plait.collaboration.merging.builder import Builder, Built
from plait.collaboration.requests import contributions
from plait.errors import Conflict
from plait.evaluation import TextClassifier
from plait.fusion.verification import verify
from plait.fusion.weights import fuse
from plait.hub import AddBytes
from plait.lineage import Origin

from . import tiny
from .town import Town, build_town

pytestmark = pytest.mark.models


def test_models_of_organisations_become_one(town: Town, tmp_path: Path) -> None:
    base = town.head()
    for name in ("shop", "cinema"):
        town.propose(name, town.models / name)
    state = town.merge(town.pulls["shop"])
    assert state["status"] == "merged", town.said(town.pulls["shop"])[-1]
    state = town.merge(town.pulls["cinema"])
    assert state["status"] == "merged", town.said(town.pulls["cinema"])[-1]
    report = state["report"]
    assert report["verdict"] == "passes"
    rows = {row["name"]: row for row in report["tasks"]}
    assert rows["cinema"]["scores"]["candidate"] > rows["cinema"]["scores"]["main"] + 0.2
    assert rows["shop"]["scores"]["candidate"] > rows["shop"]["scores"]["contribution"] + 0.2

    # The landing commit: both parents, the weights, the card, the lineage, the recipe.
    head = town.head()
    info = town.hub.git.commit_info(town.repo, head)
    pull = town.hub.git.resolve(town.repo, f"refs/pr/{town.pulls['cinema'].number}")
    assert info.parents[1] == pull
    assert report["landed"] == head == state["mergeCommitId"]
    lineage = town.lineage()
    assert lineage.base.revision == base
    assert [one.organisation for one in sorted(lineage.contributions, key=lambda c: c.number)] == [
        "shop",
        "cinema",
    ]
    assert lineage.output == {"model.safetensors": town.weights()}
    assert contributions(town.hub, town.repo) == lineage.contributions
    fresh = town.hub.repositories.by_id(town.repo.id)
    assert fresh is not None
    results = fresh.card["model-index"][0]["results"]
    assert {one["dataset"]["name"] for one in results} == set(tiny.DOMAINS)
    card = town.hub.git.read(town.repo, head, "README.md").decode()
    assert card.startswith("---\nlicense: apache-2.0")
    assert "A model." in card
    assert card.count("## Merged from") == 1

    # The recipe makes the same bytes again from what the lineage names.
    def fetch(reference: str) -> Path:
        revision = reference.rpartition("@")[2]
        folder = tmp_path / revision
        town.hub.commits.materialize(town.repo, revision, folder)
        return folder

    again = fuse(dict(lineage.recipe), tmp_path / "again", resolve=fetch)
    assert again.outputs == lineage.output
    check_verification(town, tmp_path)

    # Credit sums to what both together changed, and each earned it in its own domain.
    credit = report["credit"]
    total = sum(row["value"] for row in credit["contributions"])
    assert total == pytest.approx(credit["total"] - credit["base"], abs=1e-6)
    for row in credit["contributions"]:
        assert max(row["tasks"], key=row["tasks"].get) == row["organisation"]
    assert json.loads(json.dumps(report)) == report
    assert any("| shop |" in text for text in town.said(town.pulls["cinema"]))


def check_verification(town: Town, tmp_path: Path) -> None:
    """Main is made again from its lineage, byte for byte; a changed byte is noticed."""

    def fetch(origin: Origin) -> Path:
        folder = tmp_path / f"verify-{origin.revision}"
        if not folder.exists():
            town.hub.commits.materialize(town.repo, origin.revision, folder)
        return folder

    main = fetch(Origin(town.repo.full_name, town.head(), {}))
    found = verify(town.lineage(), main, fetch, work=tmp_path)
    assert found.same
    assert found.made
    assert found.inputs
    assert json.loads(json.dumps(found.to_json()))["same"] is True
    with (main / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    assert not verify(town.lineage(), main, fetch, work=tmp_path).same


@pytest.mark.parametrize("orders", [(("shop", "cinema", "press"), ("press", "shop", "cinema"))])
def test_the_order_of_merging_gives_the_same_bytes(
    tmp_path: Path, tiny_models: Path, orders: tuple[tuple[str, ...], ...]
) -> None:
    outcomes = []
    for place, order in enumerate(orders):
        town = build_town(tmp_path / f"hub-{place}", tiny_models)
        for name in tiny.DOMAINS:
            town.propose(name, town.models / name)
        for name in order:
            assert town.merge(town.pulls[name])["status"] == "merged"
        outcomes.append((town.weights(), town.lineage().recipe["models"]))
        town.hub.close()
    (first, recipe), (second, other) = outcomes
    assert first == second
    assert [m["parameters"] for m in recipe] == [m["parameters"] for m in other]


def test_a_contribution_made_from_a_fused_main(town: Town, tmp_path: Path) -> None:
    """It starts a new base there; what was made from the old base is carried over."""
    start = town.head()
    town.propose("shop", town.models / "shop")
    town.propose("cinema", town.models / "cinema")
    assert town.merge(town.pulls["shop"])["status"] == "merged"
    fused = town.head()
    # Made from the fused main: its weights plus the press fine-tune's change.
    folder = town.models.parent / f"{town.models.name}-press-on-fused"
    if not folder.exists():
        checkout = folder.with_name(folder.name + "-main")
        town.hub.commits.materialize(town.repo, fused, checkout)
        tiny.fine_tune(checkout, folder, tiny.sentences("press", 200, 1))
    town.propose("press", folder)
    assert town.merge(town.pulls["cinema"])["status"] == "merged"
    state = town.merge(town.pulls["press"])
    assert state["status"] == "merged", town.said(town.pulls["press"])[-1]
    lineage = town.lineage()
    assert lineage.base.revision == fused
    made = {one.number: one.base for one in lineage.contributions}
    carried = made[town.pulls["cinema"].number]
    assert carried is not None
    assert carried.revision == start
    assert made[town.pulls["press"].number] is None
    assert town.pulls["shop"].number not in made  # part of the base now
    scores = {row["name"]: row["scores"]["candidate"] for row in state["report"]["tasks"]}
    assert min(scores.values()) > 0.75
    check_verification(town, tmp_path)


def test_weights_made_from_an_earlier_main_are_taken_as_such(town: Town) -> None:
    """Trained from the base, proposed when main had moved on: nobody's merge is taken back."""
    base = town.head()
    assert town.merge(town.propose("shop", town.models / "shop"))["status"] == "merged"
    state = town.merge(town.propose("cinema", town.models / "cinema"))
    assert state["status"] == "merged", town.said(town.pulls["cinema"])[-1]
    lineage = town.lineage()
    assert lineage.base.revision == base
    assert len(lineage.contributions) == 2
    assert all(one.base is None for one in lineage.contributions)
    assert base[:10] in state["report"]["notes"][0]
    scores = {row["name"]: row["scores"]["candidate"] for row in state["report"]["tasks"]}
    assert min(scores["shop"], scores["cinema"]) > 0.85


def test_the_same_contribution_twice_shares_its_credit(town: Town) -> None:
    town.propose("shop", town.models / "shop")
    town.propose("cinema", town.models / "shop")
    assert town.merge(town.pulls["shop"])["status"] == "merged"
    state = town.merge(town.pulls["cinema"])
    shares = {
        row["organisation"]: row["value"] for row in state["report"]["credit"]["contributions"]
    }
    assert shares["shop"] == pytest.approx(shares["cinema"])
    assert shares["shop"] > 0.05


def test_what_was_measured_is_not_measured_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look at the same merge runs no model, and comes to the same bytes."""
    pull = town.propose("shop", town.models / "shop")
    landing = Builder.land
    built: list[Built] = []

    def refuse(builder: Builder, made: Built) -> str:
        built.append(made)
        raise Conflict("not this time")

    monkeypatch.setattr(Builder, "land", refuse)
    assert town.merge(pull)["job"]["error"] == "not this time"

    def never(*_: object) -> None:
        raise AssertionError("a model was run again")

    monkeypatch.setattr(TextClassifier, "predict", never)
    monkeypatch.setattr(Builder, "land", landing)
    state = town.merge(pull)
    assert state["status"] == "merged"
    assert state["report"]["average"] == built[0].report["average"]
    assert town.lineage().output == built[0].report["output"]["files"]


def test_text_and_weights_in_one_pull_request(town: Town) -> None:
    pull = town.propose(
        "shop",
        town.models / "shop",
        AddBytes("docs/shop.md", b"About shops.\n"),
        AddBytes("extra.bin", b"\x80\x02pickle"),
    )
    town.commit(AddBytes("docs/main.md", b"About main.\n"))
    assert town.merge(pull)["status"] == "merged"
    names = {e.path for e in town.hub.git.tree(town.repo, town.head(), recursive=True)}
    assert {"docs/shop.md", "docs/main.md", "lineage.json", "plait_fusion.yaml"} <= names
    assert "extra.bin" not in names
    assert any("`extra.bin`" in text for text in town.said(pull))


def test_main_may_move_while_a_merge_runs(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    pull = town.propose("shop", town.models / "shop")
    landing = Builder.land
    moves = []

    def land(builder: Builder, built: Built) -> str:
        if not moves:
            moves.append(town.commit(AddBytes("moved.txt", b"x")))
        return landing(builder, built)

    monkeypatch.setattr(Builder, "land", land)
    assert town.merge(pull)["status"] == "merged"
    info = town.hub.git.commit_info(town.repo, town.head())
    assert info.parents[0] == moves[0]
    assert town.hub.git.read(town.repo, town.head(), "moved.txt") == b"x"


def test_a_half_precision_model_stays_one(tmp_path: Path, tiny_models: Path) -> None:
    """Fused in float32, written as the base is; not twice its size."""
    import torch
    from safetensors.torch import load_file, save_file

    models = tmp_path / "models"
    for name in ("base", "shop"):
        shutil.copytree(tiny_models / name, models / name)
        path = models / name / "model.safetensors"
        wide = load_file(path)
        path.unlink()
        narrow = {n: t.bfloat16() if t.is_floating_point() else t for n, t in wide.items()}
        save_file(narrow, path, {"format": "pt"})
    town = build_town(tmp_path / "hub", models)
    pull = town.propose("shop", models / "shop")
    state = town.merge(pull)
    assert state["status"] == "merged", state
    assert town.lineage().recipe["out_dtype"] == "bfloat16"
    town.hub.commits.materialize(town.repo, town.head(), tmp_path / "out")
    fused = load_file(tmp_path / "out" / "model.safetensors")
    assert {t.dtype for t in fused.values() if t.is_floating_point()} == {torch.bfloat16}
    town.hub.close()
