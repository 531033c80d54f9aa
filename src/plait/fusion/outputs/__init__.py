# SPDX-License-Identifier: Apache-2.0
"""Output ensembles: models over the same labels, whose answers are averaged or stacked.

`α·O_V + (1-α)·O_T` and its like for any number of models of any architecture: probabilities or
logits, weights and temperatures chosen by cross-validation, saved as one model for transformers.
"""

from __future__ import annotations

from plait.fusion.outputs.checking import check
from plait.fusion.outputs.curve import plot
from plait.fusion.outputs.run import run

__all__ = ["check", "plot", "run"]
