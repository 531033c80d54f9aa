# SPDX-License-Identifier: Apache-2.0
"""The relational half of the store; one module a group of tables."""

from __future__ import annotations

from plait.hub.database.accounts import (
    Account,
    BrowserSession,
    Identity,
    Membership,
    OneTimeSecret,
    RateCount,
    Team,
    TeamMember,
    Token,
    TokenGrant,
)
from plait.hub.database.base import Base, UtcDateTime, now
from plait.hub.database.discussions import Discussion, DiscussionEvent
from plait.hub.database.engine import lock_name, make_engine
from plait.hub.database.jobs import Job, JobLine, StoredEvaluation
from plait.hub.database.records import AuditEntry, Delivery, Webhook, WebhookWatch
from plait.hub.database.repositories import (
    AccessRequest,
    Collection,
    CollectionItem,
    DownloadCount,
    Follow,
    Like,
    Repository,
    RepositoryRedirect,
    RepositoryTag,
)
from plait.hub.database.storage import (
    Blob,
    BlobGrant,
    FileScan,
    PendingScan,
    XetFile,
    XetFileXorb,
    Xorb,
    XorbOwner,
)

__all__ = [
    "AccessRequest",
    "Account",
    "AuditEntry",
    "Base",
    "Blob",
    "BlobGrant",
    "BrowserSession",
    "Collection",
    "CollectionItem",
    "Delivery",
    "Discussion",
    "DiscussionEvent",
    "DownloadCount",
    "FileScan",
    "Follow",
    "Identity",
    "Job",
    "JobLine",
    "Like",
    "Membership",
    "OneTimeSecret",
    "PendingScan",
    "RateCount",
    "Repository",
    "RepositoryRedirect",
    "RepositoryTag",
    "StoredEvaluation",
    "Team",
    "TeamMember",
    "Token",
    "TokenGrant",
    "UtcDateTime",
    "Webhook",
    "WebhookWatch",
    "XetFile",
    "XetFileXorb",
    "Xorb",
    "XorbOwner",
    "lock_name",
    "make_engine",
    "now",
]
