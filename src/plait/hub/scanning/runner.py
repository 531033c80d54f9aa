# SPDX-License-Identifier: Apache-2.0
"""Taking up what waits for a scan, one file at a time, in any number of processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from plait.errors import PlaitError
from plait.hub.database import FileScan, PendingScan, Repository, now
from plait.hub.scanning.records import can_carry_code, content_of, git_blob

if TYPE_CHECKING:
    from plait.hub.facade import Hub

ATTEMPTS = 3
"""How often a scan is begun that nobody finished."""
_CHILD = Path(__file__).with_name("child.py")
_LEASE = timedelta(minutes=15)


def scan_waiting(hub: Hub) -> bool:
    """Do one thing of what waits: list a change's new files, or scan one; tell whether there was.

    Nobody waits for this: commits land first, and their files are labelled a little later.
    """
    return _list_one(hub) or _scan_one(hub)


def _list_one(hub: Hub) -> bool:
    """Find the files of one moved ref that can carry code and were not scanned yet."""
    moment = now()
    waiting = (
        select(PendingScan)
        .where(or_(PendingScan.claimed_at.is_(None), PendingScan.claimed_at < moment - _LEASE))
        .order_by(PendingScan.id)
        .limit(1)
    )
    with hub.session() as session:
        if session.scalar(waiting) is None:
            return False
    with hub.session(write=True) as session:
        pending = session.scalar(waiting.with_for_update(skip_locked=True))
        if pending is None:
            return False
        pending.claimed_at = moment
    found = _new_files(hub, pending)
    with hub.session(write=True) as session:
        alive = session.get(Repository, pending.repository_id) is not None
        for content, path in found.items() if alive else ():
            known = session.get(FileScan, content)
            if known is None:
                session.add(
                    FileScan(content=content, repository_id=pending.repository_id, path=path)
                )
            elif known.verdict == "failed" and known.repository_id is None:
                # The repository where it was found first is gone; here it can be read.
                known.repository_id, known.attempts = pending.repository_id, 0
                known.verdict = "queued"
        done = session.get(PendingScan, pending.id)
        if done is not None:
            session.delete(done)
    return True


def _new_files(hub: Hub, pending: PendingScan) -> dict[str, str]:
    git, repo = hub.git, pending.repository_id
    try:
        if pending.old is None:
            entries = git.tree(repo, pending.new, recursive=True)
        else:
            changed = git.changed_paths(repo, pending.old, pending.new)
            paths = [c.path for c in changed if c.kind != "deleted" and can_carry_code(c.path)]
            entries = git.entries(repo, pending.new, paths)
    except PlaitError:
        return {}  # gone by now: squashed, deleted
    return {
        content_of(entry): entry.path
        for entry in entries
        if entry.type == "file" and can_carry_code(entry.path)
    }


def _scan_one(hub: Hub) -> bool:
    moment = now()
    waiting = (
        select(FileScan)
        .where(
            or_(
                FileScan.verdict == "queued",
                and_(FileScan.verdict == "scanning", FileScan.scanned_at < moment - _LEASE),
            )
        )
        .order_by(FileScan.scanned_at)
        .limit(1)
    )
    with hub.session() as session:
        if session.scalar(waiting) is None:
            return False
    with hub.session(write=True) as session:
        scan = session.scalar(waiting.with_for_update(skip_locked=True))
        if scan is None:
            return False
        scan.attempts += 1
        scan.verdict, scan.scanned_at = "scanning", moment
    if scan.attempts > ATTEMPTS:
        result = failed("It was begun several times and never finished.")
    else:
        result = _look(hub, scan)
    with hub.session(write=True) as session:
        fresh = session.get(FileScan, scan.content)
        if fresh is not None and fresh.attempts == scan.attempts:
            fresh.verdict = result.pop("verdict")
            fresh.findings, fresh.scanned_at = result, now()
    return True


def _look(hub: Hub, scan: FileScan) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="scan-", dir=hub.settings.temporary_dir))
    try:
        file = folder / "file"
        git_id = git_blob(scan.content)
        if git_id is not None:
            if scan.repository_id is None:
                return failed("Its repository is gone.")
            file.write_bytes(hub.git.open(scan.repository_id)[git_id].data)
        else:
            local = hub.blobs.local_path(scan.content)
            if local is not None:
                file = local
            elif hub.blobs.size(scan.content) > hub.settings.scan_download:
                return failed("It is too large to be fetched for a scan.")
            else:
                hub.blobs.save(scan.content, file)
        return scan_file(
            file, scan.path, memory=hub.settings.scan_memory, seconds=hub.settings.scan_seconds
        )
    except (KeyError, PlaitError, OSError):
        return failed("Its bytes are gone.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scan_file(
    file: Path, name: str, *, memory: int = 2 * 2**30, seconds: int = 120
) -> dict[str, Any]:
    """Look into a file in a process of its own; bytes of memory, seconds of time.

    Returns ``verdict``, ``imports``, ``notes`` and ``reason`` (where it failed).
    """
    command = [sys.executable, "-I", str(_CHILD), str(file), name, str(memory), str(seconds)]
    environment = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    try:
        done = subprocess.run(
            command,
            env={**environment, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds * 2,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failed(f"Looking into it took more than {seconds * 2} s.")
    try:
        found = json.loads(done.stdout)
        return {key: found[key] for key in ("verdict", "imports", "notes", "reason")}
    except (ValueError, KeyError, TypeError):
        if done.returncode in (-9, -24):
            return failed(f"Looking into it took more than {seconds} s of computing.")
        return failed("Looking into it takes more memory than a scan may use.")


def failed(reason: str) -> dict[str, Any]:
    """Return what is kept of a file that could not be looked into."""
    return {"verdict": "failed", "imports": [], "notes": [], "reason": reason}
