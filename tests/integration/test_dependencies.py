# SPDX-License-Identifier: Apache-2.0
"""Known holes in what Plait is installed with, as PyPI tells them for each version."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from importlib import metadata
from typing import Any

import pytest
from packaging.requirements import Requirement

INDEX = "https://pypi.org/pypi"


def installed(name: str = "plait", seen: dict[str, str] | None = None) -> dict[str, str]:
    """Return the versions of everything that a plain installation brings."""
    seen = {} if seen is None else seen
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if key in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            seen[key] = metadata.version(key)
        except metadata.PackageNotFoundError:
            continue
        installed(key, seen)
    return seen


def open_holes(answer: dict[str, Any]) -> list[str]:
    """List the holes of one version that were not withdrawn."""
    return [
        f"{', '.join([hole['id'], *hole.get('aliases', [])])} (fixed in {hole.get('fixed_in')})"
        for hole in answer.get("vulnerabilities", [])
        if not hole.get("withdrawn")
    ]


def ask(name: str, version: str) -> dict[str, Any] | None:
    """Return what PyPI says of a version; None: it does not know it."""
    request = urllib.request.Request(f"{INDEX}/{name}/{version}/json")
    try:
        with urllib.request.urlopen(request, timeout=8) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def test_what_is_installed_has_no_known_holes() -> None:
    versions = installed()
    assert {"fastapi", "sqlalchemy", "pygit2", "jinja2"} <= set(versions)
    try:
        first = ask("fastapi", versions["fastapi"])
    except (OSError, ValueError) as error:
        pytest.skip(f"PyPI cannot be asked from here: {error}")
    if first is None or "vulnerabilities" not in first:
        pytest.skip("What answers here as PyPI does not tell of known holes.")
    found = {}
    for name, version in sorted(versions.items()):
        if (answer := ask(name, version)) and (holes := open_holes(answer)):
            found[f"{name} {version}"] = holes
    assert not found, found


def test_holes_are_read_as_pypi_writes_them() -> None:
    hole = {"id": "GHSA-1", "aliases": ["CVE-1"], "fixed_in": ["3.1.4"], "withdrawn": None}
    answer = {"vulnerabilities": [hole, {**hole, "withdrawn": "2026-01-01"}]}
    assert open_holes(answer) == ["GHSA-1, CVE-1 (fixed in ['3.1.4'])"]
    assert open_holes({"vulnerabilities": []}) == []
