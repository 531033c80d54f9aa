# SPDX-License-Identifier: Apache-2.0
"""Repositories of which a recipe needs only some tensors: these alone are fetched, by byte ranges.

A file of weights is made at its full size, with holes; its header is fetched, the fusion planned,
and the ranges of the tensors that the plan reads are filled in. The sha256 of the whole file is
what the hub says of it, as for any file that is not fetched whole.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from plait.errors import BadInput
from plait.fusion.resolve import SMALL_FILES, is_repository, resolve_model
from plait.fusion.weights import methods
from plait.fusion.weights.adapters import Adapted
from plait.fusion.weights.checkpoints import with_statistics
from plait.fusion.weights.checksums import remember_hash
from plait.fusion.weights.computed import Computed
from plait.fusion.weights.opening import Resolver, find_folders, open_models
from plait.fusion.weights.plan import build_plan, donor_of
from plait.fusion.weights.safetensors import MAX_HEADER, Entry
from plait.fusion.weights.vocabulary import Rearranged, unify
from plait.recipes.fusion import FusionRecipe
from plait.recipes.references import split_adapter

WORTH = 0.7  # of the bytes; above it whole files are fetched, which stay in the client's cache
GAP = 1_000_000  # bytes between two ranges that are fetched with them rather than asked for twice


@dataclass(frozen=True)
class RemoteFile:
    """A file of weights in a repository: its size, and its sha256 as the hub has it."""

    name: str
    size: int
    sha256: str


class Repository(Protocol):
    """What is asked of a repository."""

    def weights(self) -> list[RemoteFile]:
        """Return its safetensors files."""
        ...

    def small_files(self, into: Path) -> None:
        """Fetch everything but weights."""
        ...

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Return the bytes of a file from `start` up to `stop`."""
        ...


class HubRepository:
    """A repository of the hub that HF_ENDPOINT names, through its client."""

    def __init__(self, reference: str) -> None:
        self._name, _, revision = reference.partition("@")
        self._revision = revision or None

    def weights(self) -> list[RemoteFile]:
        """Return its safetensors files that are stored apart from git."""
        from huggingface_hub import HfApi

        told = HfApi().model_info(self._name, revision=self._revision, files_metadata=True)
        self._revision = told.sha
        return [
            RemoteFile(file.rfilename, file.lfs.size, file.lfs.sha256)
            for file in told.siblings or ()
            if file.lfs is not None and file.rfilename.endswith(".safetensors")
        ]

    def small_files(self, into: Path) -> None:
        """Fetch configuration, tokenizer and card."""
        from huggingface_hub import snapshot_download

        snapshot_download(
            self._name, revision=self._revision, allow_patterns=SMALL_FILES, local_dir=into
        )

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Fetch a range of bytes; anything but exactly that range is an error."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
        )

        wanted = {"range": f"bytes={start}-{stop - 1}", "accept-encoding": "identity"}
        url = hf_hub_url(self._name, name, revision=self._revision)
        answer = get_session().get(
            url, headers={**build_hf_headers(), **wanted}, follow_redirects=True
        )
        if answer.status_code != 206 or len(answer.content) != stop - start:
            raise BadInput(f"'{self._name}' does not give parts of {name} ({answer.status_code}).")
        return bytes(answer.content)


@contextmanager
def needed_parts(
    recipe: FusionRecipe,
    open_repository: Callable[[str], Repository] = HubRepository,
    *,
    only: Callable[[str], bool] | None = None,
) -> Iterator[Resolver]:
    """Give a resolver that knows folders with only what the recipe needs, while the context lasts.

    What is a folder, needs most of a repository's bytes, or cannot be fetched by parts is left to
    `resolve_model`. With `only`, just the fused tensors of these names are going to be made.
    """
    if only is not None:
        method = methods.get(recipe.method)
        if method.survey is not None or method.learns is not None:
            only = None  # the whole models are gone through first
    references = recipe.references() if recipe.slices or recipe.modules or only else ()

    def needs(resolve: Resolver) -> Iterator[Entry]:
        models = open_models(find_folders(recipe, resolve))
        models, vocabulary = unify(recipe, models, donor_of(recipe))
        if methods.get(recipe.method).statistics:
            models = {r: with_statistics(m) for r, m in models.items()}
        for job in build_plan(recipe, models, vocabulary).jobs:
            if only is None or only(job.name):
                yield from stored((*job.inputs, *([job.base] if job.base else []), *job.statistics))

    with fetched_parts(references, needs, open_repository) as resolve:
        yield resolve


