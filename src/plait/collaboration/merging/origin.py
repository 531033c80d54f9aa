# SPDX-License-Identifier: Apache-2.0
"""Which weights a contribution was really made from.

A pull request starts where main is when it is opened. Training started when the model was
downloaded, and main may have had merges since: against main as it is, such a contribution would
look as if it took those merges back. So its weights are compared with the states that main has had.
Changes made apart are nearly orthogonal, and a model is nearest to the one that it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from plait.collaboration.merging.plan import State
from plait.collaboration.merging.states import state_at
from plait.fusion.weights.checkpoints import open_checkpoint
from plait.fusion.weights.engine import BLOCK, Readers
from plait.fusion.weights.numbers import FLOATS, STORAGE, Array, decode
from plait.fusion.weights.safetensors import Entry
from plait.hub import Hub, Repository
from plait.lineage import Origin

MOST_STATES = 8
"""States that are compared, besides the base."""
MOST_COMMITS = 200
"""Commits of main that are searched for states."""


def made_from(
    hub: Hub,
    repo: Repository,
    fork: State,
    contribution: Path,
    checkout: Callable[[Origin], Path],
    files: Mapping[str, str] | None = None,
) -> State:
    """Return the state of main that a contribution's weights are nearest to.

    Args:
        hub: where.
        repo: the model.
        fork: the state that the pull request was opened on; of equally near ones it is taken.
        contribution: the folder of the contribution, whose tensors are known to fit.
        checkout: puts a state's weights into a folder.
        files: the contribution's files by hash. A state that was fused from these very weights is
            near to them, and cannot be what they were made from.
    """
    if fork.fused is None:
        return fork
    states = [fork, *_earlier(hub, repo, fork)]
    states = [one for one in states if not _holds(one, files)] or states[-1:]
    distances = [_distance(checkout(state.weights), contribution) for state in states]
    return states[min(range(len(states)), key=lambda place: (distances[place], place))]


def _holds(state: State, files: Mapping[str, str] | None) -> bool:
    if files is None or state.fused is None:
        return False
    own = sorted(files.values())
    return any(sorted(one.files.values()) == own for one in state.fused.contributions)


def _earlier(hub: Hub, repo: Repository, fork: State) -> Iterator[State]:
    """Yield the states that main had before, latest first, down to the base of the fork's."""
    assert fork.fused is not None
    base = fork.fused.base
    seen = [fork.weights, base]
    oid: str | None = fork.weights.revision
    for _ in range(MOST_COMMITS):
        parents = hub.git.commit_info(repo, oid).parents if oid is not None else ()
        oid = parents[0] if parents else None
        if oid is None or oid == base.revision or len(seen) > MOST_STATES:
            break
        state = state_at(hub, repo, oid)
        if state.weights.files and not any(one.same_weights(state.weights.files) for one in seen):
            seen.append(state.weights)
            yield state
    yield state_at(hub, repo, base.revision)


def _distance(one: Path, other: Path) -> float:
    """Return the squared Euclidean distance of two models' weights; infinite for damaged ones."""
    first, second = open_checkpoint(one), open_checkpoint(other)
    total = 0.0
    with Readers() as readers:
        for name, entry in first.tensors.items():
            if entry.code not in FLOATS or name not in second.tensors:
                continue
            for low in range(0, entry.size, BLOCK):
                size = min(BLOCK, entry.size - low)
                change = _values(readers, entry, low, size)
                change -= _values(readers, second.tensors[name], low, size)
                total += float(np.add.reduce(np.square(change, out=change), dtype=np.float64))
    return total if math.isfinite(total) else math.inf


def _values(readers: Readers, entry: Entry, low: int, size: int) -> Array:
    raw = np.empty(size, STORAGE[entry.code])
    readers.read(entry, low, raw)
    values = np.empty(size, np.float32)
    decode(raw, entry.code, values)
    return values
