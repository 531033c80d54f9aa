# SPDX-License-Identifier: Apache-2.0
"""One distillation: its texts, what the teachers say of them, what is taught, what came of it."""

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
from plait.fusion.distillation.lessons import Lesson, gather, hold_out
from plait.fusion.distillation.options import Settings
from plait.fusion.distillation.student import Student
from plait.fusion.distillation.teachers import Logs, Teacher, ask, look_inside
from plait.fusion.distillation.teaching import Course, Goal, agreement, teach, truth_of
from plait.fusion.results import Progress
from plait.recipes.levels import LevelRecipe

if TYPE_CHECKING:
    from plait.fusion.levels import Work

Texts = dict[str, list[Lesson]]


class School:
    """One run: the texts, what the teachers say of them, and the lessons made of that."""

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
        lessons = gather(recipe, settings, None if self._apart else "")
        if self._apart and any(not lesson.task for lesson in lessons):
            raise BadInput("Every entry of parameters.texts needs 'task': each has its teacher.")
        self.validation: list[Task] = []
        self.held: Texts = {}
        split = recipe.splits.validation
        if recipe.tasks and not lacking_split(recipe.tasks, recipe.folder, split):
            self.validation = load_tasks(recipe.tasks, recipe.folder, split)
        elif settings.teacher_weights == "validation":
            raise BadInput(f"teacher_weights: validation needs the split '{split}' of every task.")
        self.by_labels = bool(self.validation) and settings.stop_by == "validation"
        if not self.by_labels:
            lessons, held = hold_out(lessons, recipe.seed)
            self.held = _by_task(held)
        self.lessons = _by_task(lessons)

    @property
    def _apart(self) -> bool:
        """Whether each task has teachers of its own."""
        return self.several or self.settings.teacher_weights == "task"

    def teach(self) -> Course:
        """Ask the teachers, then teach the student."""
        weights = self._class_weights()
        goals = self._goals(self.lessons, weights, hidden=self.settings.hidden > 0)
        if self.by_labels:
            judge = self._judge
        else:
            held = self._goals(self.held, weights, hidden=False)
            judge = agreement(self.student, held, self.settings.temperature, self.work.threads)
        return teach(
            self.student,
            goals,
            self.settings,
            judge,
            seed=self.recipe.seed,
            threads=self.work.threads,
            progress=lambda done, total, _: self._tell("Teaching", done, total),
            cancelled=self.work.cancelled,
        )

    def results(self, course: Course) -> dict[str, Any]:
        """Return how the teaching went and, if there is one, what the test split says."""
        found: dict[str, Any] = {
            "start": self.settings.student,
            "texts": {task: len(rows) for task, rows in self.lessons.items()},
            "labelled": sum(
                lesson.label is not None for rows in self.lessons.values() for lesson in rows
            ),
            "steps": course.steps,
            "losses": list(course.losses),
            "judged_by": "validation" if self.by_labels else "agreement with the teachers",
            "epochs": list(course.scores),
            "kept_epoch": course.kept,
            "heads_drawn": list(self.student.fresh),
        }
        split = self.recipe.splits.test
        tasks = self.recipe.tasks
        if split is None or not tasks or lacking_split(tasks, self.recipe.folder, split):
            return found
        loaded = load_tasks(tasks, self.recipe.folder, split)
        mine = evaluate(self.student.predictor(self.work.threads), loaded, split)
        found["test"] = mine.to_json(items=False)
        found["teachers"] = {}
        for number, teacher in enumerate(self.teachers):
            self._tell("Judging the teachers", number, len(self.teachers))
            theirs = self._score(teacher, loaded, split)
            if theirs is not None:
                found["teachers"][teacher.name] = {
                    "average": theirs.average,
                    "tasks": {name: result.score for name, result in theirs.tasks.items()},
                }
        return found

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
        said = self._answers(texts, "Judging the teachers")
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

    def _goals(
        self, texts: Texts, weights: Mapping[str, mixing.Floats] | None, *, hidden: bool
    ) -> dict[str, Goal]:
        rows = {task: [lesson.text for lesson in found] for task, found in texts.items()}
        said = self._answers(rows, "Asking the teachers")
        inside = self._states(rows) if hidden else {}
        goals = {}
        for task, logs in said.items():
            together = np.stack(logs)
            share = self._weights(task, together, weights)
            states = None
            if hidden:
                counted = mixing.shares(share, len(logs), len(rows[task]))
                mean = np.einsum("kn,knw->nw", counted, np.stack(inside[task])).astype(np.float32)
                states = (mean, float(np.mean(np.square(mean))))
            goals[task] = Goal(
                rows[task],
                mixing.mix(together, share, self.settings.temperature),
                self._truth(task, texts[task]),
                states,
            )
        return goals

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

    def _truth(self, task: str, lessons: Sequence[Lesson]) -> Any:
        labels = sorted({x.label for x in lessons if x.label is not None}, key=str)
        probe = Task(task or "texts", "accuracy", (), tuple(labels))
        return truth_of(lessons, class_of_labels(probe, self.student.labels(task)))

    def _answers(self, texts: Mapping[str, list[str]], stage: str) -> dict[str, list[Logs]]:
        """Return by task what each of its teachers says."""
        found: dict[str, list[Logs]] = {task: [] for task in texts}
        order = {task: self.student.labels(task) for task in texts}
        for number, teacher in enumerate(self.teachers):
            wanted = {task: rows for task, rows in texts.items() if self._owns(teacher, task)}
            said = ask(
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
            step = self._step("Looking into the teachers", number)
            states = look_inside(teacher, wanted, self.work.threads, self.settings.max_length, step)
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

    def _judge(self) -> float:
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


def _by_task(lessons: Sequence[Lesson]) -> Texts:
    found: Texts = {}
    for lesson in lessons:
        found.setdefault(lesson.task, []).append(lesson)
    return found
