# SPDX-License-Identifier: Apache-2.0
"""Choosing coefficients, densities and layers of a weight recipe on validation items."""

from __future__ import annotations

from plait.fusion.search.candidates import Candidate, recipe_of
from plait.fusion.search.defaults import default_grid, default_values, fits
from plait.fusion.search.run import PLOT, SearchResult, check, explore, prepare, run, search
from plait.fusion.search.space import Space, build_space

__all__ = [
    "PLOT",
    "Candidate",
    "SearchResult",
    "Space",
    "build_space",
    "check",
    "default_grid",
    "default_values",
    "explore",
    "fits",
    "prepare",
    "recipe_of",
    "run",
    "search",
]
