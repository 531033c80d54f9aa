# SPDX-License-Identifier: Apache-2.0
"""Choosing coefficients, densities and layers of a weight recipe on validation items."""

from __future__ import annotations

from plait.fusion.search.candidates import Candidate, recipe_of
from plait.fusion.search.run import PICTURE, Found, check, explore, prepare, run, search
from plait.fusion.search.space import Space, build_space
from plait.fusion.search.usual import fits, tried, usual

__all__ = [
    "PICTURE",
    "Candidate",
    "Found",
    "Space",
    "build_space",
    "check",
    "explore",
    "fits",
    "prepare",
    "recipe_of",
    "run",
    "search",
    "tried",
    "usual",
]
