# SPDX-License-Identifier: Apache-2.0
"""No page asks the database more often because it shows more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from plait.hub import AddBytes, Hub
from plait.hub.database import Like
from plait.settings import load_settings

MANY = 12
PAGES = (
    "/",
    "/search",
    "/models?search=name",
    "/collections",
    "/collections/{collection}",
    "/team",
    "/team?tab=models",
    "/team?tab=members",
    "/ann?tab=likes",
    "/team?tab=followers",
    "/team/name-0/likers",
    "/team/name-0/discussions",
    "/team/name-0/tree/main",
    "/team/name-0/commits/main",
    "/settings/tokens",
    "/settings/sessions",
    "/settings/webhooks",
    "/organizations/team/settings/members",
    "/organizations/team/settings/teams",
    "/organizations/team/settings/audit",
    "/system",
    "/system/users",
    "/system/repositories",
    "/system/jobs",
    "/system/audit",
)


@contextmanager
def counting(hub: Hub) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(hub.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(hub.engine, "before_cursor_execute", note)


def fill(hub: Hub, count: int) -> str:
    """Make a hub with ``count`` of everything; return the slug of a collection."""
    ann = hub.accounts.create_user("ann", admin=True)
    actor = hub.accounts.actor_for(ann)
    team = hub.accounts.create_organization("team", ann)
    actor = hub.accounts.actor_for(ann)
    made = hub.collections.create(actor, "team", "All of it")
    for number in range(count):
        user = hub.accounts.create_user(f"user-{number}")
        hub.accounts.add_member(team, user, "read")
        hub.social.follow(hub.accounts.actor_for(user), "team")
        repo = hub.repositories.create(actor, "model", f"team/name-{number}")
        hub.likes.add(actor, repo)
        hub.collections.add_item(actor, made.slug, "model", f"team/name-{number}")
        hub.collections.create(actor, "team", f"Collection {number}")
        hub.tokens.create(ann, name=f"token {number}")
        hub.teams.create(actor, team, f"team-{number}")
    first = hub.repositories.get(actor, "model", "team/name-0")
    with hub.session(write=True) as session:
        for number in range(count):
            user = hub.accounts.get(f"user-{number}")
            session.add(Like(user_id=user.id, repository_id=first.id))
    for number in range(count):
        hub.commits.apply(
            actor, first, "main", [AddBytes(f"file-{number}.txt", b"x")], f"Add {number}"
        )
        hub.discussions.create(actor, first, f"Discussion {number}")
        hub.commits.apply(
            actor, first, "main", [AddBytes(f"new-{number}.txt", b"y")], f"Propose {number}",
            create_pr=True,
        )  # fmt: skip
    return made.slug


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """How many queries each page takes on a hub with two of everything, and with many."""
    from plait.api import create_api
    from plait.web import add_pages

    found: list[dict[str, int]] = []
    for count in (2, MANY):
        folder = Path(tmp_path_factory.mktemp("queries")) / "hub"
        with Hub.open(load_settings(folder, {})) as hub:
            slug = fill(hub, count)
            app = create_api(hub)
            add_pages(app, hub)
            client = TestClient(app, base_url="http://hub.test", follow_redirects=False)
            token = hub.tokens.create(hub.accounts.get("ann"))
            assert client.post("/login", data={"token": token}).status_code == 303
            taken = {}
            for page in PAGES:
                address = page.format(collection=slug)
                client.get(address)
                with counting(hub) as said:
                    assert client.get(address).status_code == 200, address
                taken[page] = len([one for one in said if one.startswith("SELECT")])
            found.append(taken)
    return {page: (found[0][page], found[1][page]) for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_a_longer_page_takes_no_more_queries(counts: dict[str, tuple[int, int]], page: str) -> None:
    few, many = counts[page]
    assert many <= few and many < 30, (few, many)
