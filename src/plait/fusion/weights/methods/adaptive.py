# SPDX-License-Identifier: Apache-2.0
"""Methods whose weights are learnt from texts before anything is fused."""

from __future__ import annotations

from plait.fusion.weights.methods.base import DENSITY, Block, Method, Parameter
from plait.fusion.weights.methods.changes import add_changes
from plait.fusion.weights.numbers import Array

WEIGHT = Parameter("weight", 0.3, "where each coefficient starts", True, low=0.0, high=1.0)


def adamerging(block: Block, out: Array) -> None:
    """Add up the changes with the coefficients to start from (Yang et al. 2024).

    With those that were learnt, `task_arithmetic` or `ties` runs: the recipe is rewritten.
    """
    block.options = {**block.options, "normalize": False}
    add_changes(block, out)


ADAMERGING = Method(
    name="adamerging",
    title="changes with coefficients that make predictions on unlabelled texts sure",
    paper="Yang et al. 2024, AdaMerging, arXiv:2310.02575",
    parameters=(
        WEIGHT,
        Parameter(
            "variant",
            "layer-wise",
            "a coefficient for each tensor, each layer or each model",
            words=("layer-wise", "block-wise", "task-wise"),
        ),
        Parameter("changes", "all", "what is added up", words=("all", "ties")),
        DENSITY,
        Parameter("steps", 500.0, "steps of Adam", low=0, high=100_000),
        Parameter("rate", 1e-3, "length of a step", low=0.0, high=1.0),
        Parameter("batch", 16.0, "texts of each task in a step", low=1, high=4096),
        Parameter("split", "validation", "the texts' split", words=("train", "validation")),
    ),
    combine=adamerging,
    base="required",
    learns="weight",
)
