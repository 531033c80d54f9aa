# SPDX-License-Identifier: Apache-2.0
"""The examples' recipes are recipes of their level."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml

from plait.fusion.levels import METHODS
from plait.recipes.fusion import load_stages
from plait.recipes.levels import read_level

EXAMPLES = Path(__file__).parents[2] / "examples" / "recipes"
FOLDERS = sorted(p for p in EXAMPLES.iterdir() if p.is_dir())
RECIPES = sorted(p for f in FOLDERS for p in f.glob("*.yaml") if p.name != "plait.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_recipes_are_read(path: Path) -> None:
    if "experts" in yaml.safe_load(path.read_text("utf-8")):
        from plait.recipes.mixture import parse_mixture

        parse_mixture(yaml.safe_load(path.read_text("utf-8")))
        return
    found = read_level(path)
    if found is None:
        assert load_stages(path)
        return
    data, folder = found
    import_module(f"plait.fusion.{METHODS[data['method']]}.options").parse(data, folder)
