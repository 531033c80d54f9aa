# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts from dense models: one attention, many feed-forward layers, a gate."""

from __future__ import annotations

from plait.fusion.weights.mixture.run import check_mixture, fuse_mixture

__all__ = ["check_mixture", "fuse_mixture"]
