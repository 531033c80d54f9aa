# SPDX-License-Identifier: Apache-2.0
"""Running a recipe of feature fusion: open, learn, save, and only then look at the test items."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, MissingExtra
from plait.evaluation import evaluate
from plait.evaluation.predictors import OwnModel
from plait.evaluation.results import Evaluation
from plait.evaluation.tasks import Item, Label, Task, load_task
from plait.fusion.datasets import data_folder, lacking_split
from plait.fusion.features.card import write_card
from plait.fusion.features.encoders import build, find_encoder, open_encoder
from plait.fusion.features.learning import Learner, Stage
from plait.fusion.features.options import FeatureRecipe, parse
from plait.fusion.features.sources import Source, check_files
from plait.fusion.places import hash_folder, new_folder, write_report
from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights.finite import refuse_unfinite
from plait.modeling import ARCHITECTURES, FOLDER

SHARE = 0.2
"""Of the training items, by group, that are kept for validation if there is no such split."""

Work = Any


def run(data: Mapping[str, Any], folder: Path, out: Path, work: Work) -> FusionResult:
    """Train a recipe's encoders and head, and write one model of them to the new folder `out`.

    Raises:
        BadInput: naming what is wrong with the recipe, an encoder, or the data.
        Conflict: if `out` is there already.
        Cancelled: if `work.cancelled` returned true.
        MissingExtra: if torch, transformers or pillow is not installed.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    recipe = parse(data, folder)
    _need()
    import torch

    from plait.pretrained import limited_threads

    def tell(stage: str, done: int, total: int) -> None:
        if work.progress is not None:
            work.progress(Progress(stage, done, total))

    train, validation, labels, carved = load_items(recipe)
    with (
        new_folder(out, overwrite=work.overwrite) as made,
        limited_threads(work.threads),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(recipe.level.seed)
        places = {m.model: find_encoder(m, folder, work.resolve) for m in recipe.members}
        refuse_unfinite({reference: place for reference, place in places.items() if place})
        opened = {
            m.modality: open_encoder(m, places[m.model], recipe["max_length"])
            for m in recipe.members
        }
        model, processor = build(recipe, opened, labels)
        numbers = {name: place for place, name in enumerate(labels)}
        sources = [
            Source(model, processor, t.items, [numbers[str(i.label)] for i in t.items])
            for t in (train, validation)
        ]
        stages = Learner(
            model, recipe, *sources, seed=recipe.level.seed, tell=tell, cancelled=work.cancelled
        ).run()
        save(model, processor, made)
        found = _judge(recipe, made, work.threads)
        write_card(made, recipe, {r: place for r, place in places.items() if place}, found)
        inputs = {m.name: opened[m.modality].hashes for m in recipe.members}
        report = _report(data, recipe, stages, found, carved, (train, validation))
        write_report(made, report | {"inputs": inputs, "outputs": hash_folder(made)})
    outputs = hash_folder(out)
    return FusionResult(
        out=out,
        inputs=inputs,
        outputs=outputs,
        seconds=time.monotonic() - started,
        cpu_seconds=time.process_time() - cpu_started,
        bytes=sum((out / name).stat().st_size for name in outputs),
        report=report,
    )


def load_items(recipe: FeatureRecipe) -> tuple[Task, Task, tuple[str, ...], bool]:
    """Read training and validation items, and the names of the labels; never the test's.

    Without a validation split a fifth of the training's groups is kept for it (the last value).

    Raises:
        BadInput: if a split is missing, a file is, or a label has no training item.
    """
    spec, splits = recipe.task, recipe.level.splits
    data = data_folder(spec, recipe.level.folder)
    train = load_task(spec, data, splits.train)
    carved = lacking_split([spec], recipe.level.folder, splits.validation) is not None
    if carved:
        train, validation = carve(train, recipe.level.seed)
    else:
        validation = load_task(spec, data, splits.validation)
    check_files([*train.items, *validation.items])
    labels = _names(train.labels, spec.name)
    strange = sorted({str(label) for label in validation.labels} - set(labels))
    if strange:
        raise BadInput(
            f"Split '{splits.validation}' of task '{spec.name}' has the label '{strange[0]}', "
            "which no training item has."
        )
    return train, validation, labels, carved


def carve(train: Task, seed: int) -> tuple[Task, Task]:
    """Split a task's items by group into four fifths and one fifth.

    Raises:
        BadInput: if there are too few groups, or a label would be left without training items.
    """
    groups = sorted({item.group for item in train.items})
    if len(groups) < 5:
        raise BadInput(
            f"Task '{train.name}' has no validation split and only {len(groups)} groups; it needs "
            "a split of its own."
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    kept = {groups[int(i)] for i in order[: max(1, round(SHARE * len(groups)))]}
    parts: list[list[Item]] = [[], []]
    for item in train.items:
        parts[item.group in kept].append(item)
    if {i.label for i in parts[0]} != set(train.labels):
        raise BadInput(
            f"Task '{train.name}' has no validation split, and too few groups of some label to "
            "make one; write one."
        )
    return replace(train, items=tuple(parts[0])), replace(train, items=tuple(parts[1]))


def _names(labels: Sequence[Label], task: str) -> tuple[str, ...]:
    if all(isinstance(label, int) for label in labels) and list(labels) != list(range(len(labels))):
        raise BadInput(
            f"Task '{task}' numbers its labels {', '.join(map(str, labels[:10]))}; they must be "
            f"0 to {len(labels) - 1}, or names."
        )
    return tuple(str(label) for label in labels)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write a fused model as a folder that stock transformers loads, with the code it needs."""
    architecture = ARCHITECTURES["plait_multimodal"]
    module = architecture.module
    model.config.auto_map = {
        "AutoConfig": f"{module}.{architecture.config}",
        "AutoModel": f"{module}.{architecture.model}",
        "AutoModelForSequenceClassification": f"{module}.{architecture.model}",
        "AutoModelForImageClassification": f"{module}.{architecture.model}",
        "AutoProcessor": f"{module}.{architecture.processor}",
    }
    model.config.architectures = [architecture.model]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for name in architecture.files():
        (folder / name).write_bytes((FOLDER / name).read_bytes())


def without(task: Task, kept: str) -> Task | None:
    """Return a task whose items have one modality alone; None if some item lacks it."""
    items = []
    for item in task.items:
        sample = item.sample
        parts = {"text": sample} if isinstance(sample, str) else dict(sample)
        if kept not in parts:
            return None
        alone = {"image": None, "audio": None} | {k: v for k, v in parts.items() if k == kept}
        text = item.text if kept == "text" else ""
        items.append(replace(item, text=text, image=alone["image"], audio=alone["audio"]))
    return replace(task, items=tuple(items))


def _judge(recipe: FeatureRecipe, made: Path, threads: int | None) -> dict[str, Evaluation]:
    spec, split = recipe.task, recipe.level.splits.test
    if split is None or lacking_split([spec], recipe.level.folder, split) is not None:
        return {}
    test = load_task(spec, data_folder(spec, recipe.level.folder), split)
    predictor = OwnModel.load(made, threads)
    found = {"all": evaluate(predictor, [test], split)}
    names = [m.modality for m in recipe.members]
    for name in names if len(names) > 1 else ():
        alone = without(test, name)
        if alone is not None:
            found[f"{name} alone"] = evaluate(predictor, [alone], split)
    return found


def _report(
    data: Mapping[str, Any],
    recipe: FeatureRecipe,
    stages: Sequence[Stage],
    found: Mapping[str, Evaluation],
    carved: bool,
    tasks: tuple[Task, Task],
) -> dict[str, Any]:
    names = ("plait", "torch", "transformers", "numpy")
    return {
        "schema": 1,
        "recipe": dict(data),
        "software": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in names},
        "training": {
            "items": len(tasks[0].items),
            "validation_items": len(tasks[1].items),
            "validation": "a fifth of the training's groups"
            if carved
            else recipe.level.splits.validation,
            "groups_in_both": len(
                {i.group for i in tasks[0].items} & {i.group for i in tasks[1].items}
            ),
            "stages": [stage.to_json() for stage in stages],
        },
        "scores": {name: value.average for name, value in found.items()},
        "results": {name: value.to_json(items=False) for name, value in found.items()},
    }


def _need() -> None:
    try:
        import PIL  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train") from None
