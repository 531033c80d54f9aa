# SPDX-License-Identifier: Apache-2.0
"""Where large bytes lie: one small interface, a folder or an S3-compatible store behind it."""

from __future__ import annotations

from plait.hub.storage.base import CHUNK, ObjectStore, StoredObject, storage_errors, storage_full
from plait.hub.storage.choice import open_store
from plait.hub.storage.disk import DiskStore, sync_folder

__all__ = [
    "CHUNK",
    "DiskStore",
    "ObjectStore",
    "StoredObject",
    "open_store",
    "storage_errors",
    "storage_full",
    "sync_folder",
]
