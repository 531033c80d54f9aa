# SPDX-License-Identifier: Apache-2.0
"""A hub with an organisation, a model repository and three kinds of people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plait.hub import Actor, AddBytes, Discussion, Hub, Operation, Repository
from plait.settings import Settings

CARD = "---\nlicense: apache-2.0\ntags: [merging]\n---\n# A model\n\nOne.\n\nTwo.\n\nThree.\n"


@dataclass
class Place:
    hub: Hub
    owner: Actor
    stranger: Actor
    repo: Repository

    def write(
        self, *operations: Operation, title: str = "change", actor: Actor | None = None
    ) -> str:
        return self.hub.commits.apply(
            actor or self.owner, self.repo, "main", list(operations), title, ""
        ).oid

    def propose(
        self, *operations: Operation, title: str = "proposal", actor: Actor | None = None
    ) -> Discussion:
        outcome = self.hub.commits.apply(
            actor or self.stranger,
            self.repo,
            "main",
            list(operations),
            title,
            "",
            create_pr=True,
        )
        assert outcome.discussion is not None
        return outcome.discussion

    def read(self, path: str, revision: str = "main") -> str:
        oid = self.hub.git.resolve(self.repo, revision)
        return self.hub.git.read(self.repo, oid, path).decode()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub.open(Settings(dir=tmp_path / "hub")) as opened:
        yield opened


@pytest.fixture
def place(hub: Hub) -> Place:
    owner = hub.accounts.create_user("ann")
    stranger = hub.accounts.create_user("bob")
    hub.accounts.create_organization("commons", owner)
    actor = hub.accounts.actor_for(owner)
    repo = hub.repositories.create(actor, "model", "commons/sentiment")
    found = Place(hub, actor, hub.accounts.actor_for(stranger), repo)
    found.write(AddBytes("README.md", CARD.encode()), AddBytes("notes.txt", b"a\nb\nc\nd\ne\n"))
    return found
