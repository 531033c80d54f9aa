# SPDX-License-Identifier: Apache-2.0
"""Which software made a result: recorded, since another version may give other bits."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software(*packages: str) -> dict[str, str]:
    """Return the versions of Plait and of installed packages."""
    found = {}
    for name in ("plait", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
