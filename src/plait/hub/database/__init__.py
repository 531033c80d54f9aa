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
from plait.hub.database.community import (
    Activity,
    DiscussionLabel,
    DiscussionSubscription,
    Label,
    Notification,
    RepositorySubscription,
)
from plait.hub.database.credits import ContributionCredit
from plait.hub.database.discussions import Discussion, DiscussionEvent
from plait.hub.database.engine import lock_name, make_engine
from plait.hub.database.hidden import HiddenFile, HiddenQuestion
from plait.hub.database.jobs import Job, JobLimit, JobLine, StoredEvaluation
from plait.hub.database.leaderboards import LeaderboardEntry, LeaderboardPair
from plait.hub.database.protection import BranchRule, CommitStatus, Review
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
    "Activity",
    "AuditEntry",
    "Base",
    "Blob",
    "BlobGrant",
    "BranchRule",
    "BrowserSession",
    "Collection",
    "CollectionItem",
    "CommitStatus",
    "ContributionCredit",
    "Delivery",
    "Discussion",
    "DiscussionEvent",
    "DiscussionLabel",
    "DiscussionSubscription",
    "DownloadCount",
    "FileScan",
    "Follow",
    "HiddenFile",
    "HiddenQuestion",
    "Identity",
    "Job",
    "JobLimit",
    "JobLine",
    "Label",
    "LeaderboardEntry",
    "LeaderboardPair",
    "Like",
    "Membership",
    "Notification",
    "OneTimeSecret",
    "PendingScan",
    "RateCount",
    "Repository",
    "RepositoryRedirect",
    "RepositorySubscription",
    "RepositoryTag",
    "Review",
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
