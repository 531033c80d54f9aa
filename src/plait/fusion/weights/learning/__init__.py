# SPDX-License-Identifier: Apache-2.0
"""What some methods learn from unlabelled texts first, for the streaming engine to use.

RegMean++ learns statistics of each model, AdaMerging coefficients for each tensor; fusion itself is
then that of `regmean`, `task_arithmetic` or `ties`. This loads torch, and needs the whole models in
memory while it learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plait.fusion.weights import methods
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.checksums import file_stamp
from plait.fusion.weights.safetensors import read_header
from plait.recipes.fusion import FusionRecipe


@dataclass(frozen=True)
class Learned:
    """A recipe to run in place of the given, files of statistics by model, and what to report."""

    recipe: FusionRecipe
    statistics: Mapping[str, Path] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from: the recipe, its opened models, and where data sets lie.

    `tell(done, total)` reports progress and raises when the work is cancelled. `scratch` is a
    folder for files that live until the fusion ends.
    """

    recipe: FusionRecipe
    models: Mapping[str, Checkpoint]
    folder: Path
    scratch: Path
    tell: Callable[[int, int], None]
    threads: int = 1


@contextmanager
def scratch_for(recipe: FusionRecipe) -> Iterator[Path]:
    """Give a folder for what is learnt, until the fusion is done."""
    if not methods.get(recipe.method).learns:
        yield Path()
        return
    with TemporaryDirectory(prefix="plait-") as folder:
        yield Path(folder)


def given(model: Checkpoint, file: Path) -> Checkpoint:
    """Return a model with a file of statistics that were learnt, as one of its files."""
    stamps = dict(model.stamps) | {file: file_stamp(file)}
    statistics = read_header(file)
    return replace(model, files=(*model.files, file), stamps=stamps, statistics=statistics)


def learn(lesson: Lesson) -> Learned:
    """Learn what a recipe's method needs of its tasks' texts.

    Raises:
        BadInput: for tasks that are missing, or models that are no text classifiers.
        MissingExtra: if torch or transformers is not installed.
        Cancelled: if `tell` says so.
    """
    if methods.get(lesson.recipe.method).learns == "gram":
        from plait.fusion.weights.learning.regmean_plusplus import learn_grams

        return learn_grams(lesson)
    from plait.fusion.weights.learning.adamerging import learn_weights

    return learn_weights(lesson)
