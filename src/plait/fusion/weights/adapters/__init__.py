# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters in PEFT's format: put on a base while it is read, or combined without one."""

from __future__ import annotations

from plait.fusion.weights.adapters.onto_base import CONFIG, WEIGHTS, Adapted, adapt, is_adapter

__all__ = ["CONFIG", "WEIGHTS", "Adapted", "adapt", "is_adapter"]
