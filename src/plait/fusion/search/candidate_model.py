# SPDX-License-Identifier: Apache-2.0
"""The one model in memory that a search's candidates are loaded into, one after another."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights import fuse, fused_tensors, methods
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.engine import BLOCK, Readers
from plait.fusion.weights.numbers import STORAGE, Array
from plait.fusion.weights.opening import Resolver, find_folders, open_models
from plait.fusion.weights.plan import Job, Plan, build_plan, donor_of
from plait.fusion.weights.vocabulary import unify
from plait.recipes.fusion import FusionRecipe

if TYPE_CHECKING:
    from plait.evaluation import Task
    from plait.evaluation.types import Answers

Tick = Callable[[int, int], None]


class CandidateModel:
    """A model made of the recipe as it is written, and whose weights are then replaced.

    What it is besides weights (configuration, tokenizer, heads) comes from a fusion on disk that is
    removed at once, so that it is what `fuse` will write. Of a candidate only those tensors are
    fused whose values can differ from the one before: not those that are the same in all models, as
    frozen embeddings are, nor those whose coefficients stayed the same.
    """

    def __init__(
        self,
        recipe: FusionRecipe,
        resolve: Resolver | None,
        *,
        threads: int | None = None,
        cancelled: Callable[[], bool] | None = None,
        scratch: Path | None = None,
    ) -> None:
        self._recipe = recipe
        self._beside = scratch
        self._threads = threads
        self._cancelled = cancelled
        # a repository is fetched once, not for every candidate
        known = find_folders(recipe, resolve)
        found = {str(folder): folder for folders in known.values() for folder in folders}
        for reference, folders in known.items():
            found[reference] = folders[0]
            if len(folders) > 1:
                model, _, adapter = reference.rpartition("+")
                found[model], found[adapter] = folders
        self._resolve = lambda reference: found[reference]
        self.models = open_models(known)
        self._keys: dict[str, Any] = {}
        self._tensors: dict[str, Array] = {}
        self.made = 0
        """Tensors that were fused, in all."""
        self._model: Any = None
        self._scratch: Path | None = None
        self._same: frozenset[str] = frozenset()

    def __enter__(self) -> CandidateModel:
        self._scratch = Path(tempfile.mkdtemp(prefix="plait-search-", dir=self._beside))
        try:
            self._same = _same_everywhere(self._plan(self._recipe), self.models)
            self._model = self._from_disk(self._recipe)
            self._replaces = hasattr(self._model, "load_tensors")
            if self._replaces:
                self.load(self._recipe)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._model, self._tensors, self._keys = None, {}, {}

    def load(self, recipe: FusionRecipe) -> None:
        """Put a candidate's weights into the model.

        Raises:
            BadInput: if it cannot be fused, or makes another architecture.
        """
        if not self._replaces:
            self._model = self._from_disk(recipe)
            return
        plan = self._plan(recipe)
        keys = {job.name: self._key(job, plan) for job in plan.jobs}
        if self._keys and set(keys) != set(self._keys):
            raise BadInput("The candidates of a search must all make the same tensors.")
        wanted = {name for name, key in keys.items() if self._keys.get(name) != key}
        for name, values in fused_tensors(
            recipe, resolve=self._resolve, threads=self._threads, only=wanted
        ):
            self._tensors[name] = values
            self.made += 1
        self._keys = keys
        self._model.load_tensors(self._tensors.items())

    def run(self, tasks: Sequence[Task], tick: Tick | None = None) -> dict[str, Answers]:
        """Run the model on some tasks' items and return its records by task."""
        from plait.evaluation.types import task_type

        found: dict[str, Answers] = {}
        for kind in dict.fromkeys(task.type for task in tasks):
            same = [task for task in tasks if task.type == kind]
            found |= task_type(kind).run(self._model, same, tick)
        return found

    def measure(self, tasks: Sequence[Task], tick: Tick | None = None) -> dict[str, Array]:
        """Run the model on some tasks' items and return what their metrics need of each group."""
        from plait.evaluation.types import task_type

        answers = self.run(tasks, tick)
        return {
            task.name: task_type(task.type).table(
                answers[task.name].records, task.metric, answers[task.name].about
            )
            for task in tasks
        }

    def _plan(self, recipe: FusionRecipe) -> Plan:
        models, vocabulary = unify(recipe, self.models, donor_of(recipe))
        return build_plan(recipe, models, vocabulary)

    def _key(self, job: Job, plan: Plan) -> Any:
        """Return what decides a tensor's values besides the models."""
        method = plan.method
        if job.copies or (job.name in self._same and method.base == "required"):
            return "the base's"
        if method.survey is not None:
            # a threshold for the whole model hangs on the settings of every tensor
            return (method.name, [(j.settings, j.options) for j in plan.jobs])
        return (method.name, job.settings, job.options)

    def _from_disk(self, recipe: FusionRecipe) -> Any:
        from plait.evaluation.predictors import load_predictor

        assert self._scratch is not None, "entered"
        out = self._scratch / "model"
        shutil.rmtree(out, ignore_errors=True)
        fuse(
            recipe,
            out,
            resolve=self._resolve,
            threads=self._threads,
            cancelled=self._cancelled,
        )
        model = load_predictor(out, threads=self._threads)
        shutil.rmtree(out, ignore_errors=True)
        return model


def _same_everywhere(plan: Plan, models: Mapping[str, Checkpoint]) -> frozenset[str]:
    """Return the tensors that are the same, bit for bit, in the base and in all other models."""
    if methods.get(plan.recipe.method).base != "required":
        return frozenset()
    found = []
    with Readers() as readers:
        for job in plan.jobs:
            if job.copies or job.base is None:
                continue
            if all(_equal(readers, job.base, entry) for entry in job.inputs):
                found.append(job.name)
    return frozenset(found)


def _equal(readers: Readers, one: Any, other: Any) -> bool:
    if one.code != other.code or one.shape != other.shape:
        return False
    stored = STORAGE[one.code]
    for low in range(0, one.size, BLOCK):
        size = min(BLOCK, one.size - low)
        first, second = np.empty(size, stored), np.empty(size, stored)
        readers.read(one, low, first)
        readers.read(other, low, second)
        if not np.array_equal(first.view(np.uint8), second.view(np.uint8)):
            return False
    return True
