# SPDX-License-Identifier: Apache-2.0
"""The sha256 of files of weights, computed once for as long as a file stays what it is.

Hashing is the largest part of a cheap fusion, and people fuse the same checkpoints over and over.
What was hashed is remembered in the process, and of large files in ``~/.cache/plait``: under the
file's device, inode, size, time of change and time of status change. The last cannot be set back
by a program, and a file that changed within the last seconds is not remembered (git's index is kept
by the same rules). Where bytes are *verified*, `cached=False` reads them.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plait.errors import BadInput

if TYPE_CHECKING:
    import sqlite3

OFF = "PLAIT_CHECKSUM_CACHE"
"""The variable that, set to `off`, keeps checksums from being remembered on the disk."""
LEAST = 16 * 2**20
"""Bytes from which a file's checksum is worth a place on the disk."""
SETTLED = 3.0
"""Seconds that a file must have been left alone: clocks of file systems are coarse."""
MOST = 100_000
"""Checksums that are remembered on the disk; those not used for longest go first."""

Stamp = tuple[int, int, int, int]

_known: dict[Stamp, str] = {}
_lock = threading.Lock()


def hash_files(
    paths: Iterable[Path],
    *,
    threads: int = 1,
    tick: Callable[[int], None] | None = None,
    cached: bool = True,
) -> dict[Path, str]:
    """Return the sha256 of files, several at a time.

    Args:
        paths: the files.
        threads: how many are read at a time.
        tick: called with the number of bytes done; may raise to stop.
        cached: whether what is remembered of a file that did not change is good enough.

    Raises:
        BadInput: a file cannot be read.
    """
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max(1, min(threads, len(unique) or 1))) as pool:
        return dict(
            zip(unique, pool.map(partial(_sha256, tick=tick, cached=cached), unique), strict=True)
        )


def remember_hash(path: Path, sha256: str) -> None:
    """Take a file's sha256 as known for as long as it is not changed (one that has holes)."""
    with _lock:
        _known[file_stamp(path)] = sha256


def file_stamp(path: Path) -> Stamp:
    """Return what tells a file from another at its place: device, inode, size, time of change.

    Raises:
        BadInput: there is no such file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def cache_file() -> Path | None:
    """Return where checksums are remembered on the disk, or None."""
    if os.environ.get(OFF, "").lower() in ("off", "0", "no", "false"):
        return None
    with suppress(RuntimeError):  # somebody without a home
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plait/checksums"
    return None


def _sha256(path: Path, tick: Callable[[int], None] | None, cached: bool) -> str:
    stamp = file_stamp(path)
    settled = _settled(path) if cached and stamp[2] >= LEAST else None
    if cached:
        with _lock:
            found = _known.get(stamp)
        if found is None and settled:
            found = _recall(settled)
        if found:
            if tick:
                tick(stamp[2])
            return found
    result = _read(path, tick)
    if cached and file_stamp(path) == stamp:
        with _lock:
            if len(_known) > 10_000:
                _known.clear()
            _known[stamp] = result
        if settled and _settled(path) == settled:
            _remember(settled, result)
    return result


def _read(path: Path, tick: Callable[[int], None] | None) -> str:
    digest = hashlib.sha256()
    buffer = bytearray(1 << 18)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
            if tick:
                tick(count)
    return digest.hexdigest()


def _settled(path: Path) -> str | None:
    """Return the key of a file that was left alone for a while."""
    found = path.stat()
    last = max(found.st_mtime, found.st_ctime)
    if not 0 < last < time.time() - SETTLED:
        return None
    return "-".join(
        map(str, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    )


def _open() -> sqlite3.Connection | None:
    """Open the file of checksums; None where it cannot be had: it is never needed."""
    import sqlite3

    path = cache_file()
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = sqlite3.connect(path, timeout=2.0, isolation_level=None)
        held.execute("pragma synchronous = off")
        held.execute(
            "create table if not exists checksum (stamp text primary key, sha256 text, used real)"
        )
    except (OSError, sqlite3.Error):
        return None
    return held


def _recall(stamp: str) -> str | None:
    import sqlite3

    held = _open()
    if held is None:
        return None
    with closing(held), suppress(sqlite3.Error):
        row = held.execute("select sha256 from checksum where stamp = ?", (stamp,)).fetchone()
        if row and isinstance(row[0], str) and len(row[0]) == 64:
            held.execute("update checksum set used = ? where stamp = ?", (time.time(), stamp))
            return row[0]
    return None


def _remember(stamp: str, sha256: str) -> None:
    import sqlite3

    held = _open()
    if held is None:
        return
    with closing(held), suppress(sqlite3.Error):
        held.execute(
            "insert or replace into checksum values (?, ?, ?)", (stamp, sha256, time.time())
        )
        held.execute(
            "delete from checksum where stamp in "
            "(select stamp from checksum order by used desc limit -1 offset ?)", (MOST,),
        )  # fmt: skip
