# SPDX-License-Identifier: Apache-2.0
"""What a search has measured so far, kept beside its output: a killed search goes on from there.

A search is a function of its recipe, its models, its items and the software, so that a journal with
the same hash of all these holds what the same search would measure again. One line is one
measurement, written at once and synced; what a crash cut off is left out.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from plait.errors import BadInput, Cancelled, Conflict
from plait.fusion.search.candidates import Candidate
from plait.fusion.search.folds import Floats
from plait.fusion.software import software
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.checksums import hash_files
from plait.recipes.fusion import FusionRecipe, dump_recipe

if TYPE_CHECKING:
    from plait.evaluation import Task

_SMALL = (".json", ".txt", ".model", ".jinja")


def journal_path(out: Path) -> Path:
    """Return where the measurements of a search for an output folder are."""
    out = out.resolve()
    return out.with_name(f".{out.name}.plait-search.jsonl")


def search_key(
    recipe: FusionRecipe, models: Mapping[str, Checkpoint], tasks: Sequence[Task]
) -> str:
    """Return a hash of all that a search's measurements depend on, contents of files included."""
    files = {name: _files(model) for name, model in models.items()}
    hashes = hash_files(sorted({path for listed in files.values() for path in listed}))
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(repr(task).encode())
        for item in task.items:
            for name in ("image", "audio"):
                path = getattr(item, name, None)
                if isinstance(path, Path):
                    digest.update(path.read_bytes())
    told = {
        "recipe": dump_recipe(recipe),
        "models": {
            name: sorted((path.name, hashes[path]) for path in listed)
            for name, listed in files.items()
        },
        "items": digest.hexdigest(),
        "software": software("numpy", "torch", "transformers", "optuna"),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _files(model: Checkpoint) -> set[Path]:
    """Return all files that decide what a model is: weights, statistics, settings, heads."""
    found = {*model.files, *model.stamps}
    found |= {path for path in model.folder.glob("*") if path.suffix in _SMALL}
    return {path for path in found | {*model.folder.glob("heads/*/*")} if path.is_file()}


class Journal:
    """The measurements of one search in a file that only one process writes.

    Leaving its block without an error, or because the work was cancelled or cannot be done, removes
    the file; a crash leaves it, and so does an interruption.

    Raises:
        Conflict: if another run is searching for the same output.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken_up = 0
        """Measurements that were not made again."""
        self._file = -1
        self._known: dict[str, dict[str, Floats]] = {}

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise Conflict(
                f"Another run is searching for the output beside {self.path}; wait for it, or "
                "choose another folder."
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, Cancelled | BadInput) or not self._known:
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def begin(self, key: str) -> None:
        """Take up the measurements that have a key; forget those of another search."""
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")
        lines = whole.split(b"\n")
        if lines[0] == key.encode():
            kept = len(whole) + 1
            for line in lines[1:]:
                found = json.loads(line)
                self._known[found["of"]] = {
                    name: np.array(rows["values"], dtype=rows["dtype"])
                    for name, rows in found["tables"].items()
                }
            os.ftruncate(self._file, kept)
            return
        os.ftruncate(self._file, 0)
        self._write(key)

    def find(self, candidate: Candidate, tasks: Sequence[Task]) -> Mapping[str, Floats] | None:
        """Return what was measured of a candidate on some tasks' items, if it was."""
        found = self._known.get(_name(candidate, tasks))
        if found is not None:
            self.taken_up += 1
        return found

    def keep(
        self, candidate: Candidate, tasks: Sequence[Task], tables: Mapping[str, Floats]
    ) -> None:
        """Write a measurement down."""
        name = _name(candidate, tasks)
        self._known[name] = dict(tables)
        told = {n: {"dtype": str(t.dtype), "values": t.tolist()} for n, t in tables.items()}
        self._write(json.dumps({"of": name, "tables": told}))

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode() + b"\n")
        os.fdatasync(self._file)


def _name(candidate: Candidate, tasks: Sequence[Task]) -> str:
    parts = [[t.name, len(t.items), t.items[0].id, t.items[-1].id] for t in tasks]
    return json.dumps([candidate.method, candidate.parameters, parts], default=str)
