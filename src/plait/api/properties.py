# SPDX-License-Identifier: Apache-2.0
"""What is told of a repository, property by property, in the names that the Hub's clients read.

A list asks for the same properties of many repositories: whatever needs the database is read once
for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from plait.api.wire import date, object_id, sibling
from plait.errors import BadInput, PlaitError
from plait.hub import Actor, Hub
from plait.hub.database import Repository
from plait.hub.repositories import facts
from plait.hub.repositories.relations import Relations

BASICS: dict[str, tuple[str, ...]] = {
    "model": (
        "author", "sha", "lastModified", "createdAt", "private", "gated", "disabled", "downloads",
        "likes", "tags", "pipeline_tag", "library_name",
    ),
    "dataset": (
        "author", "sha", "lastModified", "createdAt", "private", "gated", "disabled", "downloads",
        "likes", "tags", "description", "citation",
    ),
    "space": (
        "author", "sha", "lastModified", "createdAt", "private", "gated", "disabled", "likes",
        "tags", "sdk", "subdomain",
    ),
}  # fmt: skip
"""What a list tells of each repository unless it is asked for something else."""
DETAILS: dict[str, tuple[str, ...]] = {
    "model": (
        *BASICS["model"], "cardData", "config", "model-index", "transformersInfo", "siblings",
        "spaces", "safetensors", "gguf", "usedStorage", "mask_token", "widgetData",
    ),
    "dataset": (*BASICS["dataset"], "cardData", "siblings", "usedStorage", "paperswithcode_id"),
    "space": (
        *BASICS["space"], "cardData", "siblings", "usedStorage", "models", "datasets", "runtime",
    ),
}  # fmt: skip
"""What is told of a single repository."""
EXPANDABLE: dict[str, tuple[str, ...]] = {
    "model": (
        "author", "baseModels", "cardData", "childrenModelCount", "config", "createdAt",
        "disabled", "downloads", "downloadsAllTime", "evalResults", "gated", "gguf", "inference",
        "inferenceProviderMapping", "lastModified", "library_name", "likes", "mask_token",
        "model-index", "pipeline_tag", "private", "resourceGroup", "safetensors", "sha",
        "siblings", "spaces", "tags", "transformersInfo", "trendingScore", "usedStorage",
        "widgetData",
    ),
    "dataset": (
        "author", "cardData", "citation", "createdAt", "description", "disabled", "downloads",
        "downloadsAllTime", "gated", "lastModified", "likes", "mainSize", "paperswithcode_id",
        "private", "resourceGroup", "sha", "siblings", "tags", "trendingScore", "usedStorage",
    ),
    "space": (
        "author", "cardData", "createdAt", "datasets", "disabled", "lastModified", "likes",
        "models", "private", "region", "resourceGroup", "runtime", "sdk", "sha", "siblings",
        "subdomain", "tags", "trendingScore", "usedStorage",
    ),
}  # fmt: skip
"""What clients may ask for by name; source: the lists in huggingface_hub's ``hf_api.py``."""
_FORGIVEN = frozenset({"gitalyUid", "xetEnabled"})
"""Properties of the Hub's own that some client may ask for."""


@dataclass
class Told:
    """A repository at a commit, and what is known of it there."""

    repo: Repository
    oid: str | None
    card: dict[str, Any]
    facts: dict[str, Any]
    modified: Any = None
    blobs: bool = False
    """Whether the files come with their sizes and ids."""

    @classmethod
    def at_main(cls, repo: Repository, *, blobs: bool = False) -> Told:
        """Tell what was read when main moved."""
        return cls(repo, repo.head, repo.card, repo.facts, repo.updated_at, blobs)


@dataclass
class Teller:
    """Tells properties of repositories to one caller."""

    hub: Hub
    actor: Actor
    relations: Relations = field(init=False)

    def __post_init__(self) -> None:
        self.relations = Relations(self.hub, self.actor)

    def rows(self, told: Sequence[Told], names: Sequence[str]) -> list[dict[str, Any]]:
        """Return a row a repository with those properties that it has."""
        self.relations.prepare([one.repo for one in told], frozenset(names))
        return [self._row(one, names) for one in told]

    def _row(self, one: Told, names: Sequence[str]) -> dict[str, Any]:
        repo = one.repo
        row: dict[str, Any] = {"_id": object_id(repo), "id": repo.full_name}
        if repo.type == "model":
            row["modelId"] = repo.full_name
        for name in names:
            value = _PROPERTIES[name](self, one)
            if value is not None:
                row[name] = value
        return row

    def siblings(self, one: Told) -> list[dict[str, Any]]:
        """List the files; a repository whose files cannot be read has none to show in a list."""
        if one.oid is None:
            return []
        try:
            if not one.blobs:
                names = facts.Files(self.hub, one.repo, one.oid).names
                return [{"rfilename": name} for name in names]
            entries = self.hub.git.tree(one.repo, one.oid, recursive=True)
        except PlaitError:
            return []
        return [sibling(entry, blobs=True) for entry in entries if entry.type == "file"]


