# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from plait.hub import ANONYMOUS, Repository
from plait.hub.repositories.popularity import Popularity, trending_score

from ..conftest import World


def stored(world: World, repo: Repository) -> Repository:
    return world.hub.repositories.get(ANONYMOUS, repo.type, repo.full_name)


def test_a_caller_counts_once_for_a_repository_however_many_requests(world: World) -> None:
    repo, data, counts = world.repo(), world.repo("shop/d", kind="dataset"), world.hub.popularity
    for caller in ("ann", "bob", "ann"):
        for path in ("config.json", "adapter_config.json", "model.safetensors", "sub/config.json"):
            counts.note(repo, path, caller)
        counts.note(data, "any/file.csv", caller)
    counts.note(repo, "README.md", "carl")
    counts.flush()
    assert (stored(world, repo).downloads, stored(world, data).downloads) == (2, 2)
    counts.note(repo, "x.gguf", "dora")
    counts.flush()
    counts.flush()
    assert stored(world, repo).downloads_all_time == 3
    assert counts.per_day(repo)[-1][1] == 3


def test_counts_of_several_servers_add_up(world: World) -> None:
    repo, other = world.repo(), Popularity(world.hub)
    for n in range(3):
        world.hub.popularity.note(repo, "config.json", f"a{n}")
        other.note(repo, "config.json", f"b{n}")
    other.close()
    world.hub.popularity.close()
    assert stored(world, repo).downloads == 6


def test_counts_fade_after_thirty_days_and_trends_after_seven(world: World) -> None:
    repo, counts = world.repo(), world.hub.popularity
    counts.note(repo, "config.json", "ann")
    world.hub.likes.add(world.actor("bob"), repo)
    counts.flush()
    found = stored(world, repo)
    assert found.trending == trending_score(1, 1) == 2.0
    today = datetime.now(UTC).date()
    assert counts.refresh(today + timedelta(days=10)) == 1
    assert (stored(world, repo).downloads, stored(world, repo).trending) == (1, 0.0)
    counts.refresh(today + timedelta(days=40))
    found = stored(world, repo)
    assert (found.downloads, found.downloads_all_time) == (0, 1)


def test_what_could_not_be_written_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, counts = world.repo(), world.hub.popularity
    counts.note(repo, "config.json", "ann")

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("busy", None, Exception())

    with monkeypatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr(counts, "_add", fail)
        counts.flush()
    counts.flush()
    assert stored(world, repo).downloads == 1


def test_a_repository_that_is_gone_is_not_counted(world: World) -> None:
    repo = world.repo()
    world.hub.popularity.note(repo, "config.json", "ann")
    world.hub.repositories.delete(world.actor("ann"), repo)
    world.hub.popularity.flush()
