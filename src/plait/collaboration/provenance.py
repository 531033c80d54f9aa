# SPDX-License-Identifier: Apache-2.0
"""What a data set was made from: its base, and every pull request merged since, by hash.

A data set keeps no document of this: its rows, statements and texts are merged one pull request
after the other, and git has every side of every merge. So the lineage is read from the merges on
the first parents of a revision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from sqlalchemy import select

from plait.collaboration.merging.changes import CARD, Sides, files
from plait.collaboration.merging.statements import describe_contribution
from plait.errors import EntryNotFound
from plait.hub import Hub, Repository
from plait.hub.database import Discussion
from plait.hub.git.store import TreeEntry
from plait.lineage import FILE, Contribution, Lineage, Origin, parse_lineage

MOST_COMMITS = 2_000
"""Commits that are looked through for merges."""
MOST_MERGES = 500
MOST_FILES = 1_000
"""Files of one version that are named, in the order of their paths."""
METHOD = "by kind of file"
_LEFT_OUT = frozenset({CARD, ".gitattributes", ".gitignore"})


def lineage_at(hub: Hub, repo: Repository, oid: str) -> Lineage | None:
    """Return what a revision was made from; None where nothing was merged into it.

    A model's stands in its ``lineage.json``, a data set's in its merges; a space has none.

    Raises:
        BadInput: somebody wrote a ``lineage.json`` that is none.
    """
    if repo.type == "dataset":
        return data_lineage(hub, repo, oid)
    try:
        return parse_lineage(hub.git.read(repo, oid, FILE)) if repo.type == "model" else None
    except EntryNotFound:
        return None


def data_lineage(hub: Hub, repo: Repository, oid: str) -> Lineage | None:
    """Return what a revision was merged from; None where no pull request was merged into it.

    What was committed without a pull request after the first merge is part of the output alone.
    """
    merges = _merges(hub, repo, oid)
    if not merges:
        return None
    with hub.session() as session:
        found = session.scalars(
            select(Discussion).where(
                Discussion.repository_id == repo.id,
                Discussion.merge_commit.in_([merge for merge, _, _ in merges]),
            )
        )
        numbers = {one.merge_commit: one.number for one in found}
    contributions = []
    for merge, main, head in merges:
        fork = hub.git.merge_base(repo, main, head)
        if merge not in numbers or fork is None:
            continue
        sides = Sides(hub, repo, fork, main, head)
        brought = _hashes(hub, repo, head, sides.at_head, sides.changed())
        discussion = hub.discussions.get(repo, numbers[merge])
        contributions.append(describe_contribution(sides, discussion, brought))
    if not contributions:
        return None
    first = merges[-1][1]
    return Lineage(
        base=Origin(repo.full_name, first, _all(hub, repo, first)),
        contributions=tuple(_distinct(reversed(contributions))),
        recipe={"merge_method": METHOD},
        output=_all(hub, repo, oid),
        created=_moment(hub, repo, merges[0][0]),
    )


def _merges(hub: Hub, repo: Repository, oid: str) -> list[tuple[str, str, str]]:
    """Return the merges along the first parents, newest first: itself, main, what was merged."""
    found: list[tuple[str, str, str]] = []
    at: str | None = oid
    for _ in range(MOST_COMMITS):
        if at is None or len(found) >= MOST_MERGES:
            break
        parents = hub.git.commit_info(repo, at).parents
        if len(parents) == 2:
            found.append((at, parents[0], parents[1]))
        at = parents[0] if parents else None
    return found


def _distinct(contributions: Iterable[Contribution]) -> list[Contribution]:
    kept: dict[int, Contribution] = {}
    for one in contributions:
        kept.setdefault(one.number, one)
    return list(kept.values())


def _all(hub: Hub, repo: Repository, oid: str) -> dict[str, str]:
    entries = files(hub, repo, oid)
    return _hashes(hub, repo, oid, entries, entries)


def _hashes(
    hub: Hub, repo: Repository, oid: str, entries: Mapping[str, TreeEntry], paths: Iterable[str]
) -> dict[str, str]:
    """Return the SHA-256 of files' own bytes, without the card."""
    found = {}
    for path in sorted(path for path in paths if path in entries and path not in _LEFT_OUT):
        pointer = entries[path].lfs
        found[path] = (
            pointer.sha256
            if pointer is not None
            else hashlib.sha256(hub.git.read(repo, oid, path)).hexdigest()
        )
        if len(found) >= MOST_FILES:
            break
    return found


def _moment(hub: Hub, repo: Repository, oid: str) -> str:
    date = hub.git.commit_info(repo, oid).date
    return date.replace(microsecond=0).isoformat().replace("+00:00", "Z")
