# SPDX-License-Identifier: Apache-2.0
"""Merge drivers: one for each kind of file, and what people decide where they find conflicts."""

from __future__ import annotations

from plait.collaboration.merging.drivers.base import (
    Driver,
    FileConflict,
    Outcome,
    Place,
    Resolution,
    Work,
)
from plait.collaboration.merging.drivers.registry import (
    chosen,
    drivers,
    is_large,
    merge_all,
    register,
    unregister,
)

__all__ = [
    "Driver",
    "FileConflict",
    "Outcome",
    "Place",
    "Resolution",
    "Work",
    "chosen",
    "drivers",
    "is_large",
    "merge_all",
    "register",
    "unregister",
]
