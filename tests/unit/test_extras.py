# SPDX-License-Identifier: Apache-2.0
"""What an error or a page says to install can be installed."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def packages(extra: str) -> set[str]:
    """Return what an extra brings, with the extras that it is made of."""
    found: set[str] = set()
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == "plait":
            for inner in requirement.extras:
                found |= packages(inner)
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def missing() -> Iterator[tuple[str, ast.expr, str]]:
    """Yield (place, what is missing, extra) of every `MissingExtra(…)` in the sources."""
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "MissingExtra":
                extra = node.args[1]
                assert isinstance(extra, ast.Constant), f"{file}:{node.lineno}"
                yield f"{file.relative_to(ROOT)}:{node.lineno}", node.args[0], extra.value


RAISED = list(missing())


@pytest.mark.parametrize(("place", "needed", "extra"), RAISED, ids=[r[0] for r in RAISED])
def test_an_error_names_an_extra_that_brings_what_is_missing(
    place: str, needed: ast.expr, extra: str
) -> None:
    assert extra in EXTRAS, f"{place}: pyproject.toml has no extra '{extra}'"
    names = [n.value for n in ast.walk(needed) if isinstance(n, ast.Constant)]
    known = set().union(*(packages(one) for one in EXTRAS if one != "dev"))
    for name in {canonicalize_name(str(n)) for n in names} & known:
        assert name in packages(extra), f"{place}: '{extra}' does not bring {name}"


def test_pages_name_extras_that_exist() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*")]
    for page in pages:
        if page.suffix in (".md", ".py", ".yaml"):
            for group in re.findall(r"plait\[([a-z, -]+)\]", page.read_text("utf-8")):
                assert set(group.replace(" ", "").split(",")) <= set(EXTRAS), page


def test_all_is_everything_and_each_part_has_an_exact_version() -> None:
    assert packages("all") >= set().union(*(packages(one) for one in EXTRAS if one != "dev"))
    pinned = {
        canonicalize_name(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    needed = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert needed | packages("all") | packages("dev") <= pinned
