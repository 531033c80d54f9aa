# SPDX-License-Identifier: Apache-2.0
"""A hub with a house full of private things, and every kind of stranger in front of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import select, update

from plait.cli.serve import build_app
from plait.hub import AddBytes, Hub, Repository
from plait.hub.database import Base, Discussion, Job, Token, now
from plait.hub.people.tokens import Grant
from plait.settings import load_settings

HOUSE = "house"
SECRET, GHOST = "veiled-7", "absent-7"
"""As long as each other: even the lengths of answers must be the same."""
REAL_ID, GHOST_ID = 7001001, 7009009
MARKER = "Zanzibar"
"""A word that stands in everything private and nowhere else."""
KINDS = ("model", "dataset", "space")


@dataclass(frozen=True)
class Stranger:
    """Somebody who may not read what is in the house."""

    name: str
    bearer: str | None = None
    cookie: str | None = None
    valid: bool = True
    """Whether the hub knows who it is."""


@dataclass
class House:
    hub: Hub
    app: FastAPI
    repos: dict[str, Repository]
    strangers: dict[str, Stranger] = field(default_factory=dict)
    real: dict[str, str] = field(default_factory=dict)
    """Names and numbers of private things, by the name of a path's parameter."""
    ghost: dict[str, str] = field(default_factory=dict)
    """The same for what does not exist."""

    def state(self) -> dict[str, Any]:
        """Everything that belongs to the house, to tell whether anything changed."""
        hub = self.hub
        house = hub.accounts.get(HOUSE)
        owner = hub.accounts.get("owner")
        ids = {repo.id for repo in self.repos.values()}
        found: dict[str, Any] = {}
        with hub.session() as session:
            discussions = set(
                session.scalars(select(Discussion.id).where(Discussion.repository_id.in_(ids)))
            )
            belongs = {
                "repository_id": ids,
                "discussion_id": discussions,
                "namespace_id": {house.id, owner.id},
                "organization_id": {house.id},
                "user_id": {owner.id},
            }
            for table in Base.metadata.sorted_tables:
                if table.name in ("audit_entries", "rate_counts"):
                    continue
                for row in session.execute(select(table)).mappings():
                    if any(row.get(column) in values for column, values in belongs.items()):
                        found.setdefault(table.name, []).append(repr(dict(row)))
        for kind, repo in self.repos.items():
            found[f"refs of {kind}"] = [repr(hub.git.refs(repo))]
        return {name: sorted(rows) for name, rows in found.items()}


def build(folder: Path, places: Mapping[str, str]) -> House:
    """Make the hub, what is private in it, and the strangers."""
    unlimited = {
        f"PLAIT_{name}_LIMIT": "0"
        for name in ("LOGIN", "SECRET", "FAILED_TOKEN", "TOKEN", "SEARCH", "WEBHOOK_TEST")
    }
    hub = Hub.open(load_settings(folder, {**places, **unlimited}))
    accounts = hub.accounts
    owner = accounts.create_user("owner", admin=True, email=f"{MARKER}@owner.test")
    house = accounts.create_organization(HOUSE, owner)
    me = hub.accounts.actor_for(owner)
    team = hub.teams.create(me, house, "core")
    made = House(hub, build_app(hub), {})
    for kind in KINDS:
        repo = hub.repositories.create(me, kind, f"{HOUSE}/{SECRET}", True)
        made.repos[kind] = repo
        hub.teams.add_repository(me, team, repo)
        files = [
            AddBytes("README.md", f"---\nlicense: mit\n---\n# {MARKER}\n".encode()),
            AddBytes("data/a.txt", MARKER.encode()),
        ]
        outcome = hub.commits.apply(me, repo, "main", files, f"Add {MARKER}")
        hub.references.create_tag(me, repo, "v1", message=MARKER)
        pull = hub.discussions.create(me, repo, f"{MARKER} plan", MARKER, True)
        if kind == "model":
            event = hub.discussions.events(pull)[0]
            made.real |= {"oid": outcome.oid, "commit": outcome.oid, "event": str(event.id)}
            with hub.session(write=True) as session:
                session.add(
                    Job(id=REAL_ID, kind="merge", repository_id=repo.id, stage=MARKER,
                        discussion_id=pull.id)
                )  # fmt: skip
    collection = hub.collections.create(me, "owner", "Our things", description=MARKER, private=True)
    _name_things(made, collection.slug)
    _invite(made)
    return made


