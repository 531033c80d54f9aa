# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest

from plait.errors import BadInput, Conflict, EntryNotFound, Forbidden, RepositoryNotFound
from plait.hub import ANONYMOUS, SYSTEM, AddBytes, Hub, can
from plait.hub.permissions import ROLES

from ..conftest import World


def test_a_new_repository_has_one_commit(world: World) -> None:
    repo = world.repo("shop/model", private=True)
    assert repo.full_name == "shop/model"
    assert repo.head == world.hub.git.resolve(repo)
    assert [e.path for e in world.hub.git.tree(repo, repo.head)] == [".gitattributes"]


def test_types_have_names_of_their_own_and_case_does_not_tell_names_apart(world: World) -> None:
    model, data = world.repo("shop/x"), world.repo("shop/x", kind="dataset")
    assert model.id != data.id
    with pytest.raises(Conflict, match="shop/X"):
        world.repo("shop/X")
    found = world.hub.repositories.get(ANONYMOUS, "model", "SHOP/X")
    assert found.full_name == "shop/x"


@pytest.mark.parametrize(
    ("kind", "name"), [("bucket", "shop/x"), ("model", "x"), ("model", "shop/../y"), ("model", "")]
)
def test_names_and_types_that_are_refused(world: World, kind: str, name: str) -> None:
    with pytest.raises(BadInput):
        world.hub.repositories.create(world.actor("ann"), kind, name)


def test_who_may_create_where(world: World) -> None:
    create = world.hub.repositories.create
    create(world.actor("bob"), "model", "bob/mine")
    for actor, name in (
        (world.actor("bob"), "shop/x"),
        (world.actor("bob"), "ann/x"),
        (world.actor("bob"), "nobody/x"),
        (world.actor("ann", "read"), "shop/x"),
        (ANONYMOUS, "shop/x"),
    ):
        with pytest.raises(Forbidden):
            create(actor, "model", name)


def test_a_failed_creation_leaves_nothing_to_see(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError("disk on fire")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="fire"):
        patch.setattr(world.hub.git, "create", fail)
        world.repo("shop/x")
    assert world.hub.repositories.find("model", "shop/x") is None
    assert world.repo("shop/x").full_name == "shop/x"


def test_a_private_repository_does_not_exist_for_others(world: World) -> None:
    world.repo("shop/secret", private=True)
    get = world.hub.repositories.get
    messages = set()
    for actor in (ANONYMOUS, world.actor("bob"), world.actor("bob", "read")):
        with pytest.raises(RepositoryNotFound) as hidden:
            get(actor, "model", "shop/secret", "repo.write")
        with pytest.raises(RepositoryNotFound) as absent:
            get(actor, "model", "shop/absent", "repo.write")
        messages |= {
            hidden.value.message.replace("secret", "?"),
            absent.value.message.replace("absent", "?"),
        }
    assert len(messages) == 1
    assert get(world.actor("ann", "read"), "model", "shop/secret").private


def test_what_is_readable_but_not_writable_is_forbidden(world: World) -> None:
    world.repo("shop/open")
    with pytest.raises(Forbidden, match="pull request"):
        world.hub.repositories.get(world.actor("bob"), "model", "shop/open", "repo.write")
    with pytest.raises(Forbidden, match="scope 'write'"):
        world.hub.repositories.get(world.actor("ann", "read"), "model", "shop/open", "repo.write")
    with pytest.raises(Forbidden, match="Use a token"):
        world.hub.repositories.get(ANONYMOUS, "model", "shop/open", "repo.write")


def names(hub: Hub, *args: object, **options: object) -> list[str]:
    page = hub.repositories.list(*args, **options)  # type: ignore[arg-type]
    return [repo.full_name for repo in page.items]


def test_lists_hold_only_what_may_be_read(world: World) -> None:
    world.repo("shop/open")
    world.repo("shop/secret", private=True)
    world.repo("ann/diary", private=True)
    everything = {"shop/open", "shop/secret", "ann/diary"}
    assert names(world.hub, ANONYMOUS) == ["shop/open"]
    assert names(world.hub, world.actor("bob")) == ["shop/open"]
    assert names(world.hub, world.actor("bob"), search="secret") == []
    assert names(world.hub, world.actor("bob"), namespace="ann") == []
    assert set(names(world.hub, world.actor("ann", "read"))) == everything
    assert set(names(world.hub, SYSTEM)) == everything
    world.hub.accounts.add_member(world.accounts["shop"], world.accounts["bob"], "read")
    assert set(names(world.hub, world.actor("bob"))) == {"shop/open", "shop/secret"}
    assert set(names(world.hub, world.add("root", admin=True))) == everything


