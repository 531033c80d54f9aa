# SPDX-License-Identifier: Apache-2.0
"""Copies of a graph's revision that are asked: made once by a child process, found by content.

A copy is named by its repository and by the ids of the files that it is made of, so that a commit
to the card makes none anew. Copies may be removed at any time; the repository is the truth.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from plait.errors import BadInput, MissingExtra, NotFound, NotReady, PlaitError, TooLarge
from plait.graphs.lookup.build import LAYOUT
from plait.graphs.lookup.index import Index
from plait.graphs.query.projection import LAYOUT as CYPHER_LAYOUT
from plait.graphs.storage import PATHS, TAG
from plait.hub import Actor, CommitInfo, Hub, Repository
from plait.recipes.graph import FILE

NEEDED = ("graph/entities.parquet", "graph/statements.parquet")
MAX_FILES = 2 * 2**30
"""Bytes of a graph's files; larger ones are asked on one's own machine."""
MAX_KEPT = 8 * 2**30
"""Bytes of all copies that are kept; those that were asked longest ago go first."""
MAX_COMMITS = 500
"""Commits that are looked through for those that changed the graph."""
MAX_HISTORY = 40
MAX_HISTORY_FILES = 2**29
"""Bytes of earlier tables that are read to tell what brought which statement."""
STATEMENTS = NEEDED[1]
WAIT = 8.0
"""Seconds that a request waits for a copy."""
_PENDING = 16
_LONGEST = 1_800.0
_FORGET = 600.0
"""Seconds after which a copy that could not be made is tried again."""
_NEEDS = {"index": "pyarrow", "cypher": "ladybug", "sparql": "pyoxigraph"}
_ENDINGS = {"index": "sqlite", "cypher": "lbug", "sparql": "nq"}

_pool = ThreadPoolExecutor(1, "graph-copies")
_running: dict[Path, Future[None]] = {}
_guard = Lock()


@dataclass(frozen=True)
class GraphRevision:
    """A graph at a commit, whose files the actor may read."""

    repo: Repository
    oid: str
    key: str
    """Names its content within the hub."""
    size: int


def is_graph(hub: Hub, repo: Repository, oid: str) -> bool:
    """Tell whether a commit holds a graph's tables."""
    if repo.type != "dataset":
        return False
    return len(hub.git.entries(repo, oid, NEEDED)) == len(NEEDED)


def revision_of(hub: Hub, actor: Actor, repo: Repository, revision: str = "main") -> GraphRevision:
    """Return a graph at a revision.

    Raises:
        RepositoryNotFound, GatedRepository: the actor may not read its files.
        RevisionNotFound: there is no such revision.
        NotFound: the repository is no graph.
    """
    hub.repositories.require(actor, repo, "repo.files")
    oid = hub.git.resolve(repo, revision)
    if not is_graph(hub, repo, oid):
        raise NotFound(
            f"'{repo.full_name}' holds no knowledge graph at '{revision}': a graph is a data set "
            f"with the tag {TAG} and the files {' and '.join(NEEDED)}."
        )
    entries = hub.git.entries(repo, oid, [FILE, *PATHS])
    held = hashlib.blake2b(f"{LAYOUT} {CYPHER_LAYOUT}".encode(), digest_size=16)
    for entry in sorted(entries, key=lambda one: one.path):
        held.update(f"\n{entry.path} {entry.oid}".encode())
    # The index also tells which commits brought what.
    newest = hub.git.last_commits(repo, oid, [STATEMENTS]).get(STATEMENTS)
    held.update((newest.oid if newest else "").encode())
    return GraphRevision(
        repo, oid, f"{repo.id}-{held.hexdigest()}", sum(entry.size for entry in entries)
    )


@contextmanager
def open_index(hub: Hub, found: GraphRevision) -> Iterator[Index]:
    """Open the index of a graph for a block.

    Raises:
        NotReady, BadInput, TooLarge: as `copy_of`.
    """
    with Index.open(copy_of(hub, found, "index")) as index:
        yield index


def copy_of(hub: Hub, found: GraphRevision, kind: str, wait: float = WAIT) -> Path:
    """Return a copy of a graph, made if it is not there.

    Args:
        kind: `index`, `cypher` or `sparql`.
        wait: seconds; what takes longer is made all the same.

    Raises:
        NotReady: it is still being made.
        MissingExtra: what makes it is not installed.
        BadInput, TooLarge: the graph is damaged or too large.
    """
    folder = hub.settings.work_dir / "graphs"
    target = folder / f"{found.key}.{_ENDINGS[kind]}"
    if target.exists():
        with suppress(OSError):
            os.utime(target)
        return target
    if find_spec(_NEEDS[kind]) is None:
        raise MissingExtra(_NEEDS[kind], "graph")
    if found.size > MAX_FILES:
        raise TooLarge(
            f"The graph's files have {found.size:,} bytes; the hub looks into graphs of up to "
            f"{MAX_FILES:,}. Clone it and use `plait graph query`."
        )
    _refused(target)
    with _guard:
        making = _running.get(target)
        if making is None or making.done():
            for done in [path for path, one in _running.items() if one.done()]:
                del _running[done]
            if len(_running) >= _PENDING:
                raise NotReady("Many graphs are being read. Ask again in a moment.")
            making = _running[target] = _pool.submit(_make, hub, found, kind, target)
    try:
        making.result(wait)
    except NotYet:
        raise NotReady(
            "The graph is being read for the first time since it changed. Ask again in a moment."
        ) from None
    return target


