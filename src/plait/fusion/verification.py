# SPDX-License-Identifier: Apache-2.0
"""Making a fused revision again from what its lineage names, and comparing the bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.results import Progress
from plait.fusion.weights import fuse
from plait.fusion.weights.adapters import WEIGHTS as ADAPTER
from plait.fusion.weights.checksums import hash_files
from plait.lineage import Contribution, Lineage, Origin

Fetch = Callable[[Origin], Path]
"""Finds the folder of a model at a commit, for instance by downloading it."""


@dataclass(frozen=True)
class FileCheck:
    """One file of a model: the sha256 that the lineage states, and the one that was found."""

    model: str
    path: str
    stated: str
    found: str | None

    @property
    def same(self) -> bool:
        """Whether the bytes are those that the lineage states."""
        return self.stated == self.found


@dataclass(frozen=True)
class Verification:
    """What was found: the inputs and the revision's own files by hash, and the outputs made anew.

    `software` has the versions that the lineage states beside those used here, where they differ: a
    linear algebra library of another version can change last bits of some methods.
    """

    inputs: tuple[FileCheck, ...]
    published: tuple[FileCheck, ...]
    made: tuple[FileCheck, ...]
    software: Mapping[str, tuple[str, str]]

    @property
    def same(self) -> bool:
        """Whether every file is the one stated, and the fusion gave the same bytes again."""
        return all(check.same for check in (*self.inputs, *self.published, *self.made))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""

        def plain(checks: tuple[FileCheck, ...]) -> list[dict[str, Any]]:
            return [
                {
                    "model": c.model,
                    "path": c.path,
                    "stated": c.stated,
                    "found": c.found,
                    "same": c.same,
                }
                for c in checks
            ]

        return {
            "same": self.same,
            "inputs": plain(self.inputs),
            "published": plain(self.published),
            "made": plain(self.made),
            "software": {name: list(both) for name, both in self.software.items()},
        }


def carry_over(
    base: Path,
    contribution: Path,
    own_base: Path,
    out: Path,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Write `base + (contribution - own_base)`: what a contribution changes, on another base.

    Raises:
        BadInput: the three are not of one architecture.
    """
    places = {"base": base, "contribution": contribution, "origin": own_base}
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": [
            {"model": "contribution", "parameters": {"weight": 1.0}},
            {"model": "origin", "parameters": {"weight": -1.0}},
        ],
        "dtype": "float32",
        "tokenizer_source": "union",
    }
    fuse(recipe, out, resolve=places.__getitem__, cancelled=cancelled)
    return out


def put_adapter(
    base: Path,
    adapter: Path,
    out: Path,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Write the whole model that a LoRA adapter makes of its base: W + (alpha / r) B A.

    Raises:
        BadInput: it is no LoRA adapter, or was trained on another architecture.
    """
    places = {"base": base, "adapter": adapter}
    recipe = {
        "merge_method": "linear",
        "models": [{"model": "base+adapter", "parameters": {"weight": 1.0}}],
    }
    fuse(recipe, out, resolve=places.__getitem__, cancelled=cancelled)
    return out


def verify(
    lineage: Lineage,
    revision: Path,
    fetch: Fetch,
    *,
    work: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Verification:
    """Fuse a revision's weights again from its lineage and compare every byte.

    Args:
        lineage: the revision's `lineage.json`.
        revision: the folder with its weights as they were published.
        fetch: finds the base and the contributions, each at its commit.
        work: where to work (default: the system's folder for temporary files).
        progress: as for `fuse`.
        cancelled: as for `fuse`.

    Raises:
        BadInput: an input cannot be had, or the recipe cannot be run.
    """
    inputs: list[FileCheck] = []
    folders: dict[str, Path] = {}

    def take(origin: Origin, name: str) -> Path:
        folder = fetch(origin)
        inputs.extend(_compare(name, origin.files, folder))
        return folder

    base = take(lineage.base, "base")
    folders[lineage.base.revision] = base
    with tempfile.TemporaryDirectory(dir=work, prefix="plait-verify-") as name:
        here = Path(name)
        # An adapter's repository has no whole model: its adapters are combined as they are.
        alone = ADAPTER in lineage.base.files
        for one in lineage.contributions:
            origin = Origin(lineage.base.repository, one.revision, one.files)
            folder = take(origin, _title(one))
            if alone:
                folders[origin.revision] = folder
                continue
            if ADAPTER in one.files:
                own_base = fetch(one.base) if one.base is not None else base
                folder = put_adapter(
                    own_base, folder, here / f"whole-{one.number}", cancelled=cancelled
                )
            if one.base is not None:
                own = take(one.base, f"{_title(one)}'s own base")
                carried = here / f"carried-{one.number}"
                folder = carry_over(base, folder, own, carried, cancelled=cancelled)
            folders[origin.revision] = folder
        if not all(check.same for check in inputs):
            # other inputs cannot give the same bytes; what differs says enough
            return Verification(tuple(inputs), (), (), {})

        def resolve(reference: str) -> Path:
            found = folders.get(_commit(reference))
            if found is None:
                raise BadInput(f"The recipe names '{reference}', which the lineage does not.")
            return found

        outputs = lineage.base.files
        models = lineage.recipe.get("models")
        if alone and lineage.contributions and isinstance(models, list) and len(models) == 1:
            # One adapter was left, and taken as it was proposed.
            named = models[0].get("model") if isinstance(models[0], Mapping) else None
            outputs = _hashed(resolve(str(named)), lineage.output)
        elif lineage.contributions:
            made_here = fuse(
                dict(lineage.recipe),
                here / "made",
                resolve=resolve,
                progress=progress,
                cancelled=cancelled,
            )
            outputs = _hashed(made_here.out, lineage.output) if alone else made_here.outputs
        # After every contribution was withdrawn the base is left as it is.
        made = [
            FileCheck("made again", path, stated, outputs.get(path))
            for path, stated in sorted(lineage.output.items())
        ]
    published = _compare("as published", lineage.output, revision)
    return Verification(tuple(inputs), tuple(published), tuple(made), _software(lineage))


def _compare(name: str, files: Mapping[str, str], folder: Path) -> list[FileCheck]:
    paths = {path: folder / path for path in files}
    there = [path for path in paths.values() if path.is_file()]
    hashes = hash_files(there, threads=2, cached=False)
    return [
        FileCheck(name, path, stated, hashes.get(paths[path]))
        for path, stated in sorted(files.items())
    ]


def _hashed(folder: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the sha256 of those of a folder's files that a lineage states."""
    paths = [folder / path for path in wanted if (folder / path).is_file()]
    found = hash_files(paths, threads=2, cached=False)
    return {path.name: digest for path, digest in found.items()}


def _commit(reference: str) -> str:
    return reference.rpartition("@")[2]


def _title(one: Contribution) -> str:
    return f"contribution #{one.number}"


def _software(lineage: Lineage) -> dict[str, tuple[str, str]]:
    import numpy as np

    from plait import __version__

    here = {"plait": __version__, "numpy": np.__version__}
    return {
        name: (stated, here[name])
        for name, stated in lineage.software.items()
        if name in here and here[name] != stated
    }