@contextmanager
def fetched_parts(
    references: Iterable[str],
    needs: Callable[[Resolver], Iterable[Entry]],
    open_repository: Callable[[str], Repository] = HubRepository,
) -> Iterator[Resolver]:
    """Give a resolver that knows these repositories by the tensors that `needs` names of them.

    `needs` is given a resolver to folders whose files have headers and holes.
    """
    models = dict.fromkeys(split_adapter(reference)[0] for reference in references)
    with ExitStack() as stack:
        folders: dict[str, Path] = {}
        remote: dict[str, tuple[Repository, list[RemoteFile]]] = {}
        for model in filter(is_repository, models):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="plait-")))
            try:
                remote[model] = _skeleton(open_repository(model), folder)
            except Exception:  # whatever the client says: whole files may still be had
                continue
            folders[model] = folder

        def resolve(reference: str) -> Path:
            return folders.get(reference) or resolve_model(reference)

        if folders:
            found: dict[Path, list[Entry]] = {}
            for entry in needs(resolve):
                found.setdefault(entry.path.parent, []).append(entry)
            for model, (repository, files) in remote.items():
                own = found.get(folders[model], [])
                share = sum(e.nbytes for e in own) / max(sum(f.size for f in files), 1)
                if share > WORTH:
                    del folders[model]
                else:
                    _fill(repository, files, folders[model], own)
        yield resolve


def _skeleton(repository: Repository, folder: Path) -> tuple[Repository, list[RemoteFile]]:
    """Make a repository's files in a folder, weights as headers and holes."""
    files = repository.weights()
    if not files or any(Path(f.name).name != f.name or f.size < 8 for f in files):
        raise BadInput("no weights that can be fetched by parts")
    repository.small_files(folder)
    for file in files:
        (length,) = struct.unpack("<Q", repository.read(file.name, 0, 8))
        if length > min(MAX_HEADER, file.size - 8):
            raise BadInput(f"{file.name} is not a safetensors file")
        with (folder / file.name).open("wb") as out:
            out.write(struct.pack("<Q", length))
            out.write(repository.read(file.name, 8, 8 + length))
            out.truncate(file.size)
    return repository, files


def stored(entries: Iterable[Entry | None]) -> Iterator[Entry]:
    """Yield the tensors in files that these are made of."""
    for entry in entries:
        if isinstance(entry, Adapted):
            yield from stored((entry.origin, entry.a, entry.b))
        elif isinstance(entry, Rearranged):
            yield from stored((entry.origin, *(e for own in entry.lent.values() for e, _ in own)))
        elif isinstance(entry, Computed):
            yield from stored((entry.origin,))
        elif entry is not None:
            yield entry


def _fill(
    repository: Repository, files: Iterable[RemoteFile], folder: Path, needed: Iterable[Entry]
) -> None:
    """Fetch the ranges of tensors into their files; near ones together."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for entry in needed:
        part = (entry.offset, entry.offset + entry.nbytes)
        ranges.setdefault(entry.path.name, []).append(part)
    for file in files:
        path = folder / file.name
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for start, stop in _joined(ranges.get(file.name, [])):
                for low in range(start, stop, 64_000_000):
                    high = min(low + 64_000_000, stop)
                    os.pwrite(descriptor, repository.read(file.name, low, high), low)
        finally:
            os.close(descriptor)
        remember_hash(path, file.sha256)


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(set(ranges)):
        if joined and start - joined[-1][1] <= GAP:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined
