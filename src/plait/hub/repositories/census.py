# SPDX-License-Identifier: Apache-2.0
"""How much a hub holds: accounts, repositories, bytes, jobs; for its administrators."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

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
        accounts = _counted(session, Account.kind)
        types = _counted(session, Repository.type)
        jobs = _counted(session, Job.state)
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
            accounts,
            types,
            flags[0],
            flags[1],
            blobs[0],
            int(blobs[1]),
            int(referred or 0),
            xorbs[0],
            int(xorbs[1]),
            jobs,
            disk.total,
            disk.free,
        )


def _counted(session: Session, column: InstrumentedAttribute[str]) -> dict[str, int]:
    rows = session.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in rows}
