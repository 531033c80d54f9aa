# SPDX-License-Identifier: Apache-2.0
"""A hub with the tiny model, private data sets and people, through the library alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.collaboration import jobs
from plait.collaboration.requests import merge_state, request_merge
from plait.collaboration.worker import Worker
from plait.hub import Actor, AddBytes, AddPointer, Discussion, Hub, Operation, Repository
from plait.lineage import Lineage, parse_lineage
from plait.settings import Settings

from . import tiny

CARD = "---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n# Sentiment\n\nA model.\n"


@dataclass
class Town:
    """One hub: ``commons/sentiment``, and an organisation with a private data set a domain."""

    hub: Hub
    models: Path
    owner: Actor
    members: dict[str, Actor]
    repo: Repository
    pulls: dict[str, Discussion] = field(default_factory=dict)

    def operations(self, folder: Path, repo: Repository | None = None) -> list[Operation]:
        """Upload a folder's large files and return the commit's operations."""
        repo = repo or self.repo
        made: list[Operation] = []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if path.suffix != ".safetensors":
                made.append(AddBytes(name, path.read_bytes()))
                continue
            sha256, size = self.hub.blobs.write(path)
            with self.hub.session(write=True) as session:
                self.hub.grant_blob(session, repo, sha256, size)
            made.append(AddPointer(name, sha256, size))
        return made

    def commit(self, *operations: Operation, repo: Repository | None = None) -> str:
        return self.hub.commits.apply(
            self.owner, repo or self.repo, "main", list(operations), "change", ""
        ).oid

    def propose(
        self, name: str, folder: Path, *more: Operation, parent: str | None = None
    ) -> Discussion:
        outcome = self.hub.commits.apply(
            self.members[name],
            self.repo,
            "main",
            [*self.operations(folder), *more],
            f"Fine-tune on {name}",
            "",
            parent=parent,
            create_pr=True,
        )
        assert outcome.discussion is not None
        self.pulls[name] = outcome.discussion
        return outcome.discussion

    def merge(self, pull: Discussion) -> dict[str, Any]:
        """Ask for a merge, let a worker do it, and return the state."""
        outcome = request_merge(self.hub, self.owner, self.repo, pull)
        assert outcome.job is not None
        self.work()
        return self.state(pull)

    def work(self) -> None:
        worker = Worker(self.hub)
        while worker.run_once():
            pass

    def state(self, pull: Discussion) -> dict[str, Any]:
        fresh = self.hub.discussions.get(self.repo, pull.number)
        return merge_state(self.hub, self.repo, fresh)

    def head(self) -> str:
        return self.hub.git.resolve(self.repo, "main")

    def weights(self, revision: str | None = None) -> str:
        entry = self.hub.git.entry(self.repo, revision or self.head(), "model.safetensors")
        assert entry.lfs is not None
        return entry.lfs.sha256

    def lineage(self) -> Lineage:
        return parse_lineage(self.hub.git.read(self.repo, self.head(), "lineage.json"))

    def said(self, pull: Discussion) -> list[str]:
        events = self.hub.discussions.events(pull)
        return [str(e.data.get("raw", e.data.get("status", ""))) for e in events]

    def log(self) -> str:
        found = jobs.latest(self.hub, max(p.id for p in self.pulls.values()))
        return "\n".join(line.text for line in jobs.lines(self.hub, found.id)) if found else ""


def build_town(
    folder: Path,
    models: Path,
    *,
    project: str | None = None,
    gate: int = 240,
    allow: Sequence[str] = tiny.DOMAINS,
    **settings: Any,
) -> Town:
    """Make a hub in which every domain's data set permits ``commons/sentiment``."""
    hub = Hub.open(replace(Settings(dir=folder), **settings))
    owner = hub.accounts.create_user("ann")
    hub.accounts.create_organization("commons", owner)
    actor = hub.accounts.actor_for(owner)
    repo = hub.repositories.create(actor, "model", "commons/sentiment")
    town = Town(hub, models, actor, {}, repo)
    for name in tiny.DOMAINS:
        user = hub.accounts.create_user(f"{name}-user")
        hub.accounts.create_organization(name, user)
        member = hub.accounts.actor_for(user)
        town.members[name] = member
        data = hub.repositories.create(member, "dataset", f"{name}/texts", private=True)
        texts = folder / "data" / name
        for seed, (split, count) in enumerate((("validation", 60), ("gate", gate)), start=10):
            tiny.write_split(texts, split, tiny.sentences(name, count, seed))
        permits = "evaluation: {allow: [commons/sentiment]}" if name in allow else "gate: {}"
        hub.commits.apply(
            member,
            data,
            "main",
            [*town.operations(texts, data), AddBytes("plait.yaml", permits.encode())],
            "texts",
            "",
        )
    shutil.rmtree(folder / "data")
    town.commit(
        *town.operations(models / "base"),
        AddBytes("README.md", CARD.encode()),
        AddBytes("plait.yaml", (project or tiny.project()).encode()),
    )
    return town
