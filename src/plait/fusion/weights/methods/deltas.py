# SPDX-License-Identifier: Apache-2.0
"""Methods that thin out changes from a base, weigh them, and add them up.

They differ in how they thin out (not at all; by size; at random) and in whether the models first
elect each element's sign.
"""

from __future__ import annotations

from plait.fusion.weights.methods.base import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    Block,
    Method,
    Parameter,
    normalize,
    rescale,
)
from plait.fusion.weights.methods.changes import add_changes, elect_changes
from plait.fusion.weights.methods.sparsify import (
    check_chances,
    check_paper,
    density_and_rescale,
    find_bands,
    find_random_scales,
    find_ranked_scales,
    find_trims,
    find_whole_trims,
    keep_at_random,
    keep_band,
    keep_by_rank,
    row_length,
    some_density,
    thinned,
    trims_each_tensor,
)
from plait.fusion.weights.numbers import Array

EPSILON = Parameter(
    "epsilon",
    0.15,
    "how far probabilities go from the density, each way",
    per_model=True,
    low=0.0,
    high=1.0,
)
GAMMA = Parameter(
    "gamma", 0.01, "share of the largest changes that is dropped", per_model=True, low=0.0, high=1.0
)


def task_arithmetic(block: Block, out: Array) -> None:
    """Add every model's weighted change to the base (Ilharco et al. 2023)."""
    add_changes(block, out)


def ties(block: Block, out: Array) -> None:
    """Trim small changes, elect each element's sign, add what agrees (Yadav et al. 2023)."""
    elect_changes(block, out, thinned(keep_band), unweighed=("peft", "paper"))


def dare_linear(block: Block, out: Array) -> None:
    """Drop changes at random, rescale the rest and add them (Yu et al. 2024)."""
    add_changes(block, out, thinned(keep_at_random))


def dare_ties(block: Block, out: Array) -> None:
    """Drop changes at random, rescale the rest, elect signs and add what agrees."""
    elect_changes(block, out, thinned(keep_at_random))


def della_linear(block: Block, out: Array) -> None:
    """Drop changes at random, small ones rather than large, and add them (Deep et al. 2024)."""
    add_changes(block, out, thinned(keep_by_rank))


def della(block: Block, out: Array) -> None:
    """Drop changes at random, small ones rather than large, elect signs and add what agrees."""
    elect_changes(block, out, thinned(keep_by_rank))


def breadcrumbs(block: Block, out: Array) -> None:
    """Drop the largest and the smallest changes and add the rest (Davari and Belilovsky 2024)."""
    add_changes(block, out, thinned(keep_band))


def breadcrumbs_ties(block: Block, out: Array) -> None:
    """Drop the largest and the smallest changes, elect signs and add what agrees."""
    elect_changes(block, out, thinned(keep_band))


TASK_ARITHMETIC = Method(
    name="task_arithmetic",
    title="the base plus the models' weighted changes",
    paper="Ilharco et al. 2023, Editing models with task arithmetic, arXiv:2212.04089",
    parameters=(WEIGHT, normalize(False), LAMBDA),
    combine=task_arithmetic,
    base="required",
    shows_unfinite=True,
)
TIES = Method(
    name="ties",
    title="changes trimmed to the largest, signs elected, then added",
    paper="Yadav et al. 2023, TIES-Merging, arXiv:2306.01708",
    parameters=(WEIGHT, DENSITY, normalize(True), rescale(False), LAMBDA),
    combine=ties,
    prepare=find_trims,
    needs_prepare=trims_each_tensor,
    survey=find_whole_trims,
    check=check_paper,
    dialects=("mergekit", "peft", "paper"),
    base="required",
)
DARE_LINEAR = Method(
    name="dare_linear",
    title="changes dropped at random, the rest rescaled and added",
    paper="Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099",
    parameters=(WEIGHT, DENSITY, normalize(False), rescale(True), LAMBDA),
    combine=dare_linear,
    prepare=find_random_scales,
    needs_prepare=density_and_rescale,
    dialects=("mergekit", "paper", "peft"),
    base="required",
    random=True,
)
DARE_TIES = Method(
    name="dare_ties",
    title="changes dropped at random, the rest rescaled, signs elected, then added",
    paper="Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099",
    parameters=(WEIGHT, DENSITY, normalize(False), rescale(True), LAMBDA),
    combine=dare_ties,
    prepare=find_random_scales,
    needs_prepare=density_and_rescale,
    dialects=("mergekit", "paper", "peft"),
    base="required",
    random=True,
)
DELLA_LINEAR = Method(
    name="della_linear",
    title="changes dropped at random by rank, the rest rescaled and added",
    paper="Deep et al. 2024, DELLA-Merging, arXiv:2406.11617",
    parameters=(WEIGHT, DENSITY, EPSILON, normalize(False), rescale(True), LAMBDA),
    combine=della_linear,
    prepare=find_ranked_scales,
    needs_prepare=density_and_rescale,
    check=check_chances,
    unit=row_length,
    base="required",
    random=True,
)
DELLA = Method(
    name="della",
    title="changes dropped at random by rank, the rest rescaled, signs elected, then added",
    paper="Deep et al. 2024, DELLA-Merging, arXiv:2406.11617",
    parameters=(WEIGHT, DENSITY, EPSILON, normalize(True), rescale(True), LAMBDA),
    combine=della,
    prepare=find_ranked_scales,
    needs_prepare=density_and_rescale,
    check=check_chances,
    unit=row_length,
    base="required",
    random=True,
)
BREADCRUMBS = Method(
    name="breadcrumbs",
    title="changes without the largest and the smallest, added",
    paper="Davari and Belilovsky 2024, Model Breadcrumbs, arXiv:2312.06795",
    parameters=(WEIGHT, DENSITY, GAMMA, normalize(False), rescale(False), LAMBDA),
    combine=breadcrumbs,
    prepare=find_bands,
    needs_prepare=some_density,
    base="required",
)
BREADCRUMBS_TIES = Method(
    name="breadcrumbs_ties",
    title="changes without the largest and the smallest, signs elected, then added",
    paper="Davari and Belilovsky 2024, Model Breadcrumbs, arXiv:2312.06795",
    parameters=(WEIGHT, DENSITY, GAMMA, normalize(False), rescale(False), LAMBDA),
    combine=breadcrumbs_ties,
    prepare=find_bands,
    needs_prepare=some_density,
    base="required",
)
