# SPDX-License-Identifier: Apache-2.0
"""Leaderboards: ranks with ties, filters, and that nobody sees what is not theirs to see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.collaboration import leaderboards
from plait.collaboration.leaderboards import Filters, scoring
from plait.errors import BadInput, Forbidden, NotFound, RepositoryNotFound
from plait.evaluation.results import ItemScore, TaskResult, score_items, summarise
from plait.hub import ANONYMOUS, Actor, AddBytes, Hub, Repository
from plait.hub.database import now
from plait.settings import Settings

PROJECT = """
tasks:
- {name: mood, dataset: shop/reviews, metric: accuracy}
leaderboard: {split: test%s}
"""


def outcome(
    skill: float, n: int = 200, seed: int = 0, labels: tuple[str, ...] = ("bad", "good")
) -> TaskResult:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, n)
    right = np.random.default_rng(seed + 1).random(n) < skill
    names = [("bad", "good")[t] for t in truth]
    other = {"bad": "good", "good": "bad"}
    items = tuple(
        ItemScore(
            f"i{k}",
            f"g{k}",
            labels.index(names[k]),
            labels.index(names[k] if right[k] else other[names[k]]),
            0.5,
        )
        for k in range(n)
    )
    return score_items("accuracy", items, {"classes": 2, "labels": list(labels)})


@dataclass
class Place:
    hub: Hub
    ann: Actor
    bob: Actor
    data: Repository

    def model(self, name: str, private: bool = False) -> Repository:
        repo = self.hub.repositories.create(self.bob, "model", f"bob/{name}", private)
        card = b"---\nlicense: mit\ndatasets: [shop/train]\n---\n"
        self.hub.commits.apply(self.bob, repo, "main", [AddBytes("README.md", card)], "add", "")
        return self.hub.repositories.get(self.bob, "model", f"bob/{name}")

    def enter(self, model: Repository, result: TaskResult, hidden: bool = False) -> None:
        result = scoring.aligned(result)
        plain = summarise("test", {"mood": result}).to_json()["tasks"]["mood"]
        head = self.hub.git.head(model)
        assert head
        values: dict[str, Any] = {
            "task": "mood", "split": "test", "hidden": hidden, "metric": "accuracy",
            "data_revision": "0" * 40, "score": result.score, "low": result.interval[0],
            "high": result.interval[1], "n": result.n, "groups": result.groups, "result": plain,
        }  # fmt: skip
        scoring._keep(self.hub, self.data, model, head, "k" * 64, values)


@pytest.fixture
def place(tmp_path: Path) -> Any:
    with Hub.open(Settings(dir=tmp_path / "hub")) as hub:
        ann, bob = hub.accounts.create_user("ann"), hub.accounts.create_user("bob")
        hub.accounts.create_organization("shop", ann)
        owner = hub.accounts.actor_for(ann)
        data = hub.repositories.create(owner, "dataset", "shop/reviews")
        put(hub, owner, data, PROJECT % "")
        yield Place(hub, owner, hub.accounts.actor_for(bob), data)


def put(hub: Hub, actor: Actor, data: Repository, text: str) -> None:
    hub.commits.apply(actor, data, "main", [AddBytes("plait.yaml", text.encode())], "tasks", "")


def ranks(place: Place, actor: Actor, **more: Any) -> dict[str, int]:
    found = leaderboards.board(place.hub, actor, place.data, "mood", **more)
    return {row.model.name: row.rank for row in found.rows}


def test_models_that_cannot_be_told_apart_share_a_rank(place: Place) -> None:
    for name, skill, seed in (("best", 0.92, 1), ("twin", 0.91, 2), ("worst", 0.55, 3)):
        place.enter(place.model(name), outcome(skill, seed=seed))
    assert ranks(place, ANONYMOUS) == {"best": 1, "twin": 1, "worst": 3}
    # Filters narrow what is shown, not who is better.
    assert ranks(place, ANONYMOUS, filters=Filters(licence="apache-2.0")) == {}
    assert ranks(place, ANONYMOUS, filters=Filters(licence="MIT", data="shop/train"))["worst"] == 3
    with pytest.raises(BadInput, match="order"):
        ranks(place, ANONYMOUS, sort="nonsense")


def test_rows_are_filtered_by_size_and_date(place: Place) -> None:
    for name, size in (("small", 1_000), ("large", 2_000_000), ("unknown", None)):
        model = place.model(name)
        with place.hub.session(write=True) as session:
            session.merge(model).parameters = size
        place.enter(model, outcome(0.8))

    def shown(**wanted: Any) -> set[str]:
        return set(ranks(place, ANONYMOUS, filters=Filters(**wanted)))

    assert shown(largest=1_000) == {"small"}, "a size that nobody knows is no size"
    assert shown(smallest=1_001) == {"large"}
    assert shown(smallest=1_001, largest=1_999_999) == set()
    assert shown(data="shop/other") == set()
    assert shown(since=now() - timedelta(hours=1)) == {"small", "large", "unknown"}
    assert shown(since=now() + timedelta(hours=1)) == set()


def test_a_better_model_that_may_not_be_read_changes_nothing(place: Place) -> None:
    place.enter(place.model("open"), outcome(0.6, seed=1))
    place.enter(place.model("veiled", private=True), outcome(0.95, seed=2))
    assert ranks(place, ANONYMOUS) == {"open": 1}
    assert ranks(place, place.ann) == {"open": 1}
    assert ranks(place, place.bob) == {"open": 2, "veiled": 1}
    number = leaderboards.board(place.hub, place.bob, place.data, "mood").rows[0].entry.id
    with pytest.raises(NotFound):
        leaderboards.entry_of(place.hub, place.ann, place.data, number)


def test_models_that_order_their_labels_otherwise_are_compared_item_by_item(place: Place) -> None:
    place.enter(place.model("one"), outcome(0.9, seed=5))
    place.enter(place.model("other"), outcome(0.9, seed=5, labels=("good", "bad")))
    found = leaderboards.board(place.hub, ANONYMOUS, place.data, "mood")
    gain, low, high = found.gaps[found.rows[0].entry.id, found.rows[1].entry.id]
    assert gain == 0
    assert low < 0 < high
    assert leaderboards.differing(place.hub, place.bob, place.data, found.rows) == []
    items = leaderboards.items_of(place.hub, place.bob, place.data, found.rows[0])
    assert {item["label"] for item in items} == {"bad", "good"}
    assert np.mean([item["right"] for item in items]) == pytest.approx(found.rows[0].entry.score)


def test_hidden_splits_show_no_items_and_ranks_to_those_whose_models_they_are(place: Place) -> None:
    put(place.hub, place.ann, place.data, PROJECT % "" + "evaluation: {hidden: [test]}\n")
    place.enter(place.model("mine"), outcome(0.713, seed=1), hidden=True)
    assert ranks(place, ANONYMOUS) == {}
    assert ranks(place, place.bob) == {"mine": 1}
    assert ranks(place, place.ann) == {"mine": 1}
    found = leaderboards.board(place.hub, place.ann, place.data, "mood")
    told = found.to_json()["rows"][0]
    assert told["score"] == round(told["score"], 2)
    for actor in (place.ann, place.bob):
        with pytest.raises(NotFound, match="hidden"):
            leaderboards.items_of(place.hub, actor, place.data, found.rows[0])
    put(place.hub, place.ann, place.data,
        PROJECT % ", ranks: public" + "evaluation: {hidden: [test]}\n")  # fmt: skip
    assert ranks(place, ANONYMOUS) == {"mine": 1}


def test_submitting_needs_the_rights_to_both(place: Place) -> None:
    place.model("veiled", private=True)
    with pytest.raises(RepositoryNotFound):
        leaderboards.submit(place.hub, place.ann, place.data, "bob/veiled")
    with pytest.raises(Exception, match="Log in"):
        place.model("open")
        leaderboards.submit(place.hub, ANONYMOUS, place.data, "bob/open")
    job = leaderboards.submit(place.hub, place.ann, place.data, "bob/open")
    # Nobody else learns of the job: it belongs to no repository.
    assert job.repository_id is None
    assert job.requested_by == place.ann.user_id
    assert leaderboards.submit(place.hub, place.ann, place.data, "bob/open").id == job.id


def test_a_pull_request_names_models_with_its_authors_rights(place: Place) -> None:
    place.model("veiled", private=True)
    made = place.hub.commits.apply(
        place.ann, place.data, "main",
        [AddBytes("submissions/x.yaml", b"model: bob/veiled\n")], "submit", "", create_pr=True,
    )  # fmt: skip
    assert made.discussion is not None
    # Ann cannot have scored what she cannot read, and Bob cannot speak for her.
    with pytest.raises(RepositoryNotFound):
        leaderboards.submit_pull(place.hub, place.ann, place.data, made.discussion)
    with pytest.raises(Forbidden):
        leaderboards.submit_pull(place.hub, place.bob, place.data, made.discussion)
    own = place.hub.commits.apply(
        place.bob, place.data, "main",
        [AddBytes("submissions/y.yaml", b"model: bob/veiled\n")], "submit", "", create_pr=True,
    )  # fmt: skip
    assert own.discussion is not None
    job = leaderboards.submit_pull(place.hub, place.bob, place.data, own.discussion)
    assert job.requested_by == place.bob.user_id


def test_a_row_is_removed_by_who_may_write_to_the_data_set_or_the_model(place: Place) -> None:
    for name, skill in (("best", 0.95), ("worst", 0.55), ("veiled", 0.99)):
        place.enter(place.model(name, private=name == "veiled"), outcome(skill))
    rows = leaderboards.board(place.hub, place.bob, place.data, "mood").rows
    numbers = {row.model.name: row.entry.id for row in rows}
    carl = place.hub.accounts.actor_for(place.hub.accounts.create_user("carl"))
    for stranger in (ANONYMOUS, carl):
        with pytest.raises(Forbidden, match="data set or to the model"):
            leaderboards.remove(place.hub, stranger, place.data, numbers["best"])
    with pytest.raises(NotFound):  # what may not be read is not told apart from what is not there
        leaderboards.remove(place.hub, place.ann, place.data, numbers["veiled"])
    assert ranks(place, place.bob) == {"veiled": 1, "best": 2, "worst": 3}
    leaderboards.remove(place.hub, place.ann, place.data, numbers["best"])
    assert ranks(place, place.bob) == {"veiled": 1, "worst": 2}
    leaderboards.remove(place.hub, place.bob, place.data, numbers["veiled"])
    assert ranks(place, place.bob) == {"worst": 1}
    assert leaderboards.board(place.hub, place.bob, place.data, "mood").gaps == {}
    with pytest.raises(NotFound):
        leaderboards.remove(place.hub, place.bob, place.data, numbers["best"])
