# SPDX-License-Identifier: Apache-2.0
"""The Xet protocol's storage side: what every current client uploads large files with."""

from __future__ import annotations

from plait.hub.xet.service import XetService

__all__ = ["XetService"]