def _name_things(made: House, slug: str) -> None:
    hub = made.hub
    owner = hub.accounts.get("owner")
    with hub.session(write=True) as session:
        session.add(
            Token(id=REAL_ID, user_id=owner.id, name=MARKER, digest="0" * 64, scope="write")
        )
    hook = hub.webhooks.create(
        hub.accounts.actor_for(owner),
        url=f"https://{MARKER.lower()}.example/",
        watched=[{"type": "org", "name": HOUSE}],
        domains=["repo"],
    )
    title = slug.split("/", 1)[1]
    made.real |= {
        "event_id": made.real["event"],
        "title": title,
        "slug": title,
        "webhook_id": hook.public_id,
        "id": hook.public_id,
        "token_id": str(REAL_ID),
        "job": str(REAL_ID),
    }
    made.ghost |= {
        "title": title[:-24] + "f" * 24,
        "slug": title[:-24] + "f" * 24,
        "webhook_id": "f" * 24,
        "id": "f" * 24,
        "token_id": str(GHOST_ID),
        "job": str(GHOST_ID),
    }
    for values, name in ((made.real, SECRET), (made.ghost, GHOST)):
        values |= {"name": name, "repository": name, "number": values["job"]}
    made.ghost = {**made.real, **made.ghost}


def _invite(made: House) -> None:
    hub = made.hub
    accounts, tokens = hub.accounts, hub.tokens
    house = accounts.get(HOUSE)

    def stranger(name: str, scope: Any = "write", **options: Any) -> Stranger:
        user = accounts.create_user(name)
        bearer = tokens.create(user, scope=scope, **options)
        found = tokens.authenticate(bearer)
        assert found is not None
        made.strangers[name] = Stranger(name, bearer, tokens.open_session(found[0]))
        return made.strangers[name]

    def spoil(name: str) -> None:
        known = made.strangers[name]
        made.strangers[name] = Stranger(name, known.bearer, known.cookie, valid=False)

    made.strangers["nobody"] = Stranger("nobody", valid=False)
    stranger("writer")
    stranger("reader", "read")
    stranger("contributor", "contributor")
    own = accounts.create_user("elsewhere-owner")
    elsewhere = hub.repositories.create(
        accounts.actor_for(own), "model", "elsewhere-owner/open", False
    )
    stranger("elsewhere", "fine-grained", grants=[Grant("write", repository=elsewhere)])
    stranger("granted", "fine-grained", grants=[
        *(Grant("write", repository=repo) for repo in made.repos.values()),
        Grant("write", namespace=house),
    ])  # fmt: skip
    # In the house, but not in the team whose repositories these are.
    stranger("member")
    accounts.add_member(house, accounts.get("member"), "write")
    stranger("left")
    accounts.add_member(house, accounts.get("left"), "admin")
    accounts.remove_member(house, accounts.get("left"))
    stranger("revoked")
    revoked = tokens.authenticate(made.strangers["revoked"].bearer or "")
    assert revoked is not None
    tokens.revoke(revoked[1].id)
    spoil("revoked")
    stranger("disabled")
    accounts.disable(accounts.get("disabled"))
    spoil("disabled")
    _expire(made, stranger("expired"))
    spoil("expired")


def _expire(made: House, stranger: Stranger) -> None:
    found = made.hub.tokens.authenticate(stranger.bearer or "")
    assert found is not None
    with made.hub.session(write=True) as session:
        session.execute(
            update(Token)
            .where(Token.id == found[1].id)
            .values(expires_at=now() - timedelta(seconds=1))
        )


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    module: str

    @property
    def is_page(self) -> bool:
        return self.module.startswith("plait.web")

    @property
    def parameters(self) -> set[str]:
        return {part.split("}")[0].split(":")[0] for part in self.path.split("{")[1:]}


def routes(holder: Any) -> Iterator[Route]:
    """Every route of an application, however its routers are nested."""
    for route in holder.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if hasattr(inner, "routes"):
            yield from routes(inner)
        elif hasattr(route, "methods"):
            for method in sorted(route.methods or ()):
                if method == "HEAD" and "GET" in route.methods:
                    continue
                # What Plait does not have is answered alike for every method.
                if "unsupported" not in route.endpoint.__module__ or method in ("GET", "POST"):
                    yield Route(method, route.path, route.endpoint.__module__)
