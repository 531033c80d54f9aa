# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning text classifiers on texts that stay where they are."""

from __future__ import annotations

from plait.training.classifier import TrainingResult, add_head, fine_tune

__all__ = ["TrainingResult", "add_head", "fine_tune"]
