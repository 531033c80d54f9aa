# SPDX-License-Identifier: Apache-2.0
"""The examples' recipes are recipes of their level, and their pages name what is there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from plait.fusion.levels import METHODS
from plait.recipes.fusion import load_stages
from plait.recipes.levels import read_level

EXAMPLES = Path(__file__).parents[2] / "examples" / "recipes"
FOLDERS = sorted(p for p in EXAMPLES.iterdir() if p.is_dir())
PAGES = sorted(
    [
        *Path(__file__).parents[2].glob("docs/**/*.md"),
        *EXAMPLES.glob("*/README.md"),
    ]
)
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


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_example_says_how_it_is_run(folder: Path) -> None:
    assert (folder / "prepare.py").is_file()
    recipes = sorted(p.name for p in folder.glob("*.yaml"))
    assert recipes
    page = (folder / "README.md").read_text("utf-8")
    assert page.startswith("# ")
    assert "python prepare.py" in page
    for name in recipes:
        assert name in page, f"{name} is not on the page"
    named = re.findall(r"(?<![\w/.-])[\w-]+\.(?:py|yaml)\b", page)
    there = {p.name for p in folder.iterdir()}
    assert set(named) <= there, set(named) - there


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_pages_lead_to_what_is_there(path: Path) -> None:
    """Links to files, and to headings of other pages of the documentation."""
    for target, anchor in re.findall(
        r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text()
    ):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{path.name} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in headings(file), f"{path.name} links to {target}#{anchor}"


def headings(file: Path) -> set[str]:
    """Return the anchors that a page's headings have, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}
