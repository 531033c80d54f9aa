# SPDX-License-Identifier: Apache-2.0
"""Scanning files that can carry code. They are stored and labelled, and never loaded."""

from __future__ import annotations

from plait.hub.scanning.records import Scans, can_carry_code
from plait.hub.scanning.runner import scan_waiting

__all__ = ["Scans", "can_carry_code", "scan_waiting"]
