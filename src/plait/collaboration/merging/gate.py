# SPDX-License-Identifier: Apache-2.0
"""Measuring models on a repository's tasks, each model once, and judging the candidate."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from plait import __version__
from plait.collaboration.merging.access import LoadedTask
from plait.errors import BadInput, Cancelled, PlaitError
from plait.evaluation import Comparison, Evaluation, Judgement, compare, evaluate, judge
from plait.evaluation.classifier import Predictor
from plait.hub import Hub, Repository
from plait.hub.database import StoredEvaluation
from plait.recipes.project import GateSpec, TaskSpec

_loading = threading.Lock()
"""Loading a model changes settings of the whole process for a moment."""

Tick = Callable[[int, int], None]
"""Items done and items in all; raises to stop."""


@dataclass(frozen=True)
class Verdict:
    """The candidate against main, and what the gate says of it."""

    comparison: Comparison
    judgement: Judgement


class Measurements:
    """A repository's tasks on one split; what a model scored is kept and never measured twice."""

    def __init__(self, hub: Hub, repo: Repository, split: str, tasks: Sequence[LoadedTask]) -> None:
        self.hub = hub
        self.repo = repo
        self.split = split
        self.tasks = tuple(tasks)
        self._memory: dict[str, Evaluation] = {}

    @property
    def items(self) -> int:
        """How many items one measurement runs over."""
        return sum(len(loaded.task.items) for loaded in self.tasks)

    def known(self, key: str) -> Evaluation | None:
        """Return a model's stored results, if every task has them."""
        if key in self._memory:
            return self._memory[key]
        stored = self._stored(key)
        if stored is None:
            return None
        try:
            found = Evaluation.from_json({"split": self.split, "tasks": stored})
        except BadInput:
            return None  # written by a version that kept them otherwise: measured again
        self._memory[key] = found
        return found

    def has(self, key: str) -> bool:
        """Tell whether a model's scores are known."""
        return key in self._memory or self._stored(key) is not None

    def measure(
        self, key: str, model: Callable[[], Predictor], title: str, tick: Tick | None = None
    ) -> Evaluation:
        """Return a model's results, running it only if they are not known.

        Args:
            key: a hash of all that the model's predictions depend on.
            model: loads it.
            title: what a message calls it.
            tick: called as items are done.

        Raises:
            BadInput: it cannot be run on these tasks. The sentence names the model and not what
                the items hold.
            Cancelled: ``tick`` said so.
        """
        found = self.known(key)
        if found is not None:
            return found
        found = self._run(model(), title, tick)
        self._memory[key] = found
        self._keep(key, found.to_json()["tasks"])
        return found

    def measure_scores(
        self, key: str, model: Callable[[], Predictor], title: str, tick: Tick | None = None
    ) -> dict[str, float]:
        """Return a model's score by task, as `measure`, keeping no items.

        For the many models that are compared by their scores alone and then forgotten.
        """
        stored = self._stored(key)
        if stored is not None:
            return {name: float(result["score"]) for name, result in stored.items()}
        scores = self.scores(self._run(model(), title, tick))
        self.remember(key, scores)
        return scores

    def remember(self, key: str, scores: Mapping[str, float]) -> None:
        """Keep a model's scores under a key of `measure_scores`."""
        self._keep(key, {name: {"score": score} for name, score in scores.items()})

    def scores(self, evaluation: Evaluation) -> dict[str, float]:
        """Return the score by task."""
        return {name: result.score for name, result in evaluation.tasks.items()}

    def _stored(self, key: str) -> dict[str, Any] | None:
        """Return what is stored under a key by task, if every task has something."""
        with self.hub.session() as session:
            rows = session.execute(
                select(StoredEvaluation.task_key, StoredEvaluation.result).where(
                    StoredEvaluation.model_key == key,
                    StoredEvaluation.task_key.in_([loaded.key for loaded in self.tasks]),
                )
            ).all()
        found = {row.task_key: row.result for row in rows}
        if any(loaded.key not in found for loaded in self.tasks):
            return None
        return {loaded.task.name: found[loaded.key] for loaded in self.tasks}

    def _run(self, model: Predictor, title: str, tick: Tick | None) -> Evaluation:
        try:
            return evaluate(model, [loaded.task for loaded in self.tasks], self.split, tick)
        except Cancelled:
            raise
        except PlaitError as error:
            raise BadInput(self._told(title, error.message)) from error

    def _told(self, title: str, message: str) -> str:
        # A label that the model lacks is named in the engine's message; labels are content.
        names = {str(label) for loaded in self.tasks for label in loaded.task.labels}
        if "label" in message and any(f"'{name}'" in message for name in names):
            return (
                f"{title} cannot be judged: a task has a label that the model does not give. The "
                "labels of config.json (id2label) and those of the data sets must be the same."
            )
        return f"{title} cannot be judged: {message}"

    def _keep(self, key: str, plain: Mapping[str, Any]) -> None:
        with self.hub.session(write=True) as session:
            for loaded in self.tasks:
                values: dict[str, Any] = {
                    "repository_id": self.repo.id,
                    "model_key": key,
                    "task_key": loaded.key,
                    "task": loaded.task.name,
                    "split": self.split,
                    "result": plain[loaded.task.name],
                }
                if session.get_bind().dialect.name == "sqlite":
                    session.execute(
                        sqlite_insert(StoredEvaluation)
                        .values(**values)
                        .on_conflict_do_nothing(index_elements=["model_key", "task_key"])
                    )
                    continue
                try:
                    with session.begin_nested():
                        session.add(StoredEvaluation(**values))
                except IntegrityError:
                    pass  # another worker measured the same model


def judge_candidate(
    candidate: Evaluation, main: Evaluation, gate: GateSpec, tasks: Sequence[TaskSpec]
) -> Verdict:
    """Compare the candidate with main, item by item, and apply the gate's rule."""
    comparison = compare(candidate, main, confidence=gate.confidence, seed=0)
    return Verdict(comparison, judge(comparison, gate, tasks))


def model_key(weights: Mapping[str, str], support: Mapping[str, str]) -> str:
    """Hash what a model's predictions depend on: its weights, and the files that explain them.

    ``support`` maps path to any content hash (git's or SHA-256).
    """
    content = {
        "weights": sorted(weights.items()),
        "support": sorted(support.items()),
        "plait": __version__,
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def recipe_key(
    recipe: Mapping[str, Any], inputs: Mapping[str, Mapping[str, str]], support: str
) -> str:
    """Hash what a model that is fused in memory depends on: recipe and inputs."""
    content = {
        "recipe": recipe,
        "inputs": {name: sorted(files.items()) for name, files in sorted(inputs.items())},
        "support": support,
        "plait": __version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_classifier(folder: Path, title: str) -> Predictor:
    """Load a text classifier; torch and transformers are imported here.

    Raises:
        BadInput: it is none. The sentence has ``title`` where the loader says the folder.
    """
    from plait.evaluation import TextClassifier

    try:
        with _loading:
            return TextClassifier.load(folder, threads=1)
    except BadInput as error:
        told = error.message.replace(str(folder), title).replace(folder.name, title)
        raise BadInput(told) from error
