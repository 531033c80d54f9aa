# SPDX-License-Identifier: Apache-2.0
"""Fusion: a recipe in, one model out. One folder for each level of what is fused.

`weights` needs one architecture, `outputs` one label space, `features` encoders of several
modalities, `distillation` teachers of any kind; `search` chooses coefficients, `auto` measures the
levels against each other. Importing this loads numpy and no torch.
"""

from __future__ import annotations

from plait.fusion.levels import check, fuse
from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights import (
    CheckReport,
    ModelSummary,
    canonical_order,
    check_model,
    check_recipe,
    compare_layers,
    fused_tensors,
)

__all__ = [
    "CheckReport",
    "FusionResult",
    "ModelSummary",
    "Progress",
    "canonical_order",
    "check",
    "check_model",
    "check_recipe",
    "compare_layers",
    "fuse",
    "fused_tensors",
]
