# SPDX-License-Identifier: Apache-2.0
"""Weight fusion: several models of one architecture into one. numpy only, no hub."""

from __future__ import annotations

from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights.check import CheckReport, check_recipe
from plait.fusion.weights.checkpoints import ModelSummary, check_model
from plait.fusion.weights.compare import compare_layers
from plait.fusion.weights.run import canonical_order, fuse, fused_tensors

__all__ = [
    "CheckReport",
    "FusionResult",
    "ModelSummary",
    "Progress",
    "canonical_order",
    "check_model",
    "check_recipe",
    "compare_layers",
    "fuse",
    "fused_tensors",
]
