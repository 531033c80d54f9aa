# SPDX-License-Identifier: Apache-2.0
"""What a recipe of distillation may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes._reading import keys, text, texts
from plait.recipes.levels import LevelRecipe, Option, parse_level
from plait.recipes.project import Columns, TaskSpec

WEIGHTS = ("equal", "given", "confidence", "validation", "task")

OPTIONS = (
    Option(
        "student",
        None,
        "what the student starts as: a model's folder or repository, the name of one of the "
        "models, or a recipe of weights; without it, the base_model",
    ),
    Option(
        "teacher_weights",
        "equal",
        "how much each teacher counts: equal; given (`weight` of each model); confidence, text by "
        "text; validation, by each teacher's F1 score in each class; task, only the teacher that "
        "has the text's task among its `tasks`",
        "word",
        words=WEIGHTS,
    ),
    Option("temperature", 2.0, "softens what teachers answer", "number", low=0.1, high=100),
    Option(
        "alpha", 0.5, "share of the teachers' part in the loss; the rest is the labels'", "number",
        low=0, high=1,
    ),
    Option(
        "hidden", 0.0, "weight of matching the teachers' last hidden states", "number", high=1000
    ),
    Option("labels", True, "learn from the training split's labels too", "flag"),
    Option("texts", None, "more texts, without labels: a list of {dataset, split, columns, task}"),
    Option(
        "texts_per_task", None, "the most training texts of one task", "whole", low=1, high=10**7
    ),
    Option("epochs", 3, "how often each text is seen, at most", "whole", low=1, high=1_000),
    Option("patience", 2, "epochs without a better one before it ends", "whole", low=1, high=1_000),
    Option(
        "stop_by",
        "validation",
        "what tells when to stop: the labels of the validation split, agreement with the teachers "
        "on texts held out, or nothing (all epochs are run and the last is kept)",
        "word",
        words=("validation", "teachers", "nothing"),
    ),
    Option("learning_rate", 1e-4, "the highest of the schedule", "number", low=1e-9, high=1),
    Option("batch_size", 16, "texts in one step", "whole", low=1, high=4_096),
    Option("max_length", 128, "the most tokens of a text", "whole", low=1, high=8_192),
    Option("freeze_embeddings", True, "leave the student's word vectors as they are", "flag"),
    Option("tune_heads", True, "train the student's heads too", "flag"),
)  # fmt: skip

MEMBER_KEYS = ("weight", "tasks")


@dataclass(frozen=True)
class Source:
    """Texts without labels: a split of a data set, and whose task's they are ("": all models')."""

    spec: TaskSpec
    split: str
    task: str = ""


@dataclass(frozen=True)
class Settings:
    """A recipe's parameters, read; see `OPTIONS`."""

    student: str | Mapping[str, Any]
    teacher_weights: str
    temperature: float
    alpha: float
    hidden: float
    labels: bool
    texts_per_task: int | None
    epochs: int
    patience: int
    stop_by: str
    learning_rate: float
    batch_size: int
    max_length: int
    freeze_embeddings: bool
    tune_heads: bool
    texts: tuple[Source, ...] = ()
    given: Mapping[str, float] = field(default_factory=dict)
    """The `weight` of each model."""
    owned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The `tasks` of each model that names some."""


def parse(data: Mapping[str, Any], folder: Path) -> tuple[LevelRecipe, Settings]:
    """Read a recipe of distillation.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    recipe = parse_level(data, OPTIONS, folder=folder, member_keys=MEMBER_KEYS)
    values = recipe.parameters
    student = values["student"] if values["student"] is not None else recipe.base_model
    if student is None:
        raise BadInput(
            "A distillation needs 'base_model' or 'parameters.student': what the student starts as."
        )
    if isinstance(student, Mapping):
        if "merge_method" not in student and "method" not in student:
            raise BadInput(
                "parameters.student must name a model, or be a recipe with 'merge_method'."
            )
    elif not isinstance(student, str) or not student.strip():
        raise BadInput("parameters.student must name a model's folder or repository.")
    known = [task.name for task in recipe.tasks]
    plain = {f.name for f in fields(Settings)} - {"student", "texts", "given", "owned"}
    settings = Settings(
        student=student,
        texts=_sources(values["texts"], known),
        given={m.name: _weight(m.extra.get("weight", 1.0), m.name) for m in recipe.models},
        owned={
            m.name: _tasks(m.extra["tasks"], m.name, known)
            for m in recipe.models
            if "tasks" in m.extra
        },
        **{name: values[name] for name in plain},
    )
    if not recipe.tasks and not settings.texts:
        raise BadInput("A distillation needs texts: 'tasks' with their data sets, or 'texts'.")
    if sum(settings.given.values()) <= 0:
        raise BadInput("The weights of the models are all zero; give one a weight above zero.")
    if settings.teacher_weights == "validation" and not recipe.tasks:
        raise BadInput("teacher_weights: validation needs 'tasks' with labelled validation items.")
    return recipe, settings


def _sources(value: object, tasks: list[str]) -> tuple[Source, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value or len(value) > 200:
        raise BadInput(
            "parameters.texts must be a list like '- {dataset: org/texts, split: train}'."
        )
    found = []
    for place, item in enumerate(value):
        where = f"parameters.texts[{place}]"
        entry = keys(
            {"dataset": item} if isinstance(item, str) else item,
            where,
            ("dataset", "split", "revision", "column", "group", "task"),
        )
        named = {key: text(entry[key], f"{where}.{key}") for key in entry if entry[key] is not None}
        if "dataset" not in named:
            raise BadInput(f"{where} needs 'dataset': a folder or a repository.")
        task = named.get("task", "")
        if task and task not in tasks:
            raise BadInput(f"{where}.task is '{task}', but the tasks are {', '.join(tasks)}.")
        columns = Columns(text=named.get("column", "text"), group=named.get("group"))
        spec = TaskSpec(
            f"texts{place + 1}",
            named["dataset"],
            revision=named.get("revision", "main"),
            columns=columns,
        )
        found.append(Source(spec, named.get("split", "train"), task))
    return tuple(found)


def _weight(value: object, name: str) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value <= 1e6:  # type: ignore[operator]
        raise BadInput(f"The weight of '{name}' must be a number from 0 on, not '{value}'.")
    return float(value)  # type: ignore[arg-type]


def _tasks(value: object, name: str, known: list[str]) -> tuple[str, ...]:
    named = texts(value, f"'tasks' of '{name}'", most=200)
    for task in named:
        if task not in known:
            there = ", ".join(known) or "none"
            raise BadInput(
                f"'{name}' has the task '{task}', which the recipe lacks; it has {there}."
            )
    return named
