# SPDX-License-Identifier: Apache-2.0
"""Whether a recipe of feature fusion can be run, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import MissingExtra, PlaitError
from plait.evaluation.tasks import Item, load_task
from plait.fusion.datasets import data_folder
from plait.fusion.features.encoders import find_encoder
from plait.fusion.features.options import MODALITIES, FeatureRecipe, parse
from plait.fusion.features.run import load_items
from plait.fusion.features.sources import check_files
from plait.fusion.features.trial import foretell
from plait.fusion.weights.check import CheckReport, Cost, ModelFacts
from plait.fusion.weights.finite import refused_folders
from plait.fusion.weights.licences import licence_notes, licence_of
from plait.fusion.weights.opening import Resolver
from plait.pretrained import read_config


def check(data: Mapping[str, Any], folder: Path, resolve: Resolver | None) -> CheckReport:
    """Say whether encoders and data fit: configurations, headers, items and their files are read.

    Each encoder is tried on a few items, which tells how long all of them will take.

    Raises:
        BadInput: if the recipe itself cannot be read or its models not be found.
    """
    recipe = parse(data, folder)
    report = CheckReport("feature_fusion")
    held = 0
    found_at: dict[str, Path] = {}
    for member in recipe.members:
        found = find_encoder(member, folder, resolve)
        if found is None:
            continue
        found_at[member.name] = found
        facts = _facts(member.model, found)
        held += 4 * facts.parameters
        report.models.append(facts)
        report.tensors += sum(1 for _ in _shapes(found))
        if not facts.parameters:
            report.problems.append(f"'{member.name}' has no weights in safetensors in {found}.")
    report.notes += licence_notes({m.reference: m.licence for m in report.models})
    report.problems += refused_folders(found_at).values()
    spent = 0.0
    try:
        splits, labels = _check_data(recipe, report)
        if not report.problems:
            spent = foretell(recipe, folder, resolve, splits, labels)
            if any(member.tuned for member in recipe.members):
                report.notes.append(
                    f"CPU-seconds are those of all {recipe['epochs']} epochs; training ends "
                    f"earlier where {recipe['patience']} bring nothing better."
                )
    except MissingExtra as error:
        report.notes.append(f"CPU-seconds are not foretold. {error.message}")
    except PlaitError as error:
        report.problems.append(error.message)
    read = sum(m.bytes for m in report.models)
    report.cost = Cost(read, held, 4 * held, spent)
    if report.problems and len(recipe.members) > 1:
        report.instead = (
            "outputs: train a model of each modality and average their predictions ('method: "
            "ensemble')"
        )
    return report


def _check_data(
    recipe: FeatureRecipe, report: CheckReport
) -> tuple[dict[str, Sequence[Item]], tuple[str, ...]]:
    """Look through the data, and return the splits' items and the labels."""
    train, validation, labels, carved = load_items(recipe)
    splits: dict[str, Sequence[Item]] = {"train": train.items, "validation": validation.items}
    if carved:
        report.notes.append(
            "There is no validation split; a fifth of the training's groups is kept for it."
        )
    split = recipe.level.splits.test
    if split is None:
        return splits, labels
    test = load_task(recipe.task, data_folder(recipe.task, recipe.level.folder), split)
    check_files(test.items)
    strange = sorted({str(label) for label in test.labels} - set(labels))
    if strange:
        report.problems.append(
            f"The test split has the label '{strange[0]}', which no training item has."
        )
    learnt = {item.group for item in (*train.items, *validation.items)}
    shared = learnt & {item.group for item in test.items}
    if shared:
        report.notes.append(
            f"{len(shared)} groups (such as '{sorted(shared)[0][:60]}') are in the test split and "
            "in one that is learnt from: the result would flatter itself."
        )
    readers = {member.modality for member in recipe.members}
    for modality in MODALITIES:
        unread = modality not in readers and modality != "text"
        if unread and getattr(recipe.task.columns, modality) is not None:
            report.notes.append(f"No encoder reads the task's column of {modality}.")
    return splits | {"test": test.items}, labels


def _facts(reference: str, folder: Path) -> ModelFacts:
    config = read_config(folder)
    shapes = list(_shapes(folder))
    return ModelFacts(
        reference=reference,
        architecture=str((config.get("architectures") or [config["model_type"]])[0]),
        parameters=sum(size for size, _ in shapes),
        bytes=sum(nbytes for _, nbytes in shapes),
        formats=("safetensors",),
        layers=int(config.get("num_hidden_layers") or 0),
        vocabulary=config.get("vocab_size"),
        tied=False,
        licence=licence_of(folder),
    )


def _shapes(folder: Path) -> Any:
    """Yield (elements, bytes) of every tensor, from the headers."""
    from plait.fusion.weights.safetensors import read_header

    for file in sorted(folder.glob("*.safetensors")):
        for entry in read_header(file).values():
            yield entry.size, entry.nbytes
