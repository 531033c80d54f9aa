# SPDX-License-Identifier: Apache-2.0
"""The driver of tokenizers: where contributions add tokens, one vocabulary and embeddings for all.

A model that lacks a token gets the embedding of the one that has it (of several: their mean), so
that adding it changes nothing that the others learnt. Old tokens keep their rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.collaboration.merging.changes import Sides
from plait.collaboration.merging.material import Material, Model, named
from plait.fusion.weights import fuse
from plait.fusion.weights.vocabulary import read_vocabulary
from plait.hub import AddBytes, AddPointer, Delete, Hub, Operation, Repository

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

WORDS = ("tokenizer.json", "vocab.json", "vocab.txt")
"""Files that hold a vocabulary."""
SUPPORT = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
"""Files that change when tokens are added."""
LARGE = 2**20
"""Bytes from which on such a file is stored as a large one."""


def united(material: Material, folder: Path, context: JobContext) -> Material:
    """Return the material with one vocabulary for all models; as it is where they have one.

    Raises:
        BadInput: the vocabularies cannot be united.
    """
    models = (material.base, *material.contributions)
    words = [read_vocabulary(model.folder) for model in models]
    tokens = [found.tokens for found in words if found is not None]
    if len(tokens) < len(models) or all(own == tokens[0] for own in tokens):
        return material
    context.log("uniting the vocabularies: some contributions add tokens")
    context.check()
    originals = {model.reference: model.folder for model in models}
    grown = {
        model.reference: _grow(model, models, originals, folder / f"united-{place}", context)
        for place, model in enumerate(models)
    }

    def moved(model: Model) -> Model:
        return replace(model, folder=grown.get(model.reference, model.folder))

    return replace(
        material,
        base=moved(material.base),
        contributions=tuple(moved(model) for model in material.contributions),
        newest=moved(material.newest),
        originals=originals,
    )


def united_recipe(recipe: Mapping[str, Any], material: Material) -> dict[str, Any]:
    """Return a recipe that unites the vocabularies of its models where the merge does."""
    return {**recipe, "tokenizer_source": "union"} if material.union else dict(recipe)


def store_support(hub: Hub, repo: Repository, folder: Path, sides: Sides) -> list[Operation]:
    """Return what puts a fused model's tokenizer and configuration beside its weights.

    Args:
        hub: where.
        repo: which repository.
        folder: the fused model.
        sides: of the merge; a file of main's that the model's folder lacks says what no longer is.
    """
    operations: list[Operation] = []
    for name in SUPPORT:
        path = folder / name
        if not path.is_file():
            if name in sides.at_main:
                operations.append(Delete(name))
            continue
        data = path.read_bytes()
        if name in sides.at_main and sides.content(sides.main, name) == data:
            continue
        if len(data) <= LARGE:
            operations.append(AddBytes(name, data))
            continue
        sha256, size = hub.blobs.write(path)
        with hub.session(write=True) as session:
            hub.grant_blob(session, repo, sha256, size)
        operations.append(AddPointer(name, sha256, size))
    return operations


def _grow(
    model: Model,
    models: Sequence[Model],
    originals: Mapping[str, Path],
    out: Path,
    context: JobContext,
) -> Path:
    """Write a model with rows for the tokens of all; its other values stay as they are."""
    recipe = {
        "merge_method": "linear",
        "base_model": models[0].reference,
        "models": [
            {"model": one.reference, "parameters": {"weight": 1.0 if one is model else 0.0}}
            for one in models
        ],
        "tokenizer_source": "union",
    }
    names: dict[Path | str, str] = {}
    for one in models:
        names[one.folder] = names[one.reference] = one.title
    with named(names):
        fuse(recipe, out, resolve=originals.__getitem__, cancelled=context.cancelled)
    return out
