# SPDX-License-Identifier: Apache-2.0
"""A hub in a folder of its own, with a few people in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from plait.hub import Account, Actor, Hub, Repository
from plait.hub.database import Blob
from plait.settings import load_settings

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """``ann`` is admin of ``shop``, ``bob`` belongs nowhere, ``eve`` neither."""

    hub: Hub
    accounts: dict[str, Account]

    def actor(self, name: str, scope: str = "write") -> Actor:
        token = self.hub.tokens.create(self.accounts[name], scope=scope)  # type: ignore[arg-type]
        found = self.hub.tokens.authenticate(token)
        assert found is not None
        return found[0]

    def add(self, name: str, *, admin: bool = False) -> Actor:
        self.accounts[name] = self.hub.accounts.create_user(name, admin=admin)
        return self.actor(name)

    def repo(
        self, name: str = "shop/model", *, private: bool = False, kind: str = "model"
    ) -> Repository:
        return self.hub.repositories.create(self.actor("ann"), kind, name, private)

    def blob(self, repo: Repository, data: bytes) -> str:
        sha256, _ = self.hub.blobs.write([data])
        with self.hub.session(write=True) as session:
            self.hub.grant_blob(session, repo, sha256)
        return sha256

    def age(self, *names: str) -> None:
        """Make blobs look as if nobody had touched them since long ago."""
        with self.hub.session(write=True) as session:
            session.execute(update(Blob).where(Blob.sha256.in_(names)).values(touched_at=LONG_AGO))

    def age_object(self, name: str) -> None:
        """Make an object of the store look old, where the store is a folder."""
        path = self.hub.store.local_path(name)
        assert path is not None
        os.utime(path, (1, 1))


@pytest.fixture(scope="session")
def empty_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's folder with nobody in it, made once: migrating takes longer than copying."""
    folder = tmp_path_factory.mktemp("empty") / "hub"
    Hub.open(load_settings(folder, {})).close()
    return folder


@pytest.fixture
def hub(tmp_path: Path, empty_hub: Path, places: dict[str, str]) -> Iterator[Hub]:
    shutil.copytree(empty_hub, tmp_path / "hub")
    with Hub.open(load_settings(tmp_path / "hub", places)) as opened:
        yield opened


@pytest.fixture
def in_a_folder(places: dict[str, str]) -> None:
    """Skip where the hub is not SQLite and a folder, whose files a test damages by hand."""
    if places:
        pytest.skip("the test takes files of SQLite and of the hub's folder into its own hands")


@pytest.fixture
def world(hub: Hub) -> World:
    people = {name: hub.accounts.create_user(name) for name in ("ann", "bob", "eve")}
    people["shop"] = hub.accounts.create_organization("shop", people["ann"])
    return World(hub, people)
