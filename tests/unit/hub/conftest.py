# SPDX-License-Identifier: Apache-2.0
"""A hub in a folder of its own, with a few people in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plait.hub import Account, Actor, Hub, Repository
from plait.settings import load_settings


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


@pytest.fixture(scope="session")
def empty_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's folder with nobody in it, made once: migrating takes longer than copying."""
    folder = tmp_path_factory.mktemp("empty") / "hub"
    Hub.open(load_settings(folder, {})).close()
    return folder


@pytest.fixture
def hub(tmp_path: Path, empty_hub: Path) -> Iterator[Hub]:
    shutil.copytree(empty_hub, tmp_path / "hub")
    with Hub.open(load_settings(tmp_path / "hub", {})) as opened:
        yield opened


@pytest.fixture
def world(hub: Hub) -> World:
    people = {name: hub.accounts.create_user(name) for name in ("ann", "bob", "eve")}
    people["shop"] = hub.accounts.create_organization("shop", people["ann"])
    return World(hub, people)
