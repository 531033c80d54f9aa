# SPDX-License-Identifier: Apache-2.0
"""Feature fusion: encoders of several modalities, and a head trained over them."""

from __future__ import annotations

from plait.fusion.features.check import check
from plait.fusion.features.run import run

__all__ = ["check", "run"]
