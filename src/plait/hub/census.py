# SPDX-License-Identifier: Apache-2.0
"""How much a hub holds: accounts, repositories, bytes, jobs; for its administrators."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from plait.errors import Forbidden
from plait.hub.database import Account, Blob, BlobGrant, Job, Repository, Xorb
from plait.hub.permissions import Actor, can

if TYPE_CHECKING:
    from plait.hub.facade import Hub


@dataclass(frozen=True)
class Census:
    """Counts and sizes of one hub at one moment."""

    accounts: Mapping[str, int]
    """By kind."""
    repositories: Mapping[str, int]
    """By type."""
    private: int
    disabled: int
    blobs: int
    blob_bytes: int
    """Of all large files, each counted once."""
    referred_bytes: int
    """Of all large files as repositories refer to them: what would be kept without sharing."""
    xorbs: int
    xorb_bytes: int
    jobs: Mapping[str, int]
    """By state."""
    disk_total: int
    disk_free: int
    """Bytes of the disk under the hub's folder."""


def take(hub: Hub, actor: Actor) -> Census:
    """Count what the hub holds.

    Raises:
        Forbidden: the actor does not administer the hub.
    """
    if not can(actor, "hub.admin"):
        raise Forbidden("This is for the hub's administrators.")
    size, xorb_size = func.coalesce(func.sum(Blob.size), 0), func.coalesce(func.sum(Xorb.size), 0)
    with hub.session() as session:
        accounts = session.execute(select(Account.kind, func.count()).group_by(Account.kind))
        types = session.execute(select(Repository.type, func.count()).group_by(Repository.type))
        jobs = session.execute(select(Job.state, func.count()).group_by(Job.state))
        flags = session.execute(
            select(
                func.count().filter(Repository.private), func.count().filter(Repository.disabled)
            )
        ).one()
        blobs = session.execute(select(func.count(Blob.sha256), size)).one()
        xorbs = session.execute(select(func.count(Xorb.hash), xorb_size)).one()
        referred = session.scalar(select(size).join(BlobGrant, BlobGrant.sha256 == Blob.sha256))
        disk = shutil.disk_usage(hub.settings.dir)
        return Census(
            {kind: number for kind, number in accounts},
            {kind: number for kind, number in types},
            flags[0],
            flags[1],
            blobs[0],
            int(blobs[1]),
            int(referred or 0),
            xorbs[0],
            int(xorbs[1]),
            {state: number for state, number in jobs},
            disk.total,
            disk.free,
        )