def test_lists_and_the_one_rule_agree(world: World) -> None:
    hub, shop, rng = world.hub, world.accounts["shop"], random.Random(3)
    repos = [
        world.repo(f"{owner}/r{n}", private=bool(n % 2), kind=rng.choice(["model", "dataset"]))
        for n, owner in enumerate(["shop", "shop", "ann", "ann"])
    ]
    actors = [ANONYMOUS, SYSTEM, world.add("root", admin=True)]
    for role in ROLES:
        actors.append(world.add(f"{role}-er"))
        hub.accounts.add_member(shop, world.accounts[f"{role}-er"], role)
    for name in ("ann", "bob", *(f"{role}-er" for role in ROLES)):
        for scope in ("none", "read", "write"):
            actors.append(hub.accounts.actor_for(world.accounts[name], scope))  # type: ignore[arg-type]
    for actor in actors:
        expected = {r.full_name for r in repos if can(actor, "repo.read", r)}
        assert set(names(hub, actor)) == expected, actor


def test_lists_are_filtered(world: World) -> None:
    for name in ("shop/Sentiment-base", "shop/other", "ann/sentiment"):
        world.repo(name)
    world.repo("shop/reviews", kind="dataset")
    assert names(world.hub, ANONYMOUS, "dataset") == ["shop/reviews"]
    assert names(world.hub, ANONYMOUS, search="SENTIMENT", sort="name") == [
        "ann/sentiment",
        "shop/Sentiment-base",
    ]
    assert names(world.hub, ANONYMOUS, search="shop/sent") == ["shop/Sentiment-base"]
    assert names(world.hub, ANONYMOUS, search="%") == []
    assert names(world.hub, ANONYMOUS, namespace="ANN") == ["ann/sentiment"]


@pytest.mark.parametrize("sort", ["updated", "created", "name"])
def test_pages_join_to_the_whole_list(world: World, sort: str) -> None:
    made = {world.repo(f"shop/m{n}").full_name for n in range(7)}
    seen: list[str] = []
    cursor = None
    while True:
        page = world.hub.repositories.list(ANONYMOUS, limit=3, sort=sort, cursor=cursor)  # type: ignore[arg-type]
        seen += [repo.full_name for repo in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(seen) == 7
    assert set(seen) == made
    assert seen == (sorted(made) if sort == "name" else sorted(made, reverse=True))


@pytest.mark.parametrize(
    "cursor", ["x", "e30", "WzEsMl0", "WyJ4IiwxXQ", "é", "WyIyMDI2LTAxLTAxIiwxXQ"]
)
def test_strange_cursors_are_refused(world: World, cursor: str) -> None:
    with pytest.raises(BadInput, match="cursor"):
        world.hub.repositories.list(ANONYMOUS, cursor=cursor)


def test_the_card_is_kept_for_lists_and_found_by_its_tags(world: World) -> None:
    repo, ann = world.repo(), world.actor("ann")
    card = "---\nlicense: mit\ntags: [sentiment]\nlanguage: [no, en]\nbase_model: a/b\n---\nHi"
    world.hub.commits.apply(ann, repo, "main", [AddBytes("README.md", card.encode())], "card")
    found = world.hub.repositories.get(ANONYMOUS, "model", "shop/model")
    assert found.card["language"] == ["no", "en"]
    assert found.head == world.hub.git.resolve(repo)
    for tags in (["license:mit"], ["sentiment", "no"], ["base_model:a/b"]):
        assert names(world.hub, ANONYMOUS, tags=tags) == ["shop/model"]
    assert names(world.hub, ANONYMOUS, tags=["sentiment", "license:gpl"]) == []
    world.hub.commits.apply(ann, repo, "main", [AddBytes("README.md", b"---\n[\n---")], "broken")
    assert world.hub.repositories.get(ANONYMOUS, "model", "shop/model").card == {}
    assert names(world.hub, ANONYMOUS, tags=["sentiment"]) == []


def test_making_private_and_moving(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    assert hub.repositories.update(ann, repo, private=True).private
    with pytest.raises(RepositoryNotFound):
        hub.repositories.get(ANONYMOUS, "model", "shop/model")
    with pytest.raises(RepositoryNotFound):
        hub.repositories.update(world.actor("bob"), hub.repositories.by_id(repo.id) or repo)
    moved = hub.repositories.move(ann, repo, "ann/renamed")
    assert moved.full_name == "ann/renamed"
    assert hub.git.resolve(moved) == repo.head
    world.repo("ann/taken")
    with pytest.raises(Conflict):
        hub.repositories.move(ann, moved, "ann/taken")
    with pytest.raises(Forbidden):
        hub.repositories.move(ann, moved, "bob/mine")
    with pytest.raises(BadInput):
        hub.repositories.move(ann, moved, "ann/..")


def test_deleting_removes_it_for_good_and_its_id_never_returns(world: World) -> None:
    hub, repo = world.hub, world.repo()
    with pytest.raises(Forbidden):
        hub.repositories.delete(world.actor("bob"), repo)
    hub.repositories.delete(world.actor("ann"), repo)
    assert hub.repositories.find("model", "shop/model") is None
    assert not hub.git.path(repo).exists()
    again = world.repo()
    assert again.id > repo.id
    with pytest.raises(EntryNotFound):
        hub.git.entry(again, hub.git.resolve(again), "README.md")
