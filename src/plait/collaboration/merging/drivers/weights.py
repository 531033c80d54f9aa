# SPDX-License-Identifier: Apache-2.0
"""The driver of repositories that hold a LoRA adapter alone: adapters are merged with each other.

The result is combined from the originals: every adapter that was proposed over the same base and
merged since, and the new one. Their changes B A are averaged and brought to the largest rank there
is by a singular value decomposition, or combined as `plait.yaml` says; so the order of merging does
not matter. Whole models are not merged here: those are fused and judged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plait.collaboration.merging.drivers.base import Outcome, Work, one_sided, settle_whole
from plait.collaboration.merging.drivers.contamination import project_of
from plait.errors import BadInput, Conflict
from plait.hub.git.operations import AddBytes
from plait.recipes.project import ProjectSpec

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
USUAL = "svd"
MOST = 1_000
"""Commits of main that are looked through for merged contributions."""


class AdapterDriver:
    """Combines the LoRA adapters of contributions."""

    name = "adapter"
    whole = True

    def claims(self, work: Work, path: str) -> bool:
        """Take an adapter's files, in a model repository without whole weights."""
        return path in (CONFIG, WEIGHTS) and is_adapter_repository(work)

    def large(self, work: Work, paths: Sequence[str]) -> bool:
        """Tell that combining adapters is a job's work."""
        return bool(paths)

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Combine the adapters.

        Raises:
            Conflict: `plait.yaml` asks for the model to be judged, which an adapter alone is not.
            BadInput: an adapter cannot be combined with the others.
        """
        sides = work.sides
        if not all(path in sides.at_head for path in (CONFIG, WEIGHTS)):
            found = Outcome()
            for path in paths:
                alone = one_sided(work, path)
                reason = "one side removed the adapter"
                found += (
                    Outcome(alone)
                    if alone is not None
                    else settle_whole(work, path, self.name, reason, text=False)
                )
            return found
        project = project_of(work)
        if project.tasks:
            raise Conflict(
                "This repository holds a LoRA adapter alone, and its plait.yaml names tasks: an "
                "adapter is not judged without its base. Propose it to its base model's "
                "repository, where it is fused and judged, or take 'tasks' out of plait.yaml."
            )
        merged = _merged_since(work)
        revisions = [*merged, sides.head]
        with tempfile.TemporaryDirectory(dir=sides.hub.settings.work_dir) as place:
            data, config, distinct = _combined(work, Path(place), revisions, project)
        if distinct == 1:
            operations = work.take(CONFIG, "pull") + work.take(WEIGHTS, "pull")
            text = "the pull request's adapter, as it is"
        else:
            assert work.store is not None
            operations = (work.store(WEIGHTS, data), AddBytes(CONFIG, config))
            method = project.fusion.method if _is_set(project) else USUAL
            text = f"{distinct} adapters combined by {method}, from the originals"
        note = {"path": WEIGHTS, "driver": self.name, "text": text, "revisions": revisions}
        return Outcome(operations, notes=(note,))


def is_adapter_repository(work: Work) -> bool:
    """Tell whether main holds an adapter and no whole model."""
    sides = work.sides
    whole = [
        path
        for path in sides.at_main
        if "/" not in path and path.endswith(".safetensors") and path != WEIGHTS
    ]
    return sides.repo.type == "model" and WEIGHTS in sides.at_main and not whole


def _merged_since(work: Work) -> list[str]:
    """Return the commits of the pull requests on the adapter that main merged since the fork."""
    sides, git = work.sides, work.sides.hub.git
    found: list[str] = []
    oid: str | None = sides.main
    for _ in range(MOST):
        if oid is None or oid == sides.fork or git.is_ancestor(sides.repo, oid, sides.fork):
            return found
        parents = git.commit_info(sides.repo, oid).parents
        if len(parents) == 2:
            base = git.merge_base(sides.repo, parents[0], parents[1])
            if base is not None and _adapter(work, base) != _adapter(work, parents[1]):
                found.append(parents[1])
        elif parents and _adapter(work, parents[0]) != _adapter(work, oid):
            # Put there by hand since: that is one more version to combine.
            found.append(oid)
            return found
        oid = parents[0] if parents else None
    return found


def _adapter(work: Work, oid: str) -> tuple[str | None, ...]:
    entries = {e.path: e.oid for e in work.sides.hub.git.tree(work.sides.repo, oid)}
    return entries.get(CONFIG), entries.get(WEIGHTS)


def _is_set(project: ProjectSpec) -> bool:
    return project.fusion.method != "search"


def _combined(
    work: Work, place: Path, revisions: Sequence[str], project: ProjectSpec
) -> tuple[bytes, bytes, int]:
    """Return the combined adapter's two files, and of how many distinct ones it is made."""
    from plait.fusion.weights import fuse

    sides = work.sides
    folders: dict[tuple[Any, ...], Path] = {}
    for revision in revisions:
        key = _adapter(work, revision)
        if key in folders or None in key:
            continue
        work.check()
        folder = place / f"adapter-{revision[:12]}"
        sides.hub.commits.materialize(
            sides.repo, revision, folder, only=(CONFIG, WEIGHTS).__contains__
        )
        folders[key] = folder
    if len(folders) == 1:
        return b"", b"", 1
    # By content, never by when they came.
    ordered = [folders[key] for key in sorted(folders, key=str)]
    count = len(ordered)
    chosen = _is_set(project)
    parameters = dict(project.fusion.parameters) if chosen else {}
    weight = parameters.pop("weight", 1 / count)
    recipe = {
        "merge_method": project.fusion.method if chosen else USUAL,
        "dialect": "peft",
        "models": [{"model": folder.name, "parameters": {"weight": weight}} for folder in ordered],
        "parameters": parameters,
    }
    names = {folder.name: folder for folder in ordered}
    try:
        fuse(recipe, place / "combined", resolve=names.__getitem__, cancelled=_asks(work))
    except BadInput as error:
        raise BadInput(error.message.replace(f"{place}/", "")) from None
    out = place / "combined"
    return (out / WEIGHTS).read_bytes(), (out / CONFIG).read_bytes(), count


def _asks(work: Work) -> Any:
    def cancelled() -> bool:
        work.check()
        return False

    return cancelled
