# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, update

from plait.api.properties import DETAILS, EXPANDABLE, Teller, Told
from plait.errors import BadInput
from plait.hub import ANONYMOUS, Hub, Repository
from plait.hub.database import RepositoryTag
from plait.hub.repositories.listing import SORTS

from ..conftest import World


def change(hub: Hub, repo: Repository, **values: Any) -> None:
    with hub.session(write=True) as session:
        session.execute(update(Repository).where(Repository.id == repo.id).values(**values))


def tag(hub: Hub, repo: Repository, *tags: str) -> None:
    with hub.session(write=True) as session:
        session.add_all(RepositoryTag(repository_id=repo.id, tag=name) for name in tags)


@contextmanager
def counted_queries(hub: Hub) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(hub.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(hub.engine, "before_cursor_execute", note)


def names(world: World, **options: Any) -> list[str]:
    return [r.name for r in world.hub.repositories.list(ANONYMOUS, "model", **options).items]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_pages_of_every_order_join_even_when_values_repeat(
    world: World, sort: Any, reverse: bool
) -> None:
    for number in range(7):
        repo = world.repo(f"shop/m{number}")
        change(world.hub, repo, likes=number // 3, downloads=number % 2, trending=number / 4)
    seen: list[Repository] = []
    cursor = None
    while True:
        page = world.hub.repositories.list(
            ANONYMOUS, sort=sort, reverse=reverse, limit=2, cursor=cursor
        )
        seen += page.items
        cursor = page.cursor
        if cursor is None:
            break
    assert len({repo.id for repo in seen}) == len(seen) == 7
    whole = world.hub.repositories.list(ANONYMOUS, sort=sort, reverse=reverse, limit=100).items
    assert [r.id for r in whole] == [r.id for r in seen]
    keys = {"updated": "updated_at", "created": "created_at", "name": "search_key"}
    values = [getattr(repo, keys.get(sort, sort)) for repo in seen]
    assert values == sorted(values, reverse=(sort != "name") != reverse)


def test_a_cursor_of_another_order_is_refused(world: World) -> None:
    for number in range(3):
        world.repo(f"shop/m{number}")
    cursor = world.hub.repositories.list(ANONYMOUS, sort="likes", limit=1).cursor
    with pytest.raises(BadInput):
        world.hub.repositories.list(ANONYMOUS, sort="downloads", cursor=cursor)


def test_filters_hold_together(world: World) -> None:
    hub = world.hub
    small, large, gated = (world.repo(f"shop/{n}") for n in ("small", "large", "gated"))
    change(hub, small, parameters=10)
    change(hub, large, parameters=10**10)
    change(hub, gated, gated="auto")
    tag(hub, small, "a", "b")
    tag(hub, large, "b", "c")
    assert names(world, parameters=(5, 100)) == ["small"]
    assert names(world, parameters=(100, None)) == ["large"]
    assert names(world, gated=True) == ["gated"]
    assert set(names(world, gated=False)) == {"small", "large"}
    assert names(world, tags=["b", "c"]) == ["large"]
    assert set(names(world, tags=[["a", "c"]])) == {"small", "large"}
    assert names(world, search=["sm", "all"]) == ["small"]
    assert names(world, namespace="nobody") == []
    assert hub.repositories.count(ANONYMOUS, "model", tags=["b"]) == 2
    with pytest.raises(BadInput):
        names(world, tags=[str(n) for n in range(100)])


def test_telling_many_takes_as_many_queries_as_telling_one(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    repos = [world.repo(f"shop/m{n}") for n in range(12)]
    for repo in repos:
        change(hub, repo, facts={"base_models": ["shop/m0"], "relation": "finetune"})
        tag(hub, repo, "base_model:shop/m0")
    properties = [name for name in EXPANDABLE["model"] if name != "siblings"]

    def queries(limit: int) -> int:
        with counted_queries(hub) as seen:
            items = hub.repositories.list(ann, "model", limit=limit).items
            Teller(hub, ann).rows([Told.at_main(repo) for repo in items], properties)
        return len(seen)

    assert queries(12) == queries(1)


def test_relations_tell_nothing_of_what_is_private(world: World) -> None:
    hub, base = world.hub, world.repo("shop/base")
    child = world.repo("shop/child", private=True)
    space = world.repo("shop/app", kind="space", private=True)
    tag(hub, child, "base_model:shop/base")
    tag(hub, space, "\x1fmodel:shop/base")
    asked = ["childrenModelCount", "spaces"]
    stranger = Teller(hub, ANONYMOUS).rows([Told.at_main(base)], asked)[0]
    member = Teller(hub, world.actor("ann")).rows([Told.at_main(base)], asked)[0]
    assert (stranger["childrenModelCount"], stranger["spaces"]) == (0, [])
    assert (member["childrenModelCount"], member["spaces"]) == (1, ["shop/app"])
    change(hub, child, facts={"base_models": ["shop/hidden"], "relation": "finetune"})
    world.repo("shop/hidden", private=True)
    child = hub.repositories.get(world.actor("ann"), "model", "shop/child")
    told = Teller(hub, ANONYMOUS).rows([Told.at_main(child)], ["baseModels"])[0]
    assert told["baseModels"]["models"] == [{"id": "shop/hidden"}]


def test_public_tags_count_public_repositories_alone(world: World) -> None:
    tag(world.hub, world.repo("shop/a"), "open", "\x1flinked:")
    tag(world.hub, world.repo("shop/b", private=True), "hidden")
    assert world.hub.repositories.public_tags("model") == {"open": 1}


def test_every_property_is_told(world: World) -> None:
    for kind in ("model", "dataset", "space"):
        repo = world.repo("shop/x", kind=kind)
        row = Teller(world.hub, ANONYMOUS).rows(
            [Told.at_main(repo)], [*DETAILS[kind], *EXPANDABLE[kind]]
        )[0]
        assert row["id"] == "shop/x"
