# SPDX-License-Identifier: Apache-2.0
"""Models side by side on what leaderboards measured, and a collection's leaderboard."""

from __future__ import annotations

import pytest

from plait.collaboration import leaderboards
from plait.errors import BadInput, NotFound, RepositoryNotFound
from plait.evaluation.results import ItemScore, TaskResult, score_items
from plait.hub import AddBytes, Repository

from .test_leaderboards import PROJECT, Place, outcome, place, put

__all__ = ["place"]


def committed(skill: float, seed: int = 0) -> TaskResult:
    """Return an outcome whose items stand in the data set's file."""
    made = outcome(skill, seed=seed)
    items = tuple(
        ItemScore(f"test:{k}", one.group, one.label, one.predicted, 0.5)
        for k, one in enumerate(made.items)
        if isinstance(one, ItemScore)
    )
    return score_items("accuracy", items, made.about)


def named(place: Place, name: str, skill: float, seed: int, *, private: bool = False) -> Repository:
    model = place.model(name, private)
    place.enter(model, committed(skill, seed))
    return model


def test_differences_and_texts_of_items(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    named(place, "good", 0.9, 1)
    named(place, "poor", 0.6, 2)
    rows = b"".join(f'{{"text": "words  of {k}", "label": "good"}}\n'.encode() for k in range(200))
    place.hub.commits.apply(
        place.ann, place.data, "main", [AddBytes("data/test.jsonl", rows)], "texts", ""
    )
    at = place.hub.git.head(place.data)
    # Entries name the commit of the data set on which they were measured.
    from sqlalchemy import update

    from plait.hub.database import LeaderboardEntry

    with place.hub.session(write=True) as session:
        session.execute(update(LeaderboardEntry).values(data_revision=at))
    wanted = leaderboards.parse_models(["bob/good", "bob/poor@main"])
    (found,) = leaderboards.compare(place.hub, place.bob, wanted)
    assert [row.model.name for row in found.board.rows] == ["good", "poor"]
    first, second = (row.entry for row in found.board.rows)
    gain, low, high = found.board.gaps[first.id, second.id]
    assert low < gain < high
    assert gain == pytest.approx(first.score - second.score)
    assert found.shown
    assert len(found.items) >= 200 * abs(first.score - second.score)
    assert all(one["answers"][0] != one["answers"][1] for one in found.items)
    item = found.items[0]
    assert item["text"] == f"words of {item['id'].removeprefix('test:')}"
    plain = leaderboards.compared_to_json(found)
    assert plain["pairs"][0]["gain"] == gain
    monkeypatch.setattr("plait.collaboration.leaderboards.comparing.MAX_BYTES", 100)
    (blind,) = leaderboards.compare(place.hub, place.bob, wanted)
    assert {one["text"] for one in blind.items} == {""}


def test_revisions_and_names_that_are_none(place: Place) -> None:
    model = named(place, "good", 0.9, 1)
    old = place.hub.git.head(model)
    assert old
    place.hub.commits.apply(place.bob, model, "main", [AddBytes("a", b"b")], "again", "")
    place.enter(model, committed(0.5, 5))
    new = place.hub.git.head(model)
    (found,) = leaderboards.compare(
        place.hub, place.bob, [("bob/good", old[:10]), ("bob/good", "")]
    )
    assert [row.entry.revision for row in found.board.rows] == [old, new]
    assert leaderboards.compare(place.hub, place.bob, [("bob/good", ""), ("bob/good", "x")]) == []
    with pytest.raises(BadInput, match="2 to 6"):
        leaderboards.parse_models(["bob/good", "bob/good", " "])
    with pytest.raises(RepositoryNotFound):
        leaderboards.compare(place.hub, place.bob, [("bob/good", ""), ("bob/gone", "")])


def test_what_may_not_be_read_adds_nothing(place: Place) -> None:
    named(place, "good", 0.9, 1)
    named(place, "secret", 0.95, 2, private=True)
    wanted = [("bob/good", ""), ("bob/secret", "")]
    assert len(leaderboards.compare(place.hub, place.bob, wanted)) == 1
    with pytest.raises(RepositoryNotFound):
        leaderboards.compare(place.hub, place.ann, wanted)
    place.hub.repositories.update(place.ann, place.data, private=True)
    assert leaderboards.compare(place.hub, place.bob, wanted) == []


def test_of_hidden_splits_neither_items_nor_differences_are_told(place: Place) -> None:
    hidden = PROJECT % ", ranks: public" + "evaluation: {hidden: [test]}\n"
    put(place.hub, place.ann, place.data, hidden)
    for name, seed in (("good", 1), ("poor", 2)):
        place.enter(place.model(name), committed(0.8, seed), hidden=True)
    (found,) = leaderboards.compare(place.hub, place.bob, [("bob/good", ""), ("bob/poor", "")])
    assert not found.shown and found.items == ()
    plain = leaderboards.compared_to_json(found)
    assert plain["pairs"] == [] and plain["differing"] == []
    assert all(round(row["score"], 2) == row["score"] for row in plain["rows"])


def test_a_collection_orders_models_by_mean_rank(place: Place) -> None:
    for name, skill, seed in (("good", 0.95, 1), ("same", 0.95, 1), ("poor", 0.5, 2)):
        named(place, name, skill, seed)
    made = place.hub.collections.create(place.ann, "ann", "Tasks")
    place.hub.collections.add_item(place.ann, made.slug, "dataset", place.data.full_name)
    found = leaderboards.collection_board(place.hub, place.bob, made.slug)
    assert [(one.place, one.model.name) for one in found.standings] == [
        (1, "good"), (1, "same"), (3, "poor"),
    ]  # fmt: skip
    assert found.to_json()["models"][2]["mean_rank"] == 3
    place.hub.repositories.update(place.ann, place.data, private=True)
    assert leaderboards.collection_board(place.hub, place.bob, made.slug).tasks == ()
    with pytest.raises(NotFound):
        leaderboards.collection_board(place.hub, place.bob, "ann/none-" + "0" * 24)
