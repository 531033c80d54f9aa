# SPDX-License-Identifier: Apache-2.0
"""Whatever is listed, the number of queries does not grow with the length of the list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from plait.cli.serve import build_app
from plait.hub import AddBytes, AddPointer, Hub
from plait.hub.permissions import Actor
from plait.settings import load_settings

FEW, MANY = 3, 25

ROUTES = (
    "/api/models",
    "/api/models?full=true&cardData=true&config=true",
    "/api/models?search=model&filter=mit&sort=likes",
    "/api/models?expand=usedStorage&expand=spaces&expand=childrenModelCount&expand=baseModels",
    "/api/models?expand=safetensors&expand=resourceGroup",
    "/api/datasets",
    "/api/spaces?full=true",
    "/api/models-tags-by-type",
    "/api/models/ann/model-0",
    "/api/models/ann/model-0?blobs=true&securityStatus=true",
    "/api/models/ann/model-0/tree/main?recursive=true",
    "/api/models/ann/model-0/tree/main?recursive=true&expand=true",
    "/api/models/ann/model-0/commits/main",
    "/api/models/ann/model-0/refs?include_prs=1",
    "/api/models/ann/model-0/lfs-files",
    "/api/models/ann/model-0/discussions",
    "/api/models/ann/model-0/discussions/1?diff=1",
    "/api/models/ann/model-0/likers",
    "/api/models/ann/gated/user-access-request/pending",
    "/api/users/ann/likes",
    "/api/users/ann/overview",
    "/api/organizations/shop/overview",
    "/api/organizations/shop/members",
    "/api/collections?owner=ann",
    "/api/settings/repositories",
    "/api/settings/webhooks",
    "/",
    "/models",
    "/datasets",
    "/ann",
    "/shop",
    "/ann/model-0",
    "/ann/model-0/tree/main",
    "/ann/model-0/commits/main",
    "/ann/model-0/discussions",
    "/ann/model-0/discussions/1",
    "/collections",
)


class Town:
    """A hub in which there can be few of everything, then many."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.ann = hub.accounts.create_user("ann")
        self.hub.accounts.create_organization("shop", self.ann)
        self.hub.repositories.create(self.actor(), "model", "ann/gated")
        self.hub.repositories.update(
            self.actor(),
            self.hub.repositories.get(self.actor(), "model", "ann/gated"),
            gated="manual",
        )
        self.made = 0

    def actor(self, name: str = "ann") -> Actor:
        found = self.hub.tokens.actor_of(self.hub.accounts.get(name).id, None)
        assert found is not None
        return found

    def grow(self, size: int) -> None:
        """Let there be ``size`` of everything."""
        hub = self.hub
        for number in range(self.made, size):
            ann = self.actor()
            visitor = hub.accounts.create_user(f"visitor-{number}")
            hub.accounts.add_member(hub.accounts.get("shop"), visitor, "read")
            for kind in ("model", "dataset", "space"):
                hub.repositories.create(ann, kind, f"ann/{kind}-{number}")
            repo = hub.repositories.get(ann, "model", f"ann/model-{number}")
            card = f"---\nlicense: mit\nbase_model: ann/model-{number // 2}\n---\n# Card\n"
            hub.commits.apply(ann, repo, "main", [AddBytes("README.md", card.encode())], "Card")
            first = hub.repositories.get(ann, "model", "ann/model-0")
            sha256, _ = hub.blobs.write([b"%d" % number * 100])
            with hub.session(write=True) as session:
                hub.grant_blob(session, first, sha256)
            files = [AddBytes(f"f{number}.txt", b"x"), AddPointer(f"b{number}.bin", sha256)]
            hub.commits.apply(ann, first, "main", files, f"Number {number}")
            talk = hub.discussions.create(ann, first, f"Talk {number}", "text")
            assert talk.number
            one = hub.discussions.get(first, 1)
            hub.discussions.add_comment(self.actor(visitor.name), one, f"Said {number}")
            hub.likes.add(self.actor(visitor.name), first)
            hub.likes.add(ann, repo)
            gated = hub.repositories.get(ann, "model", "ann/gated")
            hub.access.ask(self.actor(visitor.name), gated, {})
            shelf = hub.collections.create(ann, "ann", f"Shelf {number}")
            hub.collections.add_item(ann, shelf.slug, "model", repo.full_name)
        self.made = size


@contextmanager
def counted(hub: Hub) -> Iterator[list[str]]:
    """Collect the statements that are sent to the database."""
    seen: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        seen.append(" ".join(statement.split()))

    event.listen(hub.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(hub.engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def counts(
    tmp_path_factory: pytest.TempPathFactory, backend: Any
) -> Iterator[dict[str, tuple[list[str], list[str]]]]:
    """The statements of each route with few of everything, and with many."""
    folder = tmp_path_factory.mktemp("counted") / "hub"
    with backend.fresh() as places:
        settings = load_settings(folder, {**places, "PLAIT_BACKGROUND": "0"})
        with Hub.open(settings) as hub:
            town = Town(hub)
            headers = {"Authorization": f"Bearer {hub.tokens.create(town.ann)}"}
            found: dict[int, dict[str, list[str]]] = {}
            with TestClient(build_app(hub), headers=headers) as client:
                for size in (FEW, MANY):
                    town.grow(size)
                    found[size] = {}
                    for route in ROUTES:
                        client.get(route)  # what is kept from one request to the next is there
                        with counted(hub) as seen:
                            answer = client.get(route)
                        assert answer.status_code == 200, (route, answer.text[:300])
                        found[size][route] = list(seen)
        yield {route: (found[FEW][route], found[MANY][route]) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES)
def test_queries_do_not_grow_with_the_list(
    counts: dict[str, tuple[list[str], list[str]]], route: str
) -> None:
    few, many = counts[route]
    assert len(many) <= len(few), "\n".join(sorted(many))
    assert len(many) <= 40
