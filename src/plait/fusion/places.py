# SPDX-License-Identifier: Apache-2.0
"""Where a fusion's result goes: a new folder that appears when it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.errors import Conflict
from plait.fusion.results import REPORT


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse an output folder that must not be written.

    Raises:
        Conflict: if it holds something, unless an earlier fusion made it and `overwrite` is set.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise Conflict(f"{out} is not a folder; choose another output.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise Conflict(f"{out} exists already; choose another folder, or allow it to be replaced.")
    if not (out / REPORT).is_file():
        raise Conflict(
            f"{out} was not made by a fusion and is not replaced; choose another folder."
        )


@contextmanager
def new_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden folder to write into, which becomes `out` when the block ends without error.

    Whatever ends the block early leaves nothing behind and `out` as it was.

    Raises:
        Conflict: as `check_out`.
    """
    check_out(out, overwrite)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        _sync(folder)
        check_out(out, overwrite)
        if out.exists():
            old = folder.with_name(folder.name + "-old")
            out.rename(old)
            folder.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        else:
            folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def hash_folder(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, by its path there, without the report."""
    found = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        if file.name == REPORT:
            continue
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        found[file.relative_to(folder).as_posix()] = digest
    return found


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write what a folder's model was made of; its being there marks a fusion's output."""
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / REPORT).write_text(text + "\n", "utf-8")


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
