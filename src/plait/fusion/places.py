# SPDX-License-Identifier: Apache-2.0
"""Where a fusion's result goes: a new folder that appears when it is whole.

Work is done in hidden folders beside the result. Each is locked by the process that made it, and
the system frees the lock when that dies: the next run removes what a killed one left.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.errors import Conflict, StorageFull
from plait.fusion.results import REPORT

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        StorageFull: if the block met a full disk.
    """
    check_out(out, overwrite)
    out = out.resolve()
    with scratch_folder(out) as folder:
        yield folder
        folder.chmod(0o755)
        _sync(folder)
        check_out(out, overwrite)
        if out.exists():
            exchange(folder, out)  # what was there before is removed with the scratch folder
        else:
            folder.rename(out)


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Give a hidden folder beside `out` that is removed when the block ends, whatever ends it.

    Raises:
        StorageFull: if the block met a full disk.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.plait-"
    _remove_abandoned(out.parent, prefix)
    folder, lock = _locked_folder(out.parent, prefix)
    try:
        yield folder
    except BaseException as error:
        if not isinstance(error, StorageFull) and not is_full_disk(error):
            raise
        raise StorageFull(
            f"There is no room for {out}. Nothing of it was kept; make room, or choose another "
            "folder."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def is_full_disk(error: BaseException) -> bool:
    """Tell whether an error says that a disk, a quota or the largest size of a file is reached."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_ROOM
    # the library that writes safetensors tells the system's number in words alone
    found = re.search(r"\(os error (\d+)\)|code: (\d+)", str(error))
    return found is not None and int(found[1] or found[2]) in _NO_ROOM


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two folders, in one step where the system can."""
    import ctypes

    at_cwd, swap = -100, 2
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
        if call(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), swap) == 0:
            return
    except (AttributeError, OSError):
        pass
    aside = one.with_name(f"{one.name}.aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # else another run took it for abandoned before it was locked
            return folder, lock
        os.close(lock)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the hidden folders of runs that were killed: nobody holds their locks."""
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # somebody works there
            pass
        finally:
            os.close(lock)


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
