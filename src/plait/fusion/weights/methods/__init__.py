# SPDX-License-Identifier: Apache-2.0
"""The registry of fusion methods: Plait's own, and those of the entry-point group `plait.methods`.

A package adds a method by naming a `Method` in its metadata:

    [project.entry-points."plait.methods"]
    median = "my_package:MEDIAN"
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from plait.errors import BadInput
from plait.fusion.weights.methods.adaptive import ADAMERGING
from plait.fusion.weights.methods.agents import RAM, RAMPLUS_TL
from plait.fusion.weights.methods.base import Block, Method, Parameter, Sweep
from plait.fusion.weights.methods.consensus import SCE
from plait.fusion.weights.methods.deltas import (
    BREADCRUMBS,
    BREADCRUMBS_TIES,
    DARE_LINEAR,
    DARE_TIES,
    DELLA,
    DELLA_LINEAR,
    TASK_ARITHMETIC,
    TIES,
)
from plait.fusion.weights.methods.linear import LINEAR, PASSTHROUGH
from plait.fusion.weights.methods.slerp import NUSLERP, SLERP
from plait.fusion.weights.methods.spectral import ISO_C, ISO_CTS, KNOTS_TIES, TSV_M, WUDI
from plait.fusion.weights.methods.sphere import KARCHER, MODEL_STOCK, MULTISLERP
from plait.fusion.weights.methods.statistics import FISHER, REGMEAN, REGMEAN_PLUSPLUS
from plait.fusion.weights.methods.swaps import ARCEE_FUSION, NEARSWAP
from plait.recipes.fusion import hint

__all__ = ["Block", "Method", "Parameter", "Sweep", "get", "names"]

GROUP = "plait.methods"
_BUILT_IN = {
    m.name: m
    for m in (
        LINEAR,
        SLERP,
        NUSLERP,
        MULTISLERP,
        KARCHER,
        PASSTHROUGH,
        TASK_ARITHMETIC,
        TIES,
        DARE_LINEAR,
        DARE_TIES,
        DELLA,
        DELLA_LINEAR,
        BREADCRUMBS,
        BREADCRUMBS_TIES,
        SCE,
        RAM,
        RAMPLUS_TL,
        MODEL_STOCK,
        NEARSWAP,
        ARCEE_FUSION,
        TSV_M,
        ISO_C,
        ISO_CTS,
        WUDI,
        KNOTS_TIES,
        FISHER,
        REGMEAN,
        REGMEAN_PLUSPLUS,
        ADAMERGING,
    )
}


def names() -> tuple[str, ...]:
    """Return the names of every method that can be used, Plait's own first."""
    return (*_BUILT_IN, *(n for n in _others() if n not in _BUILT_IN))


def get(name: str) -> Method:
    """Return a method by its name.

    Raises:
        BadInput: if there is none, with the hint name that there is.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    point = _others().get(name)
    if point is None:
        raise BadInput(
            f"There is no fusion method '{name[:60]}'{hint(name, names())} "
            f"Methods: {', '.join(names())}."
        )
    method = point.load()
    if not isinstance(method, Method):
        raise BadInput(f"The entry point '{name}' of {GROUP} is not a plait.fusion Method.")
    return method


@cache
def _others():  # type: ignore[no-untyped-def]
    return {point.name: point for point in entry_points(group=GROUP)}
