# SPDX-License-Identifier: Apache-2.0
"""What a model was made from, followed across repositories by the hashes of the weights.

A lineage names its base by repository, commit and hash. If the caller may read that repository,
its own lineage is followed in turn. If not, or if it is gone, the same bytes may lie in a
repository that the caller may read (a mirror, a copy), and that one's lineage is followed. What the
caller may not read adds nothing; anybody may have written a lineage, so a circle in it is cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import select

from plait.collaboration.merging.states import state_at
from plait.errors import PlaitError
from plait.hub import Actor, Hub, Repository, can
from plait.hub.database import BlobGrant
from plait.hub.visibility import readable
from plait.lineage import Contribution, Lineage, Origin

MOST = 500
"""Models in one graph."""
MIRRORS = 5
"""Other repositories that are named for one model."""
_CANDIDATES = 20


@dataclass(frozen=True)
class Model:
    """A model that something was made from; the same bytes anywhere are one."""

    id: str
    role: str
    """``base`` or ``contribution``."""
    origin: Origin
    contribution: Contribution | None = None
    home: str | None = None
    """The repository that the lineage names, where the caller may read it."""
    mirrors: tuple[str, ...] = ()
    """Other repositories with the same bytes that the caller may read."""


@dataclass
class Ancestry:
    """Models by id, and who was made from whom."""

    models: dict[str, Model] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    """(what was used, what was made)"""
    whole: bool = True
    """False when there is more than fits."""


def identity(files: Mapping[str, str]) -> str:
    """Return a short name that stands for these bytes."""
    return hashlib.sha256("".join(sorted(files.values())).encode()).hexdigest()[:16]


def trace(hub: Hub, actor: Actor, name: str, lineage: Lineage, *, most: int = MOST) -> Ancestry:
    """Follow a lineage to everything that it was made from.

    Args:
        hub: where.
        actor: who looks.
        name: the repository whose lineage it is.
        lineage: its document.
        most: models at which to stop.
    """
    found = Ancestry()
    waiting = [(identity(lineage.output), name, lineage)]
    done: set[str] = set()
    while waiting:
        made, place, current = waiting.pop(0)
        if made in done:
            continue
        done.add(made)
        base = _add(hub, actor, found, Model(identity(current.base.files), "base", current.base))
        if base is not None:
            _edge(found, base, made)
            waiting += _further(hub, actor, found.models[base])
        for one in current.contributions:
            if len(found.models) >= most:
                found.whole = False
                break
            origin = Origin(place, one.revision, one.files)
            ident = _add(hub, actor, found, Model(identity(one.files), "contribution", origin, one))
            if ident is None:
                continue
            _edge(found, ident, made)
            own = one.base or current.base
            source = _add(hub, actor, found, Model(identity(own.files), "base", own))
            if source is not None:
                _edge(found, source, ident)
        if len(found.models) >= most:
            found.whole = False
            break
    return found


def merged_from(lineage: Lineage) -> Ancestry:
    """Return the base and contributions of one lineage alone, followed no further."""
    found = Ancestry()
    base, made = identity(lineage.base.files), identity(lineage.output)
    found.models[base] = Model(base, "base", lineage.base)
    _edge(found, base, made)
    for one in lineage.contributions:
        # One that only removes files is known by its commit.
        ident = identity(one.files or {"": one.revision})
        origin = Origin(lineage.base.repository, one.revision, one.files)
        found.models[ident] = Model(ident, "contribution", origin, one)
        _edge(found, ident, made)
        _edge(found, base, ident)
    return found


def _add(hub: Hub, actor: Actor, found: Ancestry, model: Model) -> str | None:
    """Take a model in with the places that the caller may know of."""
    if model.id not in found.models:
        home = _readable(hub, actor, model.origin.repository)
        mirrors = () if model.role == "contribution" else _mirrors(hub, actor, model.origin)
        found.models[model.id] = Model(
            model.id,
            model.role,
            model.origin,
            model.contribution,
            home.full_name if home is not None else None,
            tuple(repo.full_name for repo in mirrors),
        )
    return model.id


def _edge(found: Ancestry, source: str, target: str) -> None:
    if (source, target) not in found.edges and not _made_from(found, source, target):
        found.edges.append((source, target))


def _made_from(found: Ancestry, made: str, source: str) -> bool:
    """Tell whether one model was made from the other, over any number of steps, or is it."""
    used: dict[str, list[str]] = {}
    for one, other in found.edges:
        used.setdefault(other, []).append(one)
    seen, waiting = {made}, [made]
    while waiting:
        for one in used.get(waiting.pop(), ()):
            if one not in seen:
                seen.add(one)
                waiting.append(one)
    return source in seen


def _further(hub: Hub, actor: Actor, model: Model) -> list[tuple[str, str, Lineage]]:
    """Return the lineage of a model that was itself fused, from wherever it may be read."""
    home = _readable(hub, actor, model.origin.repository)
    places = [] if home is None else [(home, model.origin.revision)]
    for repo in _mirrors(hub, actor, model.origin):
        head = hub.git.head(repo)
        if head is not None:
            places.append((repo, head))
    for repo, revision in places:
        try:
            lineage = state_at(hub, repo, revision).fused
        except PlaitError:
            continue
        if lineage is not None and identity(lineage.output) == model.id:
            return [(model.id, repo.full_name, lineage)]
    return []


def _readable(hub: Hub, actor: Actor, name: str) -> Repository | None:
    repo = hub.repositories.find("model", name)
    return repo if repo is not None and can(actor, "repo.files", repo) else None


def _mirrors(hub: Hub, actor: Actor, origin: Origin) -> list[Repository]:
    """Return other repositories whose main has all of a model's files, by hash."""
    hashes = sorted(set(origin.files.values()))
    if not hashes:
        return []
    with hub.session() as session:
        found = session.scalars(
            select(Repository)
            .join(BlobGrant, BlobGrant.repository_id == Repository.id)
            .where(BlobGrant.sha256 == hashes[0], Repository.type == "model", readable(actor))
            .order_by(Repository.id)
            .limit(_CANDIDATES)
        ).all()
    same: list[Repository] = []
    for repo in found:
        if len(same) >= MIRRORS:
            break
        if repo.full_name == origin.repository or not can(actor, "repo.files", repo):
            continue
        head = hub.git.head(repo)
        held = state_at(hub, repo, head).weights.files.values() if head is not None else ()
        if set(hashes) <= set(held):
            same.append(repo)
    return same
