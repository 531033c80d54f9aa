# SPDX-License-Identifier: Apache-2.0
"""Install the stock clients of the client tests, each into an environment of its own.

``python tests/clients/install.py`` makes ``.venv-clients/<name>`` from each
``requirements/clients/<name>.txt`` and ``tests/clients/npm/node_modules`` from its lock file.
What is up to date is left alone. A client that cannot be installed is named with the reason,
its tests skip, and the others go on; the exit status then is 1.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements" / "clients"
ENVIRONMENTS = ROOT / ".venv-clients"
NPM = Path(__file__).resolve().parent / "npm"
STAMP = "installed-from"


def digest(*paths: Path) -> str:
    """Return one hash of the files that decide what is installed, and of the Python."""
    found = hashlib.sha256(sys.version.encode())
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()


def uv() -> list[str] | None:
    """Return the command that runs uv, None where there is no uv."""
    if (found := shutil.which("uv")) is not None:
        return [found]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else None


def install_python(requirements: Path) -> None:
    """Make one environment with exactly what ``requirements`` names."""
    folder = ENVIRONMENTS / requirements.stem
    stamp = folder / STAMP
    wanted = digest(requirements)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"Installing {requirements.stem} into {folder.relative_to(ROOT)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    fast = uv()
    if fast:
        run(*fast, "venv", "--quiet", "--python", sys.executable, str(folder))
        pip = [*fast, "pip", "install", "--quiet", "--python", str(python)]
    else:
        run(sys.executable, "-m", "venv", str(folder))
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "--requirement", str(requirements))
    stamp.write_text(wanted)


def install_npm() -> None:
    """Install the npm client from its lock file."""
    stamp = NPM / "node_modules" / STAMP
    wanted = digest(NPM / "package.json", NPM / "package-lock.json")
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if shutil.which("npm") is None:
        raise RuntimeError("there is no npm here (Debian: apt-get install npm)")
    print(f"Installing the npm client into {stamp.parent.relative_to(ROOT)}", flush=True)
    run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=NPM)
    stamp.write_text(wanted)


def run(*command: str, cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} failed: {done.stderr.strip()[-600:]}")


def main() -> int:
    failed = 0
    for requirements in sorted(REQUIREMENTS.glob("*.txt")):
        try:
            install_python(requirements)
        except RuntimeError as error:
            failed += 1
            print(f"Not installed: {requirements.stem}: {error}", file=sys.stderr)
    try:
        install_npm()
    except RuntimeError as error:
        failed += 1
        print(f"Not installed: @huggingface/hub: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