def _make(hub: Hub, found: GraphRevision, kind: str, target: Path) -> None:
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    # One process at a time makes copies of a hub's graphs: they take memory.
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        place = folder / f".{secrets.token_hex(8)}"
        try:
            _copy(hub, found, kind, place, target)
        except PlaitError as error:
            told = {"error": type(error).__name__, "message": error.message}
            _failed(target).write_text(json.dumps(told), "utf-8")
            raise
        finally:
            shutil.rmtree(place, ignore_errors=True)
        _forget_oldest(folder, target)


def _copy(hub: Hub, found: GraphRevision, kind: str, place: Path, target: Path) -> None:
    wanted = {FILE, *PATHS}
    hub.commits.materialize(found.repo, found.oid, place / "graph", only=wanted.__contains__)
    out = place / target.name
    job: dict[str, Any] = {"kind": kind, "folder": str(place / "graph"), "out": str(out)}
    if kind == "index":
        job["history"] = _history(hub, found, place)
    run_child("plait.graphs.copying", job, place)
    out.replace(target)


def run_child(module: str, job: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Have a process of its own work on the graph in ``place/graph``; return what it answers.

    Raises:
        BadInput, TooLarge: as the process says, or because it took too much.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=_LONGEST,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"},
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        answer = {"error": "memory"}
    if answer.get("error") == "memory":
        raise TooLarge(
            "The graph takes more memory or time than the hub gives to one. Clone it and use "
            "`plait graph query`."
        )
    if "error" in answer:
        # Where it lay for a moment tells nobody anything.
        message = answer["message"].replace(f"{place / 'graph'}: ", "")
        raise _told({**answer, "message": message.replace(str(place / "graph"), "The graph")})
    return answer


def _history(hub: Hub, found: GraphRevision, place: Path) -> list[dict[str, str]]:
    """Return the commits that brought the statements, the oldest first, with their tables."""
    told: list[dict[str, str]] = []
    left = MAX_HISTORY_FILES
    for commit in history_of(hub, found.repo, found.oid)[:MAX_HISTORY]:
        entry = hub.git.entry(found.repo, commit.oid, STATEMENTS)
        left -= entry.size
        if left < 0:
            break
        folder = place / commit.oid
        hub.commits.materialize(found.repo, commit.oid, folder, only=STATEMENTS.__eq__)
        told.append(
            {"oid": commit.oid, "title": commit.title, "author": commit.author,
             "path": str(folder / STATEMENTS)}
        )  # fmt: skip
    return told[::-1]


def history_of(hub: Hub, repo: Repository, oid: str) -> list[CommitInfo]:
    """Return the commits that changed a graph's statements, the newest first.

    Follows first parents, so that a merge counts as the change it brought.
    """
    found: list[CommitInfo] = []
    commit = hub.git.commit_info(repo, oid)
    held = _statements_at(hub, repo, commit.oid)
    for _ in range(MAX_COMMITS):
        if held is None:
            break
        before = commit.parents[0] if commit.parents else None
        held_before = _statements_at(hub, repo, before) if before else None
        if held != held_before:
            found.append(commit)
        if before is None:
            break
        commit, held = hub.git.commit_info(repo, before), held_before
    return found


def _statements_at(hub: Hub, repo: Repository, oid: str) -> str | None:
    entries = hub.git.entries(repo, oid, [STATEMENTS])
    return entries[0].oid if entries else None


def _told(answer: dict[str, str]) -> PlaitError:
    message = answer["message"]
    return TooLarge(message) if answer["error"] == TooLarge.__name__ else BadInput(message)


def _failed(target: Path) -> Path:
    return target.with_name(f"{target.name}.failed")


def _refused(target: Path) -> None:
    """Raise what making a copy failed with a little while ago: trying takes time."""
    path = _failed(target)
    try:
        old = time.time() - path.stat().st_mtime
        answer = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return
    if old < _FORGET:
        raise _told(answer)
    path.unlink(missing_ok=True)


def _forget_oldest(folder: Path, kept: Path) -> None:
    """Remove the copies asked longest ago while all take more than `MAX_KEPT`."""
    held = []
    for path in folder.iterdir():
        with suppress(OSError):
            if path.is_file() and path.name != "lock":
                facts = path.stat()
                held.append((facts.st_mtime, facts.st_size, path))
    total = sum(size for _, size, _ in held)
    for _, size, path in sorted(held):
        if total <= MAX_KEPT:
            return
        if path != kept:
            path.unlink(missing_ok=True)
            total -= size
