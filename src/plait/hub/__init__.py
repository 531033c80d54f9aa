# SPDX-License-Identifier: Apache-2.0
"""The hub: repositories, commits, blobs, accounts and permissions. It knows nothing of tensors."""

from __future__ import annotations

from plait.hub.database import Account, Discussion, DiscussionEvent, Repository, Token
from plait.hub.facade import Hub
from plait.hub.git.commits import CommitOutcome, OpenFile
from plait.hub.git.operations import (
    AddBytes,
    AddPointer,
    AddSpooled,
    CopyFile,
    Delete,
    DeleteFolder,
    Operation,
)
from plait.hub.git.pointers import Pointer
from plait.hub.git.store import Author, Change, CommitInfo, Ref, Refs, TreeEntry
from plait.hub.permissions import ANONYMOUS, SYSTEM, Actor, can
from plait.hub.repositories.service import Page

__all__ = [
    "ANONYMOUS",
    "SYSTEM",
    "Account",
    "Actor",
    "AddBytes",
    "AddPointer",
    "AddSpooled",
    "Author",
    "Change",
    "CommitInfo",
    "CommitOutcome",
    "CopyFile",
    "Delete",
    "DeleteFolder",
    "Discussion",
    "DiscussionEvent",
    "Hub",
    "OpenFile",
    "Operation",
    "Page",
    "Pointer",
    "Ref",
    "Refs",
    "Repository",
    "Token",
    "TreeEntry",
    "can",
]