def check_expand(kind: str, names: Sequence[str]) -> list[str]:
    """Return the properties that were asked for by name.

    Raises:
        BadInput: there is no such property; the message lists all, as clients expect it.
    """
    known = EXPANDABLE[kind]
    if any(name not in known and name not in _FORGIVEN for name in names):
        raise BadInput(f'"expand" must be one of [{", ".join(known)}]')
    return [name for name in dict.fromkeys(names) if name in known]


Property = Callable[[Teller, Told], Any]


def _fact(name: str) -> Property:
    return lambda teller, one: one.facts.get(name)


def _card(name: str, kind: type = str) -> Property:
    def told(teller: Teller, one: Told) -> Any:
        value = one.card.get(name)
        return value if isinstance(value, kind) else None

    return told


def _column(name: str) -> Property:
    return lambda teller, one: getattr(one.repo, name)


def _base_models(teller: Teller, one: Told) -> Any:
    names = one.facts.get("base_models") or []
    if not names:
        return None
    return {
        "relation": one.facts.get("relation"),
        "models": [{"id": name, **teller.relations.known_model(name)} for name in names],
    }


def _gguf(teller: Teller, one: Told) -> Any:
    found = one.facts.get("gguf")
    return {k: v for k, v in found.items() if k != "etag"} if isinstance(found, dict) else None


def _config(teller: Teller, one: Told) -> Any:
    return one.facts.get("config") or None


def _nothing(teller: Teller, one: Told) -> Any:
    """Tell nothing: Plait does not serve models, has no regions and runs no evaluations here."""
    return None


_PROPERTIES: dict[str, Property] = {
    "author": lambda teller, one: one.repo.namespace.name,
    "baseModels": _base_models,
    "cardData": lambda teller, one: one.card,
    "childrenModelCount": lambda teller, one: teller.relations.children(one.repo),
    "citation": _fact("citation"),
    "config": _config,
    "createdAt": lambda teller, one: date(one.repo.created_at),
    "datasets": lambda teller, one: one.facts.get("datasets") or [],
    "description": _fact("description"),
    "disabled": _column("disabled"),
    "downloads": _column("downloads"),
    "downloadsAllTime": _column("downloads_all_time"),
    "evalResults": _nothing,
    "gated": lambda teller, one: one.repo.gated or False,
    "gguf": _gguf,
    "inference": _nothing,
    "inferenceProviderMapping": lambda teller, one: {},
    "lastModified": lambda teller, one: date(one.modified or one.repo.updated_at),
    "library_name": _fact("library_name"),
    "likes": _column("likes"),
    "mainSize": _fact("mainSize"),
    "mask_token": _fact("mask_token"),
    "model-index": _card("model-index", list),
    "models": lambda teller, one: one.facts.get("models") or [],
    "paperswithcode_id": _card("paperswithcode_id"),
    "pipeline_tag": _fact("pipeline_tag"),
    "private": _column("private"),
    "region": _nothing,
    "resourceGroup": lambda teller, one: teller.relations.team(one.repo),
    # Plait keeps spaces and does not run them.
    "runtime": lambda teller, one: {"stage": "STOPPED", "hardware": {}, "storage": None},
    "safetensors": _fact("safetensors"),
    "sdk": _fact("sdk"),
    "sha": lambda teller, one: one.oid,
    "siblings": lambda teller, one: teller.siblings(one),
    "spaces": lambda teller, one: teller.relations.spaces(one.repo),
    "subdomain": lambda teller, one: one.repo.full_name.lower().replace("/", "-").replace(".", "-"),
    "tags": lambda teller, one: one.facts.get("tags") or [],
    "transformersInfo": _fact("transformersInfo"),
    "trendingScore": _column("trending"),
    "usedStorage": lambda teller, one: teller.relations.storage(one.repo),
    "widgetData": lambda teller, one: one.card.get("widget"),
}
