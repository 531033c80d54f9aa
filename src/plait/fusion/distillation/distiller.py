# SPDX-License-Identifier: Apache-2.0
"""One distillation: the transfer set, the teachers' soft targets on it, training and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import BadInput, Cancelled
from plait.evaluation.predictors import load_predictor
from plait.evaluation.results import Evaluation, class_of_labels, evaluate
from plait.evaluation.tasks import Task
from plait.fusion.datasets import lacking_split, load_tasks
from plait.fusion.distillation import mixing
from plait.fusion.distillation.options import Settings
from plait.fusion.distillation.student import Student
from plait.fusion.distillation.teachers import Logs, Teacher, hidden_states, predict
from plait.fusion.distillation.training import History, Targets, agreement, class_numbers, train
from plait.fusion.distillation.transfer_set import Example, gather, hold_out
from plait.fusion.results import Progress
from plait.recipes.levels import LevelRecipe

if TYPE_CHECKING:
    from plait.fusion.levels import Work

SELECTED_BY = {
    "validation": "validation",
    "teachers": "agreement with the teachers",
    "nothing": "nothing: the last epoch",
}
Texts = dict[str, list[Example]]


class Distiller:
    """One run: the texts, what the teachers say of them, and the examples made of that."""

    def __init__(
        self,
        recipe: LevelRecipe,
        settings: Settings,
        teachers: Sequence[Teacher],
        student: Student,
        several: bool,
        work: Work,
    ) -> None:
        self.recipe, self.settings, self.student, self.work = recipe, settings, student, work
        self.teachers, self.several = teachers, several
        examples = gather(recipe, settings, None if self._apart else "")
        if self._apart and any(not example.task for example in examples):
            raise BadInput("Every entry of parameters.texts needs 'task': each has its teacher.")
        self.validation: list[Task] = []
        self.held: Texts = {}
        split = recipe.splits.validation
        if recipe.tasks and not lacking_split(recipe.tasks, recipe.folder, split):
            self.validation = load_tasks(recipe.tasks, recipe.folder, split)
        elif settings.teacher_weights == "validation":
            raise BadInput(f"teacher_weights: validation needs the split '{split}' of every task.")
        self.stop_by = settings.stop_by
        if self.stop_by == "validation" and not self.validation:
            self.stop_by = "teachers"
        if self.stop_by == "teachers":
            examples, held = hold_out(examples, recipe.seed)
            self.held = _by_task(held)
        self.examples = _by_task(examples)

    @property
    def _apart(self) -> bool:
        """Whether each task has teachers of its own."""
        return self.several or self.settings.teacher_weights == "task"

    def train(self) -> History:
        """Run the teachers, then train the student."""
        weights = self._class_weights()
        targets = self._targets(self.examples, weights, hidden=self.settings.hidden > 0)
        if self.stop_by == "validation":
            scorer = self._score_student
        elif self.stop_by == "nothing":
            scorer = _alike  # of epochs that score alike the last is kept
        else:
            held = self._targets(self.held, weights, hidden=False)
            scorer = agreement(self.student, held, self.settings.temperature, self.work.threads)
        return train(
            self.student,
            targets,
            self.settings,
            scorer,
            seed=self.recipe.seed,
            threads=self.work.threads,
            progress=lambda done, total, _: self._tell("Training the student", done, total),
            cancelled=self.work.cancelled,
        )

    def results(self, history: History) -> tuple[dict[str, Any], Evaluation | None]:
        """Return how training went and, if there is one, the scores on the test split.

        The second value is the student's scores there, None without such a split.
        """
        found: dict[str, Any] = {
            "start": self.settings.student,
            "texts": {task: len(rows) for task, rows in self.examples.items()},
            "labelled": sum(
                example.label is not None for rows in self.examples.values() for example in rows
            ),
            "steps": history.steps,
            "losses": list(history.losses),
            "selected_by": SELECTED_BY[self.stop_by],
            "epochs": [] if self.stop_by == "nothing" else list(history.scores),
            "best_epoch": history.kept,
            "new_heads": list(self.student.new_heads),
        }
        split = self.recipe.splits.test
        tasks = self.recipe.tasks
        if split is None or not tasks or lacking_split(tasks, self.recipe.folder, split):
            return found, None
        loaded = load_tasks(tasks, self.recipe.folder, split)
        mine = evaluate(self.student.predictor(self.work.threads), loaded, split)
        found["test"] = mine.to_json(items=False)
        found["teachers"] = {}
        for number, teacher in enumerate(self.teachers):
            self._tell("Scoring the teachers", number, len(self.teachers))
            theirs = self._score(teacher, loaded, split)
            if theirs is not None:
                found["teachers"][teacher.name] = {
                    "average": theirs.average,
                    "tasks": {name: result.score for name, result in theirs.tasks.items()},
                }
        return found, mine

    def _score(self, teacher: Teacher, tasks: Sequence[Task], split: str) -> Evaluation | None:
        known = [t for t in tasks if (t.name in teacher.tasks if self.several else True)]
        if not known:
            return None
        self._ask_cancelled()
        return evaluate(load_predictor(teacher.folder, threads=self.work.threads), known, split)

    def _owns(self, teacher: Teacher, task: str) -> bool:
        return task in teacher.tasks if self._apart else True

    def _class_weights(self) -> dict[str, mixing.Floats] | None:
        """Return the teachers' weights by task and class, where validation decides them."""
        if self.settings.teacher_weights != "validation":
            return None
        texts = {task.name: [item.text for item in task.items] for task in self.validation}
        said = self._answers(texts, "Scoring the teachers")
        truth = {
            task.name: np.array([classes[item.label] for item in task.items])
            for task in self.validation
            for classes in [class_of_labels(task, self.student.labels(task.name))]
        }
        if self.several:
            return {t: mixing.by_class(np.stack(said[t]), truth[t]) for t in texts}
        pooled = [np.concatenate(rows) for rows in zip(*said.values(), strict=True)]
        weights = mixing.by_class(np.stack(pooled), np.concatenate(list(truth.values())))
        return {"": weights}

    def _targets(
        self, texts: Texts, weights: Mapping[str, mixing.Floats] | None, *, hidden: bool
    ) -> dict[str, Targets]:
        rows = {task: [example.text for example in found] for task, found in texts.items()}
        said = self._answers(rows, "Running the teachers")
        inside = self._states(rows) if hidden else {}
        targets = {}
        for task, logs in said.items():
            together = np.stack(logs)
            share = self._weights(task, together, weights)
            states = None
            if hidden:
                counted = mixing.shares(share, len(logs), len(rows[task]))
                mean = np.einsum("kn,knw->nw", counted, np.stack(inside[task])).astype(np.float32)
                states = (mean, float(np.mean(np.square(mean))))
            targets[task] = Targets(
                rows[task],
                mixing.mix(together, share, self.settings.temperature),
                self._truth(task, texts[task]),
                states,
            )
        return targets

    def _weights(
        self, task: str, logs: Logs, found: Mapping[str, mixing.Floats] | None
    ) -> mixing.Floats:
        if found is not None:
            return found[task if self.several else ""]
        if self.settings.teacher_weights == "confidence":
            return mixing.by_confidence(logs)
        owners = [t.name for t in self.teachers if self._owns(t, task)]
        given = np.ones(len(owners))
        if self.settings.teacher_weights == "given":
            given = np.array([self.settings.given[name] for name in owners])
            if given.sum() <= 0:
                raise BadInput(f"The teachers of the task '{task}' all have the weight zero.")
        return np.asarray((given / given.sum())[:, None, None])

    def _truth(self, task: str, examples: Sequence[Example]) -> Any:
        labels = sorted({x.label for x in examples if x.label is not None}, key=str)
        probe = Task(task or "texts", "accuracy", (), tuple(labels))
        return class_numbers(examples, class_of_labels(probe, self.student.labels(task)))

    def _answers(self, texts: Mapping[str, list[str]], stage: str) -> dict[str, list[Logs]]:
        """Return by task what each of its teachers says."""
        found: dict[str, list[Logs]] = {task: [] for task in texts}
        order = {task: self.student.labels(task) for task in texts}
        for number, teacher in enumerate(self.teachers):
            wanted = {task: rows for task, rows in texts.items() if self._owns(teacher, task)}
            said = predict(
                teacher,
                wanted,
                order,
                self.work.threads,
                self.settings.max_length,
                self._step(stage, number),
            )
            for task, logs in said.items():
                found[task].append(logs)
        return found

    def _states(self, texts: Mapping[str, list[str]]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {task: [] for task in texts}
        width = self.student.encoder.config.hidden_size
        for number, teacher in enumerate(self.teachers):
            wanted = {task: rows for task, rows in texts.items() if self._owns(teacher, task)}
            step = self._step("Hidden states of the teachers", number)
            states = hidden_states(
                teacher, wanted, self.work.threads, self.settings.max_length, step
            )
            for task, rows in states.items():
                if rows.shape[1] != width:
                    raise BadInput(
                        f"'{teacher.name}' has hidden states of {rows.shape[1]} numbers, the "
                        f"student of {width}: set parameters.hidden to 0."
                    )
                found[task].append(rows)
        return found

    def _step(self, stage: str, number: int) -> Callable[[int, int], None]:
        count = len(self.teachers)

        def step(done: int, total: int) -> None:
            self._ask_cancelled()
            self._tell(stage, number * total + done, count * total)

        return step

    def _score_student(self) -> float:
        self._ask_cancelled()
        return evaluate(
            self.student.predictor(self.work.threads), self.validation, "validation"
        ).average

    def _tell(self, stage: str, done: int, total: int) -> None:
        if self.work.progress is not None:
            self.work.progress(Progress(stage, done, total))

    def _ask_cancelled(self) -> None:
        if self.work.cancelled is not None and self.work.cancelled():
            raise Cancelled("The distillation was cancelled; nothing was written.")


def _by_task(examples: Sequence[Example]) -> Texts:
    found: Texts = {}
    for example in examples:
        found.setdefault(example.task, []).append(example)
    return found


def _alike() -> float:
    return 0.0
